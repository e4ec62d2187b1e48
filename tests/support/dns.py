"""A resolver that says what a test wants."""

import socket
from typing import Any

import pytest

__all__ = ["Dns", "play_dns"]

Dns = dict[str, list[str]]


def play_dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    """Return what names resolve to for the client, to be filled; others cannot be resolved."""
    known: Dns = {}

    async def getaddrinfo(host: str, port: int) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (text, port, 0, 0))
            if ":" in text
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))
            for text in known[host]
        ]

    monkeypatch.setattr("nsqx.client.resolver.getaddrinfo", getaddrinfo)
    return known
