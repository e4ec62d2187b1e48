"""
A broker just true enough for load generators: one topic, one queue per channel, no log.

It runs in a thread on a port of the system's choice. What it saw is in ``published`` and
``finished``; a test may make it interrupt deliveries by a heartbeat, or answer with an error.
"""

import socketserver
import ssl
import struct
import threading
from typing import cast

OK = struct.pack(">ii", 6, 0) + b"OK"
HEARTBEAT = struct.pack(">ii", 15, 0) + b"_heartbeat_"
REFUSED = struct.pack(">ii", 4 + 22, 1) + b"E_PUB_FAILED disk full"
TLS_GRANTED = struct.pack(">ii", 4 + 15, 0) + b'{"tls_v1":true}'

__all__ = ["ScriptedBroker"]


class ScriptedBroker:
    """Use as a context manager."""

    def __init__(
        self,
        *,
        heartbeats: bool = False,
        refuse: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heartbeats = heartbeats
        self.tls = tls
        self.refuse = refuse
        self.published: list[bytes] = []
        self.finished: list[bytes] = []
        self.nops = 0
        self.closed = False
        self.changed = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.broker = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def __enter__(self) -> "ScriptedBroker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, bodies: list[bytes]) -> None:
        with self.changed:
            self.published += bodies
            self.changed.notify_all()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    broker: ScriptedBroker


class _Session(socketserver.StreamRequestHandler):
    """One connection: a thread that reads commands and, for a consumer, one that delivers."""

    def handle(self) -> None:
        self.broker = cast(_Server, self.server).broker
        assert self.rfile.read(4) == b"  V2"
        while line := self.rfile.readline():
            word, *arguments = line.split()
            getattr(self, f"do_{word.decode().lower()}")(*arguments)

    def do_identify(self) -> None:
        self._read_sized()
        if self.broker.tls is None:
            self._answer(OK)
            return
        self._answer(TLS_GRANTED)
        self.request = self.broker.tls.wrap_socket(self.request, server_side=True)
        self.rfile = self.request.makefile("rb")
        self._answer(OK)

    def finish(self) -> None:
        super().finish()
        self.request.close()  # under TLS it is a socket that the server does not know

    def do_pub(self, topic: bytes) -> None:
        self._publish([self._read_sized()])

    def do_mpub(self, topic: bytes) -> None:
        _, count = struct.unpack(">II", self.rfile.read(8))
        self._publish([self._read_sized() for _ in range(count)])

    def do_sub(self, topic: bytes, channel: bytes) -> None:
        self._answer(OK)

    def do_rdy(self, count: bytes) -> None:
        threading.Thread(target=self._deliver, args=(int(count),), daemon=True).start()

    def do_fin(self, message_id: bytes) -> None:
        with self.broker.changed:
            self.broker.finished.append(message_id)
            self.broker.changed.notify_all()

    def do_nop(self) -> None:
        with self.broker.changed:
            self.broker.nops += 1
            self.broker.changed.notify_all()

    def _publish(self, bodies: list[bytes]) -> None:
        if self.broker.refuse:
            self._answer(REFUSED)
            return
        self.broker.publish(bodies)
        self._answer(OK)

    def _deliver(self, ready_count: int) -> None:
        """Everything published, each channel's only consumer; never more than RDY unanswered."""
        broker = self.broker
        sent = 0
        while True:
            with broker.changed:
                while not broker.closed and not self._room(sent, ready_count):
                    broker.changed.wait()
                bodies = broker.published[sent : sent + self._room(sent, ready_count)]
            if broker.closed:
                return
            frames = [_frame(sent + offset, body) for offset, body in enumerate(bodies)]
            if broker.heartbeats:
                frames.insert(len(frames) // 2, HEARTBEAT)
            sent += len(bodies)
            try:
                self._answer(b"".join(frames))
            except OSError:  # the consumer has what it wanted, and left
                return

    def _room(self, sent: int, ready_count: int) -> int:
        broker = self.broker
        return min(len(broker.published) - sent, ready_count - (sent - len(broker.finished)))

    def _read_sized(self) -> bytes:
        return self.rfile.read(int.from_bytes(self.rfile.read(4), "big"))

    def _answer(self, data: bytes) -> None:
        self.request.sendall(data)


def _frame(number: int, body: bytes) -> bytes:
    return struct.pack(">iiqH16s", 30 + len(body), 2, 0, 1, b"%016x" % number) + body
