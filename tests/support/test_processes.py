"""The helper that runs daemons, tried on a daemon of ten lines."""

import signal
import sys

import pytest

from tests.support.processes import Daemon

SCRIPT = """
import signal, socket, sys
address = sys.argv[1].partition("=")[2]
host, port = address.split(":")
server = socket.create_server((host, int(port)))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("[fake] 2026/11/24 INFO: TCP: listening on %s:%d" % server.getsockname(), file=sys.stderr)
signal.pause()
"""


class ListeningScript(Daemon):
    LISTENERS = ("TCP",)

    def command(self) -> list[str]:
        return [sys.executable, "-c", SCRIPT, *super().command()[3:]]


class DyingScript(Daemon):
    def command(self) -> list[str]:
        return [sys.executable, "-c", "import sys; sys.exit('FATAL: no luck')"]


async def test_a_restart_listens_on_the_same_port() -> None:
    daemon = ListeningScript("fake", [])
    await daemon.start()
    port = daemon.tcp_port

    assert await daemon.stop() == 0
    assert not daemon.running
    await daemon.start()
    assert daemon.tcp_port == port
    await daemon.kill()


async def test_kill_reaps_a_stopped_process() -> None:
    daemon = ListeningScript("fake", [])
    await daemon.start()
    daemon.send_signal(signal.SIGSTOP)
    await daemon.kill()
    assert await daemon.wait() == -signal.SIGKILL


async def test_a_daemon_that_dies_at_start_fails_with_its_log() -> None:
    with pytest.raises(AssertionError, match="FATAL: no luck"):
        await DyingScript("fake", []).start()


async def test_only_the_log_of_the_last_start_is_searched() -> None:
    daemon = ListeningScript("fake", [])
    await daemon.start()
    await daemon.restart()
    assert [line.split(": ")[1] for line in daemon.log] == ["TCP", "TCP"]
    await daemon.kill()
    with pytest.raises(AssertionError, match="ended without"):
        await daemon.wait_for_log("never said")
