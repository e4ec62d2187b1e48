"""
Functions that handle messages: what their parameters ask for, and what follows from how they end.

A parameter annotated with ``Message`` gets the message. One other parameter may be there: it gets
the body, decoded as its annotation says. Plain functions run in threads of their own, since they
may block.
"""

import asyncio
import contextvars
import inspect
import logging
import typing
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from nsqx.client.codecs import Codec, decode_body
from nsqx.client.errors import DecodeFailed
from nsqx.client.message import Message

__all__ = ["GiveUp", "HandlerFunction", "Route", "Worker"]

_log = logging.getLogger("nsqx.client")

HandlerFunction = Callable[..., object]
GiveUp = Callable[[Message], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """
    A function and the channel whose messages it handles.

    Attributes:
        message_parameter, body_parameter: names; None if the function has no such parameter.
        body_kind: the annotation of the latter.
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
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: HandlerFunction, **fields: Any) -> "Route":
        """
        Read the signature of a function.

        Raises:
            TypeError: a parameter has no annotation, or there are too many.
        """
        hints = typing.get_type_hints(function, include_extras=True)
        message_parameter = body_parameter = None
        for name in inspect.signature(function).parameters:
            if name not in hints:
                raise TypeError(
                    f"{function.__qualname__}: annotate {name!r} with Message, or with what the "
                    "body of a message is to be decoded as"
                )
            if hints[name] is Message:
                message_parameter = name
            elif body_parameter is None:
                body_parameter = name
            else:
                raise TypeError(
                    f"{function.__qualname__}: both {body_parameter!r} and {name!r} would be the "
                    "body of a message"
                )
        return cls(
            function=function,
            message_parameter=message_parameter,
            body_parameter=body_parameter,
            body_kind=hints.get(body_parameter or "", Any),
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


class Worker:
    """
    Calls a route's function, as the handler of its consumer.

    A message whose body cannot be decoded goes to the dead letters at once, if there are any: it
    would fail again. One that failed ``max_attempts`` times is given up.
    """

    def __init__(self, route: Route, give_up: GiveUp) -> None:
        self._route = route
        self._give_up = give_up
        self._threads: ThreadPoolExecutor | None = None
        if not inspect.iscoroutinefunction(route.function):
            self._threads = ThreadPoolExecutor(route.concurrency, f"nsqx {route.name}")

    async def handle(self, message: Message) -> None:
        """
        Call the function.

        Raises:
            Exception: whatever it raised; the consumer requeues the message then.
        """
        route = self._route
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
        except Exception:
            if not self._is_last_attempt(message):
                raise
            _log.exception("%s: giving up on %r", route.name, message)
            await self._give_up(message)

    def _is_last_attempt(self, message: Message) -> bool:
        limit = self._route.max_attempts
        # What the function has answered itself is not given up.
        return limit is not None and message.attempts >= limit and message.is_open

    async def _call(self, arguments: dict[str, Any]) -> None:
        if self._threads is None:
            await typing.cast(Awaitable[object], self._route.function(**arguments))
            return
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._threads, lambda: context.run(self._route.function, **arguments)
        )

    def close(self) -> None:
        """Let go of the threads; calls that still run end by themselves."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
