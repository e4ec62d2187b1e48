"""Whether messages are fetched ahead."""

from nsqx.client.prefetch import Prefetch


def test_messages_are_fetched_ahead_until_one_waits_for_long() -> None:
    prefetch = Prefetch()
    assert prefetch.is_allowed
    prefetch.lose_trust(100.0, 60.0, 3)
    assert not prefetch.is_allowed


def test_as_many_quick_ones_as_could_be_at_hand_restore_the_trust() -> None:
    prefetch = Prefetch()
    prefetch.lose_trust(100.0, 60.0, 3)
    assert [prefetch.finished() for _ in range(3)] == [False, False, True]


def test_each_further_sign_begins_anew() -> None:
    prefetch = Prefetch()
    prefetch.lose_trust(100.0, 60.0, 2)
    prefetch.finished()
    prefetch.lose_trust(130.0, 60.0, 2)
    assert not prefetch.finished()
    assert not prefetch.expire(189.9)
    assert prefetch.expire(190.0)


def test_time_alone_proves_nothing() -> None:
    prefetch = Prefetch()
    prefetch.lose_trust(100.0, 60.0, 2)
    assert not prefetch.expire(1000.0)
    assert not prefetch.is_allowed


def test_the_cautious_trust_the_first_that_is_quick() -> None:
    prefetch = Prefetch(cautious=True)
    assert not prefetch.is_allowed
    assert not prefetch.expire(1e9)
    assert prefetch.finished()
