"""
The distribution of RDY: examples, then properties, then starvation in simulated time.

The simulation is an nsqd per connection that delivers at once while RDY allows it, and a consumer
that takes a fixed time per message.
"""

from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from nsqx.client.ready_counts import ReadyCounts, Share


def make(allowance: int, connections: int, max_rdy: int = 2500) -> tuple[ReadyCounts, list[Share]]:
    counts = ReadyCounts(allowance)
    shares = [Share(max_rdy, {}) for _ in range(connections)]
    for share in shares:
        counts.join(share)
    return counts, shares


def in_flight(share: Share) -> dict[int, None]:
    assert isinstance(share.in_flight, dict)
    return share.in_flight


def receive(share: Share, count: int, now: float) -> None:
    messages = in_flight(share)
    first = len(messages)
    messages.update(dict.fromkeys(range(first, first + count)))
    share.received(now)


# Sharing


def test_one_connection_gets_all() -> None:
    counts, (share,) = make(100, 1)
    assert counts.distribute(0) == [share]
    assert share.rdy == 100
    assert counts.next_at is None


def test_what_nsqd_accepts_is_a_limit() -> None:
    counts, (small, large) = make(1000, 2)
    small.max_rdy = 100
    counts.distribute(0)
    assert (small.rdy, large.rdy) == (100, 900)


def test_idle_connections_share_evenly() -> None:
    counts, shares = make(10, 4)
    counts.distribute(0)
    assert sorted(share.rdy for share in shares) == [2, 2, 3, 3]


def test_nothing_changes_nothing_is_sent() -> None:
    counts, _ = make(10, 4)
    counts.distribute(0)
    assert counts.distribute(10) == []


def test_a_starved_connection_gets_what_the_idle_ones_do_not_need() -> None:
    counts, (busy, *idle) = make(80, 8)
    counts.distribute(0)
    receive(busy, 10, now=0.5)
    changed = counts.distribute(1.0)
    assert changed[-1] is busy  # after those that go down
    assert busy.rdy == 73
    assert [share.rdy for share in idle] == [1] * 7


def test_two_starved_connections_share_evenly() -> None:
    counts, (first, second, *_) = make(80, 8)
    counts.distribute(0)
    receive(first, 10, now=0.5)
    receive(second, 10, now=0.5)
    counts.distribute(1.0)
    assert (first.rdy, second.rdy) == (37, 37)


def test_a_connection_with_headroom_keeps_it() -> None:
    counts, (busy, *_) = make(80, 8)
    counts.distribute(0)
    receive(busy, 10, now=0.5)
    counts.distribute(1.0)
    in_flight(busy).clear()
    receive(busy, 20, now=1.5)  # of 73: it needs no more
    counts.distribute(2.0)
    assert 20 / 0.85 < busy.rdy < 73


def test_pausing_takes_all_back() -> None:
    counts, shares = make(10, 3)
    counts.distribute(0)
    counts.allow(0)
    assert len(counts.distribute(1)) == 3
    assert [share.rdy for share in shares] == [0, 0, 0]
    assert counts.next_at is None


def test_what_is_in_flight_is_not_given_twice() -> None:
    counts, (first,) = make(10, 1)
    counts.distribute(0)
    receive(first, 10, now=0)
    second = Share(2500, {})
    counts.join(second)
    counts.distribute(0.1)
    assert first.rdy < 10
    assert second.rdy == 0
    assert counts.short
    in_flight(first).clear()
    counts.distribute(0.2)
    assert second.rdy + first.rdy == 10
    assert not counts.short


def test_the_rdy_of_a_lost_connection_goes_to_the_others() -> None:
    counts, (first, second) = make(10, 2)
    counts.distribute(0)
    counts.leave(first)
    counts.distribute(0.1)
    assert second.rdy == 10


# Rotating


def test_fewer_than_connections_means_turns() -> None:
    counts, shares = make(2, 5)
    counts.distribute(0)
    assert sorted(share.rdy for share in shares) == [0, 0, 0, 1, 1]


def test_an_idle_turn_passes_to_another() -> None:
    counts, shares = make(1, 3)
    seen = []
    now = 0.0
    for _ in range(3):
        counts.distribute(now)
        seen += [share for share in shares if share.rdy]
        assert counts.next_at is not None
        now = counts.next_at
    assert set(map(id, seen)) == set(map(id, shares))


def test_a_working_connection_is_not_interrupted_before_its_answer() -> None:
    counts, shares = make(1, 3)
    counts.distribute(0)
    (working,) = (share for share in shares if share.rdy)
    receive(working, 1, now=0.01)
    counts.distribute(60)
    assert working.rdy == 0  # its turn is over, but its message is in flight
    assert sum(share.rdy for share in shares) == 0
    assert counts.short
    in_flight(working).clear()
    counts.distribute(60.1)
    assert sum(share.rdy for share in shares) == 1
    assert working.rdy == 0


# Always


class Machine(RuleBasedStateMachine):
    """Connections come, go, receive and answer; the promise to the user holds all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.counts = ReadyCounts(5)
        self.settle()

    def settle(self) -> None:
        before = {share: share.rdy for share in self.counts.shares}
        changed = self.counts.distribute(self.now)
        assert {s for s in before if before[s] != s.rdy} == set(changed)
        downs = [share.rdy < before[share] for share in changed]
        assert downs == sorted(downs, reverse=True)

    @rule(max_rdy=st.integers(1, 10))
    def join(self, max_rdy: int) -> None:
        self.counts.join(Share(max_rdy, {}))
        self.settle()

    @precondition(lambda self: self.counts.shares)
    @rule(index=st.integers(0))
    def leave(self, index: int) -> None:
        self.counts.leave(self.counts.shares[index % len(self.counts.shares)])
        self.settle()

    @rule(allowance=st.integers(0, 20))
    def allow(self, allowance: int) -> None:
        self.counts.allow(allowance)
        self.settle()

    @precondition(lambda self: self.counts.shares)
    @rule(index=st.integers(0), count=st.integers(1, 5))
    def deliver(self, index: int, count: int) -> None:
        share = self.counts.shares[index % len(self.counts.shares)]
        count = min(count, share.rdy - len(share.in_flight))
        if count > 0:
            receive(share, count, self.now)

    @precondition(lambda self: self.counts.shares)
    @rule(index=st.integers(0))
    def answer(self, index: int) -> None:
        in_flight(self.counts.shares[index % len(self.counts.shares)]).clear()
        if self.counts.short:
            self.settle()

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.3, 2.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.counts.next_at is not None and self.counts.next_at <= self.now:
            self.settle()

    @invariant()
    def no_more_rdy_than_allowed(self) -> None:
        assert sum(share.rdy for share in self.counts.shares) <= self.counts.allowance

    @invariant()
    def no_connection_gets_more_than_it_takes(self) -> None:
        assert all(0 <= share.rdy <= share.max_rdy for share in self.counts.shares)

    @invariant()
    def nothing_is_withheld_for_ever(self) -> None:
        if self.counts.shares and self.counts.allowance and not self.counts.short:
            wanted = min(self.counts.allowance, sum(s.max_rdy for s in self.counts.shares))
            assert sum(share.rdy for share in self.counts.shares) == wanted


TestMachine = Machine.TestCase


@given(
    allowance=st.integers(1, 50),
    backlogs=st.lists(st.sampled_from([0, 3, 1000]), min_size=1, max_size=10),
)
def test_what_is_delivered_never_exceeds_the_allowance(allowance: int, backlogs: list[int]) -> None:
    simulate(allowance, backlogs, seconds=1.0, answer_seconds=0.01)


# Starvation


def simulate(
    allowance: int, backlogs: list[int], seconds: float, answer_seconds: float, step: float = 0.001
) -> list[int]:
    """Return how many messages of each backlog were answered, one at a time per message slot."""
    counts, shares = make(allowance, len(backlogs))
    waiting = list(backlogs)
    answered = [0] * len(backlogs)
    deadlines: list[tuple[float, Share, int]] = []
    for tick in range(int(seconds / step)):
        now = tick * step
        due = [entry for entry in deadlines if entry[0] <= now]
        deadlines = [entry for entry in deadlines if entry[0] > now]
        for _, share, number in due:
            del in_flight(share)[number]
            answered[shares.index(share)] += 1
        if (due and counts.short) or counts.next_at is None or now >= counts.next_at:
            counts.distribute(now)
        for index, share in enumerate(shares):
            messages = in_flight(share)
            for _ in range(min(share.rdy - len(messages), waiting[index])):
                number = waiting[index]
                waiting[index] -= 1
                messages[number] = None
                share.received(now)
                deadlines.append((now + answer_seconds, share, number))
        assert sum(len(in_flight(share)) for share in shares) <= allowance
    return answered


def test_one_busy_nsqd_among_eight_drains_at_more_than_half_speed() -> None:
    # Direct, with one connection, it would be 1000 in 10 seconds.
    assert simulate(1, [100_000] + [0] * 7, 10.0, answer_seconds=0.01)[0] > 650


def test_two_busy_nsqds_among_eight_are_served_alike() -> None:
    answered = simulate(1, [0, 100_000, 0, 0, 100_000, 0, 0, 0], 20.0, answer_seconds=0.01)
    assert sum(answered) > 1300
    assert min(answered[1], answered[4]) > 0.8 * max(answered[1], answered[4])


def test_eight_busy_nsqds_lose_nothing_to_turns() -> None:
    answered = simulate(1, [100_000] * 8, 16.0, answer_seconds=0.01)
    assert sum(answered) > 1500
    assert min(answered) > 0.7 * max(answered)


def test_a_single_message_is_found_soon() -> None:
    # Also while another nsqd has a backlog.
    assert simulate(1, [100_000] + [0] * 6 + [1], 2.5, answer_seconds=0.01)[7] == 1
