"""
How many messages each connection of a consumer may deliver (its RDY). No I/O; time is an argument.

Theory of operation. A consumer promises its user that it holds at most ``allowance`` unanswered
messages (``max_in_flight``, or less during backoff). nsqd knows only the RDY of each connection:
at most that many of its messages are unanswered at a time. So the sum of all RDYs must not
exceed the allowance, and RDY that lies with an idle nsqd is lost for a busy one.

*Sharing*, when the allowance is at least one per connection. Every connection gets one at least,
so that a message on any nsqd is seen at once. A connection whose messages in flight came close to
its RDY since the last distribution wants more; the others want little more than they used. These
wishes are met fairly (max-min): small ones in full, large ones with equal parts of what is left.
What nobody wants is spread evenly.

*Rotating*, when there are more connections than allowance. Each unit of the allowance is a turn of
one connection. A turn ends when nothing came for ``PROBE_SECONDS``, or after ``TURN_SECONDS`` of
work if all turns are with busy connections. Turns go alternately to the busy connection and to the
not busy one that waited longest. So with one busy nsqd among many idle ones, it has three quarters
of the time, and a newly busy one is found within a few tenths of a second per connection.

In both, a connection that lost RDY may still have messages unanswered. They count against the
allowance, so what was taken from one connection is given to another only as they are answered.
(Messages on the wire when RDY goes down cannot be known. Only they can exceed the allowance.)
"""

from collections.abc import Sized

__all__ = ["ReadyCounts", "Share"]

REDISTRIBUTE_SECONDS = 1.0
PROBE_SECONDS = 0.05
PROBE_SECONDS_MAX = 0.25  # when all connections are idle there is less need for haste
TURN_SECONDS = 0.2
# A connection is short of RDY when it has this part of it in flight (as go-nsq's IsStarved).
STARVED = 0.85
# A connection that is not short gets this many times what it used, so that it can show more need.
HEADROOM = 1.5

_NEVER = float("-inf")


class Share:
    """
    The part of one connection.

    Whoever receives its messages keeps ``in_flight`` (not answered yet) and calls ``received``.
    """

    __slots__ = (
        "busy",
        "granted_at",
        "in_flight",
        "max_rdy",
        "peak",
        "rdy",
        "received_at",
        "target",
    )

    def __init__(self, max_rdy: int, in_flight: Sized) -> None:
        self.max_rdy = max_rdy  # what nsqd accepts at most
        self.in_flight = in_flight
        self.rdy = 0  # what nsqd was told last
        self.target = 0  # sharing: where rdy goes as soon as others have answered
        self.peak = 0  # sharing: most in flight at once since the last distribution
        self.received_at = _NEVER
        self.granted_at = _NEVER  # rotating: when its last turn began
        self.busy = False  # rotating: its last turn brought a message

    def received(self, now: float) -> None:
        """Note that messages came, after they were added to ``in_flight``."""
        self.received_at = now
        self.busy = True
        self.peak = max(self.peak, len(self.in_flight))

    @property
    def used(self) -> int:
        """What this connection may have in flight at the moment."""
        return max(self.rdy, len(self.in_flight))


class ReadyCounts:
    """
    The distribution over all connections of one consumer.

    After each change (``join``, ``leave``, ``allow``), when ``next_at`` has come, and when
    messages were answered while ``short`` is true: call ``distribute`` and send what it returns.
    """

    def __init__(self, allowance: int) -> None:
        self.allowance = allowance
        self.shares: list[Share] = []
        self.short = False  # RDY is due to someone as soon as messages are answered
        self.next_at: float | None = None
        self._changed = False  # sharing: the targets are not those of the present connections
        self._probe_next = True  # rotating: the next turn is for one that is not busy
        self._fruitless = 0  # rotating: turns without a message, one after another

    def join(self, share: Share) -> None:
        """Add a connection that is subscribed."""
        self.shares.append(share)
        self._changed = True

    def leave(self, share: Share) -> None:
        """Remove a connection that is lost or being closed."""
        self.shares.remove(share)
        self._changed = True

    def allow(self, allowance: int) -> None:
        """Change how many messages all connections together may have in flight."""
        self.allowance = allowance
        self._changed = True

    def distribute(self, now: float) -> list[Share]:
        """
        Decide the RDY of every connection.

        Returns:
            The shares whose ``rdy`` changed, those that go down first.
        """
        before = [share.rdy for share in self.shares]
        if 0 < self.allowance < len(self.shares):
            self._end_turns(now)
            self._begin_turns(now)
            self._changed = True  # in case that sharing comes next
        else:
            if self._changed or self.next_at is None or now >= self.next_at:
                self._set_targets(now)
            self._move_to_targets()
        changes = [
            (share.rdy - old, share)
            for share, old in zip(self.shares, before, strict=True)
            if share.rdy != old
        ]
        return [share for _, share in sorted(changes, key=_by_change)]

    # Sharing

    def _set_targets(self, now: float) -> None:
        targets = _divide(self.allowance, self.shares)
        for share, target in zip(self.shares, targets, strict=True):
            share.target, share.peak = target, len(share.in_flight)
        self._changed = False
        alone = len(self.shares) < 2 or self.allowance == 0
        self.next_at = None if alone else now + REDISTRIBUTE_SECONDS

    def _move_to_targets(self) -> None:
        for share in self.shares:
            share.rdy = min(share.rdy, share.target)
        room = max(self._room(), 0)
        for share in self.shares:
            used = share.used
            share.rdy = max(share.rdy, min(share.target, used + room))
            room -= share.used - used
        self.short = any(share.rdy < share.target for share in self.shares)

    def _room(self) -> int:
        return self.allowance - sum(share.used for share in self.shares)

    # Rotating

    def _end_turns(self, now: float) -> None:
        if any(share.busy for share in self.shares):
            self._fruitless = 0
        for share in self.shares:
            share.rdy = min(share.rdy, 1)  # we may have been sharing until now
        turns = [share for share in self.shares if share.rdy]
        for share in turns:
            if self._is_fruitless(share, now):
                share.rdy, share.busy = 0, False
                self._fruitless += 1
                self._probe_next = False
        # Also when a connection has just joined or the allowance went down.
        surplus = sum(share.rdy for share in turns) - self.allowance
        eldest_first = sorted((s for s in turns if s.rdy), key=_by_granted_at)
        for share in eldest_first[: max(surplus, 0)]:
            share.rdy = 0
        working = eldest_first[max(surplus, 0) :]
        all_work = len(working) == self.allowance and all(share.busy for share in working)
        # Only one at a time: the others work on.
        if all_work and now - working[0].granted_at >= TURN_SECONDS:
            working[0].rdy = 0
            self._probe_next = True

    def _is_fruitless(self, share: Share, now: float) -> bool:
        since = max(share.granted_at, share.received_at)
        return not share.in_flight and now - since >= self._patience()

    def _begin_turns(self, now: float) -> None:
        turns = sum(share.rdy for share in self.shares)
        room = self._room()
        for _ in range(min(room, self.allowance - turns)):
            share = self._choose()
            if share is None:
                break
            self._probe_next = share.busy
            share.rdy, share.granted_at = 1, now
            turns += 1
        self.short = turns < self.allowance
        self.next_at = now + (TURN_SECONDS if self.short else self._patience())

    def _choose(self) -> Share | None:
        waiting = [share for share in self.shares if not share.rdy]
        kind = [share for share in waiting if share.busy is not self._probe_next]
        return min(kind or waiting, key=_by_granted_at, default=None)

    def _patience(self) -> float:
        rounds = self._fruitless // max(len(self.shares), 1)
        return min(PROBE_SECONDS * 2.0 ** min(rounds, 8), PROBE_SECONDS_MAX)


def _divide(allowance: int, shares: list[Share]) -> list[int]:
    """Return the RDY that each share should have, in the order of ``shares``."""
    targets = _water_fill(allowance, [_wish(share, allowance) for share in shares])
    # What nobody wants is spread evenly, so that an idle nsqd can begin with a burst.
    room = [share.max_rdy - target for share, target in zip(shares, targets, strict=True)]
    surplus = _water_fill(allowance - sum(targets), room)
    return [target + more for target, more in zip(targets, surplus, strict=True)]


def _wish(share: Share, allowance: int) -> int:
    starved = share.rdy > 0 and share.peak >= share.rdy * STARVED
    wish = allowance if starved else max(1, int(share.peak * HEADROOM))
    return min(wish, share.max_rdy)


def _water_fill(amount: int, wishes: list[int]) -> list[int]:
    """Divide fairly: no one gets more than the wish, and only those who do get less than others."""
    given = [0] * len(wishes)
    by_wish = sorted(range(len(wishes)), key=wishes.__getitem__)
    for position, index in enumerate(by_wish):
        # Rounded up, so that the first ones take what an even division leaves over.
        equal_part = -(-amount // (len(wishes) - position))
        given[index] = min(wishes[index], equal_part)
        amount -= given[index]
    return given


def _by_change(change: tuple[int, Share]) -> int:
    return change[0]


def _by_granted_at(share: Share) -> float:
    return share.granted_at
