"""
What must be true of a broker's topics and channels: the model that it is compared with.

Sets and dictionaries of single messages, each by its sequence number; slow, and obviously right.
"""

from dataclasses import dataclass, field

__all__ = ["ChannelRecord", "Entry", "Flight", "TopicRecord"]


@dataclass(slots=True)
class Entry:
    """A message as a broker wrote it to a topic's log."""

    number: int  # which message of the simulation it is
    sequence: int
    first: int  # of its batch
    end: int
    due_ns: int
    acknowledged_ns: int = 0  # in true time; 0: never
    is_lost: bool = False  # it is in the log no more
    is_excused: bool = False  # because it was damaged


@dataclass(slots=True)
class Flight:
    """A message that a consumer has. Times are true ones, whatever the node's clock says."""

    delivered_ns: int
    deadline_ns: int  # not before this is it delivered again by itself


@dataclass(slots=True)
class ChannelRecord:
    """
    A channel, over the crashes of its broker.

    Attributes:
        start: the first message that it gets.
        finished: must not be delivered any more.
        unwritten: those of them that a crash may still bring back.
        ever: those that were finished at any time; they need not be delivered.
        unsure_below: nothing is known of messages before this.
        due: when a requeued message may come again, in the time of its broker.
        attempts: deliveries of each message so far.
    """

    name: str
    start: int
    created_ns: int
    is_ephemeral: bool
    finished: set[int] = field(default_factory=set)
    unwritten: set[int] = field(default_factory=set)
    ever: set[int] = field(default_factory=set)
    unsure_below: int = 0
    moved_end: int = 0  # at the last seek or when it was emptied
    in_flight: dict[int, Flight] = field(default_factory=dict)
    due: dict[int, int] = field(default_factory=dict)
    unwritten_due: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    deliveries: int = 0
    lead: int = 0  # of deliveries of messages that come again, since new ones wait, too
    peak: int = 0  # most in flight at once
    is_damaged: bool = False  # its files were: what they said may be forgotten

    def finish(self, sequence: int) -> None:
        """Its broker took note of a FIN."""
        self.finished.add(sequence)
        self.unwritten.add(sequence)
        self.ever.add(sequence)
        self.in_flight.pop(sequence, None)
        self.due.pop(sequence, None)

    def requeue(self, sequence: int, due_ns: int) -> None:
        """Its broker took note of a REQ."""
        self.in_flight.pop(sequence, None)
        if due_ns:
            self.due[sequence] = due_ns
            self.unwritten_due.add(sequence)

    def journalled(self) -> None:
        """All changes so far are written."""
        self.unwritten.clear()
        self.unwritten_due.clear()

    def killed(self) -> None:
        """Its broker ended; what was not written is forgotten."""
        self.finished -= self.unwritten
        self.unwritten.clear()
        for sequence in self.unwritten_due:
            self.due.pop(sequence, None)
        self.unwritten_due.clear()
        self.in_flight.clear()
        self.attempts.clear()

    def lost_files(self) -> None:
        """Nothing is sure of its files: all may be delivered again, and moves be forgotten."""
        self.killed()
        self.finished.clear()
        self.due.clear()
        self.unsure_below = max(self.unsure_below, self.start, self.moved_end)
        self.start = 0
        self.is_damaged = False

    def moved(self, sequence: int, end: int) -> None:
        """All before ``sequence`` counts as finished, and nothing from there to ``end``."""
        self.moved_end = end
        self.start = min(self.start, sequence)
        self.finished = set(range(self.start, sequence))
        self.unwritten = set(self.finished)
        self.ever = {finished for finished in self.ever if finished >= end} | self.finished
        self.in_flight.clear()
        self.due.clear()
        self.attempts.clear()


@dataclass(slots=True)
class TopicRecord:
    """
    A topic, over the crashes of its broker.

    Attributes:
        entries: what is in its log, by sequence number.
        synced_end: up to here it was synced once.
        doubtful: what a failed sync may have left unwritten.
        damaged: messages that were damaged on purpose.
    """

    name: str
    created_ns: int
    is_ephemeral: bool
    entries: dict[int, Entry] = field(default_factory=dict)
    channels: dict[str, ChannelRecord] = field(default_factory=dict)
    synced_end: int = 0
    doubtful: set[int] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)
    is_due_unsure: bool = False

    def is_finished(self, sequence: int) -> bool:
        """Return whether every channel that got a message has finished it, once."""
        return all(
            sequence in channel.ever or sequence < max(channel.start, channel.unsure_below)
            for channel in self.channels.values()
            if not channel.is_ephemeral
        )

    def forget_due_below(self, end: int) -> None:
        """What a move of a channel had finished may come back, and at once."""
        for sequence, entry in self.entries.items():
            if sequence < end:
                entry.due_ns = 0

    def forget_from(self, end: int) -> None:
        """The log ends here now; what follows gets these numbers again."""
        for sequence in [sequence for sequence in self.entries if sequence >= end]:
            del self.entries[sequence]
        self.synced_end = min(self.synced_end, end)
        self.doubtful = {sequence for sequence in self.doubtful if sequence < end}
        for channel in self.channels.values():
            channel.ever = {sequence for sequence in channel.ever if sequence < end}
            channel.finished = {sequence for sequence in channel.finished if sequence < end}
