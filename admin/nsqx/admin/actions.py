"""``POST /api/v2/actions``: shows what an action would do, does it, and notes how it went."""

import asyncio
import time
from collections.abc import Iterable

import msgspec

from nsqx.runtime.http import Answer, Request

from .access import Visitor
from .action_plans import ActionRequest, BadAction, Plan, Step, make_plan
from .audit import AuditTrail, NodeResult
from .collector import Collector
from .gate import V2Error
from .hub import Hub
from .notifications import Notifications
from .upstream import HangingError, Upstream, UpstreamError
from .v2_answers import json_bytes

__all__ = ["ActionEndpoint", "ActionImpact", "ActionResult", "post_to"]

BODY_BYTES_MAX = 1 << 20
REPEAT_SECONDS = 600.0
REPEATS_MAX = 1000

# What NSQ's notifications call them, where it is another name.
NSQ_NAMES = {"tombstone": "tombstone_topic_producer"}


class ActionImpact(msgspec.Struct):
    """The answer of a dry run."""

    action: str
    dry_run: bool
    destructive: bool
    confirm: str
    role: str
    allowed: bool
    impact: msgspec.Raw
    command: str


class ActionResult(msgspec.Struct):
    """The answer of an action."""

    action: str
    dry_run: bool
    ok: bool
    id: int
    results: list[NodeResult]


class _Repeats:
    """Answers by idempotency key, so that a request that is sent twice acts once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], tuple[float, asyncio.Future[bytes]]] = {}

    def find(self, user: str, key: str) -> asyncio.Future[bytes] | None:
        found = self._answers.get((user, key)) if key else None
        if found is None or found[1].cancelled() or time.monotonic() - found[0] > REPEAT_SECONDS:
            return None
        return found[1]

    def begin(self, user: str, key: str) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if key:
            self._answers[user, key] = (time.monotonic(), future)
            while len(self._answers) > REPEATS_MAX:
                del self._answers[next(iter(self._answers))]
        return future


class ActionEndpoint:
    """The handler."""

    def __init__(
        self,
        hub: Hub,
        collector: Collector,
        upstream: Upstream,
        audit: AuditTrail,
        notifications: Notifications,
    ) -> None:
        self._hub = hub
        self._collector = collector
        self._upstream = upstream
        self._audit = audit
        self._notifications = notifications
        self._repeats = _Repeats()

    async def act(self, request: Request, visitor: Visitor) -> Answer:
        wanted = await self._read(request)
        try:
            plan = make_plan(wanted, self._hub.view, self._hub.snapshot)
        except BadAction as exc:
            raise V2Error(400, exc.code, str(exc)) from exc
        if wanted.dry_run:
            return json_bytes(msgspec.json.encode(_impact(wanted, plan, visitor)))
        if not visitor.may(plan.role):
            raise V2Error(403, "FORBIDDEN", f"{wanted.action} needs the role {plan.role.word}")
        if wanted.confirm != plan.confirm and plan.confirm:
            raise V2Error(400, "CONFIRM_REQUIRED", f"confirm must be {plan.confirm!r}")
        if (repeated := self._repeats.find(visitor.user, wanted.idempotency_key)) is not None:
            return json_bytes(await asyncio.shield(repeated))
        answer = self._repeats.begin(visitor.user, wanted.idempotency_key)
        try:
            result = await self._carry_out(request, visitor, wanted, plan)
        except BaseException:
            answer.cancel()  # who repeats it meanwhile must not wait for ever
            raise
        answer.set_result(msgspec.json.encode(result))
        return json_bytes(answer.result())

    async def _read(self, request: Request) -> ActionRequest:
        body = await request.body(BODY_BYTES_MAX, "BODY_TOO_BIG")
        try:
            return msgspec.json.decode(body, type=ActionRequest)
        except msgspec.DecodeError as exc:
            raise V2Error(400, "INVALID_BODY", str(exc)) from exc

    async def _carry_out(
        self, request: Request, visitor: Visitor, wanted: ActionRequest, plan: Plan
    ) -> ActionResult:
        results: list[NodeResult] = []
        # Who names nodes tries again where it failed: the one that hung a moment ago is asked.
        insists = bool(wanted.nodes)
        for stage in plan.stages:
            results += await self._run(stage, insists=insists)
        place = wanted.to or wanted.from_
        entry = self._audit.add(
            wanted.action,
            user=visitor.user,
            role=visitor.role.word,
            remote=request.remote,
            via="v2",
            topic=wanted.topic,
            channel=wanted.new_channel or wanted.channel,
            node=wanted.node or ",".join(wanted.nodes),
            detail=place,
            results=results,
        )
        self._notifications.tell(
            request,
            NSQ_NAMES.get(wanted.action, wanted.action),
            wanted.topic,
            wanted.new_channel or wanted.channel,
            wanted.node,
        )
        self._collector.hurry()
        self._hub.tick_soon()
        return ActionResult(wanted.action, False, entry.ok, entry.id, results)

    async def _run(self, steps: Iterable[Step], *, insists: bool) -> list[NodeResult]:
        return await asyncio.gather(*(self._take(step, insists=insists) for step in steps))

    async def _take(self, step: Step, *, insists: bool) -> NodeResult:
        if step.refusal:
            return NodeResult(step.address, step.kind, False, step.refusal)
        return await post_to(self._upstream, step.kind, step.address, step.path, insists=insists)


def _impact(wanted: ActionRequest, plan: Plan, visitor: Visitor) -> ActionImpact:
    return ActionImpact(
        action=wanted.action,
        dry_run=True,
        destructive=bool(plan.confirm),
        confirm=plan.confirm,
        role=plan.role.word,
        allowed=visitor.may(plan.role),
        impact=msgspec.Raw(msgspec.json.encode(plan.impact)),
        command=plan.command,
    )


async def post_to(
    upstream: Upstream,
    kind: str,
    address: str,
    path: str,
    body: bytes = b"",
    *,
    insists: bool = False,
) -> NodeResult:
    """POST to one daemon, and return how that went. One known to hang is asked if one insists."""
    began = time.perf_counter()
    answer, error = b"", ""
    try:
        if upstream.hanging(address) and not insists:
            raise HangingError("it does not answer")
        answer = await upstream.post(address, path, body)
    except UpstreamError as exc:
        error = str(exc)
    took_ms = round((time.perf_counter() - began) * 1000, 1)
    return NodeResult(address, kind, not error, error, took_ms, _json_or_none(answer))


def _json_or_none(answer: bytes) -> object:
    try:
        found: object = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return None
    return found
