"""
What each path of nsqadmin answers: the reading part of its API, and the page (nsqadmin section 3).

Partial answers carry a warning; an answer that nobody could give is 502 (section 2).
"""

from typing import Any

from aiohttp import web

from nsqx.runtime.http import Answer, ApiError, Handler, Request, Router, json_answer, plain_text
from nsqx.runtime.queries import BadQuery, parse_query
from nsqx.runtime.version import VERSION

from . import page
from .cluster import AllFailed, Cluster, Warnings
from .gate import Gate

__all__ = ["HttpApi"]


class HttpApi:
    """The handlers over one cluster."""

    def __init__(self, cluster: Cluster, gate: Gate) -> None:
        self._cluster = cluster
        self._gate = gate

    def add_to(self, router: Router[Handler]) -> None:
        page = self._gate.page
        router.add("GET", "/", page(self.get_page))
        router.add("GET", "/ping", self.get_ping)
        router.add("GET", "/api/topics", page(self.get_topics))
        router.add("GET", "/api/nodes", page(self.get_nodes))

    async def get_ping(self, _request: Request) -> Answer:
        return plain_text("OK")

    async def get_page(self, _request: Request) -> Answer:
        document = page.render(await self._cluster.overview(), VERSION)
        return web.Response(
            text=document,
            content_type="text/html",
            charset="utf-8",
            headers=page.SECURITY_HEADERS,
        )

    async def get_topics(self, request: Request) -> Answer:
        warnings = Warnings()
        try:
            if _query(request).get("inactive") == "true":
                inactive = await self._cluster.inactive_topics(warnings)
                # Go shows an empty list as null.
                topics: Any = {name: channels or None for name, channels in inactive.items()}
            else:
                topics = await self._cluster.topics(warnings) or None
        except AllFailed as exc:
            raise _upstream_error(exc) from exc
        return json_answer({"topics": topics, "message": warnings.message})

    async def get_nodes(self, _request: Request) -> Answer:
        warnings = Warnings()
        try:
            nodes = await self._cluster.nodes(warnings)
        except AllFailed as exc:
            raise _upstream_error(exc) from exc
        shown = [node.as_json() for node in nodes]
        return json_answer({"nodes": shown, "message": warnings.message})


def _query(request: Request) -> dict[str, str]:
    try:
        return parse_query(request.raw_query)
    except BadQuery as exc:
        # Not INVALID_REQUEST as everywhere else: nsqadmin lets Go's own text through.
        raise ApiError(400, str(exc)) from exc


def _upstream_error(error: AllFailed) -> ApiError:
    return ApiError(502, f"UPSTREAM_ERROR: {error}")
