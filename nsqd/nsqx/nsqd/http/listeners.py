"""
Serves HTTP and HTTPS. Imported when TCP is served already: aiohttp takes longer than all else.

Until then connections wait in the listening sockets, which are bound before anything else.
"""

import socket
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack

from nsqx.nsqd.http.api import UNLOGGED_PATHS, HttpApi
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.http.server import HttpServer
from nsqx.runtime.options.flags import TlsRequired
from nsqx.runtime.process import logs

__all__ = ["serve_http"]

_log = logs.get_logger()


async def serve_http(
    node: HttpNode,
    listeners: Mapping[str, socket.socket],
    tls: ssl.SSLContext | None,
    stack: AsyncExitStack,
) -> None:
    """Serve what is in ``listeners`` under ``HTTP`` and ``HTTPS`` until the stack is unwound."""
    router = HttpApi(node).router()
    is_plain_refused = node.options.tls_required is TlsRequired.YES
    contexts = {"HTTP": None, "HTTPS": tls}
    for kind in listeners.keys() & contexts.keys():
        server = HttpServer(
            router,
            unlogged=UNLOGGED_PATHS,
            tls_required_port=node.https_port if kind == "HTTP" and is_plain_refused else None,
            refuses_pages=True,
            log=logs.get_logger(kind),
        )
        await server.start(listeners[kind], contexts[kind])
        stack.push_async_callback(server.stop)
        _log.info("%s: listening on %s", kind, server.address)
        if kind == "HTTP":
            await node.share(kind, server.make_connection)
