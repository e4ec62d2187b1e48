"""
NSQ's routing rules, without I/O (nsqd-http section 1): exact path and method, or the right answer.

    router = Router(base_path="/nsq")       the base path is for nsqadmin; "" if not given
    router.add("GET", "/config/{opt}", handler)
    router.find("GET", "/nsq/config/log_level")     Match(handler, {"opt": "log_level"})
    router.find("GET", "/nsq//Config/log_level/")   Redirect("/nsq/config/log_level")
    router.find("POST", "/nsq/config/log_level")    NotAllowed("GET, OPTIONS")
    router.find("GET", "/nsq/nosuch")               None

A path that is nearly right (letter case, doubled slashes, a slash too much or too few) is answered
with the right one, but only if that has the method. A parameter takes one segment, never an empty
one, and is given decoded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote

__all__ = ["Match", "NotAllowed", "Redirect", "Router"]

Handler = TypeVar("Handler")


@dataclass(frozen=True, slots=True)
class Match(Generic[Handler]):
    handler: Handler
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Redirect:
    path: str  # still escaped, as it was asked for


@dataclass(frozen=True, slots=True)
class NotAllowed:
    allow: str  # the value of the Allow header


class _Route(Generic[Handler]):
    """One path pattern; a slash at its end is an empty last segment."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.segments = path.split("/")[1:]
        self.methods: dict[str, Handler] = {}

    @property
    def has_parameters(self) -> bool:
        return any(map(_is_parameter, self.segments))

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """Return the decoded parameters if the segments of a raw path are this route's."""
        if len(segments) != len(self.segments):
            return None
        parameters: dict[str, str] = {}
        for pattern, segment in zip(self.segments, segments, strict=True):
            text = unquote(segment)
            if _is_parameter(pattern) and text:
                parameters[pattern[1:-1]] = text
            elif pattern != text:
                return None
        return parameters

    def repair(self, cleaned: list[str]) -> str | None:
        """Return the right path if the cleaned segments differ from it in letter case only."""
        wanted = [pattern for pattern in self.segments if pattern]
        if len(wanted) != len(cleaned):
            return None
        repaired = []
        for pattern, segment in zip(wanted, cleaned, strict=True):
            if not _is_parameter(pattern) and unquote(segment).lower() != pattern.lower():
                return None
            repaired.append(segment if _is_parameter(pattern) else pattern)
        slash = "/" if repaired and self.segments[-1] == "" else ""
        return "/" + "/".join(repaired) + slash


class Router(Generic[Handler]):
    """A table of paths and methods. Fixed paths go before those with parameters."""

    def __init__(self, base_path: str = "") -> None:
        self._base_path = base_path.rstrip("/")
        self._fixed: dict[str, _Route[Handler]] = {}
        self._patterns: dict[str, _Route[Handler]] = {}

    @property
    def paths(self) -> list[str]:
        """Return the paths of all routes, as they were added below the base path."""
        return [*self._fixed, *self._patterns]

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Return method and path of each route."""
        tables = (self._fixed, self._patterns)
        return [
            (method, route.path)
            for table in tables
            for route in table.values()
            for method in route.methods
        ]

    def wrap(self, wrapped: Callable[[str, str, Handler], Handler]) -> None:
        """Replace each handler by what is made of it; called with method and path."""
        for table in (self._fixed, self._patterns):
            for path, route in table.items():
                for method, handler in route.methods.items():
                    route.methods[method] = wrapped(method, path, handler)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Add a route. ``path`` is below the base path; ``{name}`` stands for one segment."""
        assert path.startswith("/"), path
        assert method not in ("HEAD", "OPTIONS"), method
        full_path = (self._base_path + path if path != "/" else self._base_path) or "/"
        route = _Route[Handler](full_path)
        table = self._patterns if route.has_parameters else self._fixed
        route = table.setdefault(full_path, route)
        assert method not in route.methods, f"{method} {full_path} is added twice"
        route.methods[method] = handler

    def find(self, method: str, path: str) -> Match[Handler] | Redirect | NotAllowed | None:
        """Return what a raw path, still escaped and without a query, leads to; None: not found."""
        route = self._fixed.get(path)
        parameters: dict[str, str] | None = {}
        if route is None:
            route, parameters = self._find_slowly(path)
        if route is not None and method in route.methods:
            return Match(route.methods[method], parameters or {})
        if method != "CONNECT" and (repaired := self._repair(method, path)) is not None:
            return Redirect(repaired)
        if route is not None:
            return NotAllowed(", ".join(sorted({*route.methods, "OPTIONS"})))
        return None

    def _find_slowly(self, path: str) -> tuple[_Route[Handler] | None, dict[str, str] | None]:
        if (route := self._fixed.get(unquote(path))) is not None:
            return route, {}
        segments = path.split("/")[1:]
        for route in self._patterns.values():
            if (parameters := route.match(segments)) is not None:
                return route, parameters
        return None, None

    def _repair(self, method: str, path: str) -> str | None:
        cleaned = _clean(path)
        for route in [*self._fixed.values(), *self._patterns.values()]:
            if method in route.methods and (repaired := route.repair(cleaned)) is not None:
                return repaired if repaired != path else None
        return None


def _is_parameter(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def _clean(path: str) -> list[str]:
    """Return the segments without empty ones and with ``.`` and ``..`` followed."""
    cleaned: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del cleaned[-1:]
        elif segment not in ("", "."):
            cleaned.append(segment)
    return cleaned
