"""``/pub`` and ``/mpub`` (HTTP sections 4 and 5)."""

import asyncio
from functools import partial

from nsqx.nsqd.core.acknowledgements import PublishError
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.edge.steps import in_background
from nsqx.nsqd.http.arguments import boolean, made_topic, valid_topic_name
from nsqx.nsqd.http.mpub import BadMultiPublishError, split_binary, split_lines
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.durations import MILLISECOND_NS
from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, Router, text
from nsqx.runtime.options.go_values import read_int64

__all__ = ["PublishEndpoints"]

SPLIT_AT_ONCE_BYTES = 64 * 1024


class PublishEndpoints:
    """Publishing over HTTP: the answer comes when the messages are as safe as their topic says."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd
        self._options = nsqd.options

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("POST", "/pub", self._pub)
        router.add("POST", "/mpub", self._mpub)

    async def _pub(self, request: Request) -> Answer:
        body = await request.body(self._options.max_msg_size, "MSG_TOO_BIG")
        if not body:
            raise ApiError(400, "MSG_EMPTY")
        topic = self._topic(request)
        defer_ns = self._defer_ns(request)
        due_ns = self._nsqd.broker.clock.wall() + defer_ns if defer_ns else 0
        await self._publish(topic, [body], due_ns)
        return text("OK")

    async def _mpub(self, request: Request) -> Answer:
        options = self._options
        length = request.http.content_length
        if length is not None and length > options.max_body_size:
            raise ApiError(413, "BODY_TOO_BIG")
        name = self._topic(request).name
        body = await request.body(options.max_body_size, "BODY_TOO_BIG")
        try:
            if boolean(request, "binary", False):
                split = partial(split_binary, body, options.max_msg_size, options.max_body_size)
            else:
                split = partial(split_lines, body, options.max_msg_size)
            # A million tiny messages take a while, in which others have their turns.
            is_long = len(body) > SPLIT_AT_ONCE_BYTES
            bodies = await in_background(self._nsqd.storage, split) if is_long else split()
        except BadMultiPublishError as error:
            raise ApiError(413, error.code) from error
        if bodies:
            # Looked up again: it may have been deleted while the body arrived.
            await self._publish(self._get_topic(name), bodies, 0)
        return text("OK")

    def _topic(self, request: Request) -> Topic:
        return self._get_topic(valid_topic_name(request))

    def _get_topic(self, name: str) -> Topic:
        if self._nsqd.broker.draining.is_on:
            raise ApiError(503, "DRAINING")
        try:
            return made_topic(self._nsqd.broker, name)
        except OSError as error:
            raise ApiError(503, "EXITING") from error

    def _defer_ns(self, request: Request) -> int:
        value = request.query().get("defer")
        if value is None:
            return 0
        try:
            defer_ns = read_int64(value) * MILLISECOND_NS
        except ValueError:
            raise ApiError(400, "INVALID_DEFER") from None
        if not 0 <= defer_ns <= self._options.max_req_timeout:
            raise ApiError(400, "INVALID_DEFER")
        return defer_ns

    async def _publish(self, topic: Topic, bodies: list[bytes], due_ns: int) -> None:
        broker = self._nsqd.broker
        done = asyncio.get_running_loop().create_future()
        if topic.publish(bodies, due_ns, partial(_settle, done), broker.clock.monotonic()):
            broker.mark(topic)
        error = await done
        if error is not None:
            raise ApiError(503, "EXITING") from error


def _settle(done: "asyncio.Future[PublishError | None]", error: PublishError | None) -> None:
    # The client may be gone, and its handler cancelled.
    if not done.done():
        done.set_result(error)
