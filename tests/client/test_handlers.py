"""What may be a handler, how it is called, and what follows from how it ends."""

import asyncio
import concurrent.futures
import contextlib
import functools
import logging
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest

from nsqx.client import Consumer, DecodeFailed, Message, Nsq, Settings
from nsqx.client.backoff import Backoff
from nsqx.client.threads import LEFT_BEHIND_MAX, Threads
from nsqx.protocol.commands import Requeue
from nsqx.testing.cluster import Cluster
from nsqx.testing.recorder import Recorder
from tests.client.test_held_messages import until
from tests.support.scripted_nsqd import ScriptedNsqd

WAIT_SECONDS = 20.0


@dataclass
class Order:
    id: int


@pytest.fixture
def client(nsq_server: Cluster) -> Nsq:
    return nsq_server.client(settings=Settings(msg_timeout=5))


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


@pytest.fixture
async def publisher(nsq_server: Cluster) -> AsyncIterator[Nsq]:
    async with nsq_server.client() as publisher:
        yield publisher


def quick(
    client: Nsq, **options: object
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Decorate a handler whose failures come again at once."""
    known: dict[str, object] = {"requeue_delay": 0, "backoff": False, **options}
    return client.handler("t", "c", **known)  # type: ignore[arg-type] # they are what they are


# What may be one


async def test_whatever_can_be_awaited_is_awaited(
    client: Nsq, publisher: Nsq, nsq_server: Cluster
) -> None:
    done: list[str] = []

    async def work(name: str, order: Order) -> None:
        await asyncio.sleep(0)
        done.append(name)

    class Handlers:
        async def method(self, order: Order) -> None:
            await work("method", order)

        async def __call__(self, order: Order) -> None:
            await work("object", order)

    class PlainCall:
        def __call__(self, order: Order) -> Awaitable[None]:
            return work("plain object", order)

    def decorated(function: Callable[[Order], Awaitable[None]]) -> Callable[[Order], object]:
        @functools.wraps(function)
        def wrapper(order: Order) -> object:
            asyncio.get_running_loop()  # it is called where the function would be
            return function(order)

        return wrapper

    @decorated
    async def wrapped(order: Order) -> None:
        await work("wrapped", order)

    def returns(order: Order) -> Awaitable[None]:
        return work("returned", order)

    async def forgets(order: Order) -> Awaitable[None]:
        return work("forgotten await", order)

    async def by_position(order: Order, /) -> None:
        await work("by position", order)

    async def with_default(order: Order, name: str = "default") -> None:
        await work(name, order)

    handlers: list[Callable[..., object]] = [
        Handlers().method,
        Handlers(),
        PlainCall(),
        wrapped,
        returns,
        forgets,
        by_position,
        with_default,
        functools.partial(work, "a partial"),
    ]
    nsq_server.create("t", [f"c{number}" for number in range(len(handlers))])
    for number, handler in enumerate(handlers):
        client.handler("t", f"c{number}")(handler)
    await publisher.publish("t", Order(1))
    async with client.running():
        await until(lambda: len(done) == len(handlers), WAIT_SECONDS)
    assert sorted(done) == sorted(
        [
            "method",
            "object",
            "plain object",
            "wrapped",
            "returned",
            "forgotten await",
            "by position",
            "default",
            "a partial",
        ]
    )


def _yields(order: Order) -> Iterator[int]:
    yield 1


async def _yields_later(order: Order) -> AsyncIterator[int]:
    yield 1


class _Unknown:
    """Nothing says how to make it of a body."""


def _takes_unknown(order: _Unknown) -> None: ...


def _takes_two(first: Message, second: Message) -> None: ...


def _takes_a_mix(order: "_Unknown | None") -> None: ...


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (_yields, "is a generator"),
        (_yields_later, "is a generator"),
        (functools.partial(_yields), "is a generator"),
        (Order, "is a class"),
        (functools.partial(Order), "is a class"),
        (lambda order: None, "annotate 'order'"),
        (_takes_unknown, "make it a dataclass"),
        (_takes_a_mix, "make it a dataclass"),
        (_takes_two, "both 'first' and 'second'"),
        ("name", "cannot be called"),
    ],
)
def test_what_cannot_be_one_is_refused_at_once(
    handler: Callable[..., object], sentence: str
) -> None:
    with pytest.raises(TypeError, match=sentence):
        Nsq(nsqd="127.0.0.1").handler("t", "c")(handler)


async def test_a_generator_is_refused_by_a_consumer_too(nsq_server: Cluster) -> None:
    async with Consumer("t", "c", nsqd=nsq_server.tcp_address) as consumer:
        with pytest.raises(TypeError, match="is a generator"):
            await consumer.run(_yields)  # type: ignore[arg-type] # on purpose


async def _begins(message: Message) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (_yields, "returned a generator"),
        (_begins, "returned a generator"),
        (contextlib.contextmanager(_yields), "returned a context manager"),
        (contextlib.asynccontextmanager(_begins), "returned a context manager"),
        (lambda _: _yields, "returned a function"),
    ],
)
@pytest.mark.parametrize("seconds", [None, 60])
@pytest.mark.parametrize("is_plain", [True, False])
async def test_what_a_function_returns_and_nobody_runs_is_its_failure(
    nsqd: ScriptedNsqd,
    returned: Callable[[object], object],
    sentence: str,
    seconds: float | None,
    caplog: pytest.LogCaptureFixture,
    *,
    is_plain: bool,
) -> None:
    def handle(message: Message) -> None:
        return returned(message)  # type: ignore[return-value] # that is the mistake

    async def handle_async(message: Message) -> None:
        return handle(message)

    async with Consumer("t", "c", nsqd=nsqd.address, backoff=False) as consumer:
        running = asyncio.create_task(
            consumer.run(handle if is_plain else handle_async, timeout=seconds)
        )
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.deliver(b"x")
        assert (await peer.expect(Requeue)).timeout_ms == 90_000
        await consumer.close()
        await running
    assert sentence in caplog.text


async def test_what_gives_up_messages_is_a_handler_too(nsqd: ScriptedNsqd) -> None:
    def give_up(message: Message) -> None:
        return _begins(message)  # type: ignore[return-value] # that is the mistake

    with pytest.raises(TypeError, match="is a generator"):
        Consumer("t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=_begins)  # type: ignore[arg-type] # on purpose
    async with Consumer("t", "c", nsqd=nsqd.address, max_attempts=1, on_give_up=give_up):
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.deliver(b"x", attempts=2)
        await peer.expect(Requeue)


async def test_an_await_that_was_forgotten_is_made_up_for(nsqd: ScriptedNsqd) -> None:
    done: list[bytes] = []

    async def work(message: Message) -> None:
        await asyncio.sleep(0)
        done.append(message.body)

    async def handle(message: Message) -> Awaitable[None]:
        return work(message)

    async with Consumer("t", "c", nsqd=nsqd.address) as consumer:
        running = asyncio.create_task(consumer.run(handle))
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.deliver(b"x")
        assert await peer.finished() == [1]
        assert done == [b"x"]
        await consumer.close()
        await running


async def test_a_future_of_a_thread_is_waited_for(nsqd: ScriptedNsqd) -> None:
    work: concurrent.futures.Future[None] = concurrent.futures.Future()
    async with Consumer("t", "c", nsqd=nsqd.address, backoff=False) as consumer:
        running = asyncio.create_task(consumer.run(lambda message: work))  # type: ignore[arg-type, return-value] # an executor's
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.deliver(b"x")
        await until(lambda: work.running() or bool(work._done_callbacks))  # type: ignore[attr-defined] # who waits
        assert consumer.stats.finished == 0
        work.set_result(None)
        assert await peer.finished() == [1]
        await consumer.close()
        await running


@pytest.mark.parametrize("fails", [False, True])
async def test_a_plain_function_may_publish_in_the_event_loop(
    nsqd: ScriptedNsqd, nsq_server: Cluster, published: Callable[[str], Recorder], *, fails: bool
) -> None:
    async with (
        nsq_server.client() as client,
        Consumer("t", "c", nsqd=nsqd.address, backoff=False) as consumer,
    ):

        def forward(message: Message) -> None:
            client.publish("later", b"" if fails else message.body)  # type: ignore[unused-coroutine] # there is no await here
            client.publish("later", b"too")  # type: ignore[unused-coroutine]

        running = asyncio.create_task(consumer.run(forward))
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        peer.deliver(b"x")
        if fails:
            await peer.expect(Requeue)
        else:
            assert await peer.finished() == [1]
            assert published("later").bodies == [b"x", b"too"]
        await consumer.close()
        await running


async def test_a_plain_function_may_publish(
    client: Nsq, publisher: Nsq, published: Callable[[str], Recorder]
) -> None:
    @client.handler("t", "c")
    def forward(order: Order) -> None:
        client.publish("later", order)  # type: ignore[unused-coroutine] # there is no await here

    await publisher.publish("t", Order(1))
    async with client.running():
        await published("later").wait_async()
    assert published("later").values == [{"id": 1}]


# How it may end


def _raise(error: BaseException) -> Callable[[], None]:
    def end() -> None:
        raise error

    return end


@pytest.mark.parametrize("is_plain", [True, False])
@pytest.mark.parametrize(
    "error",
    [asyncio.CancelledError(), GeneratorExit(), StopIteration(), ValueError(), TimeoutError()],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_end_is_a_failure_of_that_handler(
    client: Nsq, publisher: Nsq, error: BaseException, is_plain: bool
) -> None:
    attempts: list[int] = []

    def end(message: Message) -> None:
        attempts.append(message.attempts)
        if message.attempts == 1:
            raise error

    async def end_async(message: Message) -> None:
        end(message)

    quick(client)(end if is_plain else end_async)
    await publisher.publish("t", b"x")
    async with client.running():
        await until(lambda: len(attempts) == 2, WAIT_SECONDS)
        await publisher.publish("t", b"y")  # and its place is not lost
        await until(lambda: len(attempts) >= 3, WAIT_SECONDS)
    assert attempts[:2] == [1, 2]


async def test_what_a_handler_cancelled_elsewhere_is_its_failure(
    client: Nsq, publisher: Nsq
) -> None:
    attempts: list[int] = []

    @quick(client)
    async def wait(message: Message) -> None:
        attempts.append(message.attempts)
        if message.attempts == 1:
            other = asyncio.ensure_future(asyncio.sleep(60))
            other.cancel()
            await other

    await publisher.publish("t", b"x")
    async with client.running():
        await until(lambda: attempts == [1, 2], WAIT_SECONDS)


async def test_a_worker_that_somebody_ends_brings_run_down(client: Nsq, publisher: Nsq) -> None:
    @quick(client)
    async def handle(message: Message) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    await publisher.publish("t", b"x")
    with pytest.raises(RuntimeError, match="somebody cancelled"):
        async with asyncio.timeout(WAIT_SECONDS):
            await client.run()


@pytest.mark.parametrize("is_plain", [True, False])
async def test_sys_exit_lets_the_others_finish(client: Nsq, publisher: Nsq, is_plain: bool) -> None:
    others = asyncio.Event()
    done: list[bytes] = []

    @client.handler("others", "c")
    async def work(message: Message) -> None:
        others.set()
        await asyncio.sleep(0.3)
        done.append(message.body)

    def leave(message: Message) -> None:
        sys.exit(3)

    async def leave_async(message: Message) -> None:
        await others.wait()
        sys.exit(3)

    quick(client)(leave if is_plain else leave_async)
    await publisher.publish("others", b"x")
    running = asyncio.ensure_future(_exit_code(client))
    await others.wait()
    await publisher.publish("t", b"x")
    assert await running == 3
    assert done == [b"x"]


async def _exit_code(client: Nsq) -> object:
    try:
        await client.run()
    except SystemExit as exc:
        return exc.code
    return None


async def test_a_handler_that_hangs_is_cut_off_at_its_timeout(client: Nsq, publisher: Nsq) -> None:
    attempts: list[int] = []

    @quick(client, timeout=0.1)
    async def hang(message: Message) -> None:
        attempts.append(message.attempts)
        if message.attempts == 1:
            await asyncio.sleep(60)

    await publisher.publish("t", b"x")
    async with client.running():
        await until(lambda: attempts == [1, 2], WAIT_SECONDS)


async def test_a_plain_one_that_hangs_is_left_behind(client: Nsq, publisher: Nsq) -> None:
    attempts: list[int] = []
    may_end = threading.Event()

    @quick(client, timeout=0.1)
    def hang(message: Message) -> None:
        attempts.append(message.attempts)
        if message.attempts == 1:
            may_end.wait()

    await publisher.publish("t", b"x")
    async with client.running():
        await until(lambda: attempts == [1, 2], WAIT_SECONDS)
    may_end.set()


async def test_shutdown_says_what_it_cut_off_and_nobody_waits_for_it(
    client: Nsq, publisher: Nsq, nsq_server: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    started: asyncio.Future[asyncio.Task[None] | None] = asyncio.get_running_loop().create_future()
    may_end = asyncio.Event()

    @quick(client, drain_timeout=0.1)
    async def hang(message: Message) -> None:
        started.set_result(asyncio.current_task())
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()

    await publisher.publish("t", b"x")
    async with asyncio.timeout(8), client.running():
        left_behind = await started
    assert left_behind is not None
    is_alone = left_behind not in asyncio.all_tasks()  # for which `asyncio.run` waits
    assert not left_behind.done()
    may_end.set()
    await asyncio.wait((left_behind,))
    assert is_alone
    text = caplog.text
    assert "attempt 1" in text
    assert nsq_server.tcp_address in text
    assert "does not end" in text


async def test_what_was_in_work_on_a_lost_connection_is_logged(
    client: Nsq, publisher: Nsq, nsq_server: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    @client.handler("t", "c")
    async def work(message: Message) -> None:
        started.set()
        await may_end.wait()

    await publisher.publish("t", b"x")
    async with client.running():
        await started.wait()
        nsq_server.node.disconnect()
        await until(lambda: "lost in work" in caplog.text, WAIT_SECONDS)
        may_end.set()
    assert nsq_server.tcp_address in caplog.text


# Bodies


async def test_a_body_that_cannot_be_decoded_slows_nothing_down_and_is_not_logged(
    client: Nsq,
    publisher: Nsq,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, "nsqx.client")
    monkeypatch.setattr(Backoff, "_seconds", lambda *_: 100.0)  # with one wait it does not end
    done: list[int] = []

    @client.handler("t", "c", concurrency=4)
    async def work(order: Order) -> None:
        done.append(order.id)

    for number in range(30):
        await publisher.publish("t", b"secret" if number % 4 == 0 else Order(number))
    async with client.running():
        await until(lambda: len(done) == 22, WAIT_SECONDS)
    assert "secret" not in caplog.text


async def test_one_that_the_handler_decodes_is_to_blame_as_well(
    nsq_server: Cluster, publisher: Nsq, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "_seconds", lambda *_: 100.0)  # with one wait it does not end
    done: list[int] = []

    async def work(message: Message) -> None:
        done.append(message.decode(Order).id)

    for number in range(8):
        await publisher.publish("t", b"secret" if number < 3 else Order(number))
    async with Consumer("t", "c", nsqd=nsq_server.tcp_address, max_in_flight=1) as consumer:
        running = asyncio.create_task(consumer.run(work))
        await until(lambda: len(done) == 5, WAIT_SECONDS)
        await consumer.close()
        await running


def test_the_error_of_a_body_does_not_show_it() -> None:
    assert "secret" not in str(DecodeFailed(b"secret", int, "no number"))


async def test_calls_that_hang_are_left_behind_up_to_a_limit() -> None:
    threads, returns = Threads("test"), threading.Event()
    for _ in range(LEFT_BEHIND_MAX):
        assert threads.has_room
        call = asyncio.create_task(threads.call(returns.wait))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait((call,))
    assert not threads.has_room
    returns.set()
    async with asyncio.timeout(WAIT_SECONDS):
        await threads.room()
    assert await threads.call(lambda: 5) == 5
    threads.close()


async def test_a_handler_whose_calls_all_hang_adds_no_thread_for_each_message(
    client: Nsq,
    publisher: Nsq,
    caplog: pytest.LogCaptureFixture,
) -> None:
    returns, begun = threading.Event(), []

    @quick(client, timeout=0.02, max_attempts=3, left_behind_max=2)
    def hang(number: int) -> None:
        begun.append(number)
        returns.wait(WAIT_SECONDS)

    await publisher.publish("t", 1)
    try:
        async with client.running():
            await until(lambda: "too many calls hang" in caplog.text, WAIT_SECONDS)
            assert begun == [1, 1]
            returns.set()
            await until(lambda: begun == [1, 1, 1], WAIT_SECONDS)
    finally:
        returns.set()
