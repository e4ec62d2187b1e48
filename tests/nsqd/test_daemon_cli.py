"""
Command lines and configuration files of nsqd that end at once, on the installed program.

What NSQ 1.3.0 printed and how it ended, asked of ours: the first line, or the last, of stderr.
"""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import Cluster, free_port
from tests.support.transcripts import Case, Event, Replay, Target, load_cases, replay

PROGRAM = Path(sys.executable).with_name("nsqd")
SECONDS_MAX = 20

CASES = [
    case
    for case in load_cases("daemon_cli")
    if any(event.get("run") == "nsqd" for event in case.events)
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_command_line(case: Case, tmp_path: Path) -> None:
    (tmp_path / "cli-data").mkdir()
    target = Target(
        {
            "NSQD_TCP": f"127.0.0.1:{free_port()}",
            "NSQD_HTTP": f"127.0.0.1:{free_port()}",
        },
        values={"DIR": str(tmp_path)},
    )

    def write_config_file(run: Replay, event: Event) -> None:
        (tmp_path / "c.toml").write_text(event["config_file"])

    def run_program(run: Replay, event: Event) -> None:
        ended = subprocess.run(
            [PROGRAM, *map(run.values.fill, event["args"])],
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        lines = ended.stderr.splitlines()
        run.expect(event["exit_code"], ended.returncode)
        run.expect(event["stdout"], ended.stdout)
        if "stderr_first_line" in event:
            run.expect(event["stderr_first_line"], lines[0])
        if "stderr_last_line" in event:
            run.expect(event["stderr_last_line"], lines[-1])

    replay(case, target, handlers={"config_file": write_config_file, "run": run_program})


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help_goes_to_stderr(flag: str) -> None:
    ended = subprocess.run(
        [PROGRAM, flag], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.startswith("Usage of nsqd:\n")
    assert "\n  -max-msg-size int\n" in ended.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_with_code_0(cluster: Cluster, signum: signal.Signals) -> None:
    """Clients are cut off without a word, and what was published is there after a start."""
    node = await cluster.nsqd()
    reader, writer = await asyncio.open_connection(*node.tcp_address.split(":"))
    writer.write(b"  V2SUB t ch\nPUB t\n\0\0\0\1x")
    assert await reader.readexactly(20) == b"\0\0\0\6\0\0\0\0OK" * 2
    assert await node.stop(signum) == 0
    assert await reader.read() == b""
    writer.close()
    await node.start()
    (topic,) = (await node.get_json("/stats?format=json"))["topics"]
    assert [(topic["topic_name"], topic["channels"][0]["depth"])] == [("t", 1)]


async def test_a_second_nsqd_on_the_same_data_is_refused(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    ended = await asyncio.create_subprocess_exec(
        PROGRAM,
        "--tcp-address=127.0.0.1:0",
        "--http-address=127.0.0.1:0",
        f"--data-path={node.data_path}",
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await ended.communicate()
    assert ended.returncode == 1
    (line,) = stderr.decode().splitlines()
    assert "FATAL: failed to instantiate nsqd - failed to lock data-path: " in line
    assert "in use by another nsqd" in line
