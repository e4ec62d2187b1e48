"""
The HTTP API of nsqlookupd (lookupd section 3). The routing rules are those of ``runtime.http``.

Handlers check arguments in NSQ's order, ask the registry or change it, and wait for nothing.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator

from aiohttp import web

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.registry import Registry, RegistryFullError
from nsqx.lookupd.watches import TooManyWatchesError, Watches
from nsqx.protocol.names import is_valid_name
from nsqx.protocol.version import NSQ_VERSION, VERSION
from nsqx.runtime import metrics
from nsqx.runtime.durations import parse_duration
from nsqx.runtime.http.server import (
    JSON_TYPE,
    NSQ_HEADERS,
    ApiError,
    Handler,
    Request,
    Router,
    empty,
    json_answer,
    plain_text,
)
from nsqx.runtime.metrics import Sample, counter, gauge
from nsqx.runtime.process import logs, open_files, tasks

__all__ = ["UNLOGGED_PATHS", "HttpApi"]

UNLOGGED_PATHS = frozenset({"/livez", "/readyz"})  # probes come every few seconds for ever

INDEX_HEADER = "X-NSQX-Index"
PIECE_BYTES = 256 * 1024  # of a long answer, made in one turn of the event loop
WAIT_NS = 30 * 1_000_000_000
WAIT_NS_MAX = 60 * 1_000_000_000

PROFILES = ("symbol", "profile", "heap", "goroutine", "block", "threadcreate")


class HttpApi:
    """The handlers, and how often they were asked."""

    def __init__(
        self, registry: Registry, answers: Answers, watches: Watches, clock: Callable[[], int]
    ) -> None:
        self._registry = registry
        self._answers = answers
        self._watches = watches
        self._clock = clock
        self._lookups = {"found": 0, "not_found": 0}

    def router(self) -> Router[Handler]:
        """Return all routes."""
        router: Router[Handler] = Router()
        for method, path, handler in [
            ("GET", "/ping", self._ping),
            ("GET", "/livez", self._ping),
            ("GET", "/readyz", self._ping),  # it has nothing to wait for; a stop closes the port
            ("GET", "/info", self._info),
            ("GET", "/topics", self._topics),
            ("GET", "/channels", self._channels),
            ("GET", "/lookup", self._lookup),
            ("GET", "/watch", self._watch),
            ("GET", "/nodes", self._nodes),
            ("POST", "/topic/create", self._create_topic),
            ("POST", "/topic/delete", self._delete_topic),
            ("POST", "/topic/tombstone", self._tombstone),
            ("POST", "/channel/create", self._create_channel),
            ("POST", "/channel/delete", self._delete_channel),
            ("GET", "/debug", self._debug),
            ("GET", "/metrics", self._metrics),
            ("GET", "/debug/pprof", _no_profile),
            ("GET", "/debug/pprof/cmdline", _command_line),
            *[("GET", f"/debug/pprof/{name}", _no_profile) for name in PROFILES],
        ]:
            router.add(method, path, handler)
        return router

    # About this nsqlookupd

    async def _ping(self, request: Request) -> web.Response:
        return plain_text("OK")

    async def _info(self, request: Request) -> web.Response:
        return json_answer({"version": NSQ_VERSION, "nsqx_version": VERSION})

    # Questions

    async def _topics(self, request: Request) -> web.Response:
        return _json(self._answers.topics())

    async def _channels(self, request: Request) -> web.Response:
        return _json(self._answers.channels(_topic(request)))

    async def _lookup(self, request: Request) -> web.Response:
        body = self._answers.lookup(
            _topic(request), self._clock(), request.ip, with_draining=_with_draining(request)
        )
        self._lookups["not_found" if body is None else "found"] += 1
        if body is None:
            raise ApiError(404, "TOPIC_NOT_FOUND")
        return _json(body)

    async def _watch(self, request: Request) -> web.Response:
        """
        Answer as /lookup does, as soon as the answer is another one than the caller has.

        ``index`` is the header of the caller's last answer; without it the answer comes at once.
        """
        topic = _topic(request)
        if not is_valid_name(topic):
            raise ApiError(400, "INVALID_ARG_TOPIC")
        index, wait_ns = _index(request), _wait_ns(request)
        draining = _with_draining(request)
        if index is not None:
            try:
                await self._watches.wait(topic, index, wait_ns, request.ip, with_draining=draining)
            except TooManyWatchesError as exc:
                raise ApiError(503, "TOO_MANY_WATCHES") from exc
        body = self._answers.lookup(topic, self._clock(), request.ip, with_draining=draining)
        answer = _json(body) if body is not None else json_answer(_UNKNOWN_TOPIC, 404)
        answer.headers[INDEX_HEADER] = str(self._registry.index_of(topic))
        return answer

    async def _nodes(self, request: Request) -> web.Response:
        return _json(self._answers.nodes(self._clock(), request.ip))

    async def _debug(self, request: Request) -> web.StreamResponse:
        """Answer in one piece as far as that is little; more would hold up everybody."""
        pieces = self._answers.debug()
        body = _take(pieces)
        if len(body) < PIECE_BYTES:
            return _json(body)
        response = web.StreamResponse(headers={"Content-Type": JSON_TYPE, **NSQ_HEADERS})
        await response.prepare(request.http)
        while body:
            await response.write(body)
            await asyncio.sleep(0)
            body = _take(pieces)
        await response.write_eof()
        return response

    # Changes

    async def _create_topic(self, request: Request) -> web.Response:
        topic = _topic(request)
        if not is_valid_name(topic):
            raise ApiError(400, "INVALID_ARG_TOPIC")
        try:
            self._registry.create_topic(topic)
        except RegistryFullError as exc:
            raise ApiError(503, "TOO_MANY_ENTRIES") from exc
        return empty()

    async def _delete_topic(self, request: Request) -> web.Response:
        self._registry.delete_topic(_topic(request))
        return empty()

    async def _tombstone(self, request: Request) -> web.Response:
        topic = _topic(request)
        node = _argument(request, "node")
        self._registry.tombstone(topic, node, self._clock())
        return empty()

    async def _create_channel(self, request: Request) -> web.Response:
        topic, channel = _topic_and_channel(request)
        try:
            self._registry.create_channel(topic, channel)
        except RegistryFullError as exc:
            raise ApiError(503, "TOO_MANY_ENTRIES") from exc
        return empty()

    async def _delete_channel(self, request: Request) -> web.Response:
        topic, channel = _topic_and_channel(request)
        if not self._registry.delete_channel(topic, channel):
            raise ApiError(404, "CHANNEL_NOT_FOUND")
        return empty()

    # Metrics

    async def _metrics(self, request: Request) -> web.Response:
        headers = {"Content-Type": metrics.CONTENT_TYPE}
        return web.Response(body=metrics.render(self._families()), headers=headers)

    def _families(self) -> Iterator[metrics.Family]:
        registry = self._registry
        topics = sum(1 for _ in registry.known_topics())
        now_ns = self._clock()
        active = sum(registry.is_active(producer, now_ns) for producer in registry.producers)
        tombstoned = sum(
            registry.is_tombstoned(producer, topic, now_ns)
            for topic in registry.topics.values()
            for producer in topic.producers
        )
        yield gauge("nsqlookupd_info", "Which nsqlookupd this is.", [Sample(1, _VERSION_LABELS)])
        yield gauge("nsqlookupd_topics", "Topics known.", topics)
        yield gauge("nsqlookupd_channels", "Channels known.", registry.entries - topics)
        yield gauge(
            "nsqlookupd_registrations",
            "Pairs of an nsqd and a topic or channel that it registered.",
            registry.registrations,
        )
        yield gauge(
            "nsqlookupd_producers",
            "Connected nsqd, by whether they gave a sign of life in time.",
            [
                Sample(active, {"state": "active"}),
                Sample(len(registry.producers) - active, {"state": "inactive"}),
            ],
        )
        yield gauge(
            "nsqlookupd_tombstones", "Pairs of an nsqd and a topic it is hidden from.", tombstoned
        )
        yield counter(
            "nsqlookupd_lookups_total",
            "Questions where a topic is, by whether it was known.",
            [Sample(count, {"result": result}) for result, count in self._lookups.items()],
        )
        yield gauge("nsqlookupd_watches", "Long polls that wait for a change.", self._watches.count)
        yield from open_files.families()
        yield from logs.families()
        yield from tasks.families()


_UNKNOWN_TOPIC = {"message": "TOPIC_NOT_FOUND"}
_VERSION_LABELS = {"version": VERSION}


async def _no_profile(request: Request) -> web.Response:
    return plain_text("nsqlookupd of nsqx is not a Go program and has no such profile\n")


async def _command_line(request: Request) -> web.Response:
    return plain_text("\0".join(sys.argv))


def _argument(request: Request, name: str) -> str:
    value = request.query().get(name)
    if value is None:  # one that is there and empty is a name that is none
        raise ApiError(400, f"MISSING_ARG_{name.upper()}")
    return value


def _topic(request: Request) -> str:
    return _argument(request, "topic")


def _with_draining(request: Request) -> bool:
    """Whether the asker wants nodes that are being emptied, too; anything but ``true`` is no."""
    return request.query().get("draining") == "true"


def _index(request: Request) -> int | None:
    text = request.query().get("index", "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError(400, "INVALID_ARG_INDEX")
    return int(text)


def _wait_ns(request: Request) -> int:
    text = request.query().get("wait", "")
    try:
        wait_ns = parse_duration(text) if text else WAIT_NS
    except ValueError as exc:
        raise ApiError(400, "INVALID_ARG_WAIT") from exc
    return min(max(wait_ns, 0), WAIT_NS_MAX)


def _topic_and_channel(request: Request) -> tuple[str, str]:
    topic = _topic(request)
    if not is_valid_name(topic):
        raise ApiError(400, "INVALID_ARG_TOPIC")
    channel = _argument(request, "channel")
    if not is_valid_name(channel):
        raise ApiError(400, "INVALID_ARG_CHANNEL")
    return topic, channel


def _take(pieces: Iterator[bytes]) -> bytes:
    """Return the next pieces, as many as one turn may make; empty at the end."""
    taken = bytearray()
    for piece in pieces:
        taken += piece
        if len(taken) >= PIECE_BYTES:
            break
    return bytes(taken)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers={"Content-Type": JSON_TYPE, **NSQ_HEADERS})
