"""One route of ``/api/v2``, with what its description needs."""

from dataclasses import dataclass, field
from typing import Any

from nsqx.admin.guard.gate import VisitorHandler

__all__ = ["PREFIX", "Route"]

PREFIX = "/api/v2"


@dataclass(frozen=True, slots=True)
class Route:
    """
    One method of one path below the prefix.

    ``refusals`` are the statuses of its refusals, besides 401 and what is refused to any change.
    """

    method: str
    path: str
    handler: VisitorHandler
    summary: str
    query: dict[str, str] = field(default_factory=dict)  # name to description
    body: Any = None  # a type that is read
    answers: tuple[Any, ...] = ()  # types of which one is sent
    refusals: tuple[int, ...] = ()
    content_type: str = "application/json"
    is_websocket: bool = False
