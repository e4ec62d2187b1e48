"""Delays between connection attempts."""

from hypothesis import given, strategies as st

from nsqx.client.reconnect import ReconnectDelays


def test_delays_double_up_to_the_longest() -> None:
    delays = ReconnectDelays(first_seconds=1, longest_seconds=6)
    assert [delays.next(1.0) for _ in range(5)] == [1, 2, 4, 6, 6]


def test_a_connection_that_worked_resets_them() -> None:
    delays = ReconnectDelays(first_seconds=1, longest_seconds=6)
    delays.next(1.0)
    delays.next(1.0)
    delays.reset()
    assert delays.next(1.0) == 1


@given(failures=st.integers(0, 5000), random=st.floats(0, 1))
def test_jitter_takes_half_at_most(failures: int, random: float) -> None:
    delays = ReconnectDelays()
    for _ in range(failures):
        delays.next(0.0)
    assert delays.next(random) >= min(0.05 * 2 ** min(failures, 8), 7.5)
