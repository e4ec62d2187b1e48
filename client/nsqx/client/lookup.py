"""One question to one lookupd: where a topic is (lookupd section 3)."""

import json
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlsplit

from nsqx.client.addresses import Address, heard_address
from nsqx.client.errors import LookupFailed, reason_of
from nsqx.net import names

if TYPE_CHECKING:
    from aiohttp import ClientSession
    from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Lookup", "lookup", "make_session", "parse_lookup", "parse_nodes"]

_log = logging.getLogger("nsqx.client")

TIMEOUT_SECONDS = 5.0
ANSWER_BYTES_MAX = 16 * 1024 * 1024
INDEX_HEADER = "X-NSQX-Index"


class Lookup(NamedTuple):
    """
    An answer.

    Attributes:
        addresses: none if the topic is unknown: nobody has published to it yet.
        watch_index: of this answer, for the next watch; None from a lookupd that knows no watches.
    """

    addresses: set[Address]
    watch_index: str | None


def make_session(
    headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None
) -> "ClientSession":
    """
    Return a session, to be entered, that leaves no look-up of a name behind.

    ``tls`` is for HTTPS; None: the system's certificates.
    """
    # Imported here: it takes longer than all of the client, and direct addresses need no HTTP.
    import aiohttp

    resolver = cast("AbstractResolver", _Names())
    connector = aiohttp.TCPConnector(resolver=resolver, ssl=True if tls is None else tls)
    return aiohttp.ClientSession(headers=headers, connector=connector)


class _Names:
    """The resolver of sessions: ``nsqx.net.names``."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list["ResolveResult"]:
        """See aiohttp."""
        return [
            {
                "hostname": host,
                "host": address,
                "port": port,
                "family": socket.AF_INET6 if names.is_ipv6(address) else socket.AF_INET,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in await names.addresses_of(host, port)
        ]

    async def close(self) -> None:
        """See aiohttp."""


async def lookup(
    session: "ClientSession",
    url: str,
    seconds: float = TIMEOUT_SECONDS,
    host: str = "",
    parse: Callable[[bytes], set[Address]] | None = None,
) -> Lookup:
    """
    Ask, and wait for the answer for so many seconds.

    Args:
        session, url, seconds: as they are called.
        host: whom the request and the certificate name, if not the one in ``url``.
        parse: reads the answer; `parse_lookup` if it is not given.

    Raises:
        LookupFailed: there is no sensible answer.
    """
    import aiohttp  # see make_session

    parse = parse or parse_lookup
    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=TIMEOUT_SECONDS)
    headers = {"Host": host} if host else None
    name = urlsplit(f"//{host}").hostname if host else None
    try:
        # A directory that sends elsewhere would have the caller ask whom it likes.
        async with session.get(
            url,
            timeout=timeout,
            headers=headers,
            server_hostname=name,
            allow_redirects=False,
        ) as response:
            index = response.headers.get(INDEX_HEADER)
            if response.status == 404:  # TOPIC_NOT_FOUND
                return Lookup(set(), index)
            if response.status != 200:
                raise LookupFailed(url, f"status {response.status}")
            answer = b""
            async for chunk in response.content.iter_chunked(65536):
                answer += chunk
                if len(answer) > ANSWER_BYTES_MAX:
                    raise LookupFailed(url, f"the answer exceeds {ANSWER_BYTES_MAX} bytes")
            return Lookup(parse(answer), index)
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        # aiohttp's own words speak of TLS also where there is none.
        cause = getattr(exc, "os_error", exc)
        reason = reason_of(cause) if isinstance(cause, OSError) else str(exc)
        if isinstance(exc, aiohttp.ClientResponseError):  # nothing else raises it here
            reason = "what answers there does not speak HTTP"
        raise LookupFailed(url, reason or type(exc).__name__) from exc


def parse_nodes(answer: bytes) -> set[Address]:
    """
    Return the addresses in an answer to ``/nodes`` of nsqds that one may publish to.

    Not those that are being emptied, nor those that are hidden from lookups of all their topics.

    Raises:
        ValueError: as `parse_lookup`.
    """
    return _parse(answer, _takes_messages)


def _takes_messages(producer: Any) -> bool:
    hidden = producer.get("tombstones") or []
    return producer.get("draining") is not True and not (hidden and all(hidden))


def parse_lookup(answer: bytes) -> set[Address]:
    """
    Return the addresses in an answer to ``/lookup``, also in the form before NSQ 1.0.

    Entries are judged one by one: an nsqd that says nonsense of itself is left out, and the others
    are not.

    Raises:
        ValueError: it is not such an answer.
    """
    return _parse(answer, lambda producer: True)


def _parse(answer: bytes, is_wanted: Callable[[Any], bool]) -> set[Address]:
    try:
        content = json.loads(answer)
        producers = content.get("data", content)["producers"]
        if not isinstance(producers, list):
            raise TypeError("not a list")
    except (AttributeError, KeyError, RecursionError, TypeError) as exc:
        raise ValueError(f"not an answer to a lookup: {answer[:80]!r}") from exc
    addresses = set()
    for producer in producers:
        try:
            address = heard_address(producer["broadcast_address"], producer["tcp_port"])
            if is_wanted(producer):
                addresses.add(address)
        except (KeyError, TypeError, ValueError) as exc:
            _complain(str(producer)[:200], str(exc))
    return addresses


@lru_cache(maxsize=100)  # once, and not at every poll
def _complain(producer: str, reason: str) -> None:
    _log.warning("an nsqd that a lookupd named is left out: %s: %s", reason, producer)
