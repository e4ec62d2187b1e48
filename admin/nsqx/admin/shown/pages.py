"""
The pages: each URL gives the same document, and its scripts do the rest.

Without the front end's files (a checkout whose build hook did not run), and at ``/plain``, there is
the plain page instead, which needs no script.
"""

from collections.abc import Callable
from html import escape

from aiohttp import web

from nsqx.admin.guard.gate import Gate
from nsqx.admin.shown import plain_page
from nsqx.admin.shown.static_files import DEPTH_MAX, StaticFiles
from nsqx.cluster.merge import ClusterSnapshot
from nsqx.protocol.version import VERSION
from nsqx.runtime.http.server import Answer, Handler, Request, Router

__all__ = ["PAGE_PATHS", "SECURITY_HEADERS", "Pages", "secure"]

PAGE_PATHS = (
    "/",
    "/topics",
    "/topics/{topic}",
    "/topics/{topic}/{channel}",
    "/topics/{topic}/{channel}/{tab}",
    "/nodes",
    "/nodes/{node}",
    "/topology",
    "/registry",
    "/activity",
    "/publish",
    "/messages",
    "/settings",
    "/counter",
    "/lookup",
)

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

NEEDED_FILE = "vendor/MANIFEST.json"  # the last that the build hook writes


class Pages:
    """Serves pages and files. ``snapshot`` gives what the plain page shows."""

    def __init__(
        self, files: StaticFiles, base_path: str, snapshot: Callable[[], ClusterSnapshot]
    ) -> None:
        self._files = files
        self._base = f"{base_path.rstrip('/')}/"
        self._snapshot = snapshot

    def add_to(self, router: Router[Handler], gate: Gate) -> None:
        """Add the routes. Files are for everyone: they are the same for everyone."""
        for path in PAGE_PATHS:
            router.add("GET", path, gate.page(self._page))
        router.add("GET", "/plain", gate.page(self._plain))
        router.add("GET", "/fonts/{file}", self._files.serve_no_font)
        path = "/static"
        for depth in range(DEPTH_MAX + 1):
            path += f"/{{p{depth}}}"
            router.add("GET", path, self._files.serve)

    async def _page(self, request: Request) -> Answer:
        shell = self._files.text("index.html")
        if shell is None or self._files.text(NEEDED_FILE) is None:
            return await self._plain(request)
        for name, value in self._values().items():
            shell = shell.replace(f"{{{{{name}}}}}", escape(value))
        return _html(shell, SECURITY_HEADERS)

    def _values(self) -> dict[str, str]:
        static = f"{self._base}static/{self._files.hash}/"
        return {"base": self._base, "static": static, "version": VERSION}

    async def _plain(self, _request: Request) -> Answer:
        document = plain_page.render(self._snapshot(), VERSION)
        return _html(document, {**SECURITY_HEADERS, **plain_page.SECURITY_HEADERS})


def _html(document: str, headers: dict[str, str]) -> web.Response:
    # No charset, as NSQ; the document has its own.
    return web.Response(
        body=document.encode(),
        headers={"Content-Type": "text/html", "Cache-Control": "no-store", **headers},
    )


def secure(_request: Request, answer: Answer) -> None:
    """Give every answer the policy, such as what Graphite or a node had to say."""
    for name, value in SECURITY_HEADERS.items():
        answer.headers.setdefault(name, value)
