"""
Certificate authorities that are read when they are first needed.

aiohttp makes two TLS contexts as it is imported, and each reads the system's authorities: some 150
certificates, 30 to 50 ms of CPU, at every start of every program, whether or not it will ever ask
anything over HTTPS. Within `read_when_needed` such a context is one that reads them before its
first connection. What uses it notices nothing, and no other thread does.
"""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["LateContext", "read_when_needed"]

_READERS = ("load_default_certs", "set_default_verify_paths")
_lock = threading.RLock()


class LateContext(ssl.SSLContext):
    """A context that has not read the system's authorities yet."""

    _readings: list[Callable[[], None]]  # what is left to be done; see `read_when_needed`

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`."""
        self._read()
        return super().wrap_bio(*args, **options)

    def wrap_socket(self, *args: Any, **options: Any) -> ssl.SSLSocket:
        """See `ssl.SSLContext.wrap_socket`."""
        self._read()
        return super().wrap_socket(*args, **options)

    def _read(self) -> None:
        if not self._readings:
            return
        with _lock:  # who comes meanwhile needs what is being read
            while self._readings:
                self._readings[0]()
                del self._readings[0]


@contextmanager
def read_when_needed() -> Iterator[None]:
    """
    Let contexts that are made meanwhile, in this thread, read the authorities later.

    Not for the top of a module: of two threads that import, each could wait for the other.
    """
    here = threading.get_ident()
    with _lock:
        before = {name: vars(ssl.SSLContext).get(name) for name in _READERS}
        for name in _READERS:
            read = getattr(ssl.SSLContext, name)
            setattr(ssl.SSLContext, name, _later_in(here, read))
        try:
            yield
        finally:
            for name, method in before.items():
                if method is None:  # it is inherited
                    delattr(ssl.SSLContext, name)
                else:
                    setattr(ssl.SSLContext, name, method)


_OURS = (ssl.SSLContext, LateContext)


def _later_in(thread: int, read: Callable[..., None]) -> Callable[..., None]:
    def read_later(context: ssl.SSLContext, *args: Any) -> None:
        if threading.get_ident() != thread or type(context) not in _OURS:
            read(context, *args)
            return
        context.__class__ = LateContext
        vars(context).setdefault("_readings", []).append(lambda: read(context, *args))

    return read_later
