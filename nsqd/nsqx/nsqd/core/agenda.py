"""What a broker has to look at, and when: filled by channels and topics, worked off by `Broker`."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.timers import NEVER_NS, Timers

__all__ = ["Agenda"]

Channel = TypeVar("Channel", bound=Hashable)


class Agenda(Generic[Channel]):
    """
    The channels of a broker that want to be looked at.

    Attributes:
        timers: when something in flight times out, or a read is to be tried again; monotonic.
        due: when something deferred is due; wall time.
        changed: whose journal has something to write, and whose log may let go of something.
        on_sooner: called when there is something to do earlier than `next_ns` has said.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_sooner: Callable[[], None] = _ignore
        self.timers: Timers[Channel] = Timers(self._sooner)
        self.due: Timers[Channel] = Timers(self._sooner)
        self.changed: dict[Channel, None] = {}

    def _sooner(self) -> None:
        self.on_sooner()

    def change(self, channel: Channel) -> None:
        """Note that a channel has changed."""
        changed = self.changed
        if changed:
            changed[channel] = None
        else:
            changed[channel] = None
            self.on_sooner()

    def take_changed(self) -> list[Channel]:
        """Return the channels that have changed since the last time."""
        changed, self.changed = list(self.changed), {}
        return changed

    def forget(self, channel: Channel) -> None:
        """The channel is gone."""
        self.timers.forget(channel)
        self.due.forget(channel)
        self.changed.pop(channel, None)

    @property
    def next_ns(self) -> int:
        """Return when there is something to do, in monotonic time; `NEVER_NS` if nothing is."""
        if self.changed:
            return 0
        next_ns, due_ns = self.timers.next_ns, self.due.next_ns
        if due_ns == NEVER_NS:
            return next_ns
        # As the clocks are now; who sets the one on the wall has it noticed within a second.
        return min(next_ns, self._clock.monotonic() + max(0, due_ns - self._clock.wall()))


def _ignore() -> None:
    """Nobody plans ahead."""
