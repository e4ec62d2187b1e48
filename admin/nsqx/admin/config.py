"""``/config`` of nsqadmin: who may see and change options, besides what all daemons have."""

import ipaddress

from nsqx.admin.guard.access import Role, Unauthorized
from nsqx.admin.guard.gate import Gate
from nsqx.admin.options import AdminOptions
from nsqx.runtime.http.config_endpoint import ConfigEndpoint
from nsqx.runtime.http.server import Answer, ApiError, Request

__all__ = ["AdminConfigEndpoint"]

BODY_BYTES_MAX = 1 << 20


class AdminConfigEndpoint(ConfigEndpoint):
    """
    Open to ``--allow-config-from-cidr`` (nsqadmin section 1).

    NSQ's admin users and ACL header have no part in it. Where a proof is demanded, it is here too,
    and a change needs an admin's.
    """

    def __init__(self, options: AdminOptions, gate: Gate) -> None:
        super().__init__(options, BODY_BYTES_MAX, self._check_address)
        self._network = (
            ipaddress.ip_network(options.allow_config_from_cidr, strict=False)
            if options.allow_config_from_cidr
            else None
        )
        self._gate = gate

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
        await self._check_proof(request, Role.VIEWER)
        return await super()._get(request)

    async def _put(self, request: Request) -> Answer:
        self._check_address(request)
        await self._check_proof(request, Role.ADMIN)
        if self._gate.access.read_only or self._gate.is_cross_site(request):
            raise ApiError(403, "FORBIDDEN")
        return await super()._put(request)

    async def _check_proof(self, request: Request, role: Role) -> None:
        if not self._gate.access.credentials.exist:
            return
        try:
            visitor = await self._gate.access.visitor(request)
        except Unauthorized:
            raise ApiError(401, "UNAUTHORIZED") from None
        if visitor.role < role:
            raise ApiError(403, "FORBIDDEN")
