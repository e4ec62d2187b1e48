"""
Who has which message until when: by example, and against a dictionary.

First deliveries share deadlines within `CoreLimits.slice_ns`, so the model asks that a message
times out no earlier than its deadline and no later than that much after it.
"""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nsqx.nsqd.core.consumer import Consumer
from nsqx.nsqd.core.in_flight import InFlight, NotInFlightError, NotOwnerError
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from tests.support.sinks import SilentSink

SECOND_NS = 10**9
TIMEOUT_NS = 10 * SECOND_NS
WINDOW_MAX, SLICE_NS, LOOKS_MIN = CORE_LIMITS.window, CORE_LIMITS.slice_ns, CORE_LIMITS.looks


ALL = 1_000_000


def _ignore(deadline_ns: int) -> None:
    """Nobody calls `expire` but the test."""


def consumer(timeout_ns: int = TIMEOUT_NS) -> Consumer:
    return Consumer(SilentSink(), timeout_ns)


def entered(in_flight: InFlight, timeout_ns: int = TIMEOUT_NS) -> Consumer:
    return consumer(timeout_ns)


def test_a_run_is_finished_by_its_consumer_only() -> None:
    in_flight = InFlight(_ignore)
    one, other = entered(in_flight), entered(in_flight)
    in_flight.deliver(0, 10, one, 0)
    assert not in_flight.finish_range(0, 10, other)
    assert not in_flight.finish_range(5, 6, one)
    assert in_flight.finish_range(2, 3, one)
    assert not in_flight.finish_range(2, 1, one)
    assert (len(in_flight), one.in_flight) == (7, 7)
    assert [sequence for sequence, _ in in_flight] == [0, 1, 5, 6, 7, 8, 9]


def test_taking_says_what_is_wrong() -> None:
    in_flight = InFlight(_ignore)
    one, other = entered(in_flight), entered(in_flight)
    in_flight.deliver(5, 1, one, 0)
    in_flight.deliver_again(2, 3, one, 0)
    for sequence in (4, 6, 0):
        with pytest.raises(NotInFlightError):
            in_flight.take(sequence, one)
    for sequence in (5, 2):
        with pytest.raises(NotOwnerError):
            in_flight.take(sequence, other)
    assert (in_flight.take(5, one), in_flight.take(2, one)) == (1, 3)
    assert len(in_flight) == 0


def test_what_is_not_answered_times_out() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 3, one, 0)
    in_flight.finish_range(1, 1, one)
    assert in_flight.next_deadline_ns == TIMEOUT_NS
    assert in_flight.expire(TIMEOUT_NS - 1, ALL) == []
    assert in_flight.expire(TIMEOUT_NS, ALL) == [(0, 1), (2, 1)]
    assert (len(in_flight), one.in_flight) == (0, 0)
    assert in_flight.next_deadline_ns is None


def test_deliveries_within_a_moment_share_the_later_deadline() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 1, one, 0)
    in_flight.deliver(1, 1, one, SLICE_NS - 1)
    in_flight.deliver(2, 1, one, SLICE_NS)  # of the first message, so this is another slice
    assert in_flight.expire(TIMEOUT_NS + SLICE_NS - 2, ALL) == []
    assert in_flight.expire(TIMEOUT_NS + SLICE_NS - 1, ALL) == [(0, 1), (1, 1)]
    assert in_flight.expire(TIMEOUT_NS + SLICE_NS, ALL) == [(2, 1)]


def test_a_touch_gives_more_time_but_not_for_ever() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 2, one, 0)
    in_flight.touch_if_owned(0, one, TIMEOUT_NS, 8 * SECOND_NS, 15 * SECOND_NS)
    assert in_flight.expire(14 * SECOND_NS, ALL) == [(1, 1)]
    in_flight.touch_if_owned(0, one, TIMEOUT_NS, 14 * SECOND_NS, 15 * SECOND_NS)
    assert in_flight.expire(15 * SECOND_NS, ALL) == [(0, 1)]
    assert not in_flight.touch_if_owned(0, one, TIMEOUT_NS, 16 * SECOND_NS, 15 * SECOND_NS)
    with pytest.raises(NotInFlightError):
        in_flight.check_owner(0, one)


def test_a_gone_consumer_keeps_its_slot_until_all_is_answered_or_timed_out() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 1, one, 0)
    one.closing = True
    in_flight.leave(one)
    assert in_flight.consumer_of(0) is one
    in_flight.deliver(1, 1, entered(in_flight), 0)
    assert in_flight.consumer_of(0) is one
    assert in_flight.expire(TIMEOUT_NS, ALL) == [(0, 1), (1, 1)]
    assert in_flight.consumer_of(0) is None
    assert one not in in_flight._slots


def test_slots_are_used_again() -> None:
    in_flight = InFlight(_ignore)
    for sequence in range(70_000):
        one = entered(in_flight)
        in_flight.deliver(sequence, 1, one, 0)
        assert 1 <= in_flight._slots[one] <= 0xFFFF
        one.closing = True
        assert in_flight.finish_range(sequence, 1, one)
        assert in_flight._slots == {}


def test_slots_of_two_bytes_are_told_apart() -> None:
    in_flight = InFlight(_ignore)
    consumers = [entered(in_flight) for _ in range(300)]
    for sequence, one in enumerate(consumers):
        in_flight.deliver(sequence, 1, one, 0)
    assert [sequence for sequence, _ in in_flight] == list(range(300))
    assert all(in_flight.consumer_of(sequence) is one for sequence, one in enumerate(consumers))
    assert len(in_flight.expire(TIMEOUT_NS, ALL)) == 300


def test_a_window_that_one_message_keeps_long_is_shortened() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 1, one, 7)
    for first in range(1, 10 * WINDOW_MAX, 1000):
        in_flight.deliver(first, 1000, one, SECOND_NS)
        in_flight.finish_range(first, 1000, one)
        assert len(in_flight._owners) <= 2 * WINDOW_MAX + 1000
    assert in_flight.take(0, one) == 1
    assert len(in_flight) == 0


def test_a_message_moved_out_of_the_window_keeps_its_deadline() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 3, one, 0)
    in_flight.finish_range(1, 1, one)
    in_flight.move_out_below(3)
    assert in_flight.start == 3
    assert in_flight.lowest() == 0
    assert in_flight.lowest(besides={0}) == 2
    assert in_flight.expire(TIMEOUT_NS - 1, ALL) == []
    assert in_flight.expire(TIMEOUT_NS, ALL) == [(0, 1), (2, 1)]


def test_a_gap_in_the_log_costs_no_memory() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver(0, 2, one, 0)
    in_flight.deliver(10**12, 2, one, 0)
    assert [sequence for sequence, _ in in_flight] == [10**12, 10**12 + 1, 0, 1]
    assert in_flight.finish_range(10**12, 2, one)
    assert in_flight.expire(TIMEOUT_NS, ALL) == [(0, 1), (1, 1)]


def test_deadlines_of_answered_messages_do_not_pile_up() -> None:
    in_flight = InFlight(_ignore)
    one = entered(in_flight)
    in_flight.deliver_again(7, 2, one, 0)
    for number in range(10 * LOOKS_MIN):
        in_flight.deliver_again(8, 2, one, 0)
        in_flight.take(8, one)
        in_flight.touch_if_owned(7, one, TIMEOUT_NS, number, 100 * SECOND_NS)
        assert len(in_flight._looks) <= LOOKS_MIN + 10
    assert in_flight.expire(100 * SECOND_NS, ALL) == [(7, 2)]


def test_what_was_touched_is_looked_at_a_limited_number_at_a_time() -> None:
    looks: list[int] = []
    in_flight = InFlight(looks.append)
    one = entered(in_flight)
    in_flight.deliver(0, 100, one, 0)
    for now_ns in (1, SECOND_NS):
        for sequence in range(100):
            assert in_flight.touch_if_owned(sequence, one, TIMEOUT_NS, now_ns, 100 * SECOND_NS)
    for _ in range(10):
        assert in_flight.expire(TIMEOUT_NS + 1, 10) == []
    assert looks[-10:] == [TIMEOUT_NS + 1] * 9 + [TIMEOUT_NS + SECOND_NS]
    assert len(in_flight.expire(TIMEOUT_NS + SECOND_NS, ALL)) == 100


@dataclass
class _Delivery:
    consumer: Consumer
    attempts: int
    delivered_ns: int
    deadline_ns: int
    slack_ns: int  # how much later it may time out


class InFlightMachine(RuleBasedStateMachine):
    """Few messages and consumers, tiny windows, so that everything collides."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at_ns = 0
        self.in_flight = InFlight(self.look_at, CoreLimits(window=4, slice_ns=3, looks=2))
        self.consumers = [entered(self.in_flight, timeout_ns) for timeout_ns in (5, 9)]
        self.gone: list[Consumer] = []
        self.model: dict[int, _Delivery] = {}
        self.answered: set[int] = set()  # may be delivered again
        self.next = 0
        self.now_ns = 100

    def look_at(self, deadline_ns: int) -> None:
        self.looked_at_ns = deadline_ns

    def some(self, number: int) -> Consumer:
        return self.consumers[number % len(self.consumers)]

    @rule(count=st.integers(1, 4), skipped=st.integers(0, 9), who=st.integers(0, 1))
    def deliver(self, count: int, skipped: int, who: int) -> None:
        first = self.next + max(0, skipped - 3)
        one = self.some(who)
        self.in_flight.deliver(first, count, one, self.now_ns)
        self.next = first + count
        for sequence in range(first, self.next):
            self.model[sequence] = _Delivery(
                one, 1, self.now_ns, self.now_ns + one.msg_timeout_ns, 2
            )

    @precondition(lambda self: self.answered)
    @rule(data=st.data(), attempts=st.integers(1, 3), who=st.integers(0, 1))
    def deliver_again(self, data: st.DataObject, attempts: int, who: int) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.answered)))
        one = self.some(who)
        self.in_flight.deliver_again(sequence, attempts, one, self.now_ns)
        self.answered.discard(sequence)
        self.model[sequence] = _Delivery(
            one, attempts, self.now_ns, self.now_ns + one.msg_timeout_ns, 0
        )

    @rule(back=st.integers(-1, 9), count=st.integers(1, 4), who=st.integers(0, 1))
    def finish_range(self, back: int, count: int, who: int) -> None:
        first, one = self.next - back, self.some(who)
        run = range(first, first + count)
        owned = all(
            sequence in self.model and self.model[sequence].consumer is one for sequence in run
        )
        if self.in_flight.finish_range(first, count, one):
            assert owned
            self._answered(*run)
        elif owned:  # then one of them has left the window
            for sequence in run:
                assert self.in_flight.take(sequence, one) == self.model[sequence].attempts
            self._answered(*run)

    @rule(back=st.integers(-1, 9), who=st.integers(0, 1))
    def take(self, back: int, who: int) -> None:
        sequence, one = self.next - back, self.some(who)
        delivery = self.model.get(sequence)
        if delivery is None:
            with pytest.raises(NotInFlightError):
                self.in_flight.take(sequence, one)
        elif delivery.consumer is not one:
            with pytest.raises(NotOwnerError):
                self.in_flight.take(sequence, one)
        else:
            assert self.in_flight.take(sequence, one) == delivery.attempts
            self._answered(sequence)

    @rule(back=st.integers(-1, 9), who=st.integers(0, 1), timeout_ns=st.integers(1, 9))
    def touch(self, back: int, who: int, timeout_ns: int) -> None:
        sequence, one = self.next - back, self.some(who)
        delivery = self.model.get(sequence)
        if delivery is None or delivery.consumer is not one:
            assert not self.in_flight.touch_if_owned(sequence, one, timeout_ns, self.now_ns, 12)
            return
        assert self.in_flight.touch_if_owned(sequence, one, timeout_ns, self.now_ns, 12)
        latest_ns = delivery.delivered_ns + 12
        delivery.slack_ns = max(
            0, min(self.now_ns + timeout_ns, latest_ns + delivery.slack_ns) - latest_ns
        )
        delivery.deadline_ns = min(self.now_ns + timeout_ns, latest_ns)

    @rule(back=st.integers(-1, 9), who=st.integers(0, 1))
    def again(self, back: int, who: int) -> None:
        sequence, one = self.next - back, self.some(who)
        delivery = self.model.get(sequence)
        if delivery is None or delivery.consumer is not one:
            assert not self.in_flight.again(sequence, one, self.now_ns)
            return
        attempts = self.in_flight.again(sequence, one, self.now_ns)
        assert attempts == delivery.attempts + 1
        deadline_ns = self.now_ns + one.msg_timeout_ns
        self.model[sequence] = _Delivery(one, attempts, self.now_ns, deadline_ns, 0)

    @rule(elapsed_ns=st.integers(0, 5))
    def let_time_pass(self, elapsed_ns: int) -> None:
        self.now_ns += elapsed_ns
        expired = dict(self.in_flight.expire(self.now_ns, ALL))
        for sequence, attempts in expired.items():
            assert self.model[sequence].attempts == attempts
            assert self.model[sequence].deadline_ns <= self.now_ns
        self._answered(*expired)
        for sequence, delivery in self.model.items():
            assert delivery.deadline_ns + delivery.slack_ns > self.now_ns, sequence

    @rule(who=st.integers(0, 1))
    def leave_and_come(self, who: int) -> None:
        one = self.some(who)
        one.closing = True
        self.in_flight.leave(one)
        self.consumers.remove(one)
        self.gone.append(one)
        self.consumers.append(entered(self.in_flight, one.msg_timeout_ns))

    @rule(back=st.integers(0, 9))
    def move_out_below(self, back: int) -> None:
        self.in_flight.move_out_below(self.next - back)

    @rule()
    def clear(self) -> None:
        self.in_flight.clear(self.next)
        self._answered(*self.model)

    def _answered(self, *sequences: int) -> None:
        for sequence in list(sequences):
            del self.model[sequence]
            self.answered.add(sequence)

    @invariant()
    def holds_the_same(self) -> None:
        assert dict(self.in_flight) == {
            sequence: delivery.attempts for sequence, delivery in self.model.items()
        }
        assert len(self.in_flight) == len(self.model)
        for sequence in range(max(0, self.next - 12), self.next + 2):
            delivery = self.model.get(sequence)
            found = self.in_flight.consumer_of(sequence)
            assert found is (delivery.consumer if delivery is not None else None)
            if delivery is not None:
                assert self.in_flight.attempts_of(sequence) == delivery.attempts

    @invariant()
    def knows_the_lowest(self) -> None:
        assert self.in_flight.lowest() == min(self.model, default=None)

    @invariant()
    def every_consumer_knows_how_many_it_has(self) -> None:
        for one in [*self.consumers, *self.gone]:
            held = [d for d in self.model.values() if d.consumer is one]
            assert one.in_flight == len(held)

    @invariant()
    def the_next_deadline_is_not_later_than_any(self) -> None:
        if self.model:
            assert self.looked_at_ns <= min(d.deadline_ns + d.slack_ns for d in self.model.values())
            due_ns = min(d.deadline_ns + d.slack_ns for d in self.model.values())
            next_ns = self.in_flight.next_deadline_ns
            assert next_ns is not None
            assert next_ns <= due_ns

    @invariant()
    def gone_consumers_are_forgotten(self) -> None:
        known = set(self.in_flight._consumers.values())
        assert known <= {*self.consumers, *(one for one in self.gone if one.in_flight)}


TestInFlight = InFlightMachine.TestCase
