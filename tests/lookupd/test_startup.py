"""nsqlookupd as a process: how it starts, refuses to start, and ends."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support import fork_server
from tests.support.processes import Cluster

LOCAL = ("--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a directory that ends by itself."""
    return fork_server.run("nsqx.lookupd", *arguments)


def fatal_line(*arguments: str) -> str:
    """Return the one line that says why it did not start, without prefix and date."""
    ended = run(*LOCAL, *arguments)
    assert ended.returncode == 1
    assert ended.stdout == ""
    fatal = [line for line in ended.stderr.splitlines() if " FATAL: " in line]
    assert fatal == ended.stderr.splitlines()[-1:]
    assert "Traceback" not in ended.stderr
    assert fatal[0].startswith("[nsqlookupd] ")
    return fatal[0].partition(" FATAL: ")[2]


@pytest.mark.parametrize("flag", ["--tcp-address", "--http-address"])
def test_port_that_is_taken(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fatal_line(f"{flag}=127.0.0.1:{port}")
    assert line.startswith("failed to instantiate nsqlookupd - listen (127.0.0.1:")
    assert "address already in use" in line
    assert f"({flag})" in line


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "127.0.0.1:x", "no.such.host.invalid:0"])
def test_address_that_is_none(address: str) -> None:
    assert fatal_line(f"--tcp-address={address}").startswith(
        f"failed to instantiate nsqlookupd - listen ({address}) failed - "
    )


def test_a_time_below_zero() -> None:
    line = fatal_line("--inactive-producer-timeout=-5s")
    assert "--inactive-producer-timeout must not be below 0" in line


def test_log_format_that_is_none() -> None:
    assert "invalid log format 'xml'" in fatal_line("--log-format=xml")


def test_config_that_is_missing() -> None:
    line = fatal_line("--config=/nosuch/file.toml")
    expected = "failed to load config file /nosuch/file.toml - "
    assert line == expected + "open /nosuch/file.toml: no such file or directory"


@pytest.mark.parametrize("flag", ["--version", "-version"])
def test_version(flag: str) -> None:
    ended = run(flag)
    assert ended.returncode == 0
    assert ended.stdout.startswith("nsqlookupd v")


def test_unknown_flag() -> None:
    ended = run("--nosuch")
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "flag provided but not defined: -nosuch",
        "nsqlookupd -h lists all flags",
    ]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_it_in_order(cluster: Cluster, signum: signal.Signals) -> None:
    lookupd = await cluster.lookupd()
    assert await lookupd.stop(signum) == 0
    assert f" INFO: received {signum.name}, stopping" in "\n".join(lookupd.log)


async def test_config_file_and_log_format(cluster: Cluster, tmp_path: Path) -> None:
    config = tmp_path / "nsqlookupd.toml"
    config.write_text('log_format = "json"\ninactive_producer_timeout = "1m"\n')
    lookupd = await cluster.lookupd(f"--config={config}")
    assert any('"event": "TCP: listening on 127.0.0.1:' in line for line in lookupd.log)


async def test_requests_are_logged(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    await lookupd.get("/topics?x=1")
    line = await lookupd.wait_for_log("200 GET /topics")
    assert line.startswith("[nsqlookupd] ")
    assert " INFO: " in line
    assert "/topics?x=1 (127.0.0.1:" in line
