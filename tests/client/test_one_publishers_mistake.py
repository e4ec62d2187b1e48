"""What one publisher does wrong, or one nsqd, costs the others nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from nsqx.client import Producer, PublishFailed, Settings
from nsqx.protocol.commands import Publish
from tests.support.scripted_nsqd import Peer, ScriptedNsqd

EXTENSIONS = {"return": True, "max_msg_size": 100, "max_body_size": 300, "max_req_timeout": 5000}
MEBIBYTE = 1024 * 1024


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


@pytest.fixture
async def other() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def accept(nsqd: ScriptedNsqd, **answer: object) -> Peer:
    peer = await nsqd.accept()
    await peer.identify(**answer)
    return peer


async def test_what_breaks_a_limit_that_nsqd_has_named_is_not_sent(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        await accept(nsqd, nsqx_extensions=EXTENSIONS)
        with pytest.raises(PublishFailed, match="E_BAD_MESSAGE PUB message too big 101 > 100"):
            await producer.publish("t", b"x" * 101)
        with pytest.raises(PublishFailed, match="E_INVALID DPUB timeout 6000 out of range 0-5000"):
            await producer.publish("t", b"x", defer=6)
        with pytest.raises(Exception, match="MPUB body too big 316 > 300"):
            await producer.publish_many("t", [b"x" * 100] * 3)


async def test_what_may_be_too_big_goes_out_alone_and_is_learned_from(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        peer = await accept(nsqd)
        good = asyncio.create_task(producer.publish("t", b"good"))
        await peer.expect(Publish)
        bad = asyncio.create_task(producer.publish("t", b"x" * (MEBIBYTE + 1)))
        side = await accept(nsqd)
        await side.next()
        side.error(b"E_BAD_MESSAGE PUB message too big 1048577 > 1048576")
        side.close()
        with pytest.raises(PublishFailed):
            await bad
        peer.ok()
        await good
        with pytest.raises(PublishFailed, match="too big 1048578 > 1048576"):  # without asking
            await producer.publish("t", b"x" * (MEBIBYTE + 2))


async def test_a_connection_closed_over_a_refusal_is_made_again_at_once(nsqd: ScriptedNsqd) -> None:
    # With one pause it would take ten minutes.
    settings = Settings(reconnect_delay=600, reconnect_delay_max=600)
    async with asyncio.timeout(60), Producer(nsqd.address, settings=settings) as producer:
        peer = await accept(nsqd)
        for number in range(9):
            refused = asyncio.create_task(producer.publish("t", b"refused"))
            good = asyncio.create_task(producer.publish(f"t{number}", b"good"))
            assert (await peer.expect(Publish)).body == b"refused"
            peer.error(b"E_BAD_TOPIC PUB topic name is not valid")
            peer.close()
            with pytest.raises(PublishFailed):
                await refused
            peer = await accept(nsqd)
            assert (await peer.expect(Publish)).topic == f"t{number}"
            peer.ok()
            await good


async def test_a_topic_where_we_may_not_publish_ends_a_connection_once(nsqd: ScriptedNsqd) -> None:
    async with Producer(nsqd.address) as producer:
        peer = await accept(nsqd)
        refused = asyncio.create_task(producer.publish("secret", b"x"))
        await peer.expect(Publish)
        peer.error(b'E_UNAUTHORIZED AUTH failed for PUB on "secret" ""')
        peer.close()
        with pytest.raises(PublishFailed):
            await refused
        peer = await accept(nsqd)
        again = asyncio.create_task(producer.publish("secret", b"x"))
        side = await accept(nsqd)
        await side.expect(Publish)
        side.ok()  # we may, meanwhile
        await again
        assert not peer.closed.done()


async def test_who_owes_an_answer_gets_nothing_while_others_are_there(
    nsqd: ScriptedNsqd, other: ScriptedNsqd
) -> None:
    async with Producer([nsqd.address, other.address], timeout=2, slow_after=0.05) as producer:
        frozen, well = await accept(nsqd), await accept(other)
        first = asyncio.create_task(producer.publish("t", b"1"))
        await frozen.expect(Publish)
        await asyncio.sleep(0.1)  # the subject is an answer that does not come
        second = asyncio.create_task(producer.publish("t", b"2"))
        assert (await well.expect(Publish)).body == b"2"
        well.ok()
        await second
        assert (await well.expect(Publish)).body == b"1"  # after half of its time
        well.ok()
        await first
