"""Which version of each document one viewer has, and what to send next. No I/O."""

from collections.abc import Callable

from nsqx.admin.shown.feed import Feed

__all__ = ["Deliveries"]


class Deliveries:
    """
    The documents of one viewer. ``feed_of`` gives the feed of a key, brought up to date.

    A viewer that keeps up gets each delta. One that missed a version has read too slowly: it gets
    the newest in full, and is told how many it missed. Only who resumes gets all deltas since.
    """

    def __init__(self, feed_of: Callable[[str], Feed]) -> None:
        self._feed_of = feed_of
        self._sent: dict[str, int] = {}  # 0: nothing
        self._resuming: set[str] = set()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def keys(self) -> set[str]:
        return set(self._sent)

    def add(self, key: str, has: int) -> None:
        """Send a document from now on, to a viewer that has a version of it (0: none)."""
        self._sent[key] = has
        if has:
            self._resuming.add(key)

    def remove(self, key: str) -> None:
        """Send it no more."""
        self._sent.pop(key, None)
        self._resuming.discard(key)

    def forget(self, key: str) -> None:
        """Send it in full the next time."""
        if key in self._sent:
            self._sent[key] = 0

    def forget_all(self) -> None:
        """Send all of them in full the next time."""
        self._sent = dict.fromkeys(self._sent, 0)

    def next(self) -> list[bytes]:
        """Return the envelopes that are due, which count as sent."""
        envelopes: list[bytes] = []
        for key, has in self._sent.items():
            feed = self._feed_of(key)
            behind = feed.seq - has
            if has and behind > 1 and key not in self._resuming:
                envelopes.append(feed.full(skipped=behind - 1))
            elif behind:
                envelopes += feed.since(has)
            self._sent[key] = feed.seq
        self._resuming.clear()
        return envelopes
