"""
The connections of one HTTP listener, and which of them makes room when there are too many.

A connection that waits for its client can go: it has been answered, or has never asked. So who has
most of them loses its oldest of these first, and only an address that keeps more than its share
busy is refused new ones. What has begun of heads is bounded in all.
"""

from typing import Generic, Protocol, TypeVar

__all__ = ["SMALL_HEAD_BYTES", "Crowd", "Member"]

HEADS_BYTES_MAX = 2 * 1024 * 1024  # of all heads that are not complete
SMALL_HEAD_BYTES = 8 * 1024  # what is below is never refused


class Member(Protocol):
    """A connection."""

    @property
    def is_idle(self) -> bool: ...

    def force_close(self) -> None: ...


Connection = TypeVar("Connection", bound=Member)


class Crowd(Generic[Connection]):
    """All connections; at most ``most``, and of one address three quarters of these."""

    def __init__(self, most: int, heads_bytes_max: int = HEADS_BYTES_MAX) -> None:
        self._most = most
        self._most_of_host = max(1, most * 3 // 4)
        self._by_host: dict[str, dict[Connection, None]] = {}
        self._count = 0
        self._heads_bytes_max = heads_bytes_max
        self._heads_bytes = 0

    def enter(self, newcomer: Connection, host: str) -> None:
        """Count a connection, and close another one, or itself, if it is one too many."""
        of_host = self._by_host.setdefault(host, {})
        of_host[newcomer] = None
        self._count += 1
        if len(of_host) > self._most_of_host:
            self._make_room([host], newcomer)
        elif self._count > self._most:
            self._make_room(sorted(self._by_host, key=self._size_of, reverse=True), newcomer)

    def leave(self, connection: Connection, host: str) -> None:
        """Count it no more. Fine if it is not counted."""
        of_host = self._by_host.get(host, {})
        if connection in of_host:
            del of_host[connection]
            self._count -= 1
            if not of_host:
                del self._by_host[host]

    def _size_of(self, host: str) -> int:
        return len(self._by_host[host])

    def _make_room(self, hosts: list[str], newcomer: Connection) -> None:
        for host in hosts:
            of_host = self._by_host[host]
            for connection in list(of_host):
                if connection is not newcomer and connection.is_idle:
                    self.leave(connection, host)
                    connection.force_close()
                    return
                # Not looked at again before the others of this address.
                of_host[connection] = of_host.pop(connection)
        newcomer.force_close()

    # Heads

    def grow_head(self, count: int, size: int) -> bool:
        """Count bytes of a head that is ``size`` long by now; return whether there is room."""
        self._heads_bytes += count
        return size < SMALL_HEAD_BYTES or self._heads_bytes <= self._heads_bytes_max

    def end_head(self, size: int) -> None:
        """A head is complete, or given up."""
        self._heads_bytes -= size
