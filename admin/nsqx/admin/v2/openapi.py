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
_REFUSALS = {
    400: "The request makes no sense",
    401: "A valid name and password, or token, is needed",
    403: "Not for this visitor, or not from there",
    404: "There is no such thing",
    409: "The idempotency key was of another request",
    413: "The body is too big",
    502: "It failed everywhere",
    503: "Not now: too many, or nobody is there",
}
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
            **_refusals(route, schemas),
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
    content = {route.content_type: {"schema": schema}}
    responses: dict[str, Any] = {"200": {"description": "As asked", "content": content}}
    if "since" in route.query:
        responses["204"] = {"description": "There is nothing newer"}
    return responses


def _refusals(route: Route, schemas: _Schemas) -> dict[str, Any]:
    of_any = {401} if route.method == "GET" else {401, 403}
    return {
        str(status): {
            "description": _REFUSALS[status],
            "content": _json(_schema_of_refusal(route, status, schemas)),
        }
        for status in sorted(of_any.union(route.refusals))
    }


def _schema_of_refusal(route: Route, status: int, schemas: _Schemas) -> dict[str, Any]:
    """What failed everywhere says what each node said."""
    if ActionResult not in route.answers or status not in (404, 502):
        return schemas[Error]
    result = schemas[ActionResult]
    return result if status == 502 else {"anyOf": [schemas[Error], result]}


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
