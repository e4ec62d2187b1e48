"""Deadlines, whose order is that of time and whose cost is what is due."""

from nsqx.nsqd.edge.deadlines import NEVER_NS, Deadlines


def test_whoever_is_due_is_taken_once_and_in_order() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("late", 30)
    deadlines.set("early", 10)
    deadlines.set("never", NEVER_NS)
    assert deadlines.take(9) == []
    assert deadlines.take(30) == ["early", "late"]
    assert deadlines.take(NEVER_NS - 1) == []


def test_the_nearer_of_two_times_holds() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 20)
    deadlines.set("a", 30)
    deadlines.set("a", 10)
    assert deadlines.take(10) == ["a"]
    assert deadlines.take(30) == []
    assert len(deadlines) == 0


def test_what_is_forgotten_is_not_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 10)
    deadlines.forget("a")
    assert deadlines.take(10) == []
    deadlines.set("a", 10)
    assert deadlines.take(10) == ["a"]
