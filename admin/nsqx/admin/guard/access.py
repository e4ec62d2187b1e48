"""
Who asks, and what they may do.

Sources, the first that applies:
    Authorization   a bearer token or a name and password from the files of the options. If there is
                    such a file, a request without any valid proof is refused (401).
    the ACL header  (X-Forwarded-User), but only from ``--acl-trusted-cidr``: anybody else could
                    write into it what they like. NSQ trusts it from everyone; see decision 40.
    nobody          may do everything if no users and no files are given, as in NSQ; else reads.

    viewer < operator < admin. ``--read-only`` takes every change from everyone.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from nsqx.admin.guard.credentials import Credentials
from nsqx.cluster.actions import Power
from nsqx.protocol.errors import NsqxError
from nsqx.runtime.http.server import Request

__all__ = ["Access", "Role", "UnauthorizedError", "Visitor", "parse_networks", "role_for"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Role(IntEnum):
    """What a visitor may do; a higher one may do more."""

    VIEWER = 0
    OPERATOR = 1
    ADMIN = 2

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def parse(cls, word: str) -> "Role":
        """
        Return the role of a word.

        Raises:
            ValueError: there is no such role.
        """
        try:
            return cls[word.upper()]
        except KeyError:
            known = ", ".join(role.word for role in cls)
            raise ValueError(f"unknown role {word!r}; it is one of {known}") from None


def role_for(power: Power) -> Role:
    """Return the least role that may do what an action needs."""
    return Role.OPERATOR if power is Power.OPERATE else Role.ADMIN


class UnauthorizedError(NsqxError):
    """Nobody who may even look."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. ``user`` is empty for nobody in particular."""

    user: str
    role: Role
    read_only: bool
    reads_messages: bool

    def may(self, role: Role) -> bool:
        """Whether changes that need a role are allowed."""
        return not self.read_only and self.role >= role

    @property
    def rights(self) -> list[str]:
        """The words of ``/api/v2/me``."""
        rights = ["read"]
        rights += ["messages"] if self.reads_messages else []
        rights += ["operate"] if self.may(Role.OPERATOR) else []
        rights += ["administer"] if self.may(Role.ADMIN) else []
        return rights


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one dashboard."""

    header: str
    trusted: Sequence[Network]
    admins: frozenset[str]
    operators: frozenset[str]
    credentials: Credentials
    read_only: bool
    message_role: Role

    @property
    def has_login(self) -> bool:
        """Whether who somebody is makes a difference."""
        return bool(self.admins or self.operators or self.credentials.exist)

    @property
    def is_open_to_all(self) -> bool:
        """Whether anybody may change things."""
        return not self.has_login and not self.read_only

    async def visitor(self, request: Request) -> Visitor:
        """
        Return who asks.

        Raises:
            UnauthorizedError: a proof is demanded and there is no valid one.
        """
        user, role = await self._user_and_role(request)
        return Visitor(user, role, self.read_only, role >= self.message_role)

    async def _user_and_role(self, request: Request) -> tuple[str, Role]:
        if self.credentials.exist:
            proved = await self.credentials.check(request.header("Authorization"))
            if proved is not None:
                return proved.name, Role.parse(proved.role)
        user = request.header(self.header) if self.is_trusted(request) else ""
        if user in self.admins:
            return user, Role.ADMIN
        if user in self.operators:
            return user, Role.OPERATOR
        if self.credentials.exist:
            raise UnauthorizedError
        if self.admins or self.operators:
            return user, Role.VIEWER
        return user, Role.ADMIN

    def is_trusted(self, request: Request) -> bool:
        """Whether what the peer says in headers about others is believed."""
        if not request.ip:
            return True  # a Unix socket: file permissions decide who gets here
        address = ipaddress.ip_address(request.ip.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.trusted)


def parse_networks(texts: Sequence[str]) -> list[Network]:
    """
    Return networks such as ``10.0.0.0/8``.

    Raises:
        ValueError: one is none.
    """
    return [ipaddress.ip_network(text, strict=False) for text in texts]
