"""A dashboard over a real cluster, and what a page or a program does with it."""

import json
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.processes import Admin, Cluster, Lookupd, Nsqd, eventually, running_cluster

__all__ = ["Dashboard", "LivePage", "running_dashboard"]

WRITE_HEADERS = {"X-NSQX-Request": "1"}


class LivePage:
    """The WebSocket of a page: collects documents by applying deltas."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []

    async def say(self, **wish: Any) -> None:
        await self.socket.send_json(wish)

    async def next(self, key: str) -> dict[str, Any]:
        """Return the next message with this ``k``; those before it are kept in ``messages``."""
        while True:
            message: dict[str, Any] = await self.socket.receive_json(timeout=10)
            self.messages.append(message)
            if message["k"] == key:
                return message


class Dashboard:
    """The daemons, and requests to the dashboard."""

    def __init__(
        self,
        cluster: Cluster,
        lookupd: Lookupd,
        nodes: list[Nsqd],
        admin: Admin,
        session: aiohttp.ClientSession,
    ) -> None:
        self.cluster = cluster
        self.lookupd = lookupd
        self.nodes = nodes
        self.admin = admin
        self.session = session

    def url(self, path: str) -> str:
        return self.admin.url(path)

    async def get(self, path: str, **headers: str) -> Any:
        """GET, which must answer 200: the decoded body."""
        async with self.session.get(self.url(path), headers=headers) as response:
            body = await response.text()
            assert response.status == 200, (path, response.status, body)
            return json.loads(body)

    async def document(self, path: str) -> Any:
        """The full document at a path of ``/api/v2``; None if there is no such thing (yet)."""
        async with self.session.get(self.url(f"/api/v2/{path}")) as response:
            answer = await response.json()
            assert response.status in (200, 404), (path, response.status, answer)
            return answer["full"] if response.status == 200 else None

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """POST as our pages do: the status and the decoded body."""
        async with self.session.post(
            self.url(f"/api/v2/{path}"), json=body, headers={**WRITE_HEADERS, **headers}
        ) as response:
            return response.status, await response.json()

    async def act(self, action: str, **fields: Any) -> dict[str, Any]:
        """An action, which must be allowed: the answer."""
        status, answer = await self.post("actions", {"action": action, **fields})
        assert status == 200, answer
        result: dict[str, Any] = answer
        return result

    @asynccontextmanager
    async def live(self, **headers: str) -> AsyncIterator[LivePage]:
        async with self.session.ws_connect(self.url("/api/v2/ws"), headers=headers) as socket:
            yield LivePage(socket)

    async def see(self, path: str, what: str, **expected: Any) -> Any:
        """Wait until the ``row`` of a document has these values; return the document."""
        found: Any = None

        async def is_there() -> bool:
            nonlocal found
            found = await self.document(path)
            row = (found or {}).get("row", {})
            return all(row.get(name) == value for name, value in expected.items())

        await eventually(is_there, f"{what}: {expected}, last {found}")
        return found


class Statuses:
    """
    What ``/api/v2`` answered to a session. Its description must have each status, so every test
    that asks a dashboard for something tests the description, too.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[str, str, int]] = set()
        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_end.append(self._note)

    async def _note(
        self, _session: object, _context: object, end: aiohttp.TraceRequestEndParams
    ) -> None:
        _, is_ours, path = end.url.raw_path.partition("/api/v2")
        if is_ours:
            self._seen.add((end.method.lower(), f"/api/v2{path}", end.response.status))

    async def check(self, session: aiohttp.ClientSession, admin: Admin) -> None:
        """Compare with the description, for whoever may read it."""
        seen = set(self._seen)
        async with session.get(admin.url("/api/v2/openapi.json")) as response:
            if response.status == 401:
                return
            paths = (await response.json())["paths"]
        undescribed = {
            (method, template, status)
            for method, path, status in seen
            for template, operations in paths.items()
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) and method in operations
            if str(status) not in operations[method]["responses"]
        }
        assert not undescribed


@asynccontextmanager
async def running_dashboard(
    folder: Path, *flags: str, nodes: int = 2, node_flags: Iterable[str] = ()
) -> AsyncIterator[Dashboard]:
    """An nsqlookupd, some nsqds and a dashboard, which has seen them all."""
    statuses = Statuses()
    async with (
        running_cluster(folder) as cluster,
        aiohttp.ClientSession(trace_configs=[statuses.trace]) as session,
    ):
        lookupd = await cluster.lookupd()
        nsqds = [await cluster.nsqd(*node_flags, lookupds=[lookupd]) for _ in range(nodes)]
        admin = await cluster.admin(*flags, lookupds=[lookupd])
        dashboard = Dashboard(cluster, lookupd, nsqds, admin, session)

        async def sees_all() -> bool:
            async with session.get(admin.url("/plain")) as response:
                text = await response.text()
            return text.count("<td>ok</td>") == nodes + 1 or response.status == 401

        await eventually(sees_all, "the dashboard sees its cluster")
        yield dashboard
        if admin.running:
            await statuses.check(session, admin)
