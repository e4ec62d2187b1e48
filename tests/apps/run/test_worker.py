"""``nsqx worker`` as a process."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nsqx.client.sync import Nsq
from nsqx.testing.cluster import Cluster
from nsqx.testing.recorder import Recorder

APP = """
from nsqx.client import Nsq

nsq = Nsq.from_env()

@nsq.handler("orders", "billing")
async def bill(order: dict[str, int]) -> None:
    await nsq.publish("invoices", order)
"""


def nsqx_worker(folder: Path, target: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nsqx.apps", "worker", target],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_handlers_run_until_sigterm(
    tmp_path: Path, nsq: Nsq, nsq_server: Cluster, published: Callable[[str], Recorder]
) -> None:
    (tmp_path / "app.py").write_text(APP)
    nsq.publish("orders", {"id": 1})
    process = nsqx_worker(tmp_path, "app:nsq", NSQ_NSQD=nsq_server.tcp_address)
    try:
        assert published("invoices").wait(timeout=30)[0].decode() == {"id": 1}
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, complaints) == (0, "")


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("app", "'app' is not MODULE:NAME"),
        ("nowhere:nsq", "there is no module 'nowhere' here"),
        ("app:other", "app:other is not an nsqx.client.Nsq"),
    ],
)
async def test_what_is_no_application(tmp_path: Path, target: str, complaint: str) -> None:
    (tmp_path / "app.py").write_text("other = 5\n")
    process = nsqx_worker(tmp_path, target)
    _, complaints = await asyncio.to_thread(process.communicate)
    assert process.returncode == 2
    assert complaint in complaints
