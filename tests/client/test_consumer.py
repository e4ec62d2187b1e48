"""The consumer against a scripted nsqd: what it asks for, and what becomes of each message."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from nsqx.client import BackoffPolicy, ClientClosed, Consumer, Message, Nsq, Settings
from nsqx.client.consumer import Handler
from nsqx.protocol.commands import Close, FinishRun, Nop, Requeue, Subscribe, Touch, UnknownId
from tests.support.scripted_nsqd import Peer, ScriptedNsqd


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


@pytest.fixture
async def other() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def accept(nsqd: ScriptedNsqd, *, rdy: int | None = 50, **answer: object) -> Peer:
    peer = await nsqd.accept()
    await peer.subscribe(**answer)
    if rdy is not None:
        assert await peer.ready() == rdy
    return peer


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the client tells nobody."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(
    consumer: Consumer, handler: Handler, concurrency: int = 1
) -> AsyncIterator[None]:
    """Run a handler in the background."""
    task = asyncio.create_task(consumer.run(handler, concurrency=concurrency))
    try:
        yield
    finally:
        await consumer.close()
        await task


# Subscribing


async def test_subscribes_and_asks_for_max_in_flight(nsqd: ScriptedNsqd) -> None:
    async with Consumer("orders", "billing", nsqd=nsqd.address, max_in_flight=7):
        peer = await nsqd.accept()
        await peer.identify()
        assert await peer.next() == Subscribe("orders", "billing")
        peer.ok()
        assert await peer.ready() == 7


async def test_tells_nsqd_who_it_is(nsqd: ScriptedNsqd) -> None:
    settings = Settings(client_id="me", hostname="my.host", msg_timeout=2.5, sample_rate=10)
    async with Consumer("t", "c", nsqd=nsqd.address, settings=settings):
        peer = await accept(nsqd)
        assert peer.identify_request == {
            "client_id": "me",
            "feature_negotiation": True,
            "heartbeat_interval": 30000,
            "hostname": "my.host",
            "nsqx_extensions": True,
            "msg_timeout": 2500,
            "sample_rate": 10,
            "tls_v1": False,
            "user_agent": "nsqx/0.1.0",
        }


async def test_knows_where_its_nsqds_are_asked_over_http(
    nsqd: ScriptedNsqd, other: ScriptedNsqd
) -> None:
    async with Consumer("t", "c", nsqd=[nsqd.address, other.address]) as consumer:
        for each, extensions in ((nsqd, {"return": True, "http_port": 4151}), (other, {})):
            peer = await each.accept()
            await peer.identify(nsqx_extensions=extensions)
            assert await peer.next() == Subscribe("t", "c")
            peer.ok()
            await peer.ready()
        assert consumer.http_addresses == ["127.0.0.1:4151"]
    assert consumer.http_addresses == []


async def test_connects_from_where_it_is_told(nsqd: ScriptedNsqd) -> None:
    settings = Settings(local_address=("127.0.0.2", 0))
    async with Consumer("t", "c", nsqd=nsqd.address, settings=settings):
        peer = await nsqd.accept()
        assert peer.transport.get_extra_info("peername")[0] == "127.0.0.2"


async def test_asks_for_no_more_than_nsqd_allows(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5000):
        await accept(nsqd, rdy=2500)


async def test_max_in_flight_is_shared_by_the_nsqds(
    nsqd: ScriptedNsqd, other: ScriptedNsqd
) -> None:
    addresses = [nsqd.address, other.address]
    async with Consumer("t", "c", nsqd=addresses, max_in_flight=10):
        first = await accept(nsqd, rdy=10)
        await accept(other, rdy=5)
        assert await first.ready() == 5


async def test_max_in_flight_can_be_changed(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        consumer.max_in_flight = 0
        assert await peer.ready() == 0
        consumer.max_in_flight = 9
        assert await peer.ready() == 9


@pytest.mark.parametrize(("topic", "channel"), [("", "c"), ("t", "no blanks"), ("t", "x" * 65)])
def test_invalid_names_are_refused(topic: str, channel: str) -> None:
    with pytest.raises(ValueError, match="not a valid topic and channel"):
        Consumer(topic, channel, nsqd="127.0.0.1")


def test_an_address_is_needed() -> None:
    with pytest.raises(ValueError, match="needs the address"):
        Consumer("t", "c")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"requeue_delay": -1}, "requeue_delay"),
        ({"requeue_delay": math.nan}, "requeue_delay"),
        ({"requeue_delay_max": math.inf}, "requeue_delay_max"),
        ({"drain_timeout": math.inf}, "drain_timeout"),
        ({"max_in_flight": -1}, "max_in_flight"),
        ({"max_in_flight": True}, "max_in_flight"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2.5}, "max_attempts"),
        ({"lookupd_poll_interval": math.nan}, "lookupd_poll_interval"),
        ({"lookupd_poll_jitter": 1.5}, "lookupd_poll_jitter"),
        ({"lookupd_poll_timeout": 0}, "lookupd_poll_timeout"),
        ({"forget_after": math.nan}, "forget_after"),
        ({"expiry_grace": math.inf}, "expiry_grace"),
        ({"backoff": True}, "backoff is a BackoffPolicy"),
        ({"on_give_up": 5}, "cannot be called"),
        ({"no_such": 1}, "no_such"),
    ],
)
def test_wrong_options_are_refused_before_a_message_fails(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        Consumer("t", "c", nsqd="127.0.0.1", **options)
    with pytest.raises((ValueError, TypeError), match=sentence):
        Nsq(nsqd="127.0.0.1").handler("t", "c", **options)(_ignore)


async def _ignore(message: Message) -> None: ...


async def test_a_consumer_must_be_open(nsqd: ScriptedNsqd) -> None:
    with pytest.raises(ClientClosed):
        await anext(Consumer("t", "c", nsqd=nsqd.address))


# Messages


async def test_iterates_over_messages(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"one", b"two", first_id=0xAB, attempts=3)
        message = await anext(consumer)
        assert message.body == b"one"
        assert message.id == b"00000000000000ab"
        assert message.attempts == 3
        assert message.timestamp_ns == 1_700_000_000 * 10**9
        assert (await anext(consumer)).body == b"two"


async def test_a_message_may_come_in_pieces(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.send(b"\0\0\0\x20\0\0\0\x02\0\0\0\0\0\0\0\0\0\x01" + b"00000000")
        await asyncio.sleep(0)
        peer.send(b"00000001hi")
        assert (await anext(consumer)).body == b"hi"


async def test_finishes_of_one_turn_go_out_together(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2", b"3")
        for message in [await anext(consumer) for _ in range(3)]:
            assert message.finish()
        assert await peer.finished() == [1, 2, 3]


async def test_only_the_first_answer_counts(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2")
        message = await anext(consumer)
        assert message.is_open
        assert message.finish()
        assert not message.is_open
        assert not message.finish()
        assert not message.requeue()
        assert not message.touch()
        (await anext(consumer)).finish()
        assert await peer.finished() == [1, 2]


@pytest.mark.parametrize(
    ("attempts", "delay", "sent_ms"),
    [(1, 0, 0), (1, 1.5, 1500), (1, None, 90_000), (3, None, 270_000), (60, None, 900_000)],
)
async def test_requeue_delays(
    nsqd: ScriptedNsqd, attempts: int, delay: float | None, sent_ms: int
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1", attempts=attempts)
        (await anext(consumer)).requeue(delay)
        assert await peer.next() == Requeue(1, sent_ms)


async def test_touch(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        message = await anext(consumer)
        assert message.touch()
        assert await peer.next() == Touch(1)
        message.finish()


async def test_async_with_finishes_on_success(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        async with await anext(consumer):
            pass
        assert await peer.finished() == [1]


async def test_async_with_requeues_on_error(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, requeue_delay=2) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        with pytest.raises(ZeroDivisionError):
            async with await anext(consumer):
                raise ZeroDivisionError
        assert await peer.next() == Requeue(1, 2000)


async def test_an_answer_inside_the_block_stands(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        async with await anext(consumer) as message:
            message.requeue(0)
        peer.heartbeat()
        assert await peer.next() == Requeue(1, 0)
        await peer.expect(Nop)


async def test_a_message_is_touched_while_its_block_runs(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd, msg_timeout=400)
        peer.deliver(b"1")
        async with await anext(consumer):
            await peer.expect(Touch)
            await peer.expect(Touch)  # half of its time is over
            assert await peer.ready() == 1  # the others would wait for too long
            await peer.expect(Touch)
        assert await peer.finished() == [1]


async def test_late_answers_do_no_harm(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2")
        (await anext(consumer)).finish()
        await peer.finished()
        peer.error(b"E_FIN_FAILED FIN 0000000000000001 failed ID not in flight")
        (await anext(consumer)).finish()
        assert await peer.finished() == [2]


async def test_messages_of_a_lost_connection_are_dropped(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"taken", b"waiting")
        taken = await anext(consumer)
        peer.disconnect()
        peer = await accept(nsqd)
        peer.deliver(b"again", first_id=3)
        assert (await anext(consumer)).body == b"again"
        assert not taken.finish()
        assert consumer.stats.expired == 2


async def test_a_message_delivered_again_on_the_same_connection_replaces_the_first(
    nsqd: ScriptedNsqd,
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        first = await anext(consumer)
        peer.deliver(b"1", attempts=2)
        second = await anext(consumer)
        assert not first.is_open
        assert second.is_open
        assert second.finish()
        assert not second.finish()


async def test_a_finish_counts_for_the_same_message_delivered_here_again(
    nsqd: ScriptedNsqd,
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        first = await anext(consumer)
        peer.deliver(b"1", attempts=2)
        peer.deliver(b"2", first_id=2)
        await until(lambda: consumer.stats.received == 3)
        assert first.finish()
        assert await peer.finished() == [1]
        second = await anext(consumer)
        assert second.body == b"2"  # and not what is done
        assert not first.finish()
        assert not first.requeue()


async def test_a_message_not_answered_in_time_is_given_up(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, expiry_grace=0) as consumer:
        peer = await accept(nsqd, msg_timeout=100)
        peer.deliver(b"taken")
        taken = await anext(consumer)
        await until(lambda: consumer.stats.expired == 1)
        assert not taken.is_open
        assert taken.finish()  # nsqd may have it in flight here, and says so if it has not
        assert await peer.finished() == [1]
        assert not taken.finish()


# Batches


async def test_a_full_batch_comes_at_once(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2", b"3")
        batches = consumer.batches(max=2, wait=60)
        assert [message.body for message in await anext(batches)] == [b"1", b"2"]
        third = asyncio.ensure_future(anext(batches))
        peer.deliver(b"4", first_id=4)
        assert [message.body for message in await third] == [b"3", b"4"]


async def test_a_batch_waits_no_longer_than_told(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        assert len(await anext(consumer.batches(max=10, wait=0.01))) == 1


async def test_batches_end_when_the_consumer_is_closed(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        batch = asyncio.ensure_future(anext(consumer.batches(), None))
        close = asyncio.create_task(consumer.close())
        await peer.expect(Close)
        assert await batch is None
        await close


# Handlers


async def test_run_finishes_what_the_handler_did(nsqd: ScriptedNsqd) -> None:
    bodies = []

    async def handle(message: Message) -> None:
        bodies.append(message.body)

    async with (
        Consumer("t", "c", nsqd=nsqd.address) as consumer,
        running(consumer, handle),
    ):
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2")
        assert await peer.finished() == [1, 2]
        assert bodies == [b"1", b"2"]


async def test_a_handler_may_be_a_plain_function(nsqd: ScriptedNsqd) -> None:
    async with (
        Consumer("t", "c", nsqd=nsqd.address) as consumer,
        running(consumer, lambda message: None),
    ):
        peer = await accept(nsqd)
        peer.deliver(b"1")
        assert await peer.finished() == [1]


async def test_concurrency_is_a_limit(nsqd: ScriptedNsqd) -> None:
    started: asyncio.Queue[bytes] = asyncio.Queue()
    go = asyncio.Event()

    async def handle(message: Message) -> None:
        started.put_nowait(message.body)
        await go.wait()

    async with (
        Consumer("t", "c", nsqd=nsqd.address) as consumer,
        running(consumer, handle, concurrency=2),
    ):
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2", b"3")
        assert [await started.get(), await started.get()] == [b"1", b"2"]
        assert started.empty()
        go.set()
        assert await started.get() == b"3"


async def test_failures_back_off_before_they_are_requeued(nsqd: ScriptedNsqd) -> None:
    async def fail(message: Message) -> None:
        raise ValueError

    policy = BackoffPolicy(multiplier_seconds=0.01)
    async with (
        Consumer("t", "c", nsqd=nsqd.address, requeue_delay=0, backoff=policy) as consumer,
        running(consumer, fail),
    ):
        peer = await accept(nsqd)
        for attempts in (1, 2):
            peer.deliver(b"1", attempts=attempts)
            assert await peer.ready() == 0  # before the answer, or nsqd delivers in between
            await peer.expect(Requeue)
            assert await peer.ready() == 1  # one try, after a wait


async def test_success_ends_the_backoff(nsqd: ScriptedNsqd) -> None:
    async def fail_first(message: Message) -> None:
        if message.attempts == 1:
            raise ValueError

    policy = BackoffPolicy(multiplier_seconds=0.01)
    async with (
        Consumer("t", "c", nsqd=nsqd.address, backoff=policy) as consumer,
        running(consumer, fail_first),
    ):
        peer = await accept(nsqd)
        peer.deliver(b"1")
        assert await peer.ready() == 0
        await peer.expect(Requeue)
        assert await peer.ready() == 1
        peer.deliver(b"1", attempts=2)
        assert await peer.ready() == 50
        await peer.expect(FinishRun)


async def test_a_requeue_without_backoff_changes_nothing(nsqd: ScriptedNsqd) -> None:
    def requeue(message: Message) -> None:
        message.requeue(0, backoff=False)

    async with (
        Consumer("t", "c", nsqd=nsqd.address) as consumer,
        running(consumer, requeue),
    ):
        peer = await accept(nsqd)
        peer.deliver(b"1")
        await peer.expect(Requeue)
        peer.heartbeat()
        await peer.expect(Nop)


async def test_too_many_attempts_are_given_up(nsqd: ScriptedNsqd) -> None:
    given_up = []

    async def give_up(message: Message) -> None:
        given_up.append(message.body)

    async with Consumer(
        "t", "c", nsqd=nsqd.address, max_attempts=5, on_give_up=give_up
    ) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"poison", attempts=6)
        assert await peer.finished() == [1]
        peer.deliver(b"last try", attempts=5, first_id=2)
        assert (await anext(consumer)).body == b"last try"
        assert given_up == [b"poison"]
        assert consumer.stats.given_up == 1


async def test_an_on_give_up_that_cancels_its_task_is_a_failure_like_another(
    nsqd: ScriptedNsqd, caplog: pytest.LogCaptureFixture
) -> None:
    given_up = []

    async def give_up(message: Message) -> None:
        given_up.append(message.body)
        if message.body == b"poison":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    async with Consumer("t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=give_up):
        peer = await accept(nsqd)
        peer.deliver(b"poison", attempts=2)
        assert await peer.next() == Requeue(1, 180_000)
        assert "handler failed" in caplog.text
        peer.deliver(b"next", attempts=2, first_id=2)
        assert await peer.finished() == [2]
    assert given_up == [b"poison", b"next"]


async def test_a_message_that_could_not_be_given_up_is_requeued(nsqd: ScriptedNsqd) -> None:
    async def fail(message: Message) -> None:
        raise OSError

    async with Consumer("t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=fail):
        peer = await accept(nsqd)
        peer.deliver(b"poison", attempts=2)
        assert await peer.next() == Requeue(1, 180_000)


# Connections


@pytest.mark.parametrize("how", ["disconnect", "close"])
@pytest.mark.parametrize("step", ["connected", "identify received", "identified", "subscribed"])
async def test_connects_again_whenever_the_connection_is_lost(
    nsqd: ScriptedNsqd, step: str, how: str
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address):
        peer = await nsqd.accept()
        if step == "identify received":
            await peer.next()
        elif step == "identified":
            await peer.identify()
        elif step == "subscribed":
            await peer.subscribe()
        getattr(peer, how)()
        await accept(nsqd)


async def test_who_closes_before_sub_is_answered_is_told_of_no_failure(
    nsqd: ScriptedNsqd, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Consumer("t", "c", nsqd=nsqd.address)
    await consumer.__aenter__()
    peer = await nsqd.accept()
    await peer.identify()
    await peer.next()  # SUB
    await consumer.close()
    assert not caplog.records


async def test_a_refused_sub_is_tried_again(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address):
        peer = await nsqd.accept()
        await peer.identify()
        await peer.expect(Subscribe)
        peer.error(b"E_SUB_FAILED SUB failed consumers for t:c exceeds limit of 1")
        await accept(nsqd)


async def test_a_half_open_peer_is_given_up(nsqd: ScriptedNsqd) -> None:
    settings = Settings(heartbeat_interval=0.05)
    async with Consumer("t", "c", nsqd=nsqd.address, settings=settings):
        silent = await accept(nsqd)
        silent.keeps_open = True
        await accept(nsqd)


async def test_silence_may_last_as_long_as_it_is_told_to(nsqd: ScriptedNsqd) -> None:
    loop = asyncio.get_running_loop()
    settings = Settings(heartbeat_interval=0.01, read_timeout=0.3)
    async with Consumer("t", "c", nsqd=nsqd.address, settings=settings):
        silent = await accept(nsqd)
        silent.keeps_open = True
        subscribed_at = loop.time()
        await accept(nsqd)
        # It was heard a little before; two heartbeat intervals would be over long since.
        assert loop.time() - subscribed_at > 0.2


async def test_heartbeats_keep_a_connection(nsqd: ScriptedNsqd) -> None:
    settings = Settings(heartbeat_interval=0.1)
    async with Consumer("t", "c", nsqd=nsqd.address, settings=settings) as consumer:
        peer = await accept(nsqd)
        for _ in range(5):
            await asyncio.sleep(0.06)  # the subject is time that passes
            peer.heartbeat()
            await peer.expect(Nop)
        assert consumer.stats.connections == 1


# Closing


async def test_close_returns_what_nobody_took(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1", b"2")
        (await anext(consumer)).finish()
        await peer.finished()
        close = asyncio.create_task(consumer.close())
        assert await peer.next() == Requeue(2, 0)
        await peer.expect(Close)
        await close


async def test_close_waits_for_messages_in_work(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        async with await anext(consumer):
            close = asyncio.create_task(consumer.close())
            await peer.expect(Close)
            peer.heartbeat()
            await peer.expect(Nop)
            assert not close.done()
        assert await peer.finished() == [1]
        await close


async def test_close_requeues_what_is_not_answered_in_time(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, drain_timeout=0.05) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        message = await anext(consumer)
        close = asyncio.create_task(consumer.close())
        await peer.expect(Close)
        assert await peer.next() == Requeue(1, 0)
        await close
        assert not message.finish()


async def test_what_comes_after_cls_goes_back(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.answers_cls = False
        close = asyncio.create_task(consumer.close())
        await peer.expect(Close)
        peer.deliver(b"1")
        peer.close_wait()
        assert await peer.next() == Requeue(1, 0)
        await close


async def test_close_ends_iteration_and_handlers(nsqd: ScriptedNsqd) -> None:
    async def count(consumer: Consumer) -> int:
        return len([message async for message in consumer])

    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        iteration = asyncio.create_task(count(consumer))
        handlers = asyncio.create_task(consumer.run(lambda message: None, concurrency=3))
        await asyncio.sleep(0)
        close = asyncio.create_task(consumer.close())
        await peer.expect(Close)
        assert await iteration == 0
        await handlers
        await close


async def test_close_does_not_hang_on_a_peer_that_ignores_it(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, drain_timeout=0.05) as consumer:
        peer = await accept(nsqd)
        peer.answers_cls, peer.keeps_open = False, True
        async with asyncio.timeout(5):
            await consumer.close()


async def test_a_close_that_is_cancelled_leaves_nothing_behind(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.answers_cls = False
        close = asyncio.create_task(consumer.close())
        await peer.expect(Close)
        close.cancel()
        await peer.expect_close()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("nsqx")] == []


async def test_close_does_not_wait_for_a_sub_that_is_not_answered(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address):
        peer = await nsqd.accept()
        await peer.identify()
        await peer.expect(Subscribe)
    await peer.expect_close()


async def test_closing_while_nothing_is_connected(nsqd: ScriptedNsqd) -> None:
    await nsqd.stop()
    async with Consumer("t", "c", nsqd=nsqd.address):
        pass


async def test_ids_that_are_not_hex_work_too(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.send(b"\0\0\0\x1f\0\0\0\x02" + b"\0" * 8 + b"\0\x01" + b"opaque-message-!" + b"x")
        (await anext(consumer)).finish()
        assert await peer.next() == UnknownId(b"FIN", b"opaque-message-!")


# Taking some


async def test_a_message_tells_where_it_came_from(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd)
        peer.deliver(b"1")
        message = await anext(consumer)
        assert (message.topic, message.channel, message.nsqd) == ("t", "c", nsqd.address)


async def test_one_or_some_are_taken_within_a_time(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5) as consumer:
        assert await consumer.get(0) is None
        assert await consumer.fetch(3, 0.01) == []
        peer = await accept(nsqd, rdy=5)
        peer.deliver(b"1", b"2", b"3", b"4", b"5")
        message = await consumer.get(5)
        assert message is not None
        assert message.body == b"1"
        assert [each.body for each in await consumer.fetch(3)] == [b"2", b"3", b"4"]
        assert [each.body for each in await consumer.fetch(9, 0.05)] == [b"5"]
        waiting = asyncio.create_task(consumer.fetch(2))
        await asyncio.sleep(0)
        await consumer.close(0)
        assert await waiting == []
        assert await consumer.get() is None


async def test_who_no_longer_waits_gives_back_what_came(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5) as consumer:
        peer = await accept(nsqd, rdy=5)
        waiting = asyncio.create_task(consumer.fetch(2))
        peer.deliver(b"1")
        while not consumer.stats.received:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.005)
        waiting.cancel()
        assert await peer.next() == Requeue(1, 0)


@pytest.mark.parametrize("count", [2, 1, 0, None], ids=["as many", "fewer", "none", "a pause"])
async def test_a_fetch_ends_when_no_more_can_come(nsqd: ScriptedNsqd, count: int | None) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5, drain_timeout=0) as consumer:
        peer = await accept(nsqd, rdy=5)
        waiting = [asyncio.create_task(consumer.fetch(4)) for _ in range(2)]
        peer.deliver(b"1", b"2")
        while not consumer.stats.received:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.005)
        for _ in range(2):  # the second time there is nothing to end
            if count is None:
                consumer.pause()
            else:
                consumer.max_in_flight = count
        done, others = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        assert [each.body for task in done for each in task.result()] == [b"1", b"2"]
        assert len(others) == 1  # has nothing, and waits for what comes later


async def test_a_fetch_during_a_pause_returns_what_is_here(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5, drain_timeout=0) as consumer:
        peer = await accept(nsqd, rdy=5)
        peer.deliver(b"1", b"2")
        while not consumer.stats.received:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0.005)
        consumer.pause()
        async with asyncio.timeout(5):
            assert [each.body for each in await consumer.fetch(3)] == [b"1", b"2"]


async def test_a_pause_and_what_follows(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5) as consumer:
        peer = await accept(nsqd, rdy=5)
        consumer.pause()
        assert await peer.ready() == 0
        assert consumer.is_paused
        consumer.max_in_flight = 7
        consumer.resume()
        assert await peer.ready() == 7
