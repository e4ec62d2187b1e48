"""What looks after a cluster while messages are printed; what it says, ``test_tail`` shows."""

import asyncio
import contextlib

import pytest

from nsqx.apps.complaints import Complaints
from nsqx.apps.look.lookout import Lookout
from nsqx.apps.security_options import Security
from nsqx.apps.sources import Sources


async def test_a_second_signal_during_the_last_look_leaves_no_session_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nsqx.apps.look.lookout.FIRST_LOOK_SECONDS", 0)
    asked: asyncio.Queue[None] = asyncio.Queue()

    async def ask_in_vain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.put_nowait(None)
        with contextlib.closing(writer):
            await reader.read()

    async with await asyncio.start_server(ask_in_vain, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()[:2]
        lookout = Lookout(
            Sources([f"{host}:{port}"]), ["t"], "c", Security(), Complaints("tail"), list
        )

        async def look() -> None:
            async with lookout:
                await asyncio.Event().wait()

        looking = asyncio.create_task(look())
        async with asyncio.timeout(10):
            for _ in range(2):
                await asked.get()
                looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
        session = lookout._http._session
        assert session is not None
        assert session.closed
