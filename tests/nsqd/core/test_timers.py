"""Timers, whose order is that of time and whose cost is what is due."""

import weakref

from nsqx.nsqd.core.timers import NEVER_NS, Timers


class Who:
    """Somebody who may be gone."""


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


def test_who_is_forgotten_is_gone_at_once_however_far_its_time() -> None:
    timers: Timers[Who] = Timers()
    stays = Who()
    timers.set(stays, 1)
    for due_ns in (10**12, 10**11):  # the second one is nearer, so the first is out of date
        gone = Who()
        timers.set(gone, due_ns)
        timers.set(gone, due_ns // 2)
        reference = weakref.ref(gone)
        timers.forget(gone)
        del gone
        assert reference() is None
    assert timers.take(10**12) == [stays]


def test_what_is_out_of_date_stays_few() -> None:
    timers: Timers[int] = Timers()
    for number in range(10):
        timers.set(number, 100 + number)
    for number in range(10, 2000):
        timers.set(number, 10**12)
        timers.forget(number)
    for due_ns in range(5000, 1000, -1):
        timers.set(11, due_ns)
    assert len(timers._heap) < 100
    assert timers.take(10**12) == [*range(10), 11]
