"""A signal that comes before a daemon has begun."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("daemon", ["nsqd", "lookupd"])
def test_a_signal_during_the_imports_ends_with_0(daemon: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", f"nsqx.{daemon}", "--http-address=127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # It is imported by what comes behind `end_on_signals`, long before anything listens.
        assert any("msgspec" in line for line in process.stderr)
        process.terminate()
        process.stderr.read()
    assert process.returncode == 0
