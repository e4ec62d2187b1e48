"""Backoff: the levels and waits of NSQ's official client, and its phases."""

import pytest
from hypothesis import given, strategies as st

from nsqx.client.backoff import Backoff, BackoffPolicy, Phase


def test_waits_double_from_two_seconds_and_stop_below_the_longest() -> None:
    backoff = Backoff(BackoffPolicy())
    waits, now = [], 100.0
    for _ in range(8):
        assert backoff.failed(now, 0)
        waits.append(backoff.until - now)
        now = backoff.until
        assert backoff.expire(now)
        assert backoff.phase is Phase.TRYING
    assert waits == [2, 4, 8, 16, 32, 64, 64, 64]


def test_each_success_takes_one_level_back() -> None:
    backoff = Backoff(BackoffPolicy())
    for now in (0, 10):
        backoff.failed(now, 0)
        backoff.expire(now + 10)
    assert backoff.finished(20, 0)
    assert (backoff.level, backoff.phase, backoff.until) == (1, Phase.WAITING, 22)
    backoff.expire(22)
    assert backoff.finished(22, 0)
    assert (backoff.level, backoff.phase) == (0, Phase.OPEN)


def test_results_during_a_wait_do_not_count() -> None:
    backoff = Backoff(BackoffPolicy())
    backoff.failed(0, 0)
    assert not backoff.failed(1, 0)
    assert not backoff.finished(1, 0)
    assert not backoff.passed(1, 0)
    assert not backoff.expire(1.9)
    assert (backoff.level, backoff.until) == (1, 2)


def test_a_deliberate_requeue_keeps_the_level() -> None:
    backoff = Backoff(BackoffPolicy())
    assert not backoff.passed(0, 0)
    backoff.failed(0, 0)
    backoff.expire(2)
    assert backoff.passed(2, 0)
    assert (backoff.level, backoff.phase, backoff.until) == (1, Phase.WAITING, 4)


def test_success_without_backoff_is_nothing() -> None:
    backoff = Backoff(BackoffPolicy())
    assert not backoff.finished(0, 0)
    assert backoff.level == 0


@pytest.mark.parametrize("longest", [0, 1.5])
def test_no_backoff_if_the_first_wait_would_be_too_long(longest: float) -> None:
    backoff = Backoff(BackoffPolicy(longest_seconds=longest))
    assert not backoff.failed(0, 0)
    assert backoff.phase is Phase.OPEN


def test_full_jitter_waits_a_part() -> None:
    backoff = Backoff(BackoffPolicy(full_jitter=True))
    backoff.failed(0, 0.25)
    assert backoff.until == 0.5


def test_negative_durations_are_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        BackoffPolicy(multiplier_seconds=-1)


@given(
    multiplier=st.sampled_from([0, 0.5, 1]),
    steps=st.lists(st.sampled_from(["failed", "finished", "passed", "expire"]), max_size=60),
)
def test_level_and_phase_agree(multiplier: float, steps: list[str]) -> None:
    backoff = Backoff(BackoffPolicy(multiplier_seconds=multiplier))
    now = 0.0
    for step in steps:
        phase = backoff.phase
        if step == "expire":
            now = max(now, backoff.until)
            changed = backoff.expire(now)
        else:
            changed = getattr(backoff, step)(now, 0.5)
        assert changed or backoff.phase is phase
        assert (backoff.level == 0) == (backoff.phase is Phase.OPEN)
        assert backoff.until - now <= 120
