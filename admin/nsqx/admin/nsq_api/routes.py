"""
NSQ's own API of nsqadmin, ``/api`` (nsqadmin section 3), to the letter.

Partial answers carry a warning; an answer that nobody could give is 502 (section 2). Every change
is told to the notification endpoint and noted in the audit trail.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from nsqx.admin.changed.audit import AuditTrail
from nsqx.admin.guard.access import Role, Visitor
from nsqx.admin.guard.gate import Gate
from nsqx.admin.nsq_api.changes import Changes
from nsqx.admin.nsq_api.cluster import AllFailedError, Cluster, Warnings
from nsqx.admin.nsq_api.go_decoding import BadBodyError, decode_object, text_field
from nsqx.admin.nsq_api.notifications import Notifications
from nsqx.cluster.http import DaemonHttp
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.http.queries import BadQueryError, parse_query
from nsqx.runtime.http.server import (
    Answer,
    ApiError,
    Handler,
    Request,
    Router,
    json_answer,
    plain_text,
)

__all__ = ["NsqApi"]

BODY_BYTES_MAX = 1 << 20
ACTIONS = ("pause", "unpause", "empty")


class NsqApi:
    """The handlers over one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        http: DaemonHttp,
        gate: Gate,
        notifications: Notifications,
        audit: AuditTrail,
        on_change: Callable[[], None],
    ) -> None:
        self._cluster = cluster
        self._http = http
        self._gate = gate
        self._notifications = notifications
        self._audit = audit
        self._on_change = on_change

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        page, change = self._gate.page, self._gate.change
        topic, channel = "/api/topics/{topic}", "/api/topics/{topic}/{channel}"
        router.add("GET", "/ping", self._ping)
        router.add("GET", "/api/topics", page(self._get_topics))
        router.add("GET", topic, page(self._get_topic))
        router.add("GET", channel, page(self._get_channel))
        router.add("GET", "/api/nodes", page(self._get_nodes))
        router.add("GET", "/api/nodes/{node}", page(self._get_node))
        router.add("GET", "/api/counter", page(self._get_counter))
        router.add("POST", "/api/topics", change(Role.OPERATOR, self._create))
        router.add("POST", topic, change(Role.OPERATOR, self._act_on_topic))
        router.add("POST", channel, change(Role.OPERATOR, self._act_on_channel))
        router.add("DELETE", topic, change(Role.ADMIN, self._delete_topic))
        router.add("DELETE", channel, change(Role.ADMIN, self._delete_channel))
        router.add("DELETE", "/api/nodes/{node}", change(Role.ADMIN, self._tombstone))

    async def _ping(self, _request: Request) -> Answer:
        return plain_text("OK")

    # Questions

    async def _get_topics(self, request: Request) -> Answer:
        warnings = Warnings()
        if _query(request).get("inactive") == "true":
            inactive = await _or_502(self._cluster.inactive_topics(warnings))
            # Go shows an empty list as null.
            topics: Any = {name: channels or None for name, channels in inactive.items()}
        else:
            topics = await _or_502(self._cluster.topics(warnings)) or None
        return json_answer({"topics": topics, "message": warnings.message})

    async def _get_topic(self, request: Request) -> Answer:
        warnings = Warnings()
        topic = await _or_502(self._cluster.topic(request.parameters["topic"], warnings))
        return json_answer({**topic, "message": warnings.message})

    async def _get_channel(self, request: Request) -> Answer:
        warnings = Warnings()
        names = request.parameters
        channel = await _or_502(self._cluster.channel(names["topic"], names["channel"], warnings))
        if channel is None:
            raise ApiError(404, "CHANNEL_NOT_FOUND")
        return json_answer({**channel, "message": warnings.message})

    async def _get_nodes(self, _request: Request) -> Answer:
        warnings = Warnings()
        nodes = await _or_502(self._cluster.nodes(warnings))
        shown = [node.as_json() for node in nodes]
        return json_answer({"nodes": shown, "message": warnings.message})

    async def _get_node(self, request: Request) -> Answer:
        warnings = Warnings()
        address = request.parameters["node"]
        nodes = await _or_502(self._cluster.nodes(warnings))
        node = next((each for each in nodes if each.http_address == address), None)
        if node is None:
            raise ApiError(404, "NODE_NOT_FOUND")
        topics = await _or_502(self._cluster.node_topics(node, warnings))
        channels = [channel for topic in topics for channel in topic["channels"]]
        return json_answer(
            {
                "node": address,
                "topics": topics or None,
                "total_messages": sum(topic["message_count"] for topic in topics),
                "total_clients": sum(channel["client_count"] for channel in channels),
                "message": warnings.message,
            }
        )

    async def _get_counter(self, _request: Request) -> Answer:
        warnings = Warnings()
        stats = await _or_502(self._cluster.message_counts(warnings))
        return json_answer({"stats": stats, "message": warnings.message})

    # Changes

    async def _create(self, request: Request, visitor: Visitor) -> Answer:
        body = await _body(request)
        topic, channel = _text(body, "topic"), _text(body, "channel")
        if not is_valid_name(topic):
            raise ApiError(400, "INVALID_TOPIC")
        if channel and not is_valid_name(channel):
            raise ApiError(400, "INVALID_CHANNEL")
        changes = Changes(self._cluster, self._http)
        await _or_502(changes.create(topic, channel))
        self._note(request, visitor, changes, "create_topic", topic)
        if channel:
            self._note(request, visitor, changes, "create_channel", topic, channel)
        return json_answer({"message": changes.message})

    async def _act_on_topic(self, request: Request, visitor: Visitor) -> Answer:
        return await self._act(request, visitor, request.parameters["topic"], "")

    async def _act_on_channel(self, request: Request, visitor: Visitor) -> Answer:
        names = request.parameters
        return await self._act(request, visitor, names["topic"], names["channel"])

    async def _act(self, request: Request, visitor: Visitor, topic: str, channel: str) -> Answer:
        action = _text(await _body(request), "action")
        if action not in ACTIONS:
            raise ApiError(400, "INVALID_ACTION")
        if action == "empty" and not channel and not visitor.may(Role.ADMIN):
            raise ApiError(403, "FORBIDDEN")
        changes = Changes(self._cluster, self._http)
        try:
            await changes.act(action, topic, channel)
        except AllFailedError as exc:
            changes.fail(str(exc))
            raise ApiError(502, f"UPSTREAM_ERROR: {exc}") from exc
        finally:  # these are told also when they failed
            kind = "channel" if channel else "topic"
            self._note(request, visitor, changes, f"{action}_{kind}", topic, channel)
        return json_answer({"message": changes.message})

    async def _delete_topic(self, request: Request, visitor: Visitor) -> Answer:
        return await self._delete(request, visitor, request.parameters["topic"], "")

    async def _delete_channel(self, request: Request, visitor: Visitor) -> Answer:
        names = request.parameters
        return await self._delete(request, visitor, names["topic"], names["channel"])

    async def _delete(self, request: Request, visitor: Visitor, topic: str, channel: str) -> Answer:
        changes = Changes(self._cluster, self._http)
        await _or_502(changes.delete(topic, channel))
        kind = "channel" if channel else "topic"
        self._note(request, visitor, changes, f"delete_{kind}", topic, channel)
        return json_answer({"message": changes.message})

    async def _tombstone(self, request: Request, visitor: Visitor) -> Answer:
        try:
            topic = text_field(decode_object(await _read(request)), "topic")
        except BadBodyError as exc:
            raise ApiError(400, "INVALID_BODY") from exc
        if not is_valid_name(topic):
            raise ApiError(400, "INVALID_TOPIC")
        node = request.parameters["node"]
        changes = Changes(self._cluster, self._http)
        await _or_502(changes.tombstone(topic, node))
        self._note(request, visitor, changes, "tombstone_topic_producer", topic, "", node)
        return json_answer({"message": changes.message})

    def _note(
        self,
        request: Request,
        visitor: Visitor,
        changes: Changes,
        action: str,
        topic: str,
        channel: str = "",
        node: str = "",
    ) -> None:
        self._on_change()
        self._notifications.tell(request, action, topic, channel, node)
        self._audit.add(
            action,
            user=visitor.user,
            role=visitor.role.word,
            remote=request.remote,
            via="api",
            topic=topic,
            channel=channel,
            node=node,
            results=changes.results,
        )


T = TypeVar("T")


async def _or_502(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except AllFailedError as exc:
        raise ApiError(502, f"UPSTREAM_ERROR: {exc}") from exc


def _query(request: Request) -> dict[str, str]:
    try:
        return parse_query(request.raw_query)
    except BadQueryError as exc:
        # Not INVALID_REQUEST as everywhere else: nsqadmin lets Go's own text through.
        raise ApiError(400, str(exc)) from exc


async def _read(request: Request) -> bytes:
    return await request.body(BODY_BYTES_MAX, "BODY_TOO_BIG")


async def _body(request: Request) -> dict[str, Any]:
    try:
        return decode_object(await _read(request))
    except BadBodyError as exc:
        raise ApiError(400, str(exc)) from exc


def _text(body: dict[str, Any], name: str) -> str:
    try:
        return text_field(body, name)
    except BadBodyError as exc:
        raise ApiError(400, str(exc)) from exc
