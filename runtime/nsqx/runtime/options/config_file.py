"""
The TOML file of a daemon (``--config``): values of other types become what the option needs.

Unknown keys are ignored, as in NSQ, but named, for a slip of the pen would otherwise go unnoticed.
Every error ends the start with one line (options section 1).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from nsqx.protocol.errors import StartupError
from nsqx.runtime.options.flag import Flag
from nsqx.runtime.options.kinds import DURATION, LEVEL, TLS_MIN_VERSION, TLS_REQUIRED

__all__ = ["go_name", "read"]

# These are looked at first and have an error text of their own.
_CHECKED_FIRST = (TLS_REQUIRED, TLS_MIN_VERSION, LEVEL)

# The words that Go writes in capitals inside a field's name.
_INITIALISMS = {
    "acl",
    "ca",
    "cidr",
    "http",
    "https",
    "id",
    "nsq",
    "nsqd",
    "tcp",
    "tls",
    "udp",
    "url",
}
_SPELLINGS = {"nsqlookupd": "NSQLookupd", "e2e": "E2E"}


def read(path: str, known: Sequence[Flag]) -> tuple[dict[str, Any], list[str]]:
    """
    Return the values that a file sets, by attribute, and the keys that mean nothing.

    Raises:
        StartupError: if it cannot be read, is not TOML, or a value does not fit.
    """
    table = _load(path)
    present = [each for each in known if each.config_key is not None and each.config_key in table]
    # A stable sort: all else keeps the order declared.
    present.sort(key=lambda each: each.kind not in _CHECKED_FIRST)
    values = {each.attribute: _coerce(each, table[each.config_key or ""]) for each in present}
    return values, [_with_hint(key, known) for key in _unknown(table, known)]


def _unknown(table: Iterable[str], known: Sequence[Flag]) -> list[str]:
    keys = {each.config_key for each in known}
    return [key for key in table if key not in keys]


def _with_hint(key: str, known: Sequence[Flag]) -> str:
    """Return a key, and what was meant if it is a flag's name."""
    name = key.replace("_", "-")
    for each in known:
        if each.name == name and each.config_key is not None:
            return f"{key} (here it is {each.config_key})"
    return key


def _load(path: str) -> dict[str, Any]:
    import tomllib  # not for who has no file: it costs some milliseconds

    try:
        with open(path, "rb") as file:
            return tomllib.loads(file.read().decode())
    except OSError as exc:
        reason = f"open {path}: {(exc.strerror or str(exc)).lower()}"
    except ValueError as exc:  # not TOML, not UTF-8
        reason = str(exc)
    raise StartupError(f"failed to load config file {path} - {reason}")


def _coerce(known: Flag, value: object) -> Any:
    try:
        return known.kind.from_file(value)
    except ValueError as exc:
        raise _failure(known, value, str(exc)) from exc


def _failure(known: Flag, value: object, reason: str) -> StartupError:
    if known.kind in _CHECKED_FIRST:
        return StartupError(f"failed parsing {known.config_key} {_go_text(value)}")
    default = known.kind.show(known.default) if known.kind is DURATION else _go_text(known.default)
    return StartupError(
        f"ERROR: Resolve failed to coerce value {_go_text(value)} ({default})"
        f" for field {go_name(known.config_key or '')} - {reason}",
        bare=True,
    )


def go_name(config_key: str) -> str:
    """Return the name of the Go program's field: max_msg_size is MaxMsgSize."""
    return "".join(
        _SPELLINGS.get(word) or (word.upper() if word in _INITIALISMS else word.capitalize())
        for word in config_key.split("_")
    )


def _go_text(value: object) -> str:
    """Write a value as Go's ``%v`` does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(map(_go_text, value)) + "]"
    return str(value)
