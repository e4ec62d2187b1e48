"""The circuit breaker of one daemon."""

import pytest

from nsqx.cluster.health import PROBE_S, DaemonState, Health


def test_nothing_is_known_at_first() -> None:
    health = Health()
    assert (health.state, health.is_open, health.pause_s(1.0)) == (DaemonState.WAITING, False, 1.0)


@pytest.mark.parametrize("hangs", [True, False])
def test_a_lost_answer_is_news_that_begin_with_the_first(hangs: bool) -> None:
    health = Health()
    health.answered(100.0, 0.01)
    health.missed(101.0, "no answer in time", hangs=hangs)
    assert (health.state, health.failing_since) == (DaemonState.STALE, 101.0)
    health.missed(102.0, "no answer in time", hangs=hangs)
    assert (health.state, health.failing_since) == (DaemonState.STALE, 101.0)
    assert health.observed_at == 100.0


def test_who_never_answered_is_unreachable() -> None:
    health = Health()
    health.missed(101.0, "connection refused", hangs=False)
    assert health.state is DaemonState.UNREACHABLE


def test_after_two_misses_it_is_asked_each_five_seconds() -> None:
    health = Health()
    pauses = []
    for _ in range(4):
        health.missed(101.0, "", hangs=True)
        pauses.append(health.pause_s(1.0))
    assert pauses == [1.0, PROBE_S, PROBE_S, PROBE_S]
    assert health.is_open
    assert health.hangs


def test_an_answer_makes_all_good() -> None:
    health = Health()
    for _ in range(5):
        health.missed(101.0, "no answer in time", hangs=True)
    health.answered(110.0, 0.0123)
    assert (health.state, health.is_open, health.error) == (DaemonState.OK, False, "")
    assert (health.failing_since, health.answer_ms, health.hangs) == (None, 12.3, False)


def test_a_long_interval_is_not_shortened_by_a_failure() -> None:
    health = Health()
    for _ in range(3):
        health.missed(1.0, "", hangs=True)
    assert health.pause_s(30.0) == 30.0
