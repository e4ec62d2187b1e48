"""What the consumer holds: nothing goes stale, nothing stale is handed out, nothing runs twice."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from nsqx.client import Consumer, Message, Nsq, Settings
from nsqx.protocol.commands import FinishRun, Ready, Requeue, Return, Touch
from nsqx.testing.cluster import Cluster
from tests.support.plain_nsqd import PlainNsqd, serving
from tests.support.scripted_nsqd import Peer, ScriptedNsqd

EXTENSIONS = {
    "return": True,
    "max_msg_size": 1 << 20,
    "max_body_size": 5 << 20,
    "max_req_timeout": 3_600_000,
}
JOBS = 6


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


async def accept(nsqd: ScriptedNsqd, **answer: object) -> Peer:
    peer = await nsqd.accept()
    await peer.subscribe(**answer)
    return peer


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Wait for something that the client tells nobody."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_what_nobody_takes_goes_back_and_no_more_is_asked_for(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd, msg_timeout=400, nsqx_extensions=EXTENSIONS)
        assert await peer.ready() == 50
        peer.deliver(b"1", b"2", attempts=3)
        assert await peer.next() == Ready(0)  # before, or they would come back at once
        assert await peer.next() == Return(b"0000000000000001")
        assert await peer.next() == Return(b"0000000000000002")
        assert consumer.stats.given_back == 2
        assert consumer.stats.requeued == 0


async def test_to_other_brokers_it_is_requeued_and_the_attempt_does_not_count_here(
    nsqd: ScriptedNsqd,
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_attempts=3) as consumer:
        peer = await accept(nsqd, msg_timeout=1000)
        assert await peer.ready() == 50
        peer.deliver(b"1", attempts=3)
        assert await peer.next() == Ready(0)
        assert await peer.next() == Requeue(1, 0)
        taking = asyncio.ensure_future(anext(consumer))
        assert await peer.ready() == 1  # as many as are waited for
        peer.deliver(b"1", attempts=4)
        message = await taking
        assert message.attempts == 3


async def test_who_was_slow_and_is_quick_again_is_trusted_again(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=2) as consumer:
        peer = await accept(nsqd, msg_timeout=400, nsqx_extensions=EXTENSIONS)
        assert await peer.ready() == 2
        peer.deliver(b"1")
        assert await peer.next() == Ready(0)
        await peer.expect(Return)
        for number in (2, 3):
            taking = asyncio.ensure_future(anext(consumer))
            assert await peer.ready() == 1
            peer.deliver(b"x", first_id=number)
            (await taking).finish()
            await peer.expect(FinishRun)
            if number == 2:
                assert await peer.ready() == 0
        assert await peer.ready() == 2


async def test_a_handler_gets_none_ahead_before_its_first_is_done(nsqd: ScriptedNsqd) -> None:
    client = Nsq(nsqd=nsqd.address)
    going_on = asyncio.Event()

    @client.handler("t", "c", concurrency=3)
    async def handle(message: Message) -> None:
        await going_on.wait()

    async with client.running():
        peer = await accept(nsqd, msg_timeout=60_000)
        assert await peer.ready() == 3
        peer.deliver(b"1")
        going_on.set()
        assert await peer.finished() == [1]
        assert await peer.ready() == 6


async def test_messages_that_wait_to_be_given_up_are_touched(nsqd: ScriptedNsqd) -> None:
    going_on = asyncio.Event()

    async def give_up(message: Message) -> None:
        await going_on.wait()

    async with Consumer("t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=give_up):
        peer = await accept(nsqd, msg_timeout=400)
        await peer.ready()
        peer.deliver(b"1", b"2", attempts=2)
        touched = [
            command.id
            for command in [await peer.next() for _ in range(4)]
            if isinstance(command, Touch)
        ]
        assert {*touched} == {1, 2}
        going_on.set()


async def test_a_blocking_body_lets_the_loop_turn_and_gets_nothing_stale(
    nsqd: ScriptedNsqd,
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=10) as consumer:
        peer = await accept(nsqd, msg_timeout=1000)
        await peer.ready()
        peer.deliver(*[b"x"] * 10)
        bodies = 0
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0.5):
                    message = await anext(consumer)
                time.sleep(0.2)  # noqa: ASYNC251 - that is what is done to it
                message.finish()
                bodies += 1
        assert bodies < 5
        assert bodies + consumer.stats.given_back == 10
        finished: set[int] = set()
        while len(finished) < bodies:
            command = await peer.next()
            if isinstance(command, FinishRun):
                finished.update(command.ids)


async def test_the_loop_turns_every_few_milliseconds(nsqd: ScriptedNsqd) -> None:
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_soon(turn)

    def handle(message: Message) -> None:
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass

    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=100) as consumer:
        peer = await accept(nsqd)
        await peer.ready()
        peer.deliver(*[b"x"] * 100)
        await until(lambda: consumer.stats.received == 100)
        turn()
        before = turns
        running = asyncio.create_task(consumer.run(handle))
        finished: list[int] = []
        while len(finished) < 100:
            finished += await peer.finished()
        assert turns - before >= 10
        await consumer.close()
        await running


# Beside a broker that knows nothing of ours


async def test_a_finish_counts_though_the_message_was_delivered_here_again(
    nsqd: ScriptedNsqd,
) -> None:
    broker = PlainNsqd(1)
    runs: Counter[bytes] = Counter()
    given_up: list[bytes] = []
    going_on = asyncio.Event()

    async def handle(message: Message) -> None:
        runs[message.body] += 1
        await going_on.wait()

    served = serving(broker, nsqd)
    async with Consumer(
        "t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=lambda m: given_up.append(m.body)
    ) as consumer:
        running = asyncio.create_task(consumer.run(handle, concurrency=2))
        await until(lambda: runs.total() == 1)
        broker.expire()
        broker.heartbeat()
        await until(lambda: broker.alive)  # so the consumer has read what came before
        going_on.set()
        await until(lambda: broker.finished == {1})
        await consumer.close()
        await running
    await served
    assert runs == {b"1": 1}
    assert given_up == []
    assert broker.refused == 0


async def test_a_finish_of_what_others_have_is_refused_and_ends_nothing(
    nsqd: ScriptedNsqd, caplog: pytest.LogCaptureFixture
) -> None:
    broker = PlainNsqd(2)
    served = serving(broker, nsqd)
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        first = await anext(consumer)
        broker.expire(elsewhere=True)
        first.finish()
        await until(lambda: broker.refused == 1)
        broker.waiting.append(3)
        broker.attempts[3] = 0
        (await anext(consumer)).finish()  # was there already; is another's, too
        (await anext(consumer)).finish()
        await until(lambda: broker.finished == {3})
    await served
    assert broker.refused == 2
    assert "E_FIN_FAILED" in caplog.text


async def test_what_was_finished_too_late_is_finished_when_it_comes_again(
    nsqd: ScriptedNsqd,
) -> None:
    broker = PlainNsqd(1)
    served = serving(broker, nsqd)
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        first = await anext(consumer)
        broker.expire(elsewhere=True)
        first.finish()
        await until(lambda: broker.refused == 1)
        broker.deliver(1, 2)
        async with asyncio.timeout(5):
            assert (await anext(consumer)).body == b"2"  # not the first one again
            await until(lambda: broker.finished == {1})
            broker.attempts[1] = 0
            broker.deliver(1)  # a replay, whose first delivery that is
            assert (await anext(consumer)).body == b"1"
    await served


async def test_work_is_touched_when_a_quarter_of_its_time_is_over(nsqd: ScriptedNsqd) -> None:
    loop = asyncio.get_running_loop()
    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        peer = await accept(nsqd, msg_timeout=800)
        await peer.ready()
        peer.deliver(b"1")
        async with await anext(consumer) as message:
            begun = message.deadline - 0.8
            await peer.expect(Touch)
            touched = message.deadline - 0.8
            assert 0.2 <= touched - begun <= 0.4 + max(loop.time() - touched, 0)


async def test_what_never_ran_is_not_given_up_however_often_it_was_delivered(
    nsqd: ScriptedNsqd,
) -> None:
    broker = PlainNsqd(4, msg_timeout_ms=400)
    runs: list[tuple[bytes, int]] = []
    given_up: list[bytes] = []
    served = serving(broker, nsqd)
    async with Consumer(
        "t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=lambda m: given_up.append(m.body)
    ) as consumer:
        await until(lambda: consumer.stats.given_back == 4)  # by REQ 0, each cost an attempt
        for _ in range(4):
            message = await anext(consumer)
            runs.append((message.body, message.attempts))
            message.finish()
        await until(lambda: len(broker.finished) == 4)
    await served
    assert sorted(runs) == [(b"%d" % number, 1) for number in range(1, 5)]
    assert given_up == []
    assert min(broker.attempts.values()) > 1


# Against a broker


@pytest.fixture(params=["negotiated", "without extras"])
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings(msg_timeout=1, extensions=request.param == "negotiated")


def client_of(cluster: Cluster, settings: Settings) -> Nsq:
    return Nsq(nsqd=cluster.tcp_address, settings=settings)


async def test_jobs_longer_than_msg_timeout_run_once(
    nsq_server: Cluster, settings: Settings
) -> None:
    client = client_of(nsq_server, settings)
    runs: Counter[bytes] = Counter()
    done: Counter[bytes] = Counter()

    @client.handler("jobs", "workers", concurrency=3, max_attempts=1, dead_letter="dead")
    async def work(message: Message) -> None:
        runs[message.body] += 1
        assert message.attempts == 1
        await asyncio.sleep(1.2)  # the subject is jobs that take time
        done[message.body] += 1

    async with client:
        await client.publish_many("jobs", [b"%d" % number for number in range(JOBS)])
        async with client.running():
            await until(lambda: len(done) == JOBS, 60)
    assert set(runs.values()) == {1}
    assert set(done.values()) == {1}


@pytest.mark.parametrize("change", ["fewer", "pause"])
async def test_what_was_fetched_does_not_wait_for_what_will_not_come(
    nsqd: ScriptedNsqd, change: str
) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5, drain_timeout=0) as consumer:
        peer = await accept(nsqd, msg_timeout=60_000)
        fetching = asyncio.create_task(consumer.fetch(5))
        peer.deliver(b"1", b"2", b"3")
        await until(lambda: consumer.stats.received == 3)
        await asyncio.sleep(0)
        if change == "fewer":
            consumer.max_in_flight = 3
        else:
            consumer.pause()
        async with asyncio.timeout(5):
            assert [message.body for message in await fetching] == [b"1", b"2", b"3"]


async def test_two_that_fetch_do_not_wait_for_each_other(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=5, drain_timeout=0) as consumer:
        peer = await accept(nsqd, msg_timeout=60_000)
        fetching = asyncio.gather(consumer.fetch(4), consumer.fetch(2))
        await asyncio.sleep(0)
        peer.deliver(b"1", b"2", b"3", b"4", b"5")
        async with asyncio.timeout(5):
            assert [len(messages) for messages in await fetching] == [4, 1]


async def test_who_fetches_beside_unanswered_ones_gets_what_there_is(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, max_in_flight=9, drain_timeout=0) as consumer:
        peer = await accept(nsqd, msg_timeout=60_000, max_rdy_count=5)
        peer.deliver(b"1", b"2", b"3", b"4", b"5")
        async with asyncio.timeout(5):
            unanswered = await consumer.fetch(2)
            assert len(unanswered + await consumer.fetch(9)) == 5


@pytest.mark.parametrize("by", ["fetch", "batches"])
async def test_what_waits_for_others_is_handed_out_in_time(nsqd: ScriptedNsqd, by: str) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, expiry_grace=0, drain_timeout=0) as consumer:
        peer = await accept(nsqd, msg_timeout=300)
        peer.deliver(b"1")
        async with asyncio.timeout(5):
            if by == "fetch":
                (message,) = await consumer.fetch(2)
            else:
                (message,) = await anext(consumer.batches(max=2, wait=60))
        assert message.is_open


@pytest.mark.parametrize("by", ["fetch", "batches"])
async def test_what_was_lost_while_others_were_waited_for_is_not_handed_out(
    nsqd: ScriptedNsqd, by: str
) -> None:
    settings = Settings(reconnect_delay=0.001)
    async with Consumer(
        "t", "c", nsqd=nsqd.address, settings=settings, drain_timeout=0
    ) as consumer:
        peer = await accept(nsqd, msg_timeout=60_000)
        taking = asyncio.ensure_future(
            consumer.fetch(2) if by == "fetch" else anext(consumer.batches(max=2, wait=60))
        )
        peer.deliver(b"1")
        await until(lambda: consumer.stats.received == 1)
        await asyncio.sleep(0)
        peer.disconnect()
        peer = await accept(nsqd, msg_timeout=60_000)
        peer.deliver(b"1", b"2", attempts=2)
        async with asyncio.timeout(5):
            taken = await taking
        assert {message.attempts for message in taken} == {2}


async def test_what_has_come_is_taken_without_waiting(nsqd: ScriptedNsqd) -> None:
    async with Consumer("t", "c", nsqd=nsqd.address, drain_timeout=0) as consumer:
        peer = await accept(nsqd, msg_timeout=60_000)
        peer.deliver(b"1", b"2", b"3")
        await until(lambda: consumer.stats.received == 3)
        message = await consumer.get(0)
        assert message is not None
        assert len(await consumer.fetch(9, 0)) == 2
