"""The OpenAPI description of ``/api/v2``, made from its routes and the types they use."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from nsqx.admin.changed.runs import ActionResult
from nsqx.admin.guard.same_origin import WRITE_HEADER
from nsqx.admin.v2.route import PREFIX, Route
from nsqx.cluster.number_fields import descriptions
from nsqx.protocol.version import VERSION
from nsqx.runtime import numbers

__all__ = ["describe"]

_NUMBERS = {
    "TopicRow": numbers.TOPIC,
    "TopicAtNode": numbers.TOPIC,
    "ChannelRow": numbers.CHANNEL,
    "ChannelAtNode": numbers.CHANNEL,
    "NodeRow": numbers.NODE,
}
SCHEMA_PATH = "#/components/schemas/{name}"
_Schemas: TypeAlias = Mapping[Any, dict[str, Any]]  # by type
_PARAMETER = re.compile(r"\{(\w+)\}")


class Error(msgspec.Struct):
    """Every answer of another status than 200 and 204."""

    message: str
    detail: str


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the description as plain data."""
    types = {kind for route in routes for kind in (*route.answers, route.body) if kind is not None}
    ordered = [*sorted(types, key=str), Error]
    schemas, components = msgspec.json.schema_components(ordered, ref_template=SCHEMA_PATH)
    _describe_numbers(components)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(PREFIX + route.path, {})[route.method.lower()] = _operation(route, by_type)
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


def _describe_numbers(components: dict[str, Any]) -> None:
    """Say at each number of a row what the table of numbers says."""
    for row, table in _NUMBERS.items():
        properties = components[row]["properties"] if row in components else {}
        for name, description in descriptions(table).items():
            if name in properties:
                properties[name]["description"] = description


def _operation(route: Route, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "parameters": list(_parameters(route)),
        "responses": {
            **_good_responses(route, schemas),
            "default": {"description": "Refused", "content": _json(schemas[Error])},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _json(schemas[route.body])}
    return operation


def _good_responses(route: Route, schemas: _Schemas) -> dict[str, Any]:
    if route.is_websocket:
        return {"101": {"description": "A WebSocket"}}
    found = [schemas[kind] for kind in route.answers]
    schema = found[0] if len(found) == 1 else {"anyOf": found} if found else {}
    error = {"content": _json(schemas[Error])}
    content = {route.content_type: {"schema": schema}}
    responses: dict[str, Any] = {"200": {"description": "As asked", "content": content}}
    if "since" in route.query:
        responses["204"] = {"description": "There is nothing newer"}
    if _PARAMETER.search(route.path) or route.method != "GET":
        responses["404"] = {"description": "There is no such thing", **error}
    if ActionResult in route.answers:
        content = _json(schemas[ActionResult])
        responses["502"] = {"description": "It failed everywhere", "content": content}
    return responses


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


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
