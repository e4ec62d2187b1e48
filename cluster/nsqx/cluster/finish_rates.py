"""How much each consumer of one nsqd finishes a second, from one answer to the next. No I/O."""

from collections.abc import Iterator, Mapping

from nsqx.cluster.answers import NsqdStats

__all__ = ["FinishRates"]


class FinishRates:
    """
    The consumers of one nsqd, whose counters begin at 0 with their connection.

    Attributes:
        by_address: messages a second, by remote address; of those that two answers in a row had.
    """

    def __init__(self) -> None:
        self.by_address: Mapping[str, float] = {}
        self._at_s = 0.0
        self._counts: Mapping[str, int] = {}

    def add(self, at_s: float, stats: NsqdStats) -> None:
        """Take in what ``/stats`` said at a monotonic time."""
        seconds = at_s - self._at_s
        counts = dict(_finished(stats))
        self.by_address = {
            # A client that connected again from the same port counts from 0.
            address: max(0, count - self._counts[address]) / seconds
            for address, count in counts.items()
            if address in self._counts and seconds > 0
        }
        self._at_s, self._counts = at_s, counts


def _finished(stats: NsqdStats) -> Iterator[tuple[str, int]]:
    for topic in stats.topics or ():
        for channel in topic.channels or ():
            for client in channel.clients or ():
                yield client.remote_address, client.finish_count
