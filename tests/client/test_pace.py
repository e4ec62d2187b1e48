"""The time is an argument, so a turn of the event loop is what we say it is."""

from hypothesis import given, strategies as st

from nsqx.client.pace import GRANT_MAX, TURN_SECONDS, Pace


def taken_in_a_turn(pace: Pace, start: float, seconds: list[float]) -> tuple[int, float, int]:
    """Take messages that cost so much each. Returns how many, how long, and looks at the clock."""
    now, looks, granted = start, 0, 1
    pace.turned(now)
    for count, each in enumerate(seconds):
        if not granted:
            looks += 1
            granted = pace.look(now)
            if not granted:
                return count, now - start, looks
        granted -= 1
        now += each
    return len(seconds), now - start, looks


def test_the_clock_is_looked_at_once_for_many_quick_messages() -> None:
    count, length, looks = taken_in_a_turn(Pace(), 5.0, [1e-6] * 1000)
    assert count == 1000
    assert looks <= 1000 / GRANT_MAX + 2
    assert length < TURN_SECONDS


def test_a_turn_ends_in_time() -> None:
    count, length, _ = taken_in_a_turn(Pace(), 5.0, [0.001] * 100)
    assert 5 <= count <= 6
    assert length <= TURN_SECONDS + 0.001


def test_after_a_slow_message_comes_a_turn() -> None:
    assert taken_in_a_turn(Pace(), 5.0, [1.0] * 100)[0] == 1


def test_what_begins_to_take_long_is_noticed_at_the_next_look() -> None:
    quick, slow = [1e-6] * 50, [0.001] * 100
    _, length, _ = taken_in_a_turn(Pace(), 5.0, quick + slow)
    assert length <= (GRANT_MAX + 1) * 0.001 + TURN_SECONDS


@given(st.floats(1e-7, 0.1), st.floats(0, 1e6))
def test_steady_messages_never_hold_up_a_turn_for_more_than_one(each: float, start: float) -> None:
    _, length, _ = taken_in_a_turn(Pace(), start, [each] * 200)
    assert length <= TURN_SECONDS + 2 * each


def test_a_clock_that_stands_still_grants_many() -> None:
    pace = Pace()
    pace.turned(5.0)
    assert pace.look(5.0) == GRANT_MAX
