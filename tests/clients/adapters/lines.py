"""
What the adapters of third-party clients have in common: a line of JSON per request and answer.

An adapter is a process of its own, since each client has its own kind of event loop. It is
started with its `Settings` as the only argument, reads requests from stdin, does them one after
the other, and writes to stdout one answer for each, and messages as they come:

    {"do": "publish", "body": ".."}                      {"answer": "OK"}
    {"do": "multi_publish", "bodies": ["..", ".."]}      {"answer": "OK"}
    {"do": "publish_deferred", "body": "..", "delay_ms": 300}
    {"do": "subscribe"}                                  {"answer": "OK"}
    {"do": "finish", "id": ".."}                         {"message": {"id": .., "attempts": ..,
    {"do": "requeue", "id": "..", "delay_ms": 0}                      "body": ".."}}
    {"do": "touch", "id": ".."}

Bodies are Base64. What fails is answered with the exception's text.
"""

import base64
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["LINE_BYTES_MAX", "Settings", "body_of", "write_answer", "write_message"]

LINE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What a client is to be told."""

    address: str
    topic: str
    channel: str
    max_in_flight: int = 5
    msg_timeout_ms: int = 1000
    heartbeat_s: int = 30
    tls_authority: str | None = None  # path of the certificate to trust
    snappy: bool = False
    deflate: bool = False
    auth_secret: str | None = None

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def has_layers(self) -> bool:
        return self.tls_authority is not None or self.snappy or self.deflate

    def encode(self) -> str:
        """Return the argument for an adapter."""
        return json.dumps(asdict(self))

    @classmethod
    def of_command_line(cls) -> "Settings":
        return cls(**json.loads(sys.argv[1]))


def body_of(text: str) -> bytes:
    return base64.b64decode(text)


def write_answer(answer: object) -> None:
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    _write({"answer": text})


def write_message(id: bytes | str, attempts: int, body: bytes) -> None:
    text = id.decode() if isinstance(id, bytes) else id
    encoded = base64.b64encode(body).decode()
    _write({"message": {"id": text, "attempts": attempts, "body": encoded}})


def _write(item: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(item) + "\n")
    sys.stdout.flush()
