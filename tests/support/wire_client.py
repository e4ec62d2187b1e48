"""A client of the bare protocol: for tests that want exact control over what is sent and when."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from types import TracebackType

from nsqx.protocol import commands
from nsqx.protocol.frames import HEARTBEAT, ErrorFrame, FrameParser, Message, Response

__all__ = ["WireClient"]

WAIT_SECONDS_MAX = 30.0


class WireClient:
    """
    One connection. Heartbeats are answered, everything else is the test's to do.

        async with WireClient(node.tcp_address) as client:
            await client.publish("orders", b"hello")
    """

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._parser: FrameParser[Message] = FrameParser()
        self._frames: deque[Response | ErrorFrame] = deque()
        self.messages: list[Message] = []
        self.heartbeats = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> "WireClient":
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        self.send(commands.MAGIC_V2)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def read(self) -> bool:
        """Take up what comes next; False when the broker closed."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            data = await self._reader.read(1 << 18)
        for frame in self._parser.receive_data(data):
            if isinstance(frame, Message):
                self.messages.append(frame)
            elif isinstance(frame, Response) and frame.data == HEARTBEAT:
                self.heartbeats += 1
                self.send(commands.nop())
            else:
                self._frames.append(frame)
        assert self._parser.error is None, self._parser.error
        return bool(data)

    async def response(self) -> bytes:
        """Return the next answer, which must not be an error."""
        while not self._frames:
            assert await self.read(), "the broker closed the connection"
        frame = self._frames.popleft()
        assert isinstance(frame, Response), frame
        return frame.data

    async def error(self) -> bytes:
        """Return the next answer, which must be an error."""
        while not self._frames:
            assert await self.read(), "the broker closed the connection"
        frame = self._frames.popleft()
        assert isinstance(frame, ErrorFrame), frame
        return frame.line

    async def publish(self, topic: str, body: bytes) -> None:
        """Publish one message and wait for its OK."""
        self.send(commands.pub(topic, body))
        assert await self.response() == b"OK"

    async def publish_many(self, topic: str, bodies: Sequence[bytes], batch: int = 200) -> None:
        """Publish in batches, each answered before the next."""
        for start in range(0, len(bodies), batch):
            self.send(commands.mpub(topic, bodies[start : start + batch]))
            assert await self.response() == b"OK"

    async def publish_deferred(self, topic: str, body: bytes, delay_ms: int) -> None:
        """Publish one message that is due later."""
        self.send(commands.dpub(topic, delay_ms, body))
        assert await self.response() == b"OK"

    async def subscribe(self, topic: str, channel: str, ready: int) -> None:
        """Subscribe and ask for messages."""
        self.send(commands.sub(topic, channel))
        assert await self.response() == b"OK"
        self.send(commands.rdy(ready))

    async def receive(self, count: int) -> list[Message]:
        """Wait for so many messages, and return and forget all that came."""
        while len(self.messages) < count:
            assert await self.read(), "the broker closed the connection"
        received, self.messages = self.messages, []
        return received

    async def receive_until_quiet(self, seconds: float) -> list[Message]:
        """Return what comes until nothing has come for so long."""
        while True:
            try:
                async with asyncio.timeout(seconds):
                    if not await self.read():
                        break
            except TimeoutError:
                break
        received, self.messages = self.messages, []
        return received

    def finish(self, messages: Iterable[Message]) -> None:
        """Finish messages."""
        self.send(b"".join(commands.fin(message.id) for message in messages))

    async def drain(self, count: int) -> list[Message]:
        """Receive and finish until so many different messages came; return all deliveries."""
        seen: set[bytes] = set()
        received: list[Message] = []
        while len(seen) < count:
            part = await self.receive(1)
            self.finish(part)
            seen.update(message.id for message in part)
            received += part
        return received
