"""A start that can't work says so in one line and exits with 1, and changes nothing on disk."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import fork_server
from tests.support.processes import Cluster

SECONDS_MAX = 30


def start(*flags: str) -> tuple[int, list[str]]:
    """Run nsqd until it ends; return its exit code and the lines of stderr."""
    done = fork_server.run("nsqx.nsqd", "--http-address=127.0.0.1:0", *flags)
    return done.returncode, done.stderr.splitlines()


def refused(*flags: str) -> str:
    """Return the one line of a start that is refused."""
    code, lines = start(*flags)
    assert code == 1, lines
    assert len(lines) == 1, lines
    assert "FATAL: failed to " in lines[0]
    return lines[0]


@pytest.mark.parametrize("listener", ["tcp", "http"])
def test_port_taken(tmp_path: Path, listener: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = ["--tcp-address=127.0.0.1:0", f"--{listener}-address={address}"]
        line = refused(f"--data-path={tmp_path}", *flags)
    assert address in line
    assert "already in use" in line
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


@pytest.mark.parametrize("address", ["127.0.0.1:abc", "127.0.0.1:99999", "[::1"])
def test_invalid_address(tmp_path: Path, address: str) -> None:
    line = refused(f"--data-path={tmp_path}", f"--tcp-address={address}")
    assert "--tcp-address" in line


def test_address_of_no_interface(tmp_path: Path) -> None:
    line = refused(f"--data-path={tmp_path}", "--tcp-address=203.0.113.1:4150")
    assert "no interface of this machine" in line


async def test_files_of_unix_sockets_go_with_the_process(cluster: Cluster, tmp_path: Path) -> None:
    node = await cluster.nsqd()
    paths = [tmp_path / "tcp.sock", tmp_path / "http.sock"]
    flags = [f"--tcp-address={paths[0]}", f"--http-address={paths[1]}"]
    # The folder is locked: after both sockets were bound the start is refused.
    await asyncio.to_thread(refused, *flags, f"--data-path={node.data_path}")
    assert not any(path.exists() for path in paths)
    process = await fork_server.start(
        "nsqx.nsqd", *flags, f"--data-path={tmp_path}", stderr=fork_server.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(SECONDS_MAX):
        while b"TCP: listening on %b\n" % bytes(paths[0]) not in await process.stderr.readline():
            pass
        assert all(path.is_socket() for path in paths)
        reader, writer = await asyncio.open_unix_connection(paths[0])
        writer.write(b"  V2PUB t\n\0\0\0\1x")
        assert await reader.readexactly(10) == b"\0\0\0\6\0\0\0\0OK"
        writer.close()
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
    assert not any(path.exists() for path in paths)


def test_data_path_missing(tmp_path: Path) -> None:
    line = refused("--tcp-address=127.0.0.1:0", f"--data-path={tmp_path}/nowhere")
    assert f"{tmp_path}/nowhere: no such file or directory" in line


def test_data_path_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"precious")
    line = refused("--tcp-address=127.0.0.1:0", f"--data-path={path}")
    assert str(path) in line
    assert path.read_bytes() == b"precious"


def test_data_path_unwritable(tmp_path: Path) -> None:
    """Not even root may create files below /proc, so no rights have to be taken away first."""
    line = refused("--tcp-address=127.0.0.1:0", "--data-path=/proc/self")
    assert "failed to write to data-path /proc/self" in line
    assert os.listdir(tmp_path) == []


async def test_data_path_locked(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    line = await asyncio.to_thread(
        refused, "--tcp-address=127.0.0.1:0", f"--data-path={node.data_path}"
    )
    assert "in use by another nsqd" in line
    assert (await node.get("/ping"))[1] == b"OK"


@pytest.mark.parametrize("content", [b"", b"{", b'{"topics":5}', b"\0" * 64])
def test_damaged_metadata_is_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nsqd.dat"
    path.write_bytes(content)
    line = refused("--tcp-address=127.0.0.1:0", f"--data-path={tmp_path}")
    assert "nsqd.dat is damaged" in line
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b'{"format":3,"node_id":"0"}', b"", b"{}"])
def test_a_newer_or_damaged_format_is_kept(tmp_path: Path, content: bytes) -> None:
    files = {"format.json": content, "nsqd.dat": b"not of this version", "topics": b"nor this"}
    for name, there in files.items():
        (tmp_path / name).write_bytes(there)
    line = refused("--tcp-address=127.0.0.1:0", f"--data-path={tmp_path}")
    assert str(tmp_path) in line
    assert "has format 3" in line or "format.json is damaged" in line
    assert "it was left as it is" in line
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


async def test_stray_names_do_not_stop_the_start(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/topic/create?topic=t")
    await node.post("/pub?topic=t", b"x")
    await node.kill()
    topics = node.data_path / "topics"
    (topics / "dead.topic").symlink_to("nowhere")
    (topics / "._t.topic").write_bytes(b"of a Mac")
    (topics / "t.topic" / "99999.log").write_bytes(b"of somebody")
    (topics / "t.topic" / "dead.channel").symlink_to("nowhere")
    await node.start()
    (topic,) = (await node.get_json("/stats?format=json"))["topics"]
    assert (topic["topic_name"], topic["depth"]) == ("t", 1)
    assert "damage" not in topic
    log = "\n".join(node.log)
    for name in ("dead.topic", "._t.topic", "99999.log", "dead.channel"):
        assert log.count(f"{name} is not") == 1, name


def test_unknown_flag(tmp_path: Path) -> None:
    """As in NSQ: the line, and exit code 2."""
    code, lines = start(f"--data-path={tmp_path}", "--no-such-flag")
    assert code == 2
    assert lines[0] == "flag provided but not defined: -no-such-flag"


def test_value_out_of_range(tmp_path: Path) -> None:
    line = refused(f"--data-path={tmp_path}", "--tcp-address=127.0.0.1:0", "--node-id=1024")
    assert "--node-id" in line


# What a node that was told nothing needs later, or never, took a quarter of its start.
ASKED_DURING_IMPORT = """
import asyncio, socket, sys
UNASKED = {
    "msgspec", "multidict", "nsqx.cluster", "nsqx.nsqd.directory.peers", "nsqx.nsqd.edge.auth",
    "nsqx.nsqd.telling.statsd", "nsqx.protocol.lookup", "nsqx.runtime.discovery", "zeroconf",
}
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.options import NsqdOptions

class Asking:
    said = b"not imported"
    early = ""

    def find_spec(self, name, path, target=None):
        if name == "aiohttp":
            sys.meta_path.remove(self)
            self.early = " ".join(UNASKED & sys.modules.keys())
            with socket.create_connection(("127.0.0.1", node.tcp_port), timeout=20) as client:
                client.sendall(b"  V2PUB t\\n\\0\\0\\0\\1x")
                self.said = client.recv(100)
            with socket.create_connection(("127.0.0.1", node.http_port), timeout=20) as client:
                pass

asking = Asking()
sys.meta_path.insert(0, asking)
options = NsqdOptions(tcp_address="127.0.0.1:0", http_address="127.0.0.1:0", data_path=sys.argv[1])
node = Nsqd(options)

async def run():
    async with node:
        print(asking.said, asking.early)

asyncio.run(run())
"""


def test_publishes_are_answered_before_aiohttp_is_imported_and_http_is_bound(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", ASKED_DURING_IMPORT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.stdout == "b'\\x00\\x00\\x00\\x06\\x00\\x00\\x00\\x00OK' \n", done.stderr
