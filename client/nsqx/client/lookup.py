"""One question to one lookupd: where a topic is (lookupd section 3)."""

import json
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from nsqx.client.addresses import Address
from nsqx.client.errors import LookupFailed

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Lookup", "lookup", "parse_lookup"]

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


async def lookup(
    session: "ClientSession", url: str, seconds: float = TIMEOUT_SECONDS, host: str = ""
) -> Lookup:
    """
    Ask, and wait for the answer for so many seconds.

    Args:
        session, url, seconds: as they are called.
        host: whom the request and the certificate name, if not the one in ``url``.

    Raises:
        LookupFailed: there is no sensible answer.
    """
    # Imported here: it takes longer than all of the client, and direct addresses need no HTTP.
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=TIMEOUT_SECONDS)
    headers = {"Host": host} if host else None
    name = urlsplit(f"//{host}").hostname if host else None
    try:
        async with session.get(
            url, timeout=timeout, headers=headers, server_hostname=name
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
            return Lookup(parse_lookup(answer), index)
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise LookupFailed(url, str(exc) or type(exc).__name__) from exc


def parse_lookup(answer: bytes) -> set[Address]:
    """
    Return the addresses in an answer to ``/lookup``, also in the form before NSQ 1.0.

    Raises:
        ValueError: it is not such an answer.
    """
    try:
        content = json.loads(answer)
        return {
            Address(str(producer["broadcast_address"]), int(producer["tcp_port"]))
            for producer in content.get("data", content)["producers"]
        }
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError(f"not an answer to a lookup: {answer[:80]!r}") from exc
