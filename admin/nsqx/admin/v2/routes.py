"""Our own API, ``/api/v2``: the table of its routes; its OpenAPI description is made from it."""

from typing import Any

import msgspec

from nsqx.admin.changed.marks import MarkEndpoint, MarkRequest, MarkResult
from nsqx.admin.changed.runs import ActionEndpoint, ActionImpact, ActionResult
from nsqx.admin.guard.access import Visitor
from nsqx.admin.guard.gate import Gate, VisitorHandler
from nsqx.admin.shown.peek import PeekResult
from nsqx.admin.v2.answers import json_bytes
from nsqx.admin.v2.documents import DocumentEndpoints
from nsqx.admin.v2.history import ENTRY_FIELDS, HistoryAnswer, HistoryEndpoints
from nsqx.admin.v2.lists import LIST_QUERY, ListAnswer, ListEndpoints
from nsqx.admin.v2.messages import MessageEndpoints, MessageState, PublishRequest
from nsqx.admin.v2.openapi import describe
from nsqx.admin.v2.route import PREFIX, Route
from nsqx.admin.v2.settings import SettingsAnswer, SettingsEndpoints
from nsqx.admin.v2.shapes import (
    ActivityDocument,
    ChannelDocument,
    Envelope,
    Me,
    NodeDocument,
    Poll,
    RegistryDocument,
    SettingsDocument,
    SummaryDocument,
    TopicDocument,
    TopologyDocument,
)
from nsqx.cluster.actions import ActionRequest
from nsqx.runtime.http.server import Answer, Handler, Request, Router

__all__ = ["V2Api"]


class V2Api:
    """All routes."""

    def __init__(
        self,
        gate: Gate,
        documents: DocumentEndpoints,
        messages: MessageEndpoints,
        history: HistoryEndpoints,
        actions: ActionEndpoint,
        marks: MarkEndpoint,
        lists: ListEndpoints,
        settings: SettingsEndpoints,
    ) -> None:
        self._gate = gate
        self.routes = [
            *_document_routes(documents),
            *_message_routes(messages),
            *_history_routes(history),
            *_list_routes(lists),
            *_setting_routes(settings),
            Route(
                "POST",
                "/actions",
                actions.act,
                "Change something, or see what that would do",
                body=ActionRequest,
                answers=(ActionResult, ActionImpact),
                refusals=(400, 404, 409, 413, 502, 503),
            ),
            Route(
                "POST",
                "/attention",
                marks.mark,
                "Say that a problem is known, for now or for a time",
                body=MarkRequest,
                answers=(MarkResult,),
                refusals=(400, 404, 413),
            ),
            Route("GET", "/openapi.json", self._describe, "This description"),
        ]
        self._description = msgspec.json.encode(describe(self.routes))

    def add_to(self, router: Router[Handler]) -> None:
        """Add every route to the server's."""
        for route in self.routes:
            wrap = self._gate.reading if route.method == "GET" else self._gate.writing
            router.add(route.method, PREFIX + route.path, wrap(route.handler))

    async def _describe(self, _request: Request, _visitor: Visitor) -> Answer:
        return json_bytes(self._description)


def _document_routes(documents: DocumentEndpoints) -> list[Route]:
    return [
        Route("GET", "/me", documents.me, "Who asks, and what they may do", answers=(Me,)),
        _document("/snapshot", documents.snapshot, "The whole cluster", SummaryDocument),
        _document("/topology", documents.topology, "The picture", TopologyDocument),
        _document("/registry", documents.registry, "What lookupds list", RegistryDocument),
        _document("/settings", documents.settings, "Options of all nodes", SettingsDocument),
        _document("/topics/{topic}", documents.topic, "One topic", TopicDocument),
        _document(
            "/topics/{topic}/channels/{channel}", documents.channel, "One channel", ChannelDocument
        ),
        _document("/nodes/{node}", documents.node, "One node", NodeDocument),
        Route(
            "GET",
            "/poll",
            documents.poll,
            "What is new in several documents",
            {"key": "a document; repeated", "have": "of the key before it", "boot": "of which run"},
            answers=(Poll,),
            refusals=(400, 404),
        ),
        Route(
            "GET",
            "/ws",
            documents.live,
            "The WebSocket",
            is_websocket=True,
            refusals=(400, 403, 503),
        ),
        Route(
            "GET",
            "/events",
            documents.events,
            "Server-sent events: envelopes",
            {"key": "a document"},
            content_type="text/event-stream",
            refusals=(404, 503),
        ),
    ]


def _document(path: str, handler: VisitorHandler, summary: str, shape: Any) -> Route:
    since = {"since": "the version that the caller has", "boot": "of which run it is"}
    refusals = (400, 404) if "{" in path else (400,)
    return Route(
        "GET", path, handler, summary, since, answers=(Envelope[shape],), refusals=refusals
    )


def _message_routes(messages: MessageEndpoints) -> list[Route]:
    places = {
        "from": "a place: start, end, time:.., seq:.., id:.., before:.., or one of an answer",
        "limit": "1 to 1000",
        "filter": "text that a body contains",
        "where": "a JMESPath expression that holds for the message",
        "node": "only this node",
        "full": "true: bodies are not cut off",
    }
    path = "/topics/{topic}/messages"
    return [
        Route(
            "GET",
            path,
            messages.peek,
            "Look into a topic",
            places,
            answers=(PeekResult,),
            refusals=(400, 403, 404),
        ),
        Route(
            "GET",
            f"{path}/{{id}}",
            messages.find,
            "Where a message is",
            {"node": "only there"},
            answers=(MessageState,),
            refusals=(400, 403, 404, 502),
        ),
        Route(
            "GET",
            f"{path}/{{id}}/body",
            messages.body,
            "The bytes of a message",
            {"node": "only there"},
            content_type="application/octet-stream",
            refusals=(400, 403, 404, 502),
        ),
        Route(
            "POST",
            path,
            messages.publish,
            "Publish",
            body=PublishRequest,
            answers=(ActionResult,),
            refusals=(400, 404, 409, 413, 502, 503),
        ),
    ]


def _list_routes(lists: ListEndpoints) -> list[Route]:
    return [
        Route("GET", path, handler, summary, LIST_QUERY, answers=(ListAnswer,), refusals=(400,))
        for path, handler, summary in (
            ("/topics", lists.topics, "Topics, filtered and by pages"),
            ("/channels", lists.channels, "Channels, filtered and by pages"),
            ("/nodes", lists.nodes, "Nodes, filtered and by pages"),
        )
    ]


def _setting_routes(settings: SettingsEndpoints) -> list[Route]:
    return [
        Route(
            "GET",
            f"{path}/settings",
            handler,
            summary,
            answers=(SettingsAnswer,),
            refusals=(400, 404),
        )
        for path, handler, summary in (
            ("/topics/{topic}", settings.topic, "What is set for a topic"),
            ("/topics/{topic}/channels/{channel}", settings.channel, "What is set for a channel"),
        )
    ]


def _history_routes(history: HistoryEndpoints) -> list[Route]:
    return [
        Route(
            "GET",
            "/history",
            history.history,
            "Rates and depths over time",
            {
                "series": "total, topic:T, channel:T/C or node:N; repeated",
                "range": "10m, 1h, 24h or 7d",
                "metrics": "those wanted, with commas",
            },
            answers=(HistoryAnswer,),
            refusals=(400, 404),
        ),
        Route(
            "GET",
            "/activity",
            history.activity,
            "Changes that were made",
            {
                "before": "an id",
                "limit": "1 to 1000",
                **{name: f"only with this {name}" for name in ENTRY_FIELDS},
            },
            answers=(Envelope[ActivityDocument], ActivityDocument),
            refusals=(400,),
        ),
    ]
