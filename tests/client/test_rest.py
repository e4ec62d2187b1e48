"""How long an nsqd is left alone that could not store a message."""

from nsqx.client import PublishFailed
from nsqx.client.rest import Rest

ERROR = PublishFailed("E_PUB_FAILED", "PUB failed disk full")


def test_each_refusal_makes_it_longer_up_to_the_longest() -> None:
    rest, now = Rest(first_seconds=1, longest_seconds=3), 100.0
    assert not rest.lasts(now)
    for seconds in (1, 2, 3, 3):
        rest.refused(ERROR, now, 1.0)
        assert rest.lasts(now + seconds - 0.01)
        now += seconds
        assert not rest.lasts(now)
        assert rest.refusal is ERROR


def test_what_is_stored_ends_it() -> None:
    rest = Rest(first_seconds=1, longest_seconds=3)
    rest.refused(ERROR, 0, 1.0)
    rest.refused(ERROR, 0.5, 1.0)  # sent before
    assert not rest.lasts(1)
    rest.stored()
    assert not rest.lasts(0)
    assert rest.refusal is None
    rest.refused(ERROR, 0, 1.0)
    assert rest.lasts(0.99)
    assert not rest.lasts(1)
