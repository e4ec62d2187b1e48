"""Resolvers that say what a test wants, or nothing."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

__all__ = ["Dns", "hanging_dns", "play_dns"]

Dns = dict[str, list[str]]


def play_dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    """Return what names resolve to for the client, to be filled; others cannot be resolved."""
    known: Dns = {}

    async def addresses_of(host: str, port: int, seconds: float = 0) -> list[str]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known[host]

    monkeypatch.setattr("nsqx.net.names.addresses_of", addresses_of)
    return known


@contextmanager
def hanging_dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have the system's resolver hang over the name ``hangs``. Yields its look-ups, to be."""
    look_ups: list[str] = []
    over = threading.Event()
    getaddrinfo = socket.getaddrinfo

    def hang(host: str, *arguments: Any, **options: Any) -> Any:
        if host != "hangs":
            return getaddrinfo(host, *arguments, **options)
        look_ups.append(host)
        over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", hang)
        try:
            yield look_ups
        finally:
            over.set()
