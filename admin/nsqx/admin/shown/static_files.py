"""
The files of the pages: read once at the start, compressed once, and named by their content.

``/static/<hash>/app/main.mjs`` may be kept by browsers for ever, since the hash is of all files
together; ``/static/app/main.mjs`` is asked for again and answered 304 while it is the same. Modules
import each other by relative paths, so one hash in the page is enough. Browsers get our modules
without the comments that have lines of their own, a tenth of what they would load; the lines keep
their numbers.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from aiohttp import web

from nsqx.admin.compression import wanted_encoding
from nsqx.runtime.http.server import Answer, ApiError, Request, plain_text

__all__ = ["DEV_HASH", "StaticFiles"]

DEPTH_MAX = 4  # folders below static/, and the hash
HASH_CHARACTERS = 16
DEV_HASH = "dev"
YEAR_S = 31_536_000
COMPRESS_BYTES_MIN = 256
OWN_MODULES = "app/"

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

# A comment that begins a line, to the end of its last line.
_COMMENT = re.compile(
    rb"^[ \t]*(?:/\*\*(?:(?!\*/).)*\*/[ \t]*$|//[^\n]*$)", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class _File:
    content_type: str
    body: bytes
    gzipped: bytes | None
    etag: str


class StaticFiles:
    """
    All files below ``static/``.

    Args:
        dev_folder: read from there at each request instead, for development; empty: not.
    """

    def __init__(self, dev_folder: str = "") -> None:
        self._dev_folder = Path(dev_folder) if dev_folder else None
        self._files: dict[str, _File] = {}
        self.hash = DEV_HASH
        if self._dev_folder is None:
            self._files = {path: _file(path, body) for path, body in packaged_files()}
            self.hash = _hash_of(self._files)

    def text(self, path: str) -> str | None:
        """Return a file's text, or None if there is no such file."""
        file = self._find(path)
        return file.body.decode() if file else None

    async def serve(self, request: Request) -> Answer:
        """Answer with the file whose path the route's parameters are."""
        segments = list(request.parameters.values())
        is_hashed = segments[0] == self.hash and len(segments) > 1
        file = self._find("/".join(segments[1:] if is_hashed else segments))
        if file is None:
            return self._missing(segments)
        return _answer(request, file, is_immutable=is_hashed and self._dev_folder is None)

    async def serve_no_font(self, _request: Request) -> Answer:
        """``/fonts``: the pages use those of the system."""
        return plain_text("NOT_FOUND", 404)

    def _missing(self, segments: list[str]) -> Answer:
        if len(segments) == 1:
            return plain_text("NOT_FOUND", 404)  # as NSQ
        raise ApiError(404, "NOT_FOUND")

    def _find(self, path: str) -> _File | None:
        if self._dev_folder is None:
            return self._files.get(path)
        if ".." in path.split("/") or path.startswith("/"):
            return None
        try:
            return _file(path, (self._dev_folder / path).read_bytes())
        except OSError:
            return None


def package_files() -> Traversable:
    """Return the folder of the files, wherever the package is installed."""
    return resources.files("nsqx.admin").joinpath("static")


def packaged_files() -> Iterator[tuple[str, bytes]]:
    """Yield each file's path and what browsers get of it."""
    for path, body in _walk(package_files()):
        is_ours = path.startswith(OWN_MODULES) and path.endswith(".mjs")
        yield path, without_comments(body) if is_ours else body


def without_comments(module: bytes) -> bytes:
    """
    Return a module with empty lines in the place of comments that have lines of their own.

    This is by lines, and knows nothing of texts over several lines: none of those may have a line
    that looks like such a comment.
    """
    return _COMMENT.sub(lambda found: b"\n" * found.group().count(b"\n"), module)


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif Path(entry.name).suffix in CONTENT_TYPES:
            yield prefix + entry.name, entry.read_bytes()


def _file(path: str, body: bytes) -> _File:
    content_type = CONTENT_TYPES.get(Path(path).suffix, "application/octet-stream")
    gzipped = None
    if not content_type.startswith(("image/png", "font/")) and len(body) >= COMPRESS_BYTES_MIN:
        gzipped = gzip.compress(body, 9, mtime=0)
    return _File(content_type, body, gzipped, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _hash_of(files: Mapping[str, _File]) -> str:
    together = hashlib.sha256()
    for path, file in files.items():
        together.update(f"{path}\0{file.etag}\0".encode())
    return together.hexdigest()[:HASH_CHARACTERS]


def _answer(request: Request, file: _File, *, is_immutable: bool) -> web.Response:
    kept = f"public, max-age={YEAR_S}, immutable" if is_immutable else "no-cache"
    headers = {"ETag": file.etag, "Cache-Control": kept}
    if file.etag in request.header("If-None-Match"):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = file.content_type
    if file.gzipped is not None and wanted_encoding(request) == "gzip":
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return web.Response(body=file.gzipped, headers=headers)
    return web.Response(body=file.body, headers=headers)
