"""Starting and stopping without systemd."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.generate import ROOT
from tests.support.processes import free_port

SCRIPTS = ROOT / "deploy" / "start"


@dataclass
class Scripts:
    """The scripts, over folders of their own."""

    folder: Path

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "NSQX_RUN": str(self.folder / "run"),
            "NSQX_DATA": str(self.folder / "data"),
            "NSQX_BIN": str(Path(sys.executable).parent),
        }
        return subprocess.run(
            [SCRIPTS / script, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def pid(self, name: str) -> int:
        return int((self.folder / "run" / f"{name}.pid").read_text())


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    scripts = Scripts(tmp_path)
    yield scripts
    for path in (tmp_path / "run").glob("*.pid"):
        os.kill(int(path.read_text()), signal.SIGKILL)


def test_a_node_is_started_and_stopped(scripts: Scripts) -> None:
    port = free_port()
    listen = ("--tcp-address=127.0.0.1:0", f"--http-address=127.0.0.1:{port}")
    started = scripts.run("start.sh", "one", "nsqd", *listen)
    assert started.returncode == 0, started.stderr
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez") as answer:
        assert answer.read() == b"OK"
    assert (scripts.folder / "data" / "one" / "nsqd.dat").exists()

    again = scripts.run("start.sh", "one", "nsqd", *listen)
    assert again.returncode == 1
    assert "one runs already" in again.stderr

    pid = scripts.pid("one")
    assert scripts.run("stop.sh", "one").returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert scripts.run("stop.sh", "one").returncode == 1

    # What it said may be why it has to be started again.
    log = scripts.folder / "run" / "one.log"
    said = log.read_text()
    assert scripts.run("start.sh", "one", "nsqd", *listen).returncode == 0
    assert log.read_text().startswith(said)
    assert scripts.run("stop.sh", "one").returncode == 0


def test_a_start_that_fails_says_why(scripts: Scripts) -> None:
    failed = scripts.run("start.sh", "one", "nsqd", "--durability=hope")
    assert failed.returncode == 1
    assert "--durability must be os or fsync" in failed.stderr
    assert not (scripts.folder / "run" / "one.pid").exists()


def test_usage(scripts: Scripts) -> None:
    for script in ("start.sh", "stop.sh"):
        wrong = scripts.run(script)
        assert wrong.returncode == 2
        assert f"{script} NAME" in wrong.stderr
