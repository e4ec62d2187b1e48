"""
The producer against a scripted nsqd: every answer, every way to lose a connection.

Deadlines in these tests are short where they are to pass, and long where they are not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from nsqx.client import (
    ClientClosed,
    ConnectFailed,
    ConnectionClosed,
    DeadlineExceeded,
    Nsq,
    PartlyPublished,
    Producer,
    PublishFailed,
    Settings,
)
from nsqx.protocol.commands import MultiPublish, Nop, Publish
from tests.support.scripted_nsqd import Peer, ScriptedNsqd


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def accept(nsqd: ScriptedNsqd) -> Peer:
    peer = await nsqd.accept()
    await peer.identify()
    return peer


# Answers


async def test_publish_returns_when_nsqd_has_confirmed(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("orders", b"hello"))
        peer = await accept(nsqd)
        assert await peer.next() == Publish("orders", b"hello", None)
        assert not publish.done()
        peer.ok()
        await publish


async def test_defer_is_sent_in_milliseconds(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("orders", b"later", defer=1.5))
        peer = await accept(nsqd)
        assert await peer.next() == Publish("orders", b"later", 1500)
        peer.ok()
        await publish


async def test_answers_are_matched_in_order(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        first = asyncio.create_task(producer.publish("t", b"1"))
        second = asyncio.create_task(producer.publish("t", b"2"))
        peer = await accept(nsqd)
        # Both are here before either is answered.
        assert (await peer.expect(Publish)).body == b"1"
        assert (await peer.expect(Publish)).body == b"2"
        peer.ok()
        await first
        assert not second.done()
        peer.ok()
        await second


async def test_an_answer_may_come_in_pieces(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        for byte in b"\0\0\0\6\0\0\0\0OK":
            peer.send(bytes((byte,)))
            await asyncio.sleep(0)
        await publish


async def test_refused_publish_raises_what_nsqd_said(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"too big"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.error(b"E_BAD_MESSAGE PUB message too big 7 > 6")
        with pytest.raises(PublishFailed, match="PUB message too big 7 > 6") as caught:
            await publish
        assert caught.value.code == "E_BAD_MESSAGE"


async def test_others_are_published_again_after_a_fatal_error(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        bad = asyncio.create_task(producer.publish("t", b"bad"))
        good = asyncio.create_task(producer.publish("t", b"good"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.error(b"E_BAD_MESSAGE no")
        with pytest.raises(PublishFailed):
            await bad
        peer = await accept(nsqd)
        assert (await peer.expect(Publish)).body == b"good"
        peer.ok()
        await good


async def test_what_nsqd_could_not_store_is_tried_again(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.error(b"E_PUB_FAILED PUB failed disk full")
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.ok()
        await publish


async def test_who_could_not_store_a_message_rests_and_then_gets_one(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, refusal_delay=0.05) as producer:
        publishes = [asyncio.create_task(producer.publish("t", b"%d" % n)) for n in range(3)]
        peer = await accept(nsqd)
        for _ in range(3):
            await peer.expect(Publish)
        peer.error(b"E_PUB_FAILED PUB failed disk full")
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.heartbeat()
        await peer.expect(Nop)  # and not the other two
        peer.ok()
        for _ in range(2):
            await peer.expect(Publish)
            peer.ok()
        await asyncio.gather(*publishes)


async def test_when_a_risky_message_is_stored_all_others_go_on(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, refusal_delay=0) as producer:
        await be_refused(nsqd, producer)
        peer = await accept(nsqd)
        risky = asyncio.create_task(producer.publish("risky", b"risky"))
        side = await accept(nsqd)
        await side.expect(Publish)
        other = asyncio.create_task(producer.publish("t", b"other"))
        peer.heartbeat()
        await peer.expect(Nop)  # and not the other one: one at a time
        side.ok()
        await risky
        assert (await peer.expect(Publish)).body == b"other"
        peer.ok()
        await other


async def be_refused(nsqd: ScriptedNsqd, producer: Producer) -> None:
    """Have nsqd refuse what it cannot store, and before, a topic: that is risky from then on."""
    publish = asyncio.create_task(producer.publish("risky", b"1"))
    peer = await accept(nsqd)
    await peer.expect(Publish)
    peer.error(b"E_UNAUTHORIZED AUTH failed")
    with pytest.raises(PublishFailed):
        await publish
    publish = asyncio.create_task(producer.publish("t", b"1"))
    peer = await accept(nsqd)
    await peer.expect(Publish)
    publish.cancel()
    peer.error(b"E_PUB_FAILED PUB failed disk full")


async def test_who_rests_gets_nothing_and_publishes_say_why(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, refusal_delay=60, refusal_delay_max=60) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1", timeout=0.2))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.error(b"E_PUB_FAILED PUB failed disk full")
        peer = await accept(nsqd)
        for each in (publish, producer.publish("t", b"2", timeout=0.2)):
            with pytest.raises(DeadlineExceeded, match="disk full"):
                await each
        peer.heartbeat()
        await peer.expect(Nop)


async def test_heartbeats_are_answered(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address):
        peer = await accept(nsqd)
        peer.heartbeat()
        await peer.expect(Nop)


async def test_nonsense_from_nsqd_ends_the_connection(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.expect_close()
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.ok()
        await publish


# Arguments


@pytest.mark.parametrize(("topic", "body"), [("no blanks", b"x"), ("", b"x"), ("t", b"")])
async def test_what_cannot_be_sent_is_refused_at_once(
    nsqd: ScriptedNsqd, topic: str, body: bytes
) -> None:
    async with Producer(nsqd.address) as producer:
        with pytest.raises(ValueError, match=r"topic|body"):
            await producer.publish(topic, body)


async def test_a_producer_must_be_open(nsqd: ScriptedNsqd) -> None:
    producer = Producer(nsqd.address)
    with pytest.raises(ClientClosed):
        await producer.publish("t", b"x")
    async with producer:
        pass
    with pytest.raises(ClientClosed):
        await producer.publish("t", b"x")


# Batches


async def answer_batches(peer: Peer) -> list[list[bytes]]:
    """Confirm MPUBs until the client closes, and return them."""
    batches = []
    try:
        while True:
            command = await peer.next()
            if isinstance(command, MultiPublish):
                batches.append(command.bodies)
                peer.ok()
    except EOFError:
        return batches


async def test_publish_many_sends_bounded_batches(nsqd: ScriptedNsqd) -> None:
    bodies = [b"%d" % number for number in range(1234)]
    async with Producer(nsqd.address) as producer:
        answers = asyncio.create_task(answer_batches(await accept(nsqd)))
        assert await producer.publish_many("t", iter(bodies)) == 1234
    batches = await answers
    assert [len(batch) for batch in batches] == [500, 500, 234]
    assert [body for batch in batches for body in batch] == bodies


async def test_publish_many_bounds_a_batch_by_bytes(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        answers = asyncio.create_task(answer_batches(await accept(nsqd)))
        assert await producer.publish_many("t", [b"x" * 300_000] * 3) == 3
    assert [len(batch) for batch in await answers] == [2, 1]


async def test_publish_many_of_nothing_sends_nothing(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        assert await producer.publish_many("t", []) == 0


async def test_publish_many_reads_no_faster_than_nsqd_confirms(nsqd: ScriptedNsqd) -> None:
    taken = 0

    def bodies() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100_000):
            taken += 1
            yield b"x"

    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish_many("t", bodies()))
        peer = await accept(nsqd)
        for _ in range(8):
            await peer.expect(MultiPublish)
        assert taken == 8 * 500
        publish.cancel()
        peer.ok(8)


async def test_publish_many_tells_what_is_not_published(nsqd: ScriptedNsqd) -> None:
    bodies = [b"%d" % number for number in range(1500)]
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish_many("t", bodies))
        peer = await accept(nsqd)
        await peer.expect(MultiPublish)
        await peer.expect(MultiPublish)
        peer.ok()
        peer.error(b"E_BAD_MESSAGE no")
        peer = await accept(nsqd)  # the third batch had no answer
        await peer.expect(MultiPublish)
        peer.ok()
        with pytest.raises(PartlyPublished) as caught:
            await publish
    assert caught.value.confirmed == 1000
    assert caught.value.unconfirmed == bodies[500:1000]
    assert isinstance(caught.value.__cause__, PublishFailed)


# Lost connections


@pytest.mark.parametrize("how", ["disconnect", "close"])
@pytest.mark.parametrize(
    "step", ["connected", "identify received", "identified", "half an answer", "publish received"]
)
async def test_a_publish_survives_a_connection_lost_at_any_step(
    nsqd: ScriptedNsqd, step: str, how: str
) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await nsqd.accept()
        if step == "identify received":
            await peer.next()
        elif step == "half an answer":
            await peer.next()
            peer.send(b"\0\0\0\x80\0")
        elif step != "connected":
            await peer.identify()
            if step == "publish received":
                await peer.expect(Publish)
        getattr(peer, how)()
        peer = await accept(nsqd)
        assert (await peer.expect(Publish)).body == b"1"
        peer.ok()
        await publish


async def test_without_resend_a_lost_connection_is_an_error(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, resend=False) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.disconnect()
        with pytest.raises(ConnectionClosed):
            await publish


async def test_publishing_waits_for_an_nsqd_that_starts_later(nsqd: ScriptedNsqd) -> None:
    await nsqd.stop()
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        with pytest.raises(ConnectFailed):
            await producer.ready()
        await nsqd.start()
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.ok()
        await publish


# Deadlines


async def test_no_nsqd_means_deadline_exceeded_with_the_reason(nsqd: ScriptedNsqd) -> None:
    await nsqd.stop()
    async with Producer(nsqd.address, timeout=0.2) as producer:
        with pytest.raises(DeadlineExceeded, match="cannot connect") as caught:
            await producer.publish("t", b"1")
        assert isinstance(caught.value.last_error, ConnectFailed)
        assert isinstance(caught.value, TimeoutError)


async def test_a_name_that_is_none_is_told_and_tried_on() -> None:
    async with Producer("a..b:4150") as producer, asyncio.timeout(5):
        with pytest.raises(ConnectFailed, match="no name of a host"):
            await producer.ready()


async def test_silence_means_deadline_exceeded(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        peer = await accept(nsqd)
        with pytest.raises(DeadlineExceeded):
            await producer.publish("t", b"1", timeout=0.1)
        # The late answer belongs to the first, not to the second.
        second = asyncio.create_task(producer.publish("t", b"2"))
        await peer.expect(Publish)
        await peer.expect(Publish)
        peer.ok()
        peer.heartbeat()
        await peer.expect(Nop)
        assert not second.done()
        peer.ok()
        await second


async def test_a_peer_that_does_not_answer_is_given_up(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, settings=Settings(reply_timeout=0.1)) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        silent = await accept(nsqd)
        await silent.expect(Publish)
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.ok()
        await publish


async def test_a_peer_without_heartbeats_is_given_up(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, settings=Settings(heartbeat_interval=0.05)):
        silent = await accept(nsqd)
        await silent.expect_close()
        await accept(nsqd)


async def test_a_peer_that_never_identifies_is_given_up(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, settings=Settings(connect_timeout=0.1)) as producer:
        silent = await nsqd.accept()
        with pytest.raises(ConnectFailed, match=r"no answer within 0\.1 s"):
            await producer.ready()
        await silent.expect_close()
    assert not [task for task in asyncio.all_tasks() if "Queue.get" in repr(task)]


async def test_a_peer_that_does_not_read_is_given_up(nsqd: ScriptedNsqd) -> None:
    settings = Settings(write_timeout=0.1, heartbeat_interval=60, reply_timeout=60)
    async with Producer(nsqd.address, settings=settings, outstanding_bytes_max=2**30) as producer:
        stuck = await accept(nsqd)
        stuck.transport.pause_reading()
        body = b"x" * 1_000_000
        publishes = [asyncio.create_task(producer.publish("t", body)) for _ in range(20)]
        peer = await accept(nsqd)
        assert (await peer.expect(Publish)).body == body
        for publish in publishes:
            publish.cancel()


async def test_cancelling_a_publish_leaves_the_others_alone(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        first = asyncio.create_task(producer.publish("t", b"1"))
        second = asyncio.create_task(producer.publish("t", b"2"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        await peer.expect(Publish)
        first.cancel()
        peer.ok(2)
        await second
        assert first.cancelled()


async def test_back_pressure_bounds_what_is_sent(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address, outstanding_bytes_max=1000) as producer:
        publishes = [asyncio.create_task(producer.publish("t", b"x" * 600)) for _ in range(3)]
        peer = await accept(nsqd)
        await peer.expect(Publish)
        await peer.expect(Publish)
        peer.heartbeat()
        await peer.expect(Nop)  # and not the third, which waits for an answer
        peer.ok()
        await peer.expect(Publish)
        peer.ok(2)
        await asyncio.gather(*publishes)


# Several nsqds


@pytest.fixture
async def other() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def test_the_first_nsqd_is_preferred(nsqd: ScriptedNsqd, other: ScriptedNsqd) -> None:
    async with Producer([nsqd.address, other.address]) as producer:
        peer = await accept(nsqd)
        await accept(other)
        for _ in range(3):
            publish = asyncio.create_task(producer.publish("t", b"1"))
            await peer.expect(Publish)
            peer.ok()
            await publish


async def test_fail_over_to_the_other_nsqd(nsqd: ScriptedNsqd, other: ScriptedNsqd) -> None:
    async with Producer([nsqd.address, other.address]) as producer:
        peer, other_peer = await accept(nsqd), await accept(other)
        publish = asyncio.create_task(producer.publish("t", b"1"))
        await peer.expect(Publish)
        await nsqd.stop()
        peer.disconnect()
        assert (await other_peer.expect(Publish)).body == b"1"
        other_peer.ok()
        await publish


async def test_what_one_nsqd_could_not_store_goes_to_the_other(
    nsqd: ScriptedNsqd, other: ScriptedNsqd
) -> None:
    async with Producer([nsqd.address, other.address]) as producer:
        peer, other_peer = await accept(nsqd), await accept(other)
        publish = asyncio.create_task(producer.publish("t", b"1"))
        await peer.expect(Publish)
        peer.error(b"E_PUB_FAILED PUB failed disk full")
        await other_peer.expect(Publish)
        other_peer.ok()
        await publish


async def test_spread_takes_turns(nsqd: ScriptedNsqd, other: ScriptedNsqd) -> None:
    async with Producer([nsqd.address, other.address], spread=True) as producer:
        peers = [await accept(nsqd), await accept(other)]
        await producer.ready()
        publishes = [asyncio.create_task(producer.publish("t", b"%d" % n)) for n in range(6)]
        for peer in peers:
            for _ in range(3):
                await peer.expect(Publish)
            peer.ok(3)
        await asyncio.gather(*publishes)


# Closing


async def test_close_waits_for_what_is_under_way(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        close = asyncio.create_task(producer.close())
        peer.heartbeat()
        await peer.expect(Nop)
        assert not close.done()
        peer.ok()
        await publish
        await peer.expect_close()
        await close


async def test_close_fails_what_is_not_confirmed_in_time(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        publish = asyncio.create_task(producer.publish("t", b"1"))
        peer = await accept(nsqd)
        await peer.expect(Publish)
        close = asyncio.create_task(producer.close(timeout=0.05))
        with pytest.raises(ClientClosed):
            await publish
        await peer.expect_close()
        await close


async def test_close_waits_for_what_was_begun_in_other_tasks(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer, asyncio.timeout(10):
        single = asyncio.create_task(producer.publish("t", b"1"))
        many = asyncio.create_task(producer.publish_many("t", [b"1"] * 10 * 500))
        close = asyncio.create_task(producer.close())  # before they have had a turn
        peer = await accept(nsqd)
        await peer.expect(Publish)
        peer.ok()
        for _ in range(10):  # more than are on the way at a time
            await peer.expect(MultiPublish)
            peer.ok()
        await single
        assert await many == 5000
        await close
        with pytest.raises(ClientClosed):
            await producer.publish_many("t", [b"1"])


async def test_a_batch_that_is_begun_when_the_time_of_close_is_over_is_told(
    nsqd: ScriptedNsqd,
) -> None:
    async with Producer(nsqd.address) as producer:
        many = asyncio.create_task(producer.publish_many("t", iter([b"1"] * 10 * 500)))
        close = asyncio.create_task(producer.close(0.05))
        peer = await accept(nsqd)
        await peer.expect(MultiPublish)
        peer.ok()
        with pytest.raises(PartlyPublished) as caught:
            await many
        assert caught.value.confirmed == 500
        await close


@pytest.mark.parametrize("make", [Producer, Nsq])
async def test_a_close_that_is_cancelled_leaves_nothing_behind(
    make: Callable[..., Producer | Nsq],
) -> None:
    client = make(nsqd="127.0.0.1:1")
    await client.__aenter__()
    publish = asyncio.create_task(client.publish("t", b"1"))
    close = asyncio.create_task(client.close())
    await asyncio.wait((close,), timeout=0.05)
    close.cancel()
    with pytest.raises(ClientClosed):
        await publish
    await asyncio.wait((close,))
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=3)  # the time of `close` is not waited for again
    assert not [task for task in left if not task.done()]
