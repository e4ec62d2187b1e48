"""The broker under test: one that runs already, or our nsqd, started for the purpose."""

import contextlib
import json
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import IO, Any

from benchmarks.link import Target
from benchmarks.scenarios import Scenario
from benchmarks.usage import BrokerProcess
from benchmarks.worker import LoadError

START_SECONDS_MAX = 120.0
_STOP_SECONDS_MAX = 60.0
_HTTP_SECONDS = 60.0
_LISTENING = re.compile(r"\b(TCP|HTTP): listening on ([^ ]+):(\d+)\s*$")


class Broker:
    """One that runs already. ``http`` (host:port) lets topics be deleted after each run."""

    def __init__(
        self, host: str, port: int, http: str | None, process: BrokerProcess | None
    ) -> None:
        self.host = host
        self.port = port
        self.http = http
        self.process = process

    def target(self, scenario: Scenario) -> Target:
        return Target(self.host, self.port, tls=scenario.tls, snappy=scenario.snappy)

    def delete_topic(self, topic: str) -> None:
        if self.http is None:
            return
        # A broker that will not is left with the topic: that costs it disk, the figures are right.
        with contextlib.suppress(urllib.error.HTTPError):
            self._request(f"/topic/delete?topic={topic}", method="POST")

    def create(self, topic: str, channel: str) -> None:
        """Make a channel, so that what is published waits for its consumers."""
        self._request(f"/topic/create?topic={topic}", method="POST")
        self._request(f"/channel/create?topic={topic}&channel={channel}", method="POST")

    def topic_stats(self, topic: str) -> dict[str, Any]:
        """
        Return what /stats says of one topic.

        Raises:
            LoadError: the broker did not answer.
        """
        try:
            answer = json.loads(self._request(f"/stats?format=json&topic={topic}", method="GET"))
        except urllib.error.HTTPError as exc:
            raise LoadError(f"/stats: {exc}") from exc
        topics: list[dict[str, Any]] = answer["topics"]
        return topics[0]

    def stop(self) -> None:
        """Nothing to do: it is not ours."""

    def _request(self, path: str, method: str) -> bytes:
        request = urllib.request.Request(f"http://{self.http}{path}", method=method)
        with urllib.request.urlopen(request, timeout=_HTTP_SECONDS) as response:
            body: bytes = response.read()
            return body


class OwnBroker(Broker):
    """
    Our nsqd, with its data in a directory that the caller makes and removes.

    It listens on ports of the system's choice and says in its log which.
    """

    def __init__(
        self, data_path: Path, options: Sequence[str] = (), cpus: Collection[int] = ()
    ) -> None:
        super().__init__("127.0.0.1", 0, None, None)
        self._data_path = data_path
        self._options = list(options)
        self._cpus = cpus
        self._popen: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> float:
        """Start it and return the seconds until it listened."""
        started = time.monotonic()
        self._popen = subprocess.Popen(
            self._command(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        self.process = BrokerProcess(self._popen.pid)
        if self._cpus:
            self.process.pin(self._cpus)
        assert self._popen.stderr is not None
        ports = self._read_ports(self._popen.stderr)
        self.port, self.http = ports["TCP"], f"127.0.0.1:{ports['HTTP']}"
        self._log_reader = threading.Thread(target=_discard, args=(self._popen.stderr,))
        self._log_reader.start()
        return time.monotonic() - started

    def kill(self) -> None:
        """As the kernel does when memory runs out: no word of farewell."""
        assert self._popen is not None
        self._popen.kill()
        self._reap()

    def stop(self) -> None:
        assert self._popen is not None
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        self._reap()

    def _reap(self) -> None:
        assert self._popen is not None
        assert self._popen.stderr is not None
        self._popen.wait()
        self._log_reader.join()
        self._popen.stderr.close()

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "nsqx.nsqd",
            "--data-path",
            str(self._data_path),
            "--tcp-address=127.0.0.1:0",
            "--http-address=127.0.0.1:0",
            *self._options,
        ]

    def _read_ports(self, log: IO[str]) -> dict[str, int]:
        ports: dict[str, int] = {}
        lines: list[str] = []
        for line in log:
            lines.append(line)
            if match := _LISTENING.search(line):
                ports[match[1]] = int(match[3])
            if len(ports) == 2:
                return ports
        log.close()
        raise LoadError("the broker ended before it listened:\n" + "".join(lines[-20:]))


def write_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1; return the paths of it and its key."""
    import trustme  # of the dev group: only TLS scenarios need it

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    issued.private_key_pem.write_to_path(str(key))
    with certificate.open("wb") as file:
        for part in issued.cert_chain_pems:
            file.write(part.bytes())
    return certificate, key


def _discard(log: IO[str]) -> None:
    """Keep the pipe empty: a full one would stop the broker."""
    for _ in log:
        pass
