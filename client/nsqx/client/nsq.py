"""
The client as one object, for applications: publishes values, and runs functions as handlers.

Theory of operation. An ``Nsq`` holds what ``Producer`` and ``Consumer`` need and makes them when
they are wanted: a producer at the first publish, a consumer per handler in ``running``. It closes
them in this order: consumers first, so that what their last handlers publish is still sent.
"""

# ruff: noqa: ASYNC109
# As in producer.py: the timeouts bound retries, and have an error that tells more.

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from operator import methodcaller
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from nsqx.client.codecs import JSON, Codec, encode_body
from nsqx.client.consumer import CANCEL_SECONDS, Consumer, Handler
from nsqx.client.errors import ClientClosed, DeadlineExceeded
from nsqx.client.handlers import GiveUp, HandlerFunction, Route, Worker, begin_here
from nsqx.client.lookupds import LookupdFinder
from nsqx.client.message import Message
from nsqx.client.nodes import Lease, Nodes
from nsqx.client.observer import Observer, telling, watched
from nsqx.client.producer import CLOSE_TIMEOUT_SECONDS, TIMEOUT_SECONDS, Producer
from nsqx.client.ranges import check_count, check_seconds
from nsqx.client.service_url import Service, parse_environment, parse_service_url
from nsqx.client.settings import Settings
from nsqx.client.threads import LEFT_BEHIND_MAX, event_loop
from nsqx.protocol.names import is_valid_name

__all__ = ["Nsq"]

_log = logging.getLogger("nsqx.client")

# Twice the handlers: one message in work and one at hand for each. More would lie here while
# other consumers may be free, and perhaps longer than nsqd waits for an answer.
MESSAGES_PER_HANDLER = 2

_UNOBSERVED: AbstractContextManager[object] = contextlib.nullcontext()
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_Running = asyncio.Task[BaseException | None]

T = TypeVar("T")
FunctionT = TypeVar("FunctionT", bound=HandlerFunction)


class Nsq:
    """
    A connection to a cluster::

        async with Nsq(lookupd="127.0.0.1:4161") as nsq:
            await nsq.publish("orders", {"id": 1})

    and an application that consumes from it::

        nsq = Nsq(lookupd="127.0.0.1:4161")

        @nsq.handler("orders", "billing", concurrency=20)
        async def bill(order: Order) -> None: ...

        asyncio.run(nsq.run())

    It may be made anywhere, also where no event loop runs, and be opened again after it was closed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        nsqd: str | Iterable[str] = (),
        lookupd: str | Iterable[str] = (),
        discover: LookupdFinder | None = None,
        settings: Settings | None = None,
        codec: Codec | None = None,
        timeout: float | None = None,
        resend: bool = True,
        close_timeout: float = CLOSE_TIMEOUT_SECONDS,
        observers: Iterable[Observer] = (),
    ) -> None:
        """
        Nothing is connected yet.

        Args:
            url: as in ``nsqx.client.service_url``, such as ``nsq://host,host?tls=1``; instead of
                ``nsqd``, ``lookupd`` and ``settings``.
            nsqd: publishes go to the first of them that works; all are consumed.
            lookupd: all nsqds that they name are consumed. Without ``nsqd``, publishes go to all of
                them in turn.
            discover: knows further lookupds, as for ``Consumer``.
            settings: of all connections.
            codec: for what is neither bytes nor text; JSON if not given.
            timeout: seconds that a publish may take.
            resend: as for ``Producer``.
            close_timeout: seconds that `close` waits for what is being published.
            observers: such as those in ``nsqx.integrations``.

        Raises:
            ValueError: there is no address, or one or a number is wrong.
        """
        service = parse_service_url(url) if url is not None else Service()
        self._nsqd = [*service.nsqd, *_listed(nsqd)]
        self._lookupd = [*service.lookupd, *_listed(lookupd)]
        self._discover = discover
        self._settings = settings or service.settings
        self._codec = codec or service.codec or JSON
        seconds = next(
            (seconds for seconds in (timeout, service.timeout) if seconds is not None),
            TIMEOUT_SECONDS,
        )
        self._timeout = check_seconds("timeout", seconds, above_zero=True)
        self._resend = resend
        self._close_timeout = check_seconds("close_timeout", close_timeout)
        self._observers = tuple(observers)
        self._routes: list[Route] = []
        self._nodes: Nodes | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # where it was opened last
        self._stop: asyncio.Event | None = None
        if not self._nsqd and not self._lookupd and discover is None:
            raise ValueError("an Nsq needs the address of an nsqd or a lookupd")
        self._new_nodes()  # ValueError here, and not when it is opened
        if self._nsqd:
            self._new_producer(self._nsqd)

    @classmethod
    def from_env(cls, prefix: str = "NSQ_", **options: Any) -> "Nsq":
        """
        Make one of environment variables: ``NSQ_URL``, or ``NSQ_NSQD`` and ``NSQ_LOOKUPD``.

        Further ones are in ``nsqx.client.service_url``.

        Args:
            prefix: of their names.
            options: as for ``Nsq``; they win over the environment.

        Raises:
            ValueError: no address is set, or a value is not understood.
        """
        service = parse_environment(os.environ, prefix)
        known = {
            "nsqd": service.nsqd,
            "lookupd": service.lookupd,
            "settings": service.settings,
            "codec": service.codec,
            "timeout": service.timeout,
        }
        return cls(**{**known, **options})

    # Opening and closing

    async def __aenter__(self) -> Self:
        if self._nodes is not None and self._loop is not None and not self._loop.is_closed():
            raise ClientClosed("this Nsq is open already")
        self._loop = asyncio.get_running_loop()
        self._nodes = self._new_nodes()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is being published, and disconnect."""
        await asyncio.sleep(0)  # tasks that were made to publish have begun then
        nodes, self._nodes = self._nodes, None
        if nodes is not None:
            await nodes.close()

    @property
    def addresses(self) -> list[str]:
        """The nsqds and lookupds that were named, as they were."""
        return [*self._nsqd, *self._lookupd]

    @property
    def is_open(self) -> bool:
        return self._nodes is not None

    async def ready(self, timeout: float | None = None) -> None:
        """
        Wait until an nsqd to publish to is known, and all known ones were tried. For health checks.

        Raises:
            ConnectFailed: one of them could not be reached; it is tried on.
            DeadlineExceeded: no nsqd was found in time.
            ClientClosed: this object is not open.
        """
        seconds = self._timeout if timeout is None else timeout
        with await self._lease(seconds) as producer:
            await producer.ready()

    # Publishing

    def publish(
        self,
        topic: str,
        value: object,
        *,
        delay: float | None = None,
        timeout: float | None = None,
    ) -> Coroutine[Any, Any, None]:
        """
        Publish a message, and return when nsqd has accepted it.

        To be awaited, but for a handler that is a plain function: there it has happened when the
        call returns, or, in the event loop, before the handler's message is finished.

        Args:
            topic: created if it does not exist.
            value: bytes and text are sent as they are, all else as the codec encodes it.
            delay: seconds before it is delivered.
            timeout: seconds this may take in all, instead of the usual ones.

        Raises:
            TypeError: the codec cannot encode the value.
            ValueError, PublishFailed, DeadlineExceeded, ConnectionClosed, ClientClosed: as for
                ``Producer.publish``.
        """
        return _wherever_called(self._publish(topic, value, delay, timeout))

    async def _publish(
        self, topic: str, value: object, delay: float | None, timeout: float | None
    ) -> None:
        body = encode_body(value, self._codec)
        lease = None if self._nodes is None else self._nodes.current
        if lease is not None and not self._observers:
            with lease as producer:
                await producer.publish(topic, body, defer=delay, timeout=timeout)
            return
        seconds = self._timeout if timeout is None else timeout
        with self._observed_publish(topic), await self._lease(seconds) as producer:
            await producer.publish(topic, body, defer=delay, timeout=seconds)
            self._tell_published(topic, 1)

    def publish_many(
        self, topic: str, values: Iterable[object], *, timeout: float | None = None
    ) -> Coroutine[Any, Any, int]:
        """
        Publish many messages in batches, and return how many.

        ``values`` is read only as fast as nsqd confirms, so it may be a generator without end.

        Args:
            topic: created if it does not exist.
            values: as for ``publish``.
            timeout: seconds that each batch may take.

        Raises:
            TypeError: the codec cannot encode one; batches before it may be published.
            ValueError, PartlyPublished, ClientClosed: as for ``Producer.publish_many``.
        """
        return _wherever_called(self._publish_many(topic, values, timeout))

    async def _publish_many(
        self, topic: str, values: Iterable[object], timeout: float | None
    ) -> int:
        codec = self._codec
        bodies = (encode_body(value, codec) for value in values)
        seconds = self._timeout if timeout is None else timeout
        with self._observed_publish(topic), await self._lease(seconds) as producer:
            count = await producer.publish_many(topic, bodies, timeout=seconds)
            self._tell_published(topic, count)
        return count

    def encode(self, value: object) -> bytes:
        """
        Return the body that ``publish`` sends.

        Raises:
            TypeError: the codec cannot encode the value.
        """
        return encode_body(value, self._codec)

    def _observed_publish(self, topic: str) -> AbstractContextManager[object]:
        if not self._observers:
            return _UNOBSERVED
        return watched(self._observers, methodcaller("publishing", topic))

    def _tell_published(self, topic: str, count: int) -> None:
        for observer in self._observers:
            with telling(observer):
                observer.published(topic, count)

    async def _lease(self, seconds: float) -> Lease:
        nodes = self._nodes
        if nodes is None:
            raise ClientClosed("this Nsq is not open: use async with")
        if asyncio.get_running_loop() is not self._loop:
            raise ClientClosed("this Nsq is open in another event loop: make one for each")
        if nodes.current is not None:
            return nodes.current
        try:
            async with asyncio.timeout(check_seconds("timeout", seconds)):
                return await nodes.find()
        except TimeoutError:
            what = "finding an nsqd to publish to"
            raise DeadlineExceeded(what, seconds, nodes.last_error) from None

    # Consuming

    def consume(self, topic: str, channel: str, **options: Any) -> Consumer:
        """
        Return a consumer, to be entered with ``async with``.

        It is independent of this object from then on, and is closed by leaving its own block.

        Args:
            topic, channel: created if they do not exist.
            options: as for ``Consumer``, such as ``max_in_flight``.

        Raises:
            ValueError: a name is wrong.
        """
        known: dict[str, Any] = {
            "nsqd": self._nsqd,
            "lookupd": self._lookupd,
            "discover": self._discover,
            "settings": self._settings,
            "codec": self._codec,
        }
        return _ObservedConsumer(self._observers, topic, channel, **{**known, **options})

    def handler(
        self,
        topic: str,
        channel: str,
        *,
        concurrency: int = 1,
        max_attempts: int | None = None,
        dead_letter: str | None = None,
        codec: Codec | None = None,
        timeout: float | None = None,
        left_behind_max: int = LEFT_BEHIND_MAX,
        **options: Any,
    ) -> Callable[[FunctionT], FunctionT]:
        """
        Decorate a function that is to handle the messages of a channel, once this object runs.

        When it returns, the message is finished; when it raises, the message comes again later. It
        may take the message (a parameter annotated with ``Message``), its body (one parameter
        annotated with anything else, as which the body is decoded), or both. A plain function
        runs in a thread.

        Args:
            topic, channel: created if they do not exist.
            concurrency: how many messages are handled at the same time.
            max_attempts: a message that failed so often is given up. None: never.
            dead_letter: topic to which the bodies of messages are published that are given up or
                cannot be decoded.
            codec: for the body, instead of this object's.
            timeout: seconds that a call may take; longer ones are cut off, which is a failure. A
                plain function cannot be cut off: it is left behind in its thread.
            left_behind_max: with so many left behind, no more messages are handled until one of
                them returns.
            options: as for ``Consumer``. ``max_in_flight`` is twice ``concurrency`` if not given.

        Raises:
            ValueError: a name or a number is wrong.
            TypeError: the parameters are not those described, or an option is not known.
        """
        for name in (topic, channel, *([dead_letter] if dead_letter is not None else ())):
            if not is_valid_name(name):
                raise ValueError(f"not a valid name of a topic or channel: {name!r}")
        check_count("concurrency", concurrency, 1)
        if max_attempts is not None:
            check_count("max_attempts", max_attempts, 1)
        if timeout is not None:
            check_seconds("timeout", timeout, above_zero=True)
        check_count("left_behind_max", left_behind_max, 1)

        def decorate(function: FunctionT) -> FunctionT:
            route = Route.of(
                function,
                topic=topic,
                channel=channel,
                concurrency=concurrency,
                max_attempts=max_attempts,
                dead_letter=dead_letter,
                codec=codec or self._codec,
                timeout=timeout,
                left_behind_max=left_behind_max,
                options=options,
            )
            self.consume(topic, channel, **options)  # which judges them
            self._routes.append(route)
            return function

        return decorate

    # Running

    async def run(self, *, handle_signals: bool = True) -> None:
        """
        Run the handlers until SIGTERM or SIGINT comes or ``stop`` is called.

        Then no more messages are taken, those in work are finished, and all connections closed. A
        second signal does what it does without us. Opens this object if it is not open.

        Args:
            handle_signals: False leaves signals alone. They are left alone outside the main thread
                too.
        """
        async with AsyncExitStack() as stack:
            if not self.is_open:
                await stack.enter_async_context(self)
            self._stop = stopped = asyncio.Event()
            if handle_signals and threading.current_thread() is threading.main_thread():
                stack.enter_context(_stopped_by_signals(stopped))
            consuming = await stack.enter_async_context(self._consuming())
            waiting = asyncio.create_task(stopped.wait())
            try:
                # A consumer that ends by itself has crashed, or its handler wants us to exit.
                await asyncio.wait((waiting, *consuming), return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()

    def stop(self) -> None:
        """Have ``run`` end in good order. To be called in its event loop."""
        if self._stop is not None:
            self._stop.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """
        Run the handlers beside the block, and drain them when it is left.

        For applications that have a main loop of their own. Opens this object if it is not open.
        """
        async with AsyncExitStack() as stack:
            if not self.is_open:
                await stack.enter_async_context(self)
            await stack.enter_async_context(self._consuming())
            yield self

    @asynccontextmanager
    async def _consuming(self) -> AsyncIterator[list[_Running]]:
        """
        Run all handlers; the tasks end when the block does, or before, by mistake.

        Raises:
            BaseException: a handler wanted the program to end, or what calls it has ended.
        """
        workers = [Worker(route, self._give_up(route)) for route in self._routes]
        consumers: list[Consumer] = []
        tasks: list[_Running] = []
        try:
            for route, worker in zip(self._routes, workers, strict=True):
                consumer = await self._consumer(route, worker).__aenter__()
                consumers.append(consumer)
                handle = self._observed_handler(route, worker)
                running = consumer.run_until_exit(handle, concurrency=route.concurrency)
                task = asyncio.create_task(running, name=f"nsqx handler {route.name}")
                task.add_done_callback(partial(_report_end, consumer))
                tasks.append(task)
            yield tasks
        finally:
            ended = [task for task in tasks if task.done()]
            await asyncio.gather(*(consumer.close() for consumer in consumers))
            for worker in workers:
                worker.close()
            # Those that still run had their time to drain.
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=2 * CANCEL_SECONDS)
        ended += [
            task for task in tasks if task not in ended and task.done() and not task.cancelled()
        ]
        for task in ended:
            if (error := _error_of(task)) is not None:
                raise error

    def _consumer(self, route: Route, worker: Worker) -> Consumer:
        in_flight = MESSAGES_PER_HANDLER * route.concurrency
        options = {"max_in_flight": in_flight, "cautious": True, **route.options}
        if route.max_attempts is not None:
            # Reached here only if the process died, or a message timed out, at the last attempt.
            options |= {"max_attempts": route.max_attempts, "on_give_up": self._give_up(route)}
        return self.consume(route.topic, route.channel, codec=route.codec, **options)

    def _observed_handler(self, route: Route, worker: Worker) -> Handler:
        if not self._observers:
            return worker.handle

        async def handle(message: Message) -> None:
            topic, channel = route.topic, route.channel
            watch = methodcaller("handling", message, topic, channel)
            with watched(self._observers, watch):
                await worker.handle(message)

        return handle

    def _give_up(self, route: Route) -> GiveUp:
        async def give_up(message: Message) -> None:
            if route.dead_letter is not None:
                await self.publish(route.dead_letter, message.body)

        return give_up

    # Making

    def _new_nodes(self) -> Nodes:
        return Nodes(
            self._new_producer,
            self._nsqd,
            self._lookupd,
            self._discover,
            self._close_timeout,
            tls=self._settings.lookupd_context(),
        )

    def _new_producer(self, nsqd: Iterable[str]) -> Producer:
        return Producer(
            nsqd,
            settings=self._settings,
            timeout=self._timeout,
            resend=self._resend,
            spread=not self._nsqd,
            close_timeout=self._close_timeout,
        )


class _ObservedConsumer(Consumer):
    """A consumer whose opening and closing observers are told of."""

    def __init__(
        self, observers: tuple[Observer, ...], topic: str, channel: str, **options: Any
    ) -> None:
        super().__init__(topic, channel, **options)
        self._observers = observers

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        for observer in self._observers:
            with telling(observer):
                observer.consumer_opened(self)
        return self

    async def close(self, timeout: float | None = None) -> None:
        try:
            await super().close(timeout)
        finally:
            observers, self._observers = self._observers, ()
            for observer in observers:
                with telling(observer):
                    observer.consumer_closed(self)


@contextlib.contextmanager
def _stopped_by_signals(stopped: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop(signum: signal.Signals) -> None:
        _log.info("received %s: finishing what is in work", signum.name)
        loop.remove_signal_handler(signum)
        stopped.set()

    for signum in _STOP_SIGNALS:
        loop.add_signal_handler(signum, stop, signum)
    try:
        yield
    finally:
        for signum in _STOP_SIGNALS:
            loop.remove_signal_handler(signum)


class _Happened:
    """What a plain function may await as little as anything else."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __await__(self) -> Generator[Any, Any, Any]:
        yield from ()
        return self._result


def _wherever_called(work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """
    Return what is to be awaited; in a handler that is a plain function, it is not forgotten.

    In a thread it is done now. In the event loop it is begun, and its message waits for it.
    """
    if asyncio._get_running_loop() is not None:
        return cast(Coroutine[Any, Any, T], begin_here(work) or work)
    loop = event_loop.get()
    if loop is None:
        return work
    happened = _Happened(asyncio.run_coroutine_threadsafe(work, loop).result())
    return cast(Coroutine[Any, Any, T], happened)


def _error_of(task: _Running) -> BaseException | None:
    """Return why a handler's task ended; None if it ended well."""
    if task.cancelled():
        return RuntimeError(f"somebody cancelled the task {task.get_name()!r}")
    return task.exception() or task.result()


def _report_end(consumer: Consumer, task: _Running) -> None:
    if consumer.is_closing and (task.cancelled() or _error_of(task) is None):
        return
    _log.critical("%s: no messages are handled any more", task.get_name(), exc_info=_error_of(task))


def _listed(addresses: str | Iterable[str]) -> list[str]:
    return [addresses] if isinstance(addresses, str) else list(addresses)
