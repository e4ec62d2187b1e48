"""
``GET`` and ``PUT /config/<opt>`` (nsqd-http section 7), the same for nsqd and nsqadmin.

    endpoint = ConfigEndpoint(options, bytes_max=options.max_msg_size)
    endpoint.may_set("nsqlookupd_tcp_addresses", parse_addresses, connect_to)
    endpoint.may_show("broadcast_tcp_port", lambda: daemon.tcp_port)
    endpoint.add_to(router)
    endpoint.add_list_to(router)            GET /options

What is shown is the option as it is now. ``log_level`` can always be set, and takes effect at once.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, Router, json_answer, text
from nsqx.runtime.options.flags import (
    BOOL,
    FLOAT,
    FLOATS,
    INT,
    STRING,
    STRINGS,
    Kind,
    Options,
    by_config_key,
)
from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import Level, parse_level

__all__ = ["ConfigEndpoint", "parse_addresses"]

PLAIN_KINDS = (BOOL, FLOAT, FLOATS, INT, STRING, STRINGS)  # whose JSON is readable


class ConfigEndpoint:
    """
    Shows and changes options while the daemon runs; changes are not saved.

    ``guard`` is called first and may refuse by raising ApiError.
    """

    def __init__(
        self,
        options: Options,
        bytes_max: int,
        guard: Callable[[Request], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._known = by_config_key(type(options))
        self._bytes_max = bytes_max
        self._guard = guard
        self._shown: dict[str, Callable[[], Any]] = {"log_level": logs.get_level}
        self._settable: dict[str, Callable[[bytes], None]] = {}
        self.may_set("log_level", _read_level, logs.set_level)

    def may_show(self, key: str, value: Callable[[], Any]) -> None:
        """Show what ``value`` returns in place of the option as it was given."""
        self._shown[key] = value

    def may_set(self, key: str, read: Callable[[bytes], Any], apply: Callable[[Any], None]) -> None:
        """
        Let PUT change an option.

        ``read`` turns the body into the new value or raises ValueError; ``apply`` is called after
        the option has it.
        """
        assert key in self._known, key
        attribute = self._known[key].attribute

        def change(body: bytes) -> None:
            value = read(body)
            setattr(self._options, attribute, value)
            apply(value)

        self._settable[key] = change

    def add_to(self, router: Router[Handler]) -> None:
        router.add("GET", "/config/{opt}", self._get)
        router.add("PUT", "/config/{opt}", self._put)

    def add_list_to(self, router: Router[Handler]) -> None:
        """Serve ``GET /options``, which NSQ does not have: all options, and whence they came."""
        router.add("GET", "/options", self._list)

    async def _list(self, request: Request) -> Answer:
        self._guard(request)
        options = {
            key: {
                "value": _readable(self._value(key), flag.kind),
                "kind": flag.kind.name,
                "source": self._options.source(flag.attribute).value,
                "has_effect": flag.no_effect is None,
            }
            for key, flag in self._known.items()
        }
        return json_answer({"options": options})

    async def _get(self, request: Request) -> Answer:
        self._guard(request)
        return self._show(request.parameters["opt"])

    async def _put(self, request: Request) -> Answer:
        self._guard(request)
        key = request.parameters["opt"]
        body = await request.body(self._bytes_max, "INVALID_VALUE")
        if not body:
            raise ApiError(413, "INVALID_VALUE")
        if key not in self._settable:
            raise ApiError(400, "INVALID_OPTION")
        try:
            self._settable[key](body)
        except ValueError as exc:
            raise ApiError(400, "INVALID_VALUE") from exc
        return self._show(key)

    def _show(self, key: str) -> Answer:
        if key not in self._known:
            raise ApiError(400, "INVALID_OPTION")
        value = self._value(key)
        return text(value) if isinstance(value, str) else json_answer(value)

    def _value(self, key: str) -> Any:
        if key in self._shown:
            return self._shown[key]()
        return getattr(self._options, self._known[key].attribute)


def _readable(value: Any, kind: Kind) -> Any:
    """Return a value as in the file, such as ``1m0s``, instead of a number that stands for it."""
    return value if kind in PLAIN_KINDS else kind.show(value)


def _read_level(body: bytes) -> Level:
    return parse_level(body.decode("utf-8", "replace"))


def parse_addresses(body: bytes) -> list[str] | None:
    """
    Return a JSON list of strings; ``null`` gives None, which NSQ keeps and shows as it is.

    Raises:
        ValueError: for anything else.
    """
    try:
        return msgspec.json.decode(body, type=list[str] | None)
    except msgspec.MsgspecError as exc:
        raise ValueError(str(exc)) from exc
