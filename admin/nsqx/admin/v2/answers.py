"""How ``/api/v2`` answers."""

from aiohttp import web

from nsqx.runtime.http.server import JSON_TYPE

__all__ = ["NO_STORE", "download", "json_bytes"]

NO_STORE = {"Cache-Control": "no-store"}


def json_bytes(body: bytes, status: int = 200) -> web.Response:
    """Answer with JSON that is encoded already."""
    headers = {"Content-Type": JSON_TYPE, **NO_STORE}
    return web.Response(body=body, status=status, headers=headers)


def download(body: bytes, name: str) -> web.Response:
    """Answer with bytes to be saved; no browser shows them or runs what is in them."""
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{name}"',
        "X-Content-Type-Options": "nosniff",
        **NO_STORE,
    }
    return web.Response(body=body, headers=headers)
