"""``/config`` of nsqadmin: who may see and change options, besides what all daemons have."""

import ipaddress

from nsqx.admin.changed.audit import AuditTrail, NodeResult
from nsqx.admin.guard.access import Role, UnauthorizedError, Visitor
from nsqx.admin.guard.gate import Gate
from nsqx.admin.options import AdminOptions
from nsqx.runtime.http.config_endpoint import ConfigEndpoint
from nsqx.runtime.http.server import Answer, ApiError, Request

__all__ = ["AdminConfigEndpoint"]

BODY_BYTES_MAX = 1 << 20
DETAIL_MAX = 500


class AdminConfigEndpoint(ConfigEndpoint):
    """
    Open to ``--allow-config-from-cidr`` (nsqadmin section 1).

    A change needs an admin besides, since behind a proxy every address is the proxy's; in NSQ,
    admin users have no part in it. It is noted in the audit trail.
    """

    def __init__(self, options: AdminOptions, gate: Gate, audit: AuditTrail) -> None:
        super().__init__(options, BODY_BYTES_MAX, self._check_address)
        self._network = (
            ipaddress.ip_network(options.allow_config_from_cidr, strict=False)
            if options.allow_config_from_cidr
            else None
        )
        self._gate = gate
        self._audit = audit

    def _check_address(self, request: Request) -> None:
        if self._network is None:
            return
        try:
            address = ipaddress.ip_address(request.ip.partition("%")[0])
        except ValueError as exc:
            raise ApiError(400, "INVALID_REMOTE_ADDR") from exc
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address not in self._network:
            raise ApiError(403, "FORBIDDEN")

    async def _get(self, request: Request) -> Answer:
        self._check_address(request)
        if self._gate.access.credentials.exist:
            await self._visitor(request)
        return await super()._get(request)

    async def _put(self, request: Request) -> Answer:
        self._check_address(request)
        visitor = await self._visitor(request)
        gate = self._gate
        if not visitor.may(Role.ADMIN) or gate.is_cross_site(request):
            raise ApiError(403, "FORBIDDEN")
        if gate.is_strange_host(request):
            raise ApiError(403, "FORBIDDEN: see --allowed-host")
        answer = await super()._put(request)
        option = request.parameters["opt"]
        self._audit.add(
            "set_option",
            user=visitor.user,
            role=visitor.role.word,
            remote=request.remote,
            via="config",
            detail=f"{option}={self._value(option)}"[:DETAIL_MAX],
            results=[NodeResult("", "nsqadmin", True)],
        )
        return answer

    async def _visitor(self, request: Request) -> Visitor:
        try:
            return await self._gate.access.visitor(request)
        except UnauthorizedError as exc:
            raise ApiError(401, "UNAUTHORIZED") from exc
