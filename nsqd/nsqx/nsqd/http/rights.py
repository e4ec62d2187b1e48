"""
Who may do what over HTTP, where an auth server is configured (decision record 130).

A request shows its secret by ``Authorization: Bearer SECRET`` (or Basic, as the password); who has
a certificate that was verified needs none. The auth server is asked as for AUTH, and what it
answers holds until its time is over. ``--http-auth=false`` lets everybody do everything, as NSQ.
"""

import base64
import binascii
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum
from time import monotonic_ns

from nsqx.nsqd.core.broker import Broker, TopicNotFoundError
from nsqx.nsqd.core.session import Authorization
from nsqx.nsqd.edge.auth import AuthServers, Peer
from nsqx.nsqd.http.node import HttpNode
from nsqx.nsqd.tls import common_name
from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, json_answer, refuse_pages

__all__ = ["RIGHTS", "Right", "Rights"]

ANSWERS_KEPT = 1000  # of the auth server
SECRET_BYTES_MAX = 16 * 1024  # as in AUTH


class Right(Enum):
    """What a request needs; the values are for the handbook."""

    NONE = "nothing"
    PUBLISH = "publish to the topic"
    CONSUME = "subscribe to the channel"
    READ = "subscribe to any channel of the topic"
    TOPIC = "publish to the topic and subscribe to all its channels"
    NODE = "publish and subscribe to everything"


RIGHTS: Mapping[tuple[str, str], Right] = {
    ("GET", "/ping"): Right.NONE,
    ("GET", "/livez"): Right.NONE,
    ("GET", "/readyz"): Right.NONE,
    ("GET", "/info"): Right.NONE,
    ("GET", "/stats"): Right.NONE,
    ("GET", "/metrics"): Right.NONE,
    ("GET", "/options"): Right.NONE,
    ("GET", "/config/{opt}"): Right.NONE,
    ("GET", "/topic/settings"): Right.NONE,
    ("GET", "/channel/settings"): Right.NONE,
    ("GET", "/node/drain"): Right.NONE,
    ("POST", "/node/drain"): Right.NODE,
    ("POST", "/node/undrain"): Right.NODE,
    ("POST", "/pub"): Right.PUBLISH,
    ("POST", "/mpub"): Right.PUBLISH,
    ("POST", "/topic/create"): Right.PUBLISH,
    ("POST", "/topic/delete"): Right.TOPIC,
    ("POST", "/topic/empty"): Right.TOPIC,
    ("POST", "/topic/pause"): Right.TOPIC,
    ("POST", "/topic/unpause"): Right.TOPIC,
    ("POST", "/topic/settings"): Right.TOPIC,
    ("GET", "/topic/peek"): Right.READ,
    ("GET", "/message"): Right.READ,
    ("GET", "/message/body"): Right.READ,
    ("POST", "/channel/create"): Right.CONSUME,
    ("POST", "/channel/delete"): Right.CONSUME,
    ("POST", "/channel/empty"): Right.CONSUME,
    ("POST", "/channel/pause"): Right.CONSUME,
    ("POST", "/channel/unpause"): Right.CONSUME,
    ("POST", "/channel/seek"): Right.CONSUME,
    ("POST", "/channel/settings"): Right.CONSUME,
    ("PUT", "/config/{opt}"): Right.NODE,
    ("GET", "/debug/pprof/"): Right.NODE,
    ("GET", "/debug/pprof/cmdline"): Right.NODE,
    ("GET", "/debug/pprof/symbol"): Right.NODE,
    ("POST", "/debug/pprof/symbol"): Right.NODE,
    ("GET", "/debug/pprof/profile"): Right.NODE,
    ("GET", "/debug/pprof/heap"): Right.NODE,
    ("GET", "/debug/pprof/goroutine"): Right.NODE,
    ("GET", "/debug/pprof/block"): Right.NODE,
    ("GET", "/debug/pprof/threadcreate"): Right.NODE,
    ("PUT", "/debug/setblockrate"): Right.NODE,
    ("POST", "/debug/freememory"): Right.NODE,
}


class Rights:
    """Lets requests pass, or refuses them: 401 without a secret, 403 for what is not allowed."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd
        self._answers: OrderedDict[tuple[bytes, Peer], Authorization] = OrderedDict()

    def guarded(self, method: str, path: str, handler: Handler) -> Handler:
        """Return a handler that asks first."""
        right = RIGHTS[method, path]
        servers = self._nsqd.auth_servers
        if right is Right.READ:
            handler = _of_no_page(handler)
        if right is Right.NONE or servers is None or not self._nsqd.options.http_auth:
            return handler

        async def guard(request: Request) -> Answer:
            secret, peer = _secret(request), _peer(request)
            if not secret and not servers.verified_name(peer):
                return _unauthorized()
            authorization = await self._authorization(servers, secret, peer)
            if authorization is None:
                return _unauthorized()
            if not _allows(authorization, right, request, self._nsqd.broker):
                raise ApiError(403, "FORBIDDEN")
            return await handler(request)

        return guard

    async def _authorization(
        self, servers: AuthServers, secret: bytes, peer: Peer
    ) -> Authorization | None:
        key = (secret, peer)
        known = self._answers.get(key)
        if known is not None and monotonic_ns() <= known.expires_ns:
            return known
        answer = await servers.authorize(secret, peer)
        self._answers.pop(key, None)
        if answer is not None:
            self._answers[key] = answer
            if len(self._answers) > ANSWERS_KEPT:
                self._answers.popitem(last=False)
        return answer


def _of_no_page(handler: Handler) -> Handler:
    """Keep messages from pages: by a name that leads here one is of our own site."""

    async def checked(request: Request) -> Answer:
        refuse_pages(request)
        return await handler(request)

    return checked


def _allows(authorization: Authorization, right: Right, request: Request, broker: Broker) -> bool:
    query = request.query()
    topic, channel = query.get("topic", ""), query.get("channel", "")
    match right:
        case Right.NONE:
            return True
        case Right.PUBLISH:
            return authorization.is_allowed(topic, "")
        case Right.READ:
            return authorization.may_read(topic)
        case Right.CONSUME if channel:
            return authorization.is_allowed(topic, channel)
        case Right.CONSUME:  # the handler says what is missing
            return authorization.may_read(topic)
        case Right.TOPIC:
            return (
                authorization.is_allowed(topic, "")
                and authorization.may_read(topic)
                and all(authorization.is_allowed(topic, name) for name in _channels(broker, topic))
            )
        case Right.NODE:
            return authorization.is_unlimited


def _channels(broker: Broker, topic: str) -> list[str]:
    try:
        return list(broker.topic(topic).channels)
    except TopicNotFoundError:
        return []


def _peer(request: Request) -> Peer:
    tls = request.http.get_extra_info("ssl_object")
    return Peer(request.ip, tls is not None, "" if tls is None else common_name(tls))


def _secret(request: Request) -> bytes:
    """Return the secret that a request shows; b"" if it shows none."""
    scheme, _, value = request.header("Authorization").partition(" ")
    secret = b""
    if scheme.lower() == "bearer":
        secret = value.strip().encode("utf-8", "surrogateescape")
    elif scheme.lower() == "basic":
        try:
            secret = base64.b64decode(value.strip(), validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            secret = b""
    return secret if len(secret) <= SECRET_BYTES_MAX else b""


def _unauthorized() -> Answer:
    answer = json_answer({"message": "UNAUTHORIZED"}, 401)
    # Not Basic: a browser would keep the secret, and send it along with the forms of others.
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer
