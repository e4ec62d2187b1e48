"""What happens before a daemon has begun: signals, and what is answered without importing much."""

import subprocess
import sys

import pytest

DAEMONS = ["nsqd", "lookupd", "admin"]
# Each takes longer than Python itself.
HEAVY = {
    *("aiohttp", "structlog", "zeroconf", "uvloop", "rich", "ssl", "nsqx.nsqd.core.broker"),
    *("asyncio", "importlib.metadata", "tomllib"),
}


@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_signal_during_the_imports_ends_with_0(daemon: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", f"nsqx.{daemon}", "--http-address=127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        # It is imported by what comes within `Starting`, long before anything listens.
        assert any("nsqx.runtime.options.kinds" in line for line in process.stderr)
        process.terminate()
        process.stderr.read()
    assert process.returncode == 0


@pytest.mark.parametrize("program", [*DAEMONS, "apps"])
@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_a_program_says_what_it_is_before_it_imports_what_takes_long(
    program: str, flag: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", f"nsqx.{program}", flag],
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "nsqx.protocol.version" in imported
    assert not imported & HEAVY
