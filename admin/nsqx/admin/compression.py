"""Compresses answers as NSQ's nsqadmin does: all, for whoever takes gzip or deflate."""

import gzip
import zlib

from aiohttp import web

from nsqx.runtime.http.server import Answer, Request

__all__ = ["compress"]

LEVEL = 1  # the answers are made anew each second
RAW_DEFLATE = -zlib.MAX_WBITS  # what NSQ sends, and browsers take


def compress(request: Request, answer: Answer) -> None:
    """Compress an answer that is not sent yet. Streams and files have their own ways."""
    if not isinstance(answer, web.Response) or "Content-Encoding" in answer.headers:
        return
    body = answer.body
    encoding = wanted_encoding(request)
    if not encoding or not isinstance(body, bytes) or answer.status in (204, 304):
        return
    if encoding == "gzip":
        answer.body = gzip.compress(body, LEVEL, mtime=0)
    else:
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW_DEFLATE)
        answer.body = compressor.compress(body) + compressor.flush()
    answer.headers["Content-Encoding"] = encoding
    answer.headers["Vary"] = "Accept-Encoding"


def wanted_encoding(request: Request) -> str:
    """Return the first of gzip and deflate that is named, or an empty text."""
    for part in request.header("Accept-Encoding").split(","):
        name = part.partition(";")[0].strip().lower()
        if name in ("gzip", "deflate"):
            return name
    return ""
