"""How ``/api/v2`` answers."""

from aiohttp import web

from nsqx.runtime.http.server import JSON_TYPE

__all__ = ["NO_STORE", "json_bytes"]

NO_STORE = {"Cache-Control": "no-store"}


def json_bytes(body: bytes, status: int = 200) -> web.Response:
    """Answer with JSON that is encoded already."""
    headers = {"Content-Type": JSON_TYPE, **NO_STORE}
    return web.Response(body=body, status=status, headers=headers)
