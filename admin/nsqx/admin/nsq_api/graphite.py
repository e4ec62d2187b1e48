"""Graphite, for those who have it: a rate for NSQ's API, and its pictures (nsqadmin section 6)."""

from urllib.parse import quote_plus

import msgspec
from aiohttp import web

from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.runtime.http.server import Answer, ApiError, Request, json_answer

__all__ = ["Graphite"]


class _Series(msgspec.Struct):
    datapoints: list[tuple[float | None, float]]


class Graphite:
    """The Graphite at ``url``; empty if there is none. ``interval_s`` is that of the statsd."""

    def __init__(self, http: DaemonHttp, url: str, interval_s: float) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._interval_s = interval_s

    async def get_rate(self, request: Request) -> Answer:
        """``/api/graphite``: messages a second, as text with two decimals."""
        query = request.query()
        if query.get("metric") != "rate":
            raise ApiError(400, "INVALID_ARG_METRIC")
        if not query.get("target"):
            raise ApiError(400, "INVALID_ARG_TARGET")
        interval_s = int(self._interval_s)
        target = quote_plus(query["target"])
        url = (
            f"{self._url}/render?format=json&from=-{2 * interval_s}sec&target={target}"
            f"&until=-{interval_s}sec"
        )
        return json_answer({"rate": self._rate(await self._ask(url))})

    async def _ask(self, url: str) -> bytes:
        if not self._url:
            raise ApiError(500, "INTERNAL_ERROR")
        try:
            reply = await self._http.fetch(url)
        except DaemonError as exc:
            raise ApiError(500, "INTERNAL_ERROR") from exc
        if reply.status != 200:
            raise ApiError(500, "INTERNAL_ERROR")
        return reply.body

    def _rate(self, body: bytes) -> str:
        try:
            value = msgspec.json.decode(body, type=list[_Series])[0].datapoints[0][0]
        except (msgspec.DecodeError, IndexError) as exc:
            raise ApiError(500, "INTERNAL_ERROR") from exc
        if value is None:
            raise ApiError(500, "INTERNAL_ERROR")
        return "N/A" if value < 0 else f"{value / self._interval_s:.2f}"

    async def get_render(self, request: Request) -> Answer:
        """``/render`` with ``--proxy-graphite``: Graphite's own answer to the same question."""
        question = f"?{request.raw_query}" if request.raw_query else ""
        try:
            reply = await self._http.fetch(f"{self._url}/render{question}")
        except DaemonError as exc:
            raise ApiError(502, "INTERNAL_ERROR") from exc
        headers = {"Content-Type": reply.content_type} if reply.content_type else {}
        return web.Response(status=reply.status, body=reply.body, headers=headers)
