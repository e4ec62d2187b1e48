"""A resolver that says what a test wants."""

import socket

import pytest

__all__ = ["Dns", "play_dns"]

Dns = dict[str, list[str]]


def play_dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    """Return what names resolve to for the client, to be filled; others cannot be resolved."""
    known: Dns = {}

    async def addresses_of(host: str, port: int) -> list[str]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known[host]

    monkeypatch.setattr("nsqx.net.names.addresses_of", addresses_of)
    return known
