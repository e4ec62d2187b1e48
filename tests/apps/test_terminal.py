"""What strangers write does nothing to a terminal, and stays as it is for programs."""

import asyncio
import os
import pty
import sys

import pytest

from nsqx.apps.terminal import for_terminal, printable
from tests.support.processes import Cluster

EVIL = b"\x1b]0;owned\x07\x1b[2J\rsafe\x08\xc2\x9b31m\xe2\x80\xae\xff"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äöü 漢字 🙂", "plain äöü 漢字 🙂"),
        ("\x1b[31mred\x1b]0;title\x07", "\\x1b[31mred\\x1b]0;title\\x07"),
        ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
        ("c1: \x9b31m, bidi: \u202egnp", "c1: \\x9b31m, bidi: \\u202egnp"),
        ("half a pair: \ud800", "half a pair: \\ud800"),
    ],
)
def test_nothing_that_a_terminal_obeys(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_stay_lines_and_plain_text_the_same_object() -> None:
    data = b"a\tb\nc\n"
    assert for_terminal(data) is data
    assert for_terminal(b"\x1b\t\xff\n\xc3\xa4\n") == b"\\x1b\t\\xff\n" + "ä\n".encode()


async def output_on_terminal(*arguments: str) -> bytes:
    """What a command writes to a terminal, stdout and stderr together."""
    here, there = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nsqx.apps", *arguments),
        stdout=there,
        stderr=there,
        stdin=asyncio.subprocess.DEVNULL,
    )
    os.close(there)
    written = b""
    loop = asyncio.get_running_loop()
    try:
        while part := await loop.run_in_executor(None, os.read, here, 65536):
            written += part
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(here)
    await process.wait()
    return written.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("peek", "t", "--nsqd={http}"),
        ("peek", "t", "--nsqd={http}", "--bodies"),
        ("tail", "t", "-n1", "--channel=c", "--nsqd={tcp}"),
        ("nsq-tail", "--topic=t", "-n=1", "--channel=c", "--nsqd-tcp-address={tcp}"),
    ],
)
async def test_bodies_on_a_terminal(cluster: Cluster, arguments: tuple[str, ...]) -> None:
    node = await cluster.nsqd()
    await node.post("/topic/create?topic=t")
    await node.post("/channel/create?topic=t&channel=c")
    await node.post("/pub?topic=t", EVIL)
    filled = [each.format(http=node.http_address, tcp=node.tcp_address) for each in arguments]
    written = await output_on_terminal(*filled)
    assert rb"\x1b]0;owned\x07\x1b[2J\rsafe\x08\x9b31m\u202e\xff" in written
    assert not {0x1B, 0x07, 0x08, 0x0D} & set(written)
