"""
Servers in threads of their own that note what they are sent, for tests that block.

``RecordingNsqd`` plays the part that the recorder of the golden transcripts played: it says yes to
everything. ``RecordingHttp`` is a web server that answers everything with one status.
"""

import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from nsqx.protocol import frames, messages

__all__ = ["Heard", "RecordingHttp", "RecordingNsqd"]

WAIT_SECONDS = 20.0
_SIZE = struct.Struct(">I")
_WITH_BODY = (b"IDENTIFY", b"AUTH")

Heard = dict[str, Any]


class RecordingNsqd:
    """
    One nsqd, for one connection.

    Attributes:
        heard: what the client sent, in the form of the transcripts.
    """

    def __init__(
        self, *, auth_required: bool = False, attempts: int = 0, heartbeat: bool = False
    ) -> None:
        self.heard: list[Heard] = []
        self._changed = threading.Condition()
        self._auth_required = auth_required
        self._attempts = attempts  # of the message that it delivers; 0: none
        self._heartbeat = heartbeat  # whether it sends one when it is told RDY
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(WAIT_SECONDS)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def address(self) -> str:
        host, port = self._server.getsockname()
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        self._thread.join(WAIT_SECONDS)

    def wait_for(self, start: str) -> None:
        """Return when a command that begins like this was heard."""

        def was_heard() -> bool:
            return any(heard.get("command", "").startswith(start) for heard in self.heard)

        with self._changed:
            assert self._changed.wait_for(was_heard, WAIT_SECONDS), (start, self.heard)

    def wait_for_close(self) -> None:
        """Return when the client has closed."""
        with self._changed:
            closed = {"closed_by_client": True}
            assert self._changed.wait_for(lambda: closed in self.heard, WAIT_SECONDS), self.heard

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        connection.settimeout(WAIT_SECONDS)
        with connection, connection.makefile("rb") as stream:
            self._note({"magic": stream.read(4).decode()})
            while line := stream.readline():
                heard: Heard = {"command": line.decode()}
                if line.split()[0] in _WITH_BODY:
                    body = stream.read(_SIZE.unpack(stream.read(_SIZE.size))[0])
                    heard["body"] = json.loads(body) if line == b"IDENTIFY\n" else body.decode()
                self._note(heard)
                if answer := self._answer(line):
                    connection.sendall(answer)
            self._note({"closed_by_client": True})

    def _answer(self, line: bytes) -> bytes:
        match line.split():
            case [b"IDENTIFY"]:
                fields = {"max_rdy_count": 2500, "version": "1.3.0", "msg_timeout": 60000}
                fields["auth_required"] = self._auth_required
                return frames.encode_response(json.dumps(fields).encode())
            case [b"AUTH"] | [b"SUB", _, _]:
                return frames.OK_FRAME
            case [b"RDY", count] if count != b"0":
                return self._delivery()
            case [b"CLS"]:
                return frames.CLOSE_WAIT_FRAME
            case _:
                return b""

    def _delivery(self) -> bytes:
        if self._attempts:
            frame, _ = messages.encode_messages([b"x"], 0x0123456789ABCDE0, 10**18)
            attempts, self._attempts = self._attempts, 0
            return bytes(messages.with_attempts(frame, attempts))
        return frames.HEARTBEAT_FRAME if self._heartbeat else b""

    def _note(self, heard: Heard) -> None:
        with self._changed:
            self.heard.append(heard)
            self._changed.notify_all()


class RecordingHttp:
    """
    A web server.

    Attributes:
        requests: what came, in the form of the transcripts.
    """

    def __init__(self, status: int) -> None:
        self.requests: list[Heard] = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                names = ("Content-Type", "Content-Length", "Host")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                requests.append(
                    {
                        "method": self.command,
                        "path": self.path,
                        "headers": {
                            name: self.headers[name] for name in names if name in self.headers
                        },
                        "user_agent": self.headers["User-Agent"],
                        "body": body.decode(),
                        "all_headers": dict(self.headers.items()),
                    }
                )
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
