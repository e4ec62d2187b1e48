"""
What NSQ 1.3.0's tools printed, wrote, sent and ended with, asked again of ours as processes.

The recording shows the command lines and the outcomes. What was published before, and the signal
that ended a tool, is not in it but follows from the case; ``Story`` fills that in.
"""

import asyncio
import gzip
import json
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support import fork_server
from tests.support.fork_server import BlockingProcess
from tests.support.processes import running_cluster
from tests.support.recording_servers import RecordingHttp, RecordingNsqd
from tests.support.transcripts import Case, Event, Handler, Replay, Target, case_params, replay

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUB_COMMANDS = {
    "nsq_tail": "nsq-tail",
    "nsq_to_file": "to-file",
    "nsq_to_http": "to-http",
    "nsq_to_nsq": "nsq-to-nsq",
    "nsq_stat": "stat",
    "to_nsq": "to-nsq",
}
SECONDS_MAX = 30.0
POLL_SECONDS = 0.01
LONG_MESSAGE = b"a" * 1025 + b"\nb\n"  # shown as "aaaa...(1028 bytes)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    async with running_cluster(tmp_path_factory.mktemp("golden")) as cluster:
        nsqd = await cluster.nsqd("--max-msg-size=1024")
        yield Target({"NSQD_TCP": nsqd.tcp_address, "NSQD_HTTP": nsqd.http_address})


@pytest.mark.parametrize("case", case_params("apps"))
async def test_tool(case: Case, target: Target, tmp_path: Path) -> None:
    def tell() -> None:
        with ExitStack() as stack:
            replay(case, target, handlers=Story(case, tmp_path, stack).handlers)

    await asyncio.to_thread(tell)


class Story:
    """One case under way: the tool that runs, and the servers made for it."""

    def __init__(self, case: Case, folder: Path, stack: ExitStack) -> None:
        self.handlers: dict[str, Handler] = {
            "run": self._run,
            "published": self._expect_published,
            "channel": self._tail_without_channel,
            "exit_code": self._end,
            "from_client": self._expect_from_client,
            "options": self._pass_options,
            "attempts": self._deliver,
            "left_in_flight": self._expect_in_flight,
        }
        self._case = case
        self._folder = folder
        self._stack = stack
        self._topic = ""
        self._tool: BlockingProcess | None = None
        self._nsqd: RecordingNsqd | None = None
        self._began = time.monotonic()

    # --- running ---

    def _run(self, run: Replay, event: Event) -> None:
        self._began = time.monotonic()
        name, args = event["run"], event["args"]
        topics = [arg.removeprefix("--topic=") for arg in args if arg.startswith("--topic=")]
        self._topic = topics[0] if topics else "ap_" + re.sub(r"\W+", "_", self._case.name)
        if "files" in event:
            self._write_files(run, event)
        elif "requests" in event:
            self._send_requests(run, event)
        elif "arrived" in event:
            self._copy(run, event)
        elif "exit_code" in event:
            self._run_to_the_end(run, event)
        else:
            self._nsqd = self._stack.enter_context(RecordingNsqd(heartbeat=True))
            self._begin(run, name, [*args, f"--nsqd-tcp-address={self._nsqd.address}"])

    def _run_to_the_end(self, run: Replay, event: Event) -> None:
        self._prepare(run)
        stdin = event.get("stdin", "").encode()
        tool = self._begin(run, event["run"], event["args"])
        if self._case.name.endswith("SIGTERM"):
            out = b"".join(tool.stdout.readline() for _ in event["stdout"].splitlines())
            tool.terminate()
            rest, err = tool.communicate(timeout=SECONDS_MAX)
            out += rest
        else:
            long = LONG_MESSAGE if stdin.endswith(b"bytes)") else stdin
            out, err = tool.communicate(long, timeout=SECONDS_MAX)
        run.expect(event["exit_code"], tool.returncode)
        run.expect(event["stdout"], out.decode())
        _expect_complaints(run, event, err.decode().splitlines())

    def _prepare(self, run: Replay) -> None:
        """Publish what the recorder had published before."""
        before = {
            "nsq_tail: n": [b"one", b"two", b"three"],
            "nsq_tail: print-topic, SIGTERM": [b"one\ntwo"],
            "nsq_stat: count": [b"one", b"two"],
        }
        if self._case.name in ("nsq_stat: count", "nsq_stat: unknown channel"):
            _post(run, f"/topic/create?topic={self._topic}")
            _post(run, f"/channel/create?topic={self._topic}&channel=ch")
        for body in before.get(self._case.name, []):
            self._publish(run, body)

    def _begin(self, run: Replay, name: str, args: Iterable[str]) -> BlockingProcess:
        known = {"<NSQD>": "--nsqd-tcp-address=<NSQD_TCP>", "<DIR>": str(self._folder)}
        filled = []
        for arg in args:
            for placeholder, text in known.items():
                arg = arg.replace(placeholder, text)
            filled.append(run.values.fill(arg))
        self._tool = fork_server.popen("nsqx.apps", SUB_COMMANDS[name], *filled)
        self._stack.callback(self._tool.close)
        return self._tool

    def _stop(self, run: Replay, event: Event) -> str:
        """End the tool as an operator does; returns what it wrote to stderr."""
        assert self._tool is not None
        self._tool.terminate()
        _, err = self._tool.communicate(timeout=SECONDS_MAX)
        run.expect(event["exit_code"], self._tool.returncode)
        return err.decode()

    def _end(self, run: Replay, event: Event) -> None:
        if "stderr" in event:  # the tool that has nothing to do: its line comes, then a signal
            args = ["--topic=ap_file_norev", "<NSQD>", "--gzip", "--filename-format=<TOPIC>.log"]
            tool = self._begin(run, "nsq_to_file", args)
            line = tool.stderr.readline().decode()
            run.expect(event["stderr"], line + self._stop(run, event))
        else:
            self._stop(run, event)

    # --- nsqd ---

    def _publish(self, run: Replay, body: bytes | str) -> None:
        _post(run, f"/pub?topic={self._topic}", body.decode() if isinstance(body, bytes) else body)

    def _channel(self, run: Replay, channel: str) -> dict[str, Any]:
        stats = run.get_json(f"/stats?format=json&topic={self._topic}&channel={channel}")
        channels = [found for topic in stats["topics"] for found in topic["channels"]]
        return channels[0] if channels else {}

    def _await_channel(self, run: Replay, channel: str, **expected: int) -> None:
        def is_so() -> bool:
            found = self._channel(run, channel)
            return {name: found.get(name) for name in expected} == expected

        _await(is_so, f"{channel}: {expected}, but {self._channel(run, channel)}")

    def _expect_published(self, run: Replay, event: Event) -> None:
        _expect_in_order(run, event["published"], _bodies(run, self._topic))
        if event.get("took_at_least_300_ms"):
            assert time.monotonic() - self._began >= 0.3

    def _expect_in_flight(self, run: Replay, event: Event) -> None:
        run.expect(event["left_in_flight"], self._channel(run, "nsq_to_file")["in_flight_count"])

    def _tail_without_channel(self, run: Replay, event: Event) -> None:
        self._topic = "ap_tail3"
        _post(run, f"/topic/create?topic={self._topic}")
        self._begin(run, "nsq_tail", [f"--topic={self._topic}", "<NSQD>"])
        names: list[str] = []

        def has_channel() -> bool:
            stats = run.get_json(f"/stats?format=json&topic={self._topic}")
            names[:] = [found["channel_name"] for found in stats["topics"][0]["channels"]]
            return bool(names)

        _await(has_channel, "a channel")
        run.expect(event["channel"], [re.sub(r"\d", "N", name) for name in names])

    # --- what goes over the wire ---

    def _expect_from_client(self, run: Replay, event: Event) -> None:
        assert self._nsqd is not None
        self._nsqd.wait_for("NOP")
        self._stop(run, event)
        self._nsqd.wait_for_close()
        _expect_in_order(run, event["from_client"], self._nsqd.heard)

    def _pass_options(self, run: Replay, event: Event) -> None:
        nsqd = self._stack.enter_context(RecordingNsqd(auth_required=True))
        options = [f"--consumer-opt={option}" for option in event["options"]]
        address = f"--nsqd-tcp-address={nsqd.address}"
        self._begin(run, "nsq_tail", ["--topic=ap_f", "--channel=ch", address, *options])
        nsqd.wait_for("RDY")
        self._stop(run, {"exit_code": 0})
        nsqd.wait_for_close()
        del nsqd.heard[1]["body"]["user_agent"]  # it was not recorded here
        _expect_in_order(run, event["from_client"], nsqd.heard)

    def _deliver(self, run: Replay, event: Event) -> None:
        nsqd = self._stack.enter_context(RecordingNsqd(attempts=event["attempts"]))
        address = f"--nsqd-tcp-address={nsqd.address}"
        flags = ["--topic=ap_f", "--channel=ch", "--post=http://127.0.0.1:1/", address]
        self._begin(run, "nsq_to_http", flags)
        last = event["from_client"][-1]
        nsqd.wait_for(last.split()[0])
        heard = [found.get("command") for found in nsqd.heard]
        _expect_in_order(run, event["from_client"], heard[heard.index("SUB ap_f ch\n") :])
        self._stop(run, {"exit_code": 0})

    # --- the tools that pass on ---

    def _write_files(self, run: Replay, event: Event) -> None:
        folder = self._folder
        signum = signal.SIGHUP if "sighup" in self._case.name else None
        first, later = event["published"][:2], event["published"][2:]
        if signum is None and "existing" not in self._case.name:
            first, later = event["published"], []
        self._write(run, event, first)
        if signum is not None:
            assert self._tool is not None
            self._tool.send_signal(signum)
            self._await_channel(run, "nsq_to_file", in_flight_count=0)
        elif later:
            self._stop(run, event)
        if later:
            self._write(run, event, later)
        self._stop(run, event)
        found = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
        expected = {name.replace("<TOPIC>", self._topic): v for name, v in event["files"].items()}
        for (name, content), (actual, path) in zip(expected.items(), found.items(), strict=True):
            plain, _, packed = name.partition(" ")
            run.expect(plain, actual)
            data = path.read_bytes()
            run.expect(content, (gzip.decompress(data) if packed else data).decode())

    def _write(self, run: Replay, event: Event, bodies: list[str]) -> None:
        """Have messages taken to files, by the tool that runs or a new one."""
        for body in bodies:
            self._publish(run, body)
        if self._tool is None or self._tool.returncode is not None:
            self._begin(run, "nsq_to_file", event["args"])
        _await(
            lambda: self._is_taken(run, bodies), f"{bodies}: in flight to the tool, or in its files"
        )

    def _is_taken(self, run: Replay, bodies: list[str]) -> bool:
        """Whether the tool has all of them; one that rotated finished some when a file changed."""
        found = self._channel(run, "nsq_to_file")
        if (found.get("depth"), found.get("in_flight_count")) == (0, len(bodies)):
            return True
        lines = b"\n".join(path.read_bytes() for path in self._folder.iterdir() if path.is_file())
        return set(bodies) <= set(lines.decode(errors="replace").splitlines())

    def _send_requests(self, run: Replay, event: Event) -> None:
        status = re.search(r"\d+", self._case.name)
        http = self._stack.enter_context(RecordingHttp(int(status[0]) if status else 200))
        self._publish_all(run, event)
        args = [arg.replace("<HTTPD>", http.address) for arg in event["args"]]
        self._begin(run, "nsq_to_http", args)
        counts = ("depth", "in_flight_count", "deferred_count", "requeue_count")
        self._await_channel(run, "nsq_to_http", **{name: event[name] for name in counts})
        self._stop(run, event)
        for request in http.requests:
            del request["all_headers"]
        text = json.dumps(event["requests"]).replace("<HTTPD>", http.address)
        run.expect(json.loads(text), sorted(http.requests, key=lambda request: request["path"]))

    def _copy(self, run: Replay, event: Event) -> None:
        self._publish_all(run, event)
        destination = f"{self._topic}_copy"
        args = [
            f"--topic={self._topic}",
            f"--destination-topic={destination}",
            "--nsqd-tcp-address=<NSQD_TCP>",
            "--destination-nsqd-tcp-address=<NSQD_TCP>",
        ]
        self._begin(run, "nsq_to_nsq", [*args, *event["args"]])
        counts = ("requeue_count", "in_flight_count")
        self._await_channel(run, "nsq_to_nsq", depth=0, **{name: event[name] for name in counts})
        self._stop(run, event)
        run.expect(event["arrived"], sorted(_bodies(run, destination)))

    def _publish_all(self, run: Replay, event: Event) -> None:
        for body in event["published"]:
            self._publish(run, body)


def _expect_complaints(run: Replay, event: Event, lines: list[str]) -> None:
    if "stderr_first_line" in event:
        run.expect(event["stderr_first_line"], lines[0])
    if "stderr_last_line" in event:
        run.expect(event["stderr_last_line"], lines[-1])
    for expected in event.get("stderr_has_line", []):
        assert any(run.values.difference(expected, line) is None for line in lines), lines


def _expect_in_order(run: Replay, expected: list[Any], actual: list[Any]) -> None:
    assert len(actual) == len(expected), f"{actual}, recorded {expected}"
    for one, other in zip(expected, actual, strict=True):
        run.expect(one, other)


def _post(run: Replay, path: str, body: str = "") -> None:
    run.request({"method": "POST", "path": path, "body": body.replace("\\", "\\\\")})


def _bodies(run: Replay, topic: str) -> list[str]:
    """Return the bodies in a topic, oldest first, in the readable form of the transcripts."""
    answer = run.request({"method": "GET", "path": f"/topic/peek?topic={topic}&from=start"})
    if answer.status == 404:
        return []
    messages = json.loads(answer.body)["messages"]
    return [message["body"].replace("\\", "\\\\") for message in messages]


def _await(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline, f"not in {SECONDS_MAX} s: {what}"
        time.sleep(POLL_SECONDS)  # it is another process's state
