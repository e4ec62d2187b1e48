"""
Asks auth servers what a client may do (protocol section 8).

One of the servers is asked, beginning with a random one, until one gives an answer that can be
used. What is wrong goes to the log; a client is told only that it failed.
"""

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from nsqx.net.client_certificates import POLICY_REQUIRE_VERIFY
from nsqx.net.host_port import host_of, without_secrets
from nsqx.net.late_authorities import read_when_needed
from nsqx.net.tls import client_context
from nsqx.nsqd.core.session import Authorization, Session
from nsqx.nsqd.edge.auth_patterns import Matcher, PatternError, compile_pattern, load_re2
from nsqx.nsqd.options import NsqdOptions
from nsqx.nsqd.tls import load_authorities
from nsqx.protocol.errors import FatalProtocolError, NsqxError
from nsqx.runtime.http import go_json
from nsqx.runtime.process import logs, tasks

if TYPE_CHECKING:
    import aiohttp

__all__ = ["AuthAnswerError", "AuthServers", "Peer", "decode_answer"]

SECOND_NS = 1_000_000_000
ANSWER_BYTES_MAX = 1024 * 1024
HEADERS = {"Accept": "application/vnd.nsq; version=1.0"}
PERMISSIONS = ("subscribe", "publish")

_log = logs.get_logger("AUTH")
_re2 = load_re2()

Done = Callable[[Authorization | FatalProtocolError], None]


class AuthAnswerError(NsqxError):
    """The server refused, or its answer can not be used."""


class Peer(NamedTuple):
    """Who is asked about, besides the secret."""

    ip: str
    is_tls: bool
    common_name: str  # in the certificate, verified or not


class AuthServers:
    """The `Authenticator` of a node."""

    def __init__(
        self,
        addresses: list[str],
        *,
        method: str,
        tls: ssl.SSLContext,
        is_name_verified: bool,
        connect_timeout_ns: int,
        request_timeout_ns: int,
    ) -> None:
        self._addresses = addresses
        self._method = method
        self._is_name_verified = is_name_verified  # of clients' certificates
        self._tls = tls
        self._connect_s = connect_timeout_ns / SECOND_NS
        self._request_s = request_timeout_ns / SECOND_NS
        self._http: aiohttp.ClientSession | None = None
        self._questions: set[asyncio.Task[None]] = set()

    @classmethod
    def of(cls, options: NsqdOptions) -> "AuthServers | None":
        """
        Return the servers that the options name, None if there are none.

        Raises:
            StartupError: ``--tls-root-ca-file`` can not be used.
        """
        if not options.auth_http_address:
            return None
        return cls(
            options.auth_http_address,
            method=options.auth_http_request_method,
            tls=_client_context(options),
            is_name_verified=options.tls_client_auth_policy == POLICY_REQUIRE_VERIFY,
            connect_timeout_ns=options.http_client_connect_timeout,
            request_timeout_ns=options.http_client_request_timeout,
        )

    async def stop(self) -> None:
        """Ask no more; what is being asked stays without an answer."""
        for question in self._questions:
            question.cancel()
        await asyncio.gather(*self._questions, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def authenticate(self, secret: bytes, session: Session, done: Done) -> None:
        """See `Authenticator.authenticate`."""
        address = host_of(session.remote_address)
        peer = Peer(address, session.is_tls, session.tls_common_name)
        question = tasks.start(self._tell(secret, peer, done), "auth")
        self._questions.add(question)
        question.add_done_callback(self._questions.discard)

    async def _tell(self, secret: bytes, peer: "Peer", done: Done) -> None:
        authorization = await self.authorize(secret, peer)
        done(authorization or FatalProtocolError("E_AUTH_FAILED", "AUTH failed"))

    def verified_name(self, peer: "Peer") -> str:
        """Return the name in a client's certificate, if that was verified; else ``""``."""
        # Anybody can write any name into a certificate that nobody verifies.
        return peer.common_name if self._is_name_verified else ""

    async def authorize(self, secret: bytes, peer: "Peer") -> Authorization | None:
        """Ask what somebody may do; None if no server says it, for whatever reason."""
        values: dict[str, str | bytes] = {
            "common_name": self.verified_name(peer),
            "remote_ip": peer.ip,
            "secret": secret,
            "tls": "true" if peer.is_tls else "false",
        }
        # In a thread: the first may come before HTTP is served, and others are answered meanwhile.
        aiohttp = await asyncio.to_thread(_import_aiohttp)
        first = random.randrange(len(self._addresses))
        for address in (*self._addresses[first:], *self._addresses[:first]):
            try:
                return decode_answer(await self._ask(address, values), monotonic_ns())
            except AuthAnswerError as error:
                _log.error("failed auth against %s - %s", without_secrets(address), error)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                reason = _reason(error)
                _log.error("failed auth against %s - %s", without_secrets(address), reason)
        return None

    def _open(self) -> "aiohttp.ClientSession":
        import aiohttp

        return aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._request_s, sock_connect=self._connect_s),
            headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _ask(self, address: str, values: dict[str, str | bytes]) -> bytes:
        if self._http is None:
            self._http = self._open()
        url = address if "://" in address else f"http://{address}/auth"
        if self._method == "post":
            form = {name: [_text(value)] for name, value in values.items()}
            request = self._http.post(
                url,
                data=go_json.encode(form),
                headers={"Content-Type": "application/json"},
                ssl=self._tls,
                allow_redirects=False,
            )
        else:
            from yarl import URL

            # As it is: aiohttp would write what is escaped here in its own way.
            joint = "&" if "?" in url else "?"
            encoded = URL(f"{url}{joint}{urlencode(values)}", encoded=True)
            request = self._http.get(encoded, ssl=self._tls, allow_redirects=False)
        async with request as response:
            body = await _read_all(response)
            if response.status != 200:
                raise AuthAnswerError(f"status {response.status}, {len(body)} bytes")
            return body


def _import_aiohttp() -> ModuleType:
    with read_when_needed():
        import aiohttp

    return aiohttp


async def _read_all(response: "aiohttp.ClientResponse") -> bytes:
    """Return the whole body, however many pieces it comes in."""
    pieces: list[bytes] = []
    room = ANSWER_BYTES_MAX
    async for piece in response.content.iter_any():
        room -= len(piece)
        if room < 0:
            raise AuthAnswerError(f"an answer of more than {ANSWER_BYTES_MAX} bytes")
        pieces.append(piece)
    return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class _Rule:
    """One authorization: who matches it may do what it permits."""

    topic: Matcher
    channels: tuple[Matcher, ...]
    permissions: frozenset[str]
    is_of_all: bool  # topics and channels

    def allows(self, permission: str, topic: str, channel: str) -> bool:
        return (
            permission in self.permissions
            and self.topic(topic)
            and any(matches(channel) for matches in self.channels)
        )


def decode_answer(body: bytes, now_ns: int) -> Authorization:
    """
    Read what a server answered.

    Raises:
        AuthAnswerError: it is not an answer, or holds what no rule can be made of.
    """
    try:
        answer = _Object(json.loads(body))
        ttl_s = answer.get("ttl", int, 0)
        identity, identity_url = (
            answer.get("identity", str, ""),
            answer.get("identity_url", str, ""),
        )
        rules = [_rule(_Object(item)) for item in answer.get("authorizations", list, [])]
    except (ValueError, RecursionError) as error:
        raise AuthAnswerError(f"the answer can not be used: {error}") from error
    if ttl_s <= 0:
        raise AuthAnswerError(f"the answer has an invalid ttl {ttl_s}")

    def is_allowed(topic: str, channel: str) -> bool:
        permission = "subscribe" if channel else "publish"
        return any(rule.allows(permission, topic, channel) for rule in rules)

    def may_read(topic: str) -> bool:
        return any(
            "subscribe" in rule.permissions and rule.channels and rule.topic(topic)
            for rule in rules
        )

    return Authorization(
        identity,
        identity_url,
        permission_count=len(rules),
        expires_ns=now_ns + ttl_s * SECOND_NS,
        answer=go_json.encode(
            {"identity": identity, "identity_url": identity_url, "permission_count": len(rules)}
        ),
        is_allowed=is_allowed,
        may_read=may_read,
        is_unlimited=all(
            any(rule.is_of_all and permission in rule.permissions for rule in rules)
            for permission in PERMISSIONS
        ),
    )


def _rule(item: "_Object") -> _Rule:
    permissions = item.strings("permissions")
    for permission in permissions:
        if permission not in PERMISSIONS:
            raise ValueError(f"unknown permission {permission}")
    topic, channels = item.get("topic", str, ""), item.strings("channels")
    return _Rule(
        _compile(topic),
        tuple(map(_compile, channels)),
        frozenset(permissions),
        is_of_all=_is_any(topic) and any(map(_is_any, channels)),
    )


def _is_any(pattern: str) -> bool:
    """Whether a pattern says that names do not matter. Others that match all do not count."""
    return pattern.removeprefix("^").removesuffix("$") in (".*", ".+")


def _compile(pattern: str) -> Matcher:
    try:
        return compile_pattern(pattern, _re2)
    except PatternError as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from error


class _Object:
    """A JSON object, read as Go reads it: keys in any case, null as good as absent."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict | None):
            raise ValueError(f"{type(value).__name__} where an object belongs")
        self._values = {key.lower(): item for key, item in (value or {}).items()}

    def get(self, key: str, kind: type[Any], default: Any) -> Any:
        value = self._values.get(key)
        if value is None:
            return default
        if type(value) is not kind:
            raise ValueError(f"{key} is not of type {kind.__name__}")
        return value

    def strings(self, key: str) -> list[str]:
        items: list[Any] = self.get(key, list, [])
        if not all(isinstance(item, str) for item in items):
            raise ValueError(f"{key} is not a list of strings")
        return items


def _reason(error: Exception) -> str:
    """Return what went wrong, without the URL, which holds the client's secret."""
    if isinstance(error, OSError) and error.strerror:  # aiohttp's errors of connecting are one
        return error.strerror
    return type(error).__name__


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _client_context(options: NsqdOptions) -> ssl.SSLContext:
    context = client_context(min_version=options.tls_min_version)
    if options.tls_root_ca_file:
        load_authorities(context, options.tls_root_ca_file)
    return context
