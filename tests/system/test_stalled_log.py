"""A reader of a daemon's log that stalls, as a supervisor that hangs does, stops no daemon."""

import fcntl
import os
import re
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import IO

import pytest

LISTENING = re.compile(rb"HTTP: listening on 127\.0\.0\.1:(\d+)")
PIPE_BYTES = 4096
REQUESTS = 300
FLAGS = {
    "nsqd": ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--data-path=."],
    "lookupd": ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"],
    "admin": ["--http-address=127.0.0.1:0", "--nsqd-http-address=127.0.0.1:1"],
}


@pytest.mark.parametrize("daemon", FLAGS)
def test_a_stalled_reader_of_the_log_stops_nobody(daemon: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", f"nsqx.{daemon}", *FLAGS[daemon]],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    with process:
        assert process.stderr is not None
        try:
            port = _port(process.stderr)
            fcntl.fcntl(process.stderr, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as http:
                for number in range(REQUESTS):
                    http.request("GET", f"/{'x' * 100}{number}")
                    assert http.getresponse().read()
        finally:
            process.terminate()
        # Whoever reads on has missed nothing: it was less than the buffer takes.
        log = process.stderr.read()
    assert [number for number in range(REQUESTS) if b"x%d " % number not in log] == []
    assert process.returncode == 0


def _port(stderr: IO[bytes]) -> int:
    log = b""
    while (listening := LISTENING.search(log)) is None:
        piece = os.read(stderr.fileno(), 65536)
        assert piece, log
        log += piece
    return int(listening[1])
