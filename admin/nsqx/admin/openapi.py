"""The OpenAPI description of ``/api/v2``, made from its routes and the types they use."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from nsqx.runtime.version import VERSION

from .same_origin import WRITE_HEADER
from .v2_route import PREFIX, Route

__all__ = ["describe"]

SCHEMA_PATH = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")


class Error(msgspec.Struct):
    """Every answer of another status than 200 and 204."""

    message: str
    detail: str


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the description as plain data."""
    types = [each for route in routes for each in (route.body, route.answer) if each is not None]
    _, components = msgspec.json.schema_components([*types, Error], ref_template=SCHEMA_PATH)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nsqadmin of nsqx",
            "version": VERSION,
            "description": "The dashboard's own API; see docs/admin-api.md.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"basic": []}, {"bearer": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "parameters": list(_parameters(route)),
        "responses": {
            "200": {"description": "As asked", **_content(route.answer)},
            "default": {"description": "Refused", **_content(Error)},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, **_content(route.body)}
    return operation


def _parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        yield _parameter(name, "path", "in the path; # is %23", is_required=True)
    for name, description in route.query.items():
        yield _parameter(name, "query", description, is_required=False)
    if route.method != "GET":
        yield _parameter(WRITE_HEADER, "header", "any text", is_required=True)


def _parameter(name: str, place: str, description: str, *, is_required: bool) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "description": description,
        "required": is_required,
        "schema": {"type": "string"},
    }


def _content(kind: Any) -> dict[str, Any]:
    if kind is None:
        return {"content": {"application/json": {"schema": {}}}}
    schema = {"$ref": SCHEMA_PATH.format(name=kind.__name__)}
    return {"content": {"application/json": {"schema": schema}}}
