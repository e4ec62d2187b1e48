"""Messages that wait for their time, against a dictionary."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nsqx.nsqd.core.deferred import Deferred, unpack

SEQUENCES = st.sampled_from([0, 1, 2, 3, 2**48 - 1])
TIMES = st.sampled_from([1, 2, 3, 5, 2**62])
ATTEMPTS = st.sampled_from([0, 1, 2, 65_535])


def test_what_is_due_first_comes_first() -> None:
    deferred = Deferred()
    for sequence, due_ns in [(1, 30), (2, 10), (3, 20)]:
        deferred.add(sequence, due_ns, 0)
    assert deferred.next_due_ns == 10
    assert deferred.take_due(9, 10) == []
    assert deferred.take_due(20, 10) == [(2, 0), (3, 0)]
    assert len(deferred) == 1


def test_no_more_are_taken_than_asked_for() -> None:
    deferred = Deferred()
    deferred.extend((sequence, 5, 1) for sequence in range(10))
    assert deferred.take_due(5, 3) == [(0, 1), (1, 1), (2, 1)]
    assert len(deferred) == 7


def test_attempts_stop_where_the_wire_stops() -> None:
    deferred = Deferred()
    deferred.add(1, 5, 70_000)
    assert deferred.take_due(5, 1) == [(1, 65_535)]


def test_a_snapshot_does_not_change() -> None:
    deferred = Deferred()
    deferred.add(1, 5, 2)
    entries = deferred.snapshot()
    deferred.clear()
    assert list(unpack(entries)) == [(1, 5, 2)]
    assert deferred.next_due_ns is None


class DeferredMachine(RuleBasedStateMachine):
    """A message is in at most once, as in a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.deferred = Deferred()
        self.model: dict[int, tuple[int, int]] = {}

    @rule(sequence=SEQUENCES, due_ns=TIMES, attempts=ATTEMPTS)
    def add(self, sequence: int, due_ns: int, attempts: int) -> None:
        if sequence not in self.model:
            self.deferred.add(sequence, due_ns, attempts)
            self.model[sequence] = (due_ns, attempts)

    @rule(sequences=st.sets(SEQUENCES), due_ns=TIMES, attempts=ATTEMPTS)
    def extend(self, sequences: set[int], due_ns: int, attempts: int) -> None:
        new = sequences - self.model.keys()
        self.deferred.extend((sequence, due_ns, attempts) for sequence in new)
        self.model.update(dict.fromkeys(new, (due_ns, attempts)))

    @rule(wall_ns=TIMES, limit=st.integers(0, 3))
    def take_due(self, wall_ns: int, limit: int) -> None:
        due = sorted(
            (due_ns, sequence, attempts)
            for sequence, (due_ns, attempts) in self.model.items()
            if due_ns <= wall_ns
        )[:limit]
        assert self.deferred.take_due(wall_ns, limit) == [
            (sequence, attempts) for _, sequence, attempts in due
        ]
        for _, sequence, _ in due:
            del self.model[sequence]

    @rule()
    def clear(self) -> None:
        self.deferred.clear()
        self.model.clear()

    @invariant()
    def holds_the_same(self) -> None:
        assert {sequence: (due, tries) for sequence, due, tries in self.deferred} == self.model
        assert len(self.deferred) == len(self.model)
        assert self.deferred.next_due_ns == min(
            (due_ns for due_ns, _ in self.model.values()), default=None
        )


TestDeferred = DeferredMachine.TestCase


def test_those_below_a_message_are_found_whatever_their_time() -> None:
    deferred = Deferred()
    deferred.extend([(7, 30, 1), (2, 10, 65_535), (3, 20, 0)])
    assert sorted(deferred.below(7)) == [(2, 10, 65_535), (3, 20, 0)]
    assert deferred.below(2) == []
