"""
What stands before every handler: who asks, whether they may, and whether another site made them
ask.

Two dialects of refusal: NSQ's (``/api``, a code only) and ours (``/api/v2``, with a sentence).
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import TypeAlias

from aiohttp import web

from nsqx.admin.guard.access import Access, Role, UnauthorizedError, Visitor
from nsqx.admin.guard.known_hosts import KnownHosts, name_of
from nsqx.admin.guard.same_origin import WRITE_HEADER, comes_from_elsewhere
from nsqx.protocol.errors import NsqxError
from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, json_answer

__all__ = ["Gate", "V2Error", "VisitorHandler"]

VisitorHandler: TypeAlias = Callable[[Request, Visitor], Awaitable[Answer]]


class V2Error(NsqxError):
    """Answered as a status and ``{"message":"<code>","detail":"<sentence>"}``."""

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        super().__init__(status, code, detail)
        self.status = status
        self.code = code
        self.detail = detail


class Gate:
    """Wraps handlers. ``allowed_origins`` are ours besides the one that was asked."""

    def __init__(
        self,
        access: Access,
        allowed_origins: Collection[str],
        allowed_hosts: Collection[str] = (),
    ) -> None:
        self.access = access
        self._allowed_origins = frozenset(allowed_origins)
        self._hosts = KnownHosts(allowed_hosts, allowed_origins)

    # NSQ's API and the pages

    def page(self, handler: Callable[[Request], Awaitable[Answer]]) -> Handler:
        """For whoever may look."""

        async def wrapped(request: Request) -> Answer:
            try:
                await self.access.visitor(request)
            except UnauthorizedError:
                return self._unauthorized()
            return await handler(request)

        return wrapped

    def change(self, role: Role, handler: VisitorHandler) -> Handler:
        """For changes by NSQ's API: 403 FORBIDDEN before the body is read."""

        async def wrapped(request: Request) -> Answer:
            try:
                visitor = await self.access.visitor(request)
            except UnauthorizedError:
                return self._unauthorized()
            if not visitor.may(role) or self.is_cross_site(request):
                raise ApiError(403, "FORBIDDEN")
            if self.is_strange_host(request):
                raise ApiError(403, f"FORBIDDEN: {_unknown_host(request)}")
            return await handler(request, visitor)

        return wrapped

    # Ours

    def reading(self, handler: VisitorHandler) -> Handler:
        """For questions."""
        return self._answering(handler)

    def writing(self, handler: VisitorHandler) -> Handler:
        """For changes; which role each needs is up to the handler."""

        async def checked(request: Request, visitor: Visitor) -> Answer:
            if self.is_cross_site(request):
                raise V2Error(403, "CROSS_SITE", "another site has sent this")
            if not request.header(WRITE_HEADER):
                raise V2Error(403, "CROSS_SITE", f"a change needs the header {WRITE_HEADER}: 1")
            if self.is_strange_host(request):
                raise V2Error(403, "UNKNOWN_HOST", _unknown_host(request))
            if visitor.read_only:
                raise V2Error(403, "READ_ONLY", "this dashboard is read-only")
            return await handler(request, visitor)

        return self._answering(checked)

    def _answering(self, handler: VisitorHandler) -> Handler:
        async def wrapped(request: Request) -> Answer:
            try:
                visitor = await self.access.visitor(request)
            except UnauthorizedError:
                return self._unauthorized()
            if self.is_strange_host(request):  # bodies are for who we know
                visitor = replace(visitor, reads_messages=False)
            try:
                return await handler(request, visitor)
            except V2Error as exc:
                return json_answer({"message": exc.code, "detail": exc.detail}, exc.status)
            except ApiError as exc:
                return json_answer({"message": exc.code, "detail": ""}, exc.status)

        return wrapped

    def is_cross_site(self, request: Request) -> bool:
        return comes_from_elsewhere(request, self._allowed_origins)

    def is_strange_host(self, request: Request) -> bool:
        """Whether another site's page may be behind a request, by a name that leads here."""
        return not self.access.has_login and not self._hosts.knows(request)

    def _unauthorized(self) -> web.Response:
        answer = json_answer(
            {"message": "UNAUTHORIZED", "detail": "a valid name and password, or token, is needed"},
            401,
        )
        answer.headers["WWW-Authenticate"] = self.access.credentials.challenge
        return answer


def _unknown_host(request: Request) -> str:
    name = name_of(request)[:100]
    return f"without a login, this needs --allowed-host={name} if that is this dashboard's name"
