"""Which ports a local cluster gets: NSQ's own where they are free, the next free ones otherwise."""

import errno
import socket

__all__ = ["Ports"]

PORT_MAX = 65535


class Ports:
    """Gives out ports of one host, each once."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._given: set[int] = set()

    def take(self, wanted: int) -> int:
        """
        Return the first free port from ``wanted`` on. It is free now; nobody holds it for us.

        Raises:
            OSError: the host is not ours, or no port is left.
        """
        for port in range(wanted, PORT_MAX + 1):
            if port not in self._given and self._is_free(port):
                self._given.add(port)
                return port
        raise OSError(f"no free port from {wanted} on at {self._host}")

    def _is_free(self, port: int) -> bool:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As servers do: connections of an earlier run that linger are no hindrance.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, port))
            except OSError as exc:
                if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                    return False
                raise
        return True
