"""
Whether a request that changes something, or opens a WebSocket, comes from our own pages.

Browsers send ``Sec-Fetch-Site`` and, with every POST and WebSocket, ``Origin``; a page of another
site cannot forge them. Programs send neither, and are no danger: nobody can make them send
requests. A custom header on top (``X-NSQX-Request``, demanded below ``/api/v2``) is what no form
and no other site's script can send without being asked first.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from nsqx.runtime.http.server import Request

__all__ = ["WRITE_HEADER", "comes_from_elsewhere"]

WRITE_HEADER = "X-NSQX-Request"


def comes_from_elsewhere(request: Request, allowed_origins: Collection[str]) -> bool:
    """Whether a browser says that another site is behind a request."""
    origin = request.header("Origin")
    if origin:
        return origin not in allowed_origins and urlsplit(origin).netloc.lower() != _host(request)
    # "none": typed in or a bookmark. An old browser sends no such header.
    return request.header("Sec-Fetch-Site") not in ("", "same-origin", "none")


def _host(request: Request) -> str:
    return request.header("Host").lower()
