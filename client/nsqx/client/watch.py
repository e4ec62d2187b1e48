"""
Learns of new nsqds at once, from lookupds that can tell (nsqx's own can, NSQ's can not).

A long poll beside the usual ones: ``GET /watch`` answers as ``/lookup`` does, as soon as the answer
is another one than that whose index is named. A watch only ever adds: what is gone is left to the
polls, which know whether all lookupds have answered.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from nsqx.client.addresses import Address
from nsqx.client.errors import LookupFailed
from nsqx.client.lookup import lookup
from nsqx.client.reconnect import ReconnectDelays

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["watch", "watch_url"]

WAIT_SECONDS = 30
ANSWER_SECONDS = 10.0  # beyond the wait
# Between attempts at one that is down: until it is watched again, only polls find new nodes.
RETRY_SECONDS_MAX = 2.0
# A lookupd that can not tell may be replaced by one that can.
UNABLE_SECONDS = 600.0
# One that answers at once although nothing has changed is not asked in a tight loop.
UNCHANGED_SECONDS = 1.0


def watch_url(lookup_url: str) -> str | None:
    """Return where a lookupd is watched that is asked at ``lookup_url``; None if nobody knows."""
    parts = urlsplit(lookup_url)
    if not parts.path.endswith("/lookup"):
        return None
    path = parts.path.removesuffix("/lookup") + "/watch"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


async def watch(
    session: "ClientSession", url: str, found: Callable[[set[Address]], None], host: str = ""
) -> None:
    """
    Call ``found`` with all addresses, now and whenever they change. Runs until it is cancelled.

    Failures are not told: the polls tell them. ``host`` is as for `lookup`.
    """
    loop = asyncio.get_running_loop()
    delays = ReconnectDelays(longest_seconds=RETRY_SECONDS_MAX)
    index: str | None = None
    while True:
        asked_at = loop.time()
        position = f"&index={index}&wait={WAIT_SECONDS}s" if index is not None else ""
        try:
            answer = await lookup(session, url + position, WAIT_SECONDS + ANSWER_SECONDS, host)
        except LookupFailed:
            await asyncio.sleep(delays.next(random.random()))
            continue
        delays.reset()
        if answer.watch_index is None:
            await asyncio.sleep(UNABLE_SECONDS)
        elif answer.watch_index != index:
            index = answer.watch_index
            found(answer.addresses)
        else:
            await asyncio.sleep(asked_at + UNCHANGED_SECONDS - loop.time())
