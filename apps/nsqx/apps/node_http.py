"""HTTP requests to nsqds and nsqlookupds, with the two wrappings that their answers have had."""

import asyncio
import json
from collections.abc import Sequence
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from nsqx.protocol.errors import NsqError

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["NodeHttp", "RequestFailed", "unwrap"]

CONNECT_SECONDS = 2.0
REQUEST_SECONDS = 5.0
ANSWER_BYTES_MAX = 256 << 20


class RequestFailed(NsqError):
    """
    A daemon did not answer, or refused.

    Attributes:
        address: ``host:port``.
        status: of the answer; 0 if there was none.
        reason: what went wrong; NSQ's error word if the daemon gave one.
    """

    def __init__(self, address: str, status: int, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.status = status
        self.reason = reason


class NodeHttp:
    """A session of requests. An async context manager."""

    def __init__(
        self, connect_seconds: float = CONNECT_SECONDS, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        self._connect_seconds = connect_seconds
        self._request_seconds = request_seconds
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Imported here: it takes longer than most commands run.
        import aiohttp

        timeout = aiohttp.ClientTimeout(
            total=self._request_seconds, sock_connect=self._connect_seconds
        )
        headers = {"Accept": "application/vnd.nsq; version=1.0"}
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, address: str, path: str, **query: str | int) -> Any:
        """
        Return the decoded JSON of an answer.

        Raises:
            RequestFailed: there is none with status 200.
        """
        return await self._request("GET", address, path, query)

    async def post(self, address: str, path: str, **query: str | int) -> Any:
        """As ``get``; None for an answer without a body."""
        return await self._request("POST", address, path, query)

    async def producers(self, lookupds: Sequence[str], topic: str) -> list[str]:
        """
        Return the HTTP addresses of the nsqds that have a topic.

        Raises:
            RequestFailed: a lookupd could not be asked.
        """
        answers = await asyncio.gather(*(self._lookup(address, topic) for address in lookupds))
        return list(dict.fromkeys(chain.from_iterable(answers)))

    async def nodes(self, lookupds: Sequence[str]) -> list[str]:
        """
        Return the HTTP addresses of all nsqds.

        Raises:
            RequestFailed: a lookupd could not be asked.
        """
        answers = await asyncio.gather(*(self.get(address, "/nodes") for address in lookupds))
        found = map(_http_addresses, lookupds, answers)
        return list(dict.fromkeys(chain.from_iterable(found)))

    async def _lookup(self, address: str, topic: str) -> list[str]:
        try:
            answer = await self.get(address, "/lookup", topic=topic)
        except RequestFailed as exc:
            if exc.status == 404:  # TOPIC_NOT_FOUND
                return []
            raise
        return _http_addresses(address, answer)

    async def _request(
        self, method: str, address: str, path: str, query: dict[str, str | int]
    ) -> Any:
        import aiohttp

        assert self._session is not None, "the session is not open"
        url = f"http://{address}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            async with self._session.request(method, url) as response:
                body = await response.read()
                if response.status != 200:
                    raise RequestFailed(address, response.status, _reason(response.status, body))
                return unwrap(body) if body else None
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise RequestFailed(address, 0, str(exc) or type(exc).__name__) from exc


def unwrap(body: bytes) -> Any:
    """
    Decode an answer, also in the form before NSQ 1.0: ``{"status_code": 200, "data": ...}``.

    Raises:
        ValueError: it is not JSON.
    """
    content = json.loads(body)
    if isinstance(content, dict) and "status_code" in content and "data" in content:
        return content["data"]
    return content


def _reason(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


def _http_addresses(lookupd: str, answer: Any) -> list[str]:
    try:
        return [
            f"{_bracketed(str(producer['broadcast_address']))}:{int(producer['http_port'])}"
            for producer in answer["producers"] or ()
        ]
    except (KeyError, TypeError, ValueError):
        raise RequestFailed(lookupd, 200, "not an answer of an nsqlookupd") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
