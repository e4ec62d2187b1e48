"""
Every error of the protocol, and a connection that ends behind each byte that nsqd sends.

What is tried at many places is tried at all of them at a time, each with an nsqd of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from nsqx.client import (
    AuthFailed,
    ConnectFailed,
    Consumer,
    IdentifyFailed,
    Producer,
    PublishFailed,
    Settings,
)
from nsqx.protocol.commands import Auth, FinishRun, Identify, MultiPublish, Publish, Subscribe
from tests.support.scripted_nsqd import Peer, ScriptedNsqd

BATCHES = 3
BATCH = 500  # messages, of one byte: how many a producer puts into an MPUB
OK_BYTES = 10

# Protocol section 3. All of these end the connection.
PUBLISH_REFUSALS = (
    b"E_BAD_PROTOCOL",
    b"E_INVALID invalid command XPUB",
    b"E_INVALID cannot PUB in current state (TLS required)",
    b"E_INVALID PUB insufficient number of parameters",
    b'E_BAD_TOPIC PUB topic name "x!" is not valid',
    b'E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "x!" is not valid',
    b"E_BAD_MESSAGE PUB invalid message body size 0",
    b"E_BAD_MESSAGE PUB message too big 7 > 6",
    b"E_BAD_MESSAGE PUB failed to read message body",
    b"E_INVALID DPUB timeout 3600001 out of range 0-3600000",
    b"E_BAD_BODY MPUB body too big 7 > 6",
    b"E_BAD_BODY MPUB invalid message count 0",
    b"E_AUTH_FIRST AUTH required before PUB",
    b"E_AUTH_FAILED AUTH failed",
    b'E_UNAUTHORIZED AUTH failed for PUB on "t" ""',
    b"E_UNHEARD_OF of a later version",
)
PUBLISH_FAILURES = (
    b"E_PUB_FAILED PUB failed exiting",
    b"E_DPUB_FAILED DPUB failed disk full",
    b"E_MPUB_FAILED MPUB failed disk full",
)
IDENTIFY_REFUSALS = (
    b"E_BAD_PROTOCOL",
    b"E_INVALID cannot IDENTIFY in current state",
    b"E_BAD_BODY IDENTIFY body too big 7 > 6",
    b"E_BAD_BODY IDENTIFY failed to decode JSON body",
    b"E_BAD_BODY IDENTIFY sample rate (100) is invalid",
    b"E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
    b"E_IDENTIFY_FAILED IDENTIFY failed write: broken pipe",
)
AUTH_REFUSALS = (
    b"E_INVALID AUTH already set",
    b"E_BAD_BODY AUTH invalid body size 0",
    b"E_AUTH_DISABLED AUTH disabled",
    b"E_AUTH_FAILED AUTH failed",
    b"E_UNAUTHORIZED AUTH no authorizations found",
    b"E_AUTH_ERROR AUTH error write: broken pipe",
)
SUBSCRIBE_REFUSALS = (
    b"E_INVALID cannot SUB in current state",
    b"E_INVALID cannot SUB with heartbeats disabled",
    b'E_BAD_TOPIC SUB topic name "x!" is not valid',
    b'E_BAD_CHANNEL SUB channel name "x!" is not valid',
    b"E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1",
    b"E_SUB_FAILED SUB failed to deleted topic/channel",
    b"E_AUTH_FIRST AUTH required before SUB",
    b"E_AUTH_FAILED AUTH failed",
    b'E_UNAUTHORIZED AUTH failed for SUB on "t" "c"',
)
CONSUMER_REFUSALS = (
    b"E_INVALID RDY count 50 out of range 0-10",
    b"E_INVALID cannot FIN in current state",
    b"E_INVALID invalid message ID",
    b"E_INVALID REQ could not parse timeout -1",
)
LATE_ANSWERS = (
    b"E_FIN_FAILED FIN 0000000000000001 failed ID not in flight",
    b"E_FIN_FAILED FIN 0000000000000001 failed client does not own message",
    b"E_REQ_FAILED REQ 0000000000000001 failed exiting",
    b"E_TOUCH_FAILED TOUCH 0000000000000001 failed ID not in flight",
)


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def accept(nsqd: ScriptedNsqd) -> Peer:
    peer = await nsqd.accept()
    await peer.identify()
    return peer


def refuse(peer: Peer, line: bytes) -> None:
    """Do as nsqd does after a fatal error."""
    peer.error(line)
    peer.close()


# Errors


@pytest.mark.parametrize("line", PUBLISH_REFUSALS, ids=bytes.decode)
async def test_a_refusal_is_told_to_its_publish_and_to_no_other(
    nsqd: ScriptedNsqd, line: bytes
) -> None:
    code, _, text = line.decode().partition(" ")
    async with Producer(nsqd.address) as producer:
        refused = asyncio.create_task(producer.publish("t", b"refused"))
        other = asyncio.create_task(producer.publish("elsewhere", b"other"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        refuse(peer, line)
        with pytest.raises(PublishFailed) as caught:
            await refused
        assert (caught.value.code, caught.value.text) == (code, text)
        peer = await accept(nsqd)
        assert (await peer.expect(Publish)).body == b"other"
        peer.ok()
        await other


@pytest.mark.parametrize("line", PUBLISH_FAILURES, ids=bytes.decode)
async def test_what_could_not_be_stored_is_published_again(nsqd: ScriptedNsqd, line: bytes) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        refuse(peer, line)
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.ok()
        await publish


@pytest.mark.parametrize("line", IDENTIFY_REFUSALS, ids=bytes.decode)
async def test_a_refused_identify_is_told_and_tried_again(nsqd: ScriptedNsqd, line: bytes) -> None:
    async with Producer(nsqd.address) as producer:
        ready = asyncio.create_task(producer.ready())
        peer = await nsqd.accept()
        await peer.expect(Identify)
        refuse(peer, line)
        with pytest.raises(IdentifyFailed, match=line.decode().split(" ")[0]):
            await ready
        await accept(nsqd)


@pytest.mark.parametrize("line", AUTH_REFUSALS, ids=bytes.decode)
async def test_a_refused_secret_is_told_and_tried_again(nsqd: ScriptedNsqd, line: bytes) -> None:
    async with Producer(nsqd.address, settings=Settings(auth_secret="s")) as producer:
        ready = asyncio.create_task(producer.ready())
        peer = await nsqd.accept()
        await peer.identify(auth_required=True)
        await peer.expect(Auth)
        refuse(peer, line)
        with pytest.raises(AuthFailed, match=line.decode().split(" ")[0]):
            await ready
        await accept(nsqd)


@pytest.mark.parametrize("line", SUBSCRIBE_REFUSALS, ids=bytes.decode)
async def test_a_refused_sub_is_tried_again(nsqd: ScriptedNsqd, line: bytes) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address):
        peer = await accept(nsqd)
        await peer.expect(Subscribe)
        refuse(peer, line)
        peer = await nsqd.accept()
        await peer.subscribe()
        assert await peer.ready() == 50


@pytest.mark.parametrize("line", CONSUMER_REFUSALS, ids=bytes.decode)
async def test_a_consumer_comes_back_after_a_fatal_error(nsqd: ScriptedNsqd, line: bytes) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        refuse(peer, line)
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.deliver(b"1")
        (await anext(consumer)).finish()
        assert await peer.finished() == [1]


@pytest.mark.parametrize("line", LATE_ANSWERS, ids=bytes.decode)
async def test_an_answer_that_was_late_ends_nothing(nsqd: ScriptedNsqd, line: bytes) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.error(line)
        peer.deliver(b"1")
        (await anext(consumer)).finish()
        assert await peer.finished() == [1]


# A connection that ends anywhere


async def publish_one(nsqd: ScriptedNsqd) -> int:
    """Publish over a connection that may be cut; return how many bytes nsqd sent before that."""
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        first = await nsqd.accept()
        with suppress(EOFError):
            await first.identify()
            await first.expect(Publish)
            first.ok()
            if first.cut_after is None:
                await publish
                return first.bytes_sent
            await first.expect_close()
        nsqd.next_is_cut_after = None
        second = await accept(nsqd)
        assert (await second.expect(Publish)).body == b"1"
        second.ok()
        await publish
    return first.bytes_sent


async def publish_many(nsqd: ScriptedNsqd) -> int:
    """The same with batches: only those without a whole answer are sent again."""
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish_many("t", [b"1"] * BATCHES * BATCH))
        first = await nsqd.accept()
        confirmed = 0
        with suppress(EOFError):
            await first.identify()
            identified = first.bytes_sent
            for _ in range(BATCHES):
                await first.expect(MultiPublish)
                first.ok()
                confirmed = (first.bytes_sent - identified) // OK_BYTES
            if first.cut_after is None:
                assert await publish == BATCHES * BATCH
                return first.bytes_sent
            await first.expect_close()
        nsqd.next_is_cut_after = None
        second = await accept(nsqd)
        for _ in range(BATCHES - confirmed):
            assert len((await second.expect(MultiPublish)).bodies) == BATCH
            second.ok()
        assert await publish == BATCHES * BATCH
    return first.bytes_sent


async def consume_two(nsqd: ScriptedNsqd) -> int:
    """Finish two messages; what was cut off is delivered again, and each FIN is sent once."""
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        consuming = asyncio.create_task(finish_all(consumer))
        first = await nsqd.accept()
        with suppress(EOFError):
            await first.subscribe()
            first.deliver(b"1")
            first.deliver(b"2", first_id=2)
            if first.cut_after is None:
                length = first.bytes_sent  # without the answer to CLS
                await finished(first, {1, 2})
                await consumer.close()
                await consuming
                return length
            await first.expect_close()
        nsqd.next_is_cut_after = None
        second = await nsqd.accept()
        await second.subscribe()
        second.deliver(b"1", attempts=2)
        second.deliver(b"2", first_id=2, attempts=2)
        await finished(second, {1, 2})
        await consumer.close()
        await consuming
    return first.bytes_sent


async def finish_all(consumer: Consumer) -> None:
    async for message in consumer:
        message.finish()


async def finished(peer: Peer, ids: set[int]) -> None:
    """Expect RDY, and then FINs of these messages, each once."""
    await peer.ready()
    seen: list[int] = []
    while len(seen) < len(ids):
        seen += (await peer.expect(FinishRun)).ids
    assert sorted(seen) == sorted(ids)


@pytest.mark.parametrize("talk", [publish_one, publish_many, consume_two])
async def test_a_connection_may_end_behind_any_byte(
    talk: Callable[[ScriptedNsqd], Awaitable[int]],
) -> None:
    async with ScriptedNsqd() as nsqd:
        length = await talk(nsqd)

    async def cut(after: int) -> None:
        async with ScriptedNsqd() as nsqd:
            nsqd.next_is_cut_after = after
            assert await talk(nsqd) == after

    await asyncio.gather(*map(cut, range(length)))


# Slow peers


class Dribble:
    """Sends what a peer sends byte by byte, each in a turn of the event loop of its own."""

    def __init__(self, peer: Peer) -> None:
        self._transport = peer.transport
        self._bytes: asyncio.Queue[int] = asyncio.Queue()
        self._task = asyncio.create_task(self._run())

    def __call__(self, data: bytes) -> None:
        for byte in data:
            self._bytes.put_nowait(byte)

    async def _run(self) -> None:
        while True:
            self._transport.write(bytes((await self._bytes.get(),)))
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._task.cancel()


async def test_a_peer_may_take_its_time_for_each_byte(
    nsqd: ScriptedNsqd, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        Producer(nsqd.address) as producer,
        ScriptedNsqd() as other,
        Consumer("t", "c", nsqd=other.address) as consumer,
    ):
        publish = asyncio.create_task(producer.publish("t", b"1"))
        outlet, source = await nsqd.accept(), await other.accept()
        dribbles = [Dribble(peer) for peer in (outlet, source)]
        for peer, dribble in zip((outlet, source), dribbles, strict=True):
            monkeypatch.setattr(peer, "send", dribble)
        await outlet.identify()
        await outlet.expect(Publish)
        outlet.heartbeat()
        outlet.ok()
        await publish
        await source.subscribe()
        await source.ready()
        source.deliver(b"slow")
        message = await anext(consumer)
        assert message.body == b"slow"
        message.finish()
        assert await source.finished() == [1]
    for dribble in dribbles:
        dribble.stop()


async def test_a_connection_that_is_refused_again_and_again_bounds_every_publish(
    nsqd: ScriptedNsqd,
) -> None:
    async def hang_up() -> None:
        while True:
            (await nsqd.accept()).disconnect()

    hanging_up = asyncio.create_task(hang_up())
    async with Producer(nsqd.address, timeout=0.3) as producer:
        publishes = [producer.publish("t", b"%d" % number) for number in range(20)]
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*publishes, return_exceptions=True)
    hanging_up.cancel()
    assert all(isinstance(outcome, TimeoutError) for outcome in outcomes)
    assert all(isinstance(outcome.last_error, ConnectFailed) for outcome in outcomes)  # type: ignore[union-attr]  # DeadlineExceeded
