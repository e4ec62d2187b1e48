"""What ``/readyz`` says: whether a node should be given work."""

import errno
import time
from pathlib import Path

import pytest

from nsqx.nsqd.http import readiness
from tests.support.node import running_node
from tests.support.processes import eventually, free_port
from tests.support.scripted_lookupd import ScriptedLookupd

OK = (200, b"OK")
UNREGISTERED = (503, b"NOK - not registered at any nsqlookupd yet")


async def test_ready_at_once_without_nsqlookupd(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        assert await node.request("GET", "/readyz") == OK


async def test_ready_when_registered_and_when_the_directory_dies_later(tmp_path: Path) -> None:
    async with (
        ScriptedLookupd() as lookupd,
        running_node(tmp_path, lookupd_tcp_address=[lookupd.tcp_address]) as node,
    ):

        async def is_ready() -> bool:
            return await node.request("GET", "/readyz") == OK

        await eventually(is_ready, "ready")
        await lookupd.close()
        assert await is_ready()


async def test_not_ready_before_it_is_registered_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    async with running_node(tmp_path, lookupd_tcp_address=[nobody]) as node:
        assert await node.request("GET", "/readyz") == UNREGISTERED
        assert await node.request("GET", "/livez") == OK
        long_ago_ns = time.monotonic_ns() - readiness.REGISTRATION_NS_MAX - 1
        monkeypatch.setattr(node.nsqd, "started_ns", long_ago_ns)
        assert await node.request("GET", "/readyz") == OK


async def test_not_ready_while_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running_node(tmp_path) as node:
        with monkeypatch.context() as full_disk:
            full_disk.setattr(node.broker.get_topic("t").log, "append", refuse)
            await node.refused("POST", "/pub?topic=t", b"x")
            refused = (503, b"NOK - No space left on device")
            assert await node.request("GET", "/readyz") == refused
            assert await node.request("GET", "/livez") == OK
        await node.post("/pub?topic=t", b"x")
        assert await node.request("GET", "/readyz") == OK
