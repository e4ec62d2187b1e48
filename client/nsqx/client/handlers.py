"""
Functions that handle messages: what their parameters ask for, and what follows from how they end.

A parameter annotated with ``Message`` gets the message. One other parameter may be there: it gets
the body, decoded as its annotation says. Plain functions run in threads of their own, since they
may block. Whatever they return that can be awaited is awaited.
"""

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import logging
import typing
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from nsqx.client.codecs import Codec, decode_body
from nsqx.client.errors import DecodeFailed
from nsqx.client.kinds import check_kind
from nsqx.client.message import Message
from nsqx.client.threads import LEFT_BEHIND_MAX, Threads

__all__ = [
    "GiveUp",
    "HandlerFunction",
    "Route",
    "Worker",
    "begin_here",
    "check_handler",
    "collect_begun",
    "is_cancelled",
    "settle",
]

_log = logging.getLogger("nsqx.client")

HandlerFunction = Callable[..., object]
GiveUp = Callable[[Message], Awaitable[None]]

T = TypeVar("T")

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)


@dataclass(frozen=True, slots=True)
class Route:
    """
    A function and the channel whose messages it handles.

    Attributes:
        message_parameter, body_parameter: names; None if the function has no such parameter.
        body_kind: the annotation of the latter.
        by_position: names of parameters that have none for who calls.
        timeout: seconds that a call may take; None: as long as it likes.
        left_behind_max: calls of a plain function that took longer, and still run.
        options: further arguments of the ``Consumer``.
    """

    topic: str
    channel: str
    function: HandlerFunction
    concurrency: int
    max_attempts: int | None
    dead_letter: str | None
    codec: Codec
    message_parameter: str | None
    body_parameter: str | None
    body_kind: Any
    by_position: tuple[str, ...] = ()
    timeout: float | None = None
    left_behind_max: int = LEFT_BEHIND_MAX
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: HandlerFunction, **fields: Any) -> "Route":
        """
        Read the signature of a function, or of another object that can be called.

        Raises:
            TypeError: it cannot be a handler: a parameter has no annotation, or one that no body
                can be decoded as; there are too many parameters; it does not run when it is called.
        """
        check_handler(function)
        name, hints = _name(function), _hints(function)
        message_parameter = body_parameter = None
        by_position = []
        for parameter in inspect.signature(function).parameters.values():
            has_default = parameter.default is not inspect.Parameter.empty
            if parameter.name not in hints:
                if has_default or (parameter.kind in _VARIADIC and body_parameter is not None):
                    continue
                raise TypeError(
                    f"{name}: annotate {parameter.name!r} with Message, or with what the "
                    "body of a message is to be decoded as"
                )
            if hints[parameter.name] is Message:
                if message_parameter is not None:
                    raise TypeError(
                        f"{name}: both {message_parameter!r} and {parameter.name!r} would be the "
                        "message"
                    )
                message_parameter = parameter.name
            elif body_parameter is None and parameter.kind not in _VARIADIC:
                body_parameter = parameter.name
            elif has_default or parameter.kind in _VARIADIC:
                continue
            else:
                raise TypeError(
                    f"{name}: both {body_parameter!r} and {parameter.name!r} would be the "
                    "body of a message"
                )
            if parameter.kind in _BY_POSITION:
                by_position.append(parameter.name)
        body_kind = hints.get(body_parameter or "", Any)
        if body_parameter is not None:
            try:
                check_kind(body_kind, fields["codec"])
            except TypeError as exc:
                raise TypeError(f"{name}: {body_parameter!r}: {exc}") from exc
        return cls(
            function=function,
            message_parameter=message_parameter,
            body_parameter=body_parameter,
            body_kind=body_kind,
            by_position=tuple(by_position),
            **fields,
        )

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.channel}"

    def arguments(self, message: Message) -> dict[str, Any]:
        """
        Return what the function is to be called with.

        Raises:
            DecodeFailed: the body is not what the function wants.
        """
        arguments: dict[str, Any] = {}
        if self.message_parameter is not None:
            arguments[self.message_parameter] = message
        if self.body_parameter is not None:
            body = decode_body(message.body, self.body_kind, self.codec)
            arguments[self.body_parameter] = body
        return arguments

    def call(self, arguments: dict[str, Any]) -> object:
        """Call the function."""
        if not self.by_position:
            return self.function(**arguments)
        first = [arguments[name] for name in self.by_position]
        rest = {name: each for name, each in arguments.items() if name not in self.by_position}
        return self.function(*first, **rest)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Worker:
    """
    Calls a route's function, as the handler of its consumer.

    A message whose body cannot be decoded goes to the dead letters at once, if there are any: it
    would fail again. One that failed ``max_attempts`` times is given up.
    """

    def __init__(self, route: Route, give_up: GiveUp) -> None:
        self._route = route
        self._give_up = give_up
        self._threads = None
        if not _is_async(route.function):
            self._threads = Threads(f"nsqx {route.name}", route.left_behind_max)

    async def handle(self, message: Message) -> None:
        """
        Call the function.

        Raises:
            BaseException: whatever it raised; the consumer decides what follows.
        """
        route = self._route
        if self._threads is not None and not self._threads.has_room:
            _log.error("%s: too many calls hang; none is begun until one returns", route.name)
            message.give_back()
            await self._threads.room()
            return
        try:
            arguments = route.arguments(message)
        except DecodeFailed as exc:
            if route.dead_letter is None and not self._is_last_attempt(message):
                raise
            _log.error("%s: giving up on %r: %s", route.name, message, exc)
            await self._give_up(message)
            return
        try:
            await self._call(arguments)
        except BaseException as exc:  # a function may end in any way
            if not self._is_last_attempt(message) or is_cancelled(exc):
                raise
            _log.error("%s: giving up on %r", route.name, message, exc_info=exc)
            await self._give_up(message)
            if isinstance(exc, SystemExit | KeyboardInterrupt):
                message.finish()
                raise

    def _is_last_attempt(self, message: Message) -> bool:
        limit = self._route.max_attempts
        # What the function has answered itself is not given up.
        return limit is not None and message.attempts >= limit and message.is_open

    async def _call(self, arguments: dict[str, Any]) -> None:
        seconds = self._route.timeout
        if seconds is None:
            await self._run(arguments)
            return
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self._run(arguments)
        except TimeoutError as exc:
            if not limit.expired():
                raise  # the function's own
            raise TimeoutError(
                f"{self._route.name}: a handler took longer than {seconds:g} s"
            ) from exc

    async def _run(self, arguments: dict[str, Any]) -> None:
        if self._threads is None:
            result = self._route.call(arguments)
        else:
            result = await self._threads.call(functools.partial(self._route.call, arguments))
        if inspect.isawaitable(result):
            result = await result
        if result is not None:
            await settle(result)

    def close(self) -> None:
        """Let go of the threads; calls that still run end by themselves."""
        if self._threads is not None:
            self._threads.close()


def check_handler(function: object) -> None:
    """
    Refuse what does not run when it is called with a message.

    Raises:
        TypeError: with a sentence that tells what to write instead.
    """
    if not callable(function):
        raise TypeError(f"{function!r} is no handler: it cannot be called")
    made = _without_partials(function)
    if inspect.isclass(made):
        raise TypeError(f"{made.__qualname__} is a class: decorate a function, or use an object")
    for target in (_target(function), inspect.unwrap(_target(function))):
        if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
            raise TypeError(
                f"{_name(function)} is a generator, of which nothing runs when it is called: "
                "a handler has no yield"
            )


class _Begun(NamedTuple):
    """What a plain function has begun in the event loop, without awaiting it."""

    worker: "asyncio.Task[Any] | None"
    tasks: "list[asyncio.Task[Any]]"


_begun: contextvars.ContextVar[_Begun | None] = contextvars.ContextVar("nsqx_begun", default=None)


def collect_begun(handler: Callable[..., object]) -> "list[asyncio.Task[Any]]":
    """Return where the present task finds what a handler begins; a coroutine function awaits it."""
    begun = _Begun(asyncio.current_task(), [])
    if not _is_async(handler):
        _begun.set(begun)
    return begun.tasks


def begin_here(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T] | None":
    """Begin what a plain function cannot await; None: whoever calls can."""
    begun = _begun.get()
    if begun is None or begun.worker is not asyncio.current_task():
        return None
    task = asyncio.ensure_future(work)
    task.add_done_callback(_error_is_seen)  # if the function fails, nobody else looks
    begun.tasks.append(task)
    return task


def _error_is_seen(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


async def settle(answer: object, begun: "list[asyncio.Task[Any]] | None" = None) -> None:
    """
    Wait for what a handler has left to be done, in what it returned or began.

    Raises:
        BaseException: what became of that.
        TypeError: nothing of it has run, and nothing will.
    """
    tasks = list(begun or ())
    try:
        while True:  # an await may have been forgotten behind another one
            if isinstance(answer, concurrent.futures.Future):
                answer = asyncio.wrap_future(answer)
            if not inspect.isawaitable(answer):
                break
            answer = await answer
        if (what := _unrun(answer)) is not None:
            raise TypeError(f"a handler returned {what}: nothing of it has run")
        if tasks:
            await asyncio.gather(*tasks)
    finally:
        if begun:
            begun.clear()


def _unrun(answer: object) -> str | None:
    source = getattr(answer, "gen", answer)  # of what contextlib makes of a generator
    if inspect.isgenerator(source) or inspect.isasyncgen(source):
        return "a generator" if source is answer else "a context manager"
    return "a function" if inspect.isroutine(answer) else None


def is_cancelled(error: BaseException) -> bool:
    """Whether the present task is being cancelled; else CancelledError is just another failure."""
    if asyncio._get_running_loop() is None:
        return True  # the loop has ended, and Python closes what still waited
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def _is_async(function: HandlerFunction) -> bool:
    """Whether it is to be called in the event loop; what wraps a coroutine function is, too."""
    return inspect.iscoroutinefunction(inspect.unwrap(_target(function)))


def _without_partials(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _target(function: Any) -> Any:
    """Return the function behind partials and objects with ``__call__``."""
    function = _without_partials(function)
    if inspect.isroutine(function):
        return function
    return type(function).__call__ if callable(function) else function


def _hints(function: HandlerFunction) -> dict[str, Any]:
    try:
        return typing.get_type_hints(_target(function), include_extras=True)
    except NameError as exc:
        raise TypeError(f"{_name(function)}: an annotation is not known here: {exc}") from exc


def _name(function: Any) -> str:
    target = _target(function)
    name = getattr(target, "__qualname__", None)
    return name if isinstance(name, str) else repr(function)
