"""``POST /api/v2/attention``: says that somebody knows of a problem, for now or for a time."""

import time

import msgspec

from nsqx.admin.changed.audit import AuditTrail, NodeResult
from nsqx.admin.guard.access import Role, Visitor
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.shown.hub import Hub
from nsqx.admin.v2.answers import json_bytes
from nsqx.cluster.watch import Mark, Watch
from nsqx.runtime.http.server import Answer, Request

__all__ = ["MarkEndpoint", "MarkRequest", "MarkResult"]

BODY_BYTES_MAX = 64 << 10
SILENCE_S_MAX = 30 * 86_400.0


class MarkRequest(msgspec.Struct):
    """What is to be noted: ``acknowledge``, ``silence`` for some seconds, or ``clear``."""

    id: str
    mark: str
    seconds: float = 3600.0


class MarkResult(msgspec.Struct):
    """The answer."""

    id: str
    mark: str
    until: float | None


class MarkEndpoint:
    """The handler."""

    def __init__(self, hub: Hub, watch: Watch, audit: AuditTrail) -> None:
        self._hub = hub
        self._watch = watch
        self._audit = audit

    async def mark(self, request: Request, visitor: Visitor) -> Answer:
        try:
            body = await request.body(BODY_BYTES_MAX, "BODY_TOO_BIG")
            wanted = msgspec.json.decode(body, type=MarkRequest)
        except msgspec.DecodeError as exc:
            raise V2Error(400, "INVALID_BODY", str(exc)) from exc
        if not visitor.may(Role.OPERATOR):
            raise V2Error(403, "FORBIDDEN", "this needs the role operator")
        until = None
        match wanted.mark:
            case "acknowledge" | "clear":
                pass
            case "silence":
                if not 0 < wanted.seconds <= SILENCE_S_MAX:
                    limit = f"seconds is up to {SILENCE_S_MAX:.0f}"
                    raise V2Error(400, "INVALID_ARG_SECONDS", limit)
                until = time.time() + wanted.seconds
            case _:
                raise V2Error(400, "INVALID_ARG_MARK", "mark is acknowledge, silence or clear")
        mark = Mark(visitor.user or request.remote, time.time(), until)
        if not self._watch.mark(wanted.id, None if wanted.mark == "clear" else mark):
            raise V2Error(404, "NO_SUCH_PROBLEM", f"there is no problem {wanted.id[:300]!r}")
        self._audit.add(
            f"{wanted.mark}_problem",
            user=visitor.user,
            role=visitor.role.word,
            remote=request.remote,
            via="v2",
            detail=wanted.id,
            results=[NodeResult("", "nsqadmin", True)],
        )
        self._hub.tick_soon()
        return json_bytes(msgspec.json.encode(MarkResult(wanted.id, wanted.mark, until)))
