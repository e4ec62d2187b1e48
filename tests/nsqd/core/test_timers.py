"""Timers, whose order is that of time and whose cost is what is due."""

from nsqx.nsqd.core.timers import NEVER_NS, Timers


def test_whoever_is_due_is_taken_once_and_in_order() -> None:
    timers: Timers[str] = Timers()
    timers.set("late", 30)
    timers.set("early", 10)
    timers.set("never", NEVER_NS)
    assert timers.take(9) == []
    assert timers.take(30) == ["early", "late"]
    assert timers.take(NEVER_NS - 1) == []


def test_the_nearer_of_two_times_holds() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 20)
    timers.set("a", 30)
    timers.set("a", 10)
    assert timers.take(10) == ["a"]
    assert timers.take(30) == []
    assert len(timers) == 0


def test_what_is_forgotten_is_not_due() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 10)
    timers.forget("a")
    assert timers.take(10) == []
    timers.set("a", 10)
    assert timers.take(10) == ["a"]
