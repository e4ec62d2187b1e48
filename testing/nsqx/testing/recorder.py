"""
What was published to a topic, without being one of its channels.

It reads the topics' logs, which the nodes of a test keep for an hour. So it sees what was published
before it was asked for and what is consumed already, and consumers lose nothing to it.
"""

import asyncio
import base64
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload
from urllib.parse import quote

from nsqx.client.codecs import JSON, Codec, decode_body
from nsqx.testing.daemons import Node
from nsqx.testing.http import Json, get_json

__all__ = ["Published", "Recorder"]

T = TypeVar("T")

WAIT_SECONDS = 5.0
POLL_SECONDS = 0.01
_PAGE_MESSAGES = 1000


@dataclass(frozen=True, slots=True)
class Published:
    """
    A message as it was published.

    Attributes:
        id: as consumers see it.
        timestamp_ns: when nsqd accepted it, in nanoseconds since 1970.
    """

    id: bytes
    timestamp_ns: int
    body: bytes
    codec: Codec = JSON

    @overload
    def decode(self, kind: type[T]) -> T: ...
    @overload
    def decode(self, kind: Any = ...) -> Any: ...
    def decode(self, kind: Any = Any) -> Any:
        """
        Return what the body holds; JSON if no codec was set.

        Raises:
            DecodeFailed: it is no ``kind``.
        """
        return decode_body(self.body, kind, self.codec)


class Recorder:
    """
    The messages of a topic, over all nodes, in the order accepted.

    Not of an ephemeral topic once they are consumed: those have no log.
    """

    def __init__(self, nodes: Callable[[], Sequence[Node]], topic: str, codec: Codec) -> None:
        self.topic = topic
        self._nodes = nodes
        self._codec = codec

    @property
    def messages(self) -> list[Published]:
        """All that were published until now."""
        found = [message for node in self._nodes() for message in self._read(node)]
        return sorted(found, key=_timestamp)

    @property
    def bodies(self) -> list[bytes]:
        """Their bodies."""
        return [message.body for message in self.messages]

    @property
    def values(self) -> list[Any]:
        """What their bodies hold: JSON if no codec was set."""
        return [message.decode() for message in self.messages]

    def wait(self, count: int = 1, timeout: float = WAIT_SECONDS) -> list[Published]:
        """
        Return all messages, as soon as there are ``count`` of them.

        Not in a coroutine whose event loop publishes them: ``await`` the other one there.

        Raises:
            AssertionError: they did not come in time.
        """
        deadline = time.monotonic() + timeout
        while len(messages := self.messages) < count:
            self._check(deadline, messages, count, timeout)
            time.sleep(POLL_SECONDS)
        return messages

    async def wait_async(self, count: int = 1, timeout: float = WAIT_SECONDS) -> list[Published]:  # noqa: ASYNC109 - its error tells more
        """
        Do as ``wait`` does, and let the event loop run meanwhile.

        Raises:
            AssertionError: they did not come in time.
        """
        deadline = time.monotonic() + timeout
        while len(messages := await asyncio.to_thread(lambda: self.messages)) < count:
            self._check(deadline, messages, count, timeout)
            await asyncio.sleep(POLL_SECONDS)
        return messages

    def __len__(self) -> int:
        return len(self.messages)

    def __iter__(self) -> Iterator[Published]:
        return iter(self.messages)

    def _check(
        self, deadline: float, messages: list[Published], count: int, seconds: float
    ) -> None:
        if time.monotonic() > deadline:
            bodies = [message.body for message in messages]
            raise AssertionError(
                f"{self.topic}: {len(messages)} messages in {seconds:g} s, not {count}: {bodies}"
            )

    def _read(self, node: Node) -> Iterator[Published]:
        """Yield what one node has; nothing if it does not run or does not know the topic."""
        if not node.is_running:
            return
        position = "start"
        while True:
            try:
                page = get_json(
                    f"http://{node.http_address}/topic/peek?topic={quote(self.topic)}"
                    f"&from={position}&limit={_PAGE_MESSAGES}&encoding=base64"
                )
            except urllib.error.HTTPError as exc:
                exc.close()
                if exc.code == 404:
                    return
                raise
            yield from map(self._message, page["messages"])
            if page["next"] >= page["end"]:
                return
            position = f"seq:{page['next']}"

    def _message(self, found: Json) -> Published:
        body = base64.b64decode(found["body_base64"])
        return Published(found["id"].encode(), found["timestamp"], body, self._codec)


def _timestamp(message: Published) -> int:
    return message.timestamp_ns
