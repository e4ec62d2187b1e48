"""Asks nsqlookupds which topics there are."""

import asyncio
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nsqx.client.errors import LookupFailed

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["list_topics", "parse_topics"]


async def list_topics(session: "ClientSession", lookupds: Iterable[str]) -> set[str]:
    """
    Return the topics that any of them knows.

    Raises:
        LookupFailed: none of them could be asked.
    """
    answers = await asyncio.gather(
        *(_ask(session, lookupd) for lookupd in lookupds), return_exceptions=True
    )
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    known = [answer for answer in answers if not isinstance(answer, BaseException)]
    if failures and (not known or not isinstance(failures[0], LookupFailed)):
        raise failures[0]
    return set[str]().union(*known)


async def _ask(session: "ClientSession", lookupd: str) -> set[str]:
    # Imported here: most runs are given their topics.
    import aiohttp

    url = topics_url(lookupd)
    try:
        async with session.get(url) as response:
            if response.status != 200:
                raise LookupFailed(url, f"status {response.status}")
            return parse_topics(await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
        raise LookupFailed(url, str(exc) or type(exc).__name__) from exc


def topics_url(lookupd: str) -> str:
    """Return where a lookupd, ``host:port`` or a URL, is asked for its topics."""
    parts = urlsplit(lookupd if "://" in lookupd else f"http://{lookupd}")
    return f"{parts.scheme}://{parts.netloc}/topics"


def parse_topics(answer: bytes) -> set[str]:
    """
    Read an answer to ``/topics``, also in the form before NSQ 1.0.

    Raises:
        ValueError: it is not such an answer.
    """
    content: Any = json.loads(answer)
    try:
        return set(map(str, content.get("data", content)["topics"] or ()))
    except (AttributeError, KeyError, TypeError) as exc:
        raise ValueError(f"not a list of topics: {answer[:80]!r}") from exc
