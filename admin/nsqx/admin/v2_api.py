"""Our own API, ``/api/v2``: the table of its routes; its OpenAPI description is made from it."""

from dataclasses import dataclass, field
from typing import Any

from nsqx.runtime.http import Handler, Router

from .gate import Gate, VisitorHandler
from .v2_documents import DocumentEndpoints

__all__ = ["PREFIX", "Route", "V2Api"]

PREFIX = "/api/v2"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path below the prefix."""

    method: str
    path: str
    handler: VisitorHandler
    summary: str
    query: dict[str, str] = field(default_factory=dict)  # name to description
    body: Any = None  # a type that is read
    answer: Any = None  # a type that is sent


class V2Api:
    """All routes."""

    def __init__(self, gate: Gate, documents: DocumentEndpoints) -> None:
        self._gate = gate
        self.routes = _document_routes(documents)

    def add_to(self, router: Router[Handler]) -> None:
        """Add every route to the server's."""
        for route in self.routes:
            wrap = self._gate.reading if route.method == "GET" else self._gate.writing
            router.add(route.method, PREFIX + route.path, wrap(route.handler))


def _document_routes(documents: DocumentEndpoints) -> list[Route]:
    since = {"since": "the version that the caller has", "boot": "of which run it is"}
    return [
        Route("GET", "/me", documents.me, "Who asks, and what they may do"),
        Route("GET", "/snapshot", documents.snapshot, "The whole cluster", since),
        Route("GET", "/topology", documents.topology, "The picture", since),
        Route("GET", "/registry", documents.registry, "What lookupds list", since),
        Route("GET", "/topics/{topic}", documents.topic, "One topic", since),
        Route("GET", "/topics/{topic}/channels/{channel}", documents.channel, "One channel", since),
        Route("GET", "/nodes/{node}", documents.node, "One node", since),
        Route(
            "GET",
            "/poll",
            documents.poll,
            "What is new in several documents",
            {"key": "a document; repeated", "have": "of the key before it", "boot": "of which run"},
        ),
        Route("GET", "/ws", documents.live, "The WebSocket"),
        Route("GET", "/events", documents.events, "Server-sent events", {"key": "a document"}),
    ]
