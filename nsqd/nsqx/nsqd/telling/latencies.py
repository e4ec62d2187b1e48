"""
Feeds the latency windows of all channels (metrics section 2): from FIN to the message's timestamp.

A message's timestamp is in its frame, and the frames of what was just finished are mostly in
memory still. Where they are not, the index on disk says when the message came; it is asked off the
event loop, for many runs of messages at once.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.latency import LatencyWindow
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.log import Log, LogView
from nsqx.nsqd.log.storage import Storage

__all__ = ["Latencies", "accepted_ns"]

# Runs of finished messages whose time is looked up on disk; the oldest are forgotten.
PENDING_MAX = 10_000


class Latencies:
    """
    A window per channel, if percentiles were asked for.

    ``quantiles`` are those to report; without any, channels are not watched at all.
    """

    def __init__(
        self,
        quantiles: Sequence[float],
        window_ns: int,
        *,
        storage: Storage,
        clock: Clock,
    ) -> None:
        self.quantiles = tuple(quantiles)
        self._window_ns = window_ns
        self._storage = storage
        self._clock = clock
        self._windows: dict[Channel, LatencyWindow] = {}
        self._pending: deque[tuple[Log, LatencyWindow, int, int, int]] = deque(maxlen=PENDING_MAX)
        self._is_looking_up = False

    def window_of(self, channel: Channel) -> LatencyWindow | None:
        """Return the samples of a channel; None if it is not watched."""
        return self._windows.get(channel)

    def watch(self, topic: Topic, channel: Channel) -> None:
        """Begin to take samples of a channel."""
        if self.quantiles:
            window = self._windows[channel] = LatencyWindow(
                self._window_ns, self._clock.monotonic()
            )
            channel.on_finished = partial(self._finished, topic, window)

    def forget(self, channel: Channel) -> None:
        """The channel is gone."""
        self._windows.pop(channel, None)

    def _finished(self, topic: Topic, window: LatencyWindow, first: int, count: int) -> None:
        now_ns, wall_ns = self._clock.monotonic(), self._clock.wall()
        end = first + count
        while first < end:
            block = topic.log.block_in_memory(first)
            if block is None:
                break
            stop = min(end, block.end)
            for timestamp_ns, run in block.timestamps(first, stop):
                window.add(wall_ns - timestamp_ns, run, now_ns)
            first = stop
        if first < end:
            self._pending.append((topic.log, window, first, end - first, wall_ns))
            self._look_up()

    def _look_up(self) -> None:
        if self._is_looking_up or not self._pending:
            return
        self._is_looking_up = True
        runs = list(self._pending)
        self._pending.clear()

        views = {log: log.view() for log in {log for log, _, _, _, _ in runs}}

        def read() -> list[int]:
            return [accepted_ns(views[log], first) for log, _, first, _, _ in runs]

        def found(times_ns: list[int] | None, error: BaseException | None) -> None:
            self._is_looking_up = False
            if error is not None:
                raise error
            for (_, window, _, count, finished_ns), time_ns in zip(
                runs, times_ns or (), strict=True
            ):
                if time_ns:
                    window.add(finished_ns - time_ns, count, self._clock.monotonic())
            self._look_up()

        self._storage.submit(read, found)


def accepted_ns(view: LogView, sequence: int) -> int:
    """
    Return when a message was accepted; 0 if that can't be told any more.

    Of a straggler, whose segment is gone, all that is known is that it is older than the rest.
    """
    try:
        return view.time_of(max(sequence, view.first))
    except OSError:
        return 0
