"""``POST /api/v2/actions``: shows what an action would do, does it, and notes how it went."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import msgspec

from nsqx.admin.changed.audit import AuditTrail, NodeResult
from nsqx.admin.guard.access import Visitor, role_for
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.known.collector import Collector
from nsqx.admin.nsq_api.notifications import Notifications
from nsqx.admin.shown.hub import Hub
from nsqx.admin.v2.answers import json_bytes
from nsqx.cluster.actions import ActionRequest, BadActionError, Impact, Plan, Step, make_plan
from nsqx.cluster.http import DaemonError, DaemonHttp, HangingError
from nsqx.runtime.http.server import Answer, Request

__all__ = ["ActionEndpoint", "ActionImpact", "ActionResult", "Repeats", "answered", "post_to"]

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
    impact: Impact
    command: str


class ActionResult(msgspec.Struct):
    """The answer of an action. With ``message`` it failed everywhere, and the status is no 200."""

    action: str
    dry_run: bool
    ok: bool
    id: int
    results: list[NodeResult]
    message: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        if self.results and not any(result.ok for result in self.results):
            is_missing = all(result.is_missing for result in self.results)
            self.message = "NOT_FOUND" if is_missing else "FAILED_EVERYWHERE"
            self.detail = self.results[0].error


def answered(result: bytes) -> Answer:
    """Answer with an encoded ``ActionResult``: 200 if anybody has done it, else 404 or 502."""
    message = msgspec.json.decode(result, type=ActionResult).message
    return json_bytes(result, {"": 200, "NOT_FOUND": 404}.get(message, 502))


class Repeats:
    """Answers by idempotency key, so that a request that is sent twice acts once."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], _Begun] = {}

    async def once(
        self, user: str, key: str, request: bytes, work: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """
        Return what ``work`` returns, or has returned for the same key; "" is no key.

        A key belongs to one request of one user. Work that raises may be tried again.

        Raises:
            V2Error: the key was used for another request, or the first one failed meanwhile.
        """
        if not key:
            return await work()
        begun = self._begun.get((user, key))
        if begun is not None and not begun.is_over(time.monotonic()):
            if begun.request != request:
                raise V2Error(409, "IDEMPOTENCY_KEY_REUSED", "the key was of another request")
            return await begun.wait()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._begun[user, key] = _Begun(time.monotonic(), request, answer)
        while len(self._begun) > REPEATS_MAX:
            del self._begun[next(iter(self._begun))]
        try:
            answer.set_result(await work())
        finally:
            answer.cancel()  # who repeats it meanwhile must not wait for ever
        return answer.result()


@dataclass(frozen=True, slots=True)
class _Begun:
    at_s: float
    request: bytes
    answer: asyncio.Future[bytes]

    async def wait(self) -> bytes:
        try:
            return await asyncio.shield(self.answer)
        except asyncio.CancelledError:
            if not self.answer.cancelled():
                raise  # it is the one who waits that is cancelled
            raise V2Error(503, "TRY_AGAIN", "the first request with this key failed") from None

    def is_over(self, now_s: float) -> bool:
        return self.answer.cancelled() or now_s - self.at_s > REPEAT_SECONDS


class ActionEndpoint:
    """The handler."""

    def __init__(
        self,
        hub: Hub,
        collector: Collector,
        http: DaemonHttp,
        audit: AuditTrail,
        notifications: Notifications,
        repeats: Repeats,
    ) -> None:
        self._hub = hub
        self._collector = collector
        self._http = http
        self._audit = audit
        self._notifications = notifications
        self._repeats = repeats

    async def act(self, request: Request, visitor: Visitor) -> Answer:
        body = await request.body(BODY_BYTES_MAX, "BODY_TOO_BIG")
        wanted = _decoded(body)
        try:
            plan = make_plan(wanted, self._hub.view, self._hub.snapshot)
        except BadActionError as exc:
            raise V2Error(404 if exc.is_missing else 400, exc.code, str(exc)) from exc
        if wanted.dry_run:
            return json_bytes(msgspec.json.encode(_impact(wanted, plan, visitor)))
        if not visitor.may(role_for(plan.power)):
            raise V2Error(
                403, "FORBIDDEN", f"{wanted.action} needs the role {role_for(plan.power).word}"
            )
        if wanted.confirm != plan.confirm and plan.confirm:
            raise V2Error(400, "CONFIRM_REQUIRED", f"confirm must be {plan.confirm!r}")

        async def carry_out() -> bytes:
            return msgspec.json.encode(await self._carry_out(request, visitor, wanted, plan))

        key = wanted.idempotency_key
        return answered(await self._repeats.once(visitor.user, key, body, carry_out))

    async def _carry_out(
        self, request: Request, visitor: Visitor, wanted: ActionRequest, plan: Plan
    ) -> ActionResult:
        results: list[NodeResult] = []
        # Who names nodes tries again where it failed: the one that hung a moment ago is asked.
        insists = bool(wanted.nodes)
        for stage in plan.stages:
            results += await self._run(stage, insists=insists)
        entry = self._audit.add(
            wanted.action,
            user=visitor.user,
            role=visitor.role.word,
            remote=request.remote,
            via="v2",
            topic=wanted.topic,
            channel=wanted.new_channel or wanted.channel,
            node=wanted.node or ",".join(wanted.nodes),
            detail=wanted.detail,
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
        return await post_to(self._http, step.kind, step.address, step.path, insists=insists)


def _decoded(body: bytes) -> ActionRequest:
    try:
        return msgspec.json.decode(body, type=ActionRequest)
    except msgspec.DecodeError as exc:
        raise V2Error(400, "INVALID_BODY", str(exc)) from exc


def _impact(wanted: ActionRequest, plan: Plan, visitor: Visitor) -> ActionImpact:
    return ActionImpact(
        action=wanted.action,
        dry_run=True,
        destructive=bool(plan.confirm),
        confirm=plan.confirm,
        role=role_for(plan.power).word,
        allowed=visitor.may(role_for(plan.power)),
        impact=plan.impact,
        command=plan.command,
    )


async def post_to(
    http: DaemonHttp,
    kind: str,
    address: str,
    path: str,
    body: bytes = b"",
    *,
    insists: bool = False,
) -> NodeResult:
    """POST to one daemon, and return how that went. One known to hang is asked if one insists."""
    began = time.monotonic()
    answer, error = b"", ""
    try:
        if http.hanging(address) and not insists:
            raise HangingError(address, "it does not answer", "it does not answer")
        answer = await http.post(address, path, body)
    except DaemonError as exc:
        error = str(exc)
    took_ms = round((time.monotonic() - began) * 1000, 1)
    return NodeResult(address, kind, not error, error, took_ms, _json_or_none(answer))


def _json_or_none(answer: bytes) -> object:
    try:
        found: object = msgspec.json.decode(answer)
    except msgspec.DecodeError:
        return None
    return found
