"""
A Go-style command line, environment and TOML file, generated from a dataclass of options.

    @dataclass
    class NsqdOptions(flags.DaemonOptions):
        msg_timeout: int = flag("1m", kind=DURATION, help="time before a message is requeued")
        tcp_addresses: list[str] = flag([], name="tcp-address", help="may be given several times")

    options = flags.parse(NsqdOptions, sys.argv[1:], "nsqd")
    options.msg_timeout                     60_000_000_000: durations are integer nanoseconds
    options.source("msg_timeout")           Source.DEFAULT
    options.notices()                       what was given and has no effect here, to be logged
    options.leftovers                       the words behind the flags

The field's name with ``-`` for ``_`` is the flag, and with ``_`` the key of the file; ``name`` and
``config_key`` say otherwise. A value comes from the flag, else the variable (``NSQD_MSG_TIMEOUT``),
else the file (``--config``), else the default.

The rules are those of Go's ``flag`` package and of NSQ's file, to the letter of their messages and
exit codes (docs, options section 1). Where Go plainly errs we do what was meant: in the file, an
integer bool 1 is true, an array of integers is a list of floats, an integer is its digits as text.

``list_flags(NsqdOptions)`` gives every field with what the documentation, an example file and
``/config/:opt`` need to know. Importing this module is cheap: no aiohttp, no structlog.
"""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

from nsqx.protocol.errors import NsqxError, StartupError
from nsqx.protocol.version import NSQ_VERSION, RUNTIME
from nsqx.runtime.durations import format_duration, parse_duration
from nsqx.runtime.options import config_file
from nsqx.runtime.options.flag import Flag
from nsqx.runtime.options.go_values import go_quote
from nsqx.runtime.options.kinds import (
    BOOL,
    DURATION,
    FLOAT,
    FLOATS,
    INT,
    LEVEL,
    STRING,
    STRINGS,
    TLS_MIN_VERSION,
    TLS_REQUIRED,
    Kind,
    TlsRequired,
)
from nsqx.runtime.process.levels import Level
from nsqx.runtime.process.startup import exit_with_failure, write_failure

__all__ = [
    "BOOL",
    "DURATION",
    "FLOAT",
    "FLOATS",
    "INT",
    "LEVEL",
    "STRING",
    "STRINGS",
    "TLS_MIN_VERSION",
    "TLS_REQUIRED",
    "DaemonOptions",
    "Flag",
    "FlagError",
    "Kind",
    "Level",
    "Options",
    "Source",
    "TlsRequired",
    "by_config_key",
    "flag",
    "format_duration",
    "list_flags",
    "parse",
    "parse_duration",
    "usage",
]

_METADATA_KEY = "nsqx.flag"
_SAME_AS_FIELD = "<same as field>"


class Source(Enum):
    """Where a value came from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


class FlagError(NsqxError):
    """
    The command line is wrong: the message goes to stderr, exit code 2. ``unknown`` is the name of a
    flag that there is not.
    """

    def __init__(self, message: str, unknown: str = "") -> None:
        super().__init__(message)
        self.unknown = unknown


class HelpRequested(NsqxError):
    """``-h`` or ``-help`` was given and no flag has that name."""


# --- declaring ---


@dataclass(frozen=True, slots=True)
class _Declaration:
    kind: Kind
    help: str
    name: str | None
    config_key: str | None
    environment: bool | None
    group: str
    no_effect: str | None
    default_text: str | None


def flag(
    default: Any = None,
    *,
    help: str,
    kind: Kind | None = None,
    factory: Callable[[], Any] | None = None,
    name: str | None = None,
    config_key: str | None = _SAME_AS_FIELD,
    environment: bool | None = None,
    group: str = "",
    no_effect: str | None = None,
    default_text: str | None = None,
) -> Any:
    """
    Declare an option as the value of a dataclass field.

    Args:
        default: the value, or the text that a flag would have, such as ``"1m"`` for a duration.
        help: one sentence without a dot. A word in back quotes names the value in the usage.
        kind: needed where the type of the default does not tell (all but str, bool, int, float
            and lists of strings).
        factory: computes the default instead, such as the host's name.
        name: the flag's name, when it is not the field's.
        config_key: the key of the file when it is not the field's name; None: not in the file.
        environment: whether a variable sets it; as the file, if not said.
        group: a heading for the documentation.
        no_effect: why the flag is accepted and does nothing here.
        default_text: what the documentation shows for a default that depends on the machine.
    """
    kind = kind or _kind_of(factory() if factory else default)
    declaration = _Declaration(
        kind, help, name, config_key, environment, group, no_effect, default_text
    )
    metadata = {_METADATA_KEY: declaration}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    if isinstance(default, list | tuple):
        return field(default_factory=lambda: list(default), metadata=metadata)
    if isinstance(default, str) and kind is not STRING:
        default = kind.parse(default)
    return field(default=default, metadata=metadata)


def _kind_of(default: Any) -> Kind:
    kinds: list[tuple[type, Kind]] = [(str, STRING), (bool, BOOL), (int, INT), (float, FLOAT)]
    for value_type, kind in [*kinds, (list, STRINGS)]:
        if isinstance(default, value_type):
            return kind
    raise TypeError(f"a flag with the default {default!r} must say its kind")


class Options:
    """Base of a program's options dataclass: remembers where each value came from."""

    sources: Mapping[str, Source] = MappingProxyType({})
    leftovers: Sequence[str] = ()

    def source(self, attribute: str) -> Source:
        """Return where the value of a field came from."""
        return self.sources.get(attribute, Source.DEFAULT)

    def is_given(self, attribute: str) -> bool:
        """Return whether a field was set by a flag, a variable or the file."""
        return self.source(attribute) is not Source.DEFAULT

    def notices(self) -> list[str]:
        """Return a sentence for all that was given and has no effect, to log at start."""
        notices = [
            f"--{each.name} is accepted but has no effect: {each.no_effect}"
            for each in list_flags(type(self))
            if each.no_effect is not None and self.is_given(each.attribute)
        ]
        return notices


@dataclass
class DaemonOptions(Options):
    """What all daemons take. Override ``log_prefix`` with the daemon's own default."""

    version: bool = flag(False, config_key=None, help="print the version and exit")
    config: str = flag("", config_key=None, environment=True, help="path of a TOML file of options")
    log_level: Level = flag(  # noqa: RUF009 - a field; ruff knows flag() only by its full name
        "info",
        kind=LEVEL,
        group="logging",
        help="least level logged: debug, info, warn, error, fatal",
    )
    log_prefix: str = flag("", group="logging", help="text before every line of the nsq log format")
    log_format: str = flag("nsq", group="logging", help="log lines: nsq, console or json")
    verbose: bool = flag(
        False,
        config_key=None,
        group="logging",
        help="does nothing, kept for old command lines",
        no_effect="use --log-level=debug",
    )


# --- listing ---


def list_flags(options_class: type[Options]) -> tuple[Flag, ...]:
    """Return the options of a class in the order declared."""
    # The base is no dataclass itself, so that its subclasses may order their fields as they like.
    dataclass_type: Any = options_class
    return tuple(
        _flag_of(each)
        for each in dataclasses.fields(dataclass_type)
        if _METADATA_KEY in each.metadata
    )


def _flag_of(declared: dataclasses.Field[Any]) -> Flag:
    about: _Declaration = declared.metadata[_METADATA_KEY]
    key = declared.name if about.config_key == _SAME_AS_FIELD else about.config_key
    return Flag(
        attribute=declared.name,
        name=about.name or declared.name.replace("_", "-"),
        config_key=key,
        kind=about.kind,
        help=about.help,
        group=about.group,
        no_effect=about.no_effect,
        make_default=_maker_of(declared),
        shown_default=about.default_text,
        environment=key is not None if about.environment is None else about.environment,
    )


def _maker_of(declared: dataclasses.Field[Any]) -> Callable[[], Any]:
    if declared.default_factory is not dataclasses.MISSING:
        return declared.default_factory
    value = declared.default
    return lambda: value


def by_config_key(options_class: type[Options]) -> Mapping[str, Flag]:
    """Return the options that the file may set and ``/config/:opt`` may show, by their key."""
    return {each.config_key: each for each in list_flags(options_class) if each.config_key}


# --- reading ---

OptionsType = TypeVar("OptionsType", bound=Options)


def parse(
    options_class: type[OptionsType],
    argv: Sequence[str],
    program: str,
    *,
    environ: Mapping[str, str] | None = None,
) -> OptionsType:
    """
    Return the options of a command line without the program's name, or exit.

    Exits with 2 for a wrong command line, 1 for a wrong file or variable, and 0 after ``-h`` and
    ``--version``. ``environ`` is the process's own if not given; pass ``{}`` for none.
    """
    known = list_flags(options_class)
    environ = os.environ if environ is None else environ
    given: dict[str, Any] = {}
    from_file: dict[str, Any] = {}
    try:
        given, leftovers = _read_flags(known, argv)
        if given.get("version"):
            _print_version(program, is_daemon=issubclass(options_class, DaemonOptions))
        from_environment = _read_environment(known, program, environ)
        path = given.get("config", from_environment.get("config", ""))
        from_file, unknown_keys = config_file.read(path, known) if path else ({}, [])
        if unknown_keys:
            # Who wrote it expects that it does something.
            names = ", ".join(unknown_keys)
            raise StartupError(f"failed to load config file {path} - unknown: {names}")
    except HelpRequested:
        sys.stderr.write(usage(options_class, program))
        raise SystemExit(0) from None
    except FlagError as exc:
        write_failure(f"{exc}\n{_advice(known, exc.unknown, program)}\n")
        raise SystemExit(2) from None
    except StartupError as exc:
        log_format = _log_format(known, program, given, environ, from_file)
        raise exit_with_failure(exc, f"[{program}] ", log_format) from None
    options = options_class(**{**from_file, **from_environment, **given})
    options.leftovers = leftovers
    options.sources = (
        dict.fromkeys(from_file, Source.FILE)
        | dict.fromkeys(from_environment, Source.ENVIRONMENT)
        | dict.fromkeys(given, Source.FLAG)
    )
    return options


def _log_format(
    known: Sequence[Flag],
    program: str,
    given: Mapping[str, Any],
    environ: Mapping[str, str],
    from_file: Mapping[str, Any],
) -> str:
    """Return the form of the log, as far as it is known when a start fails."""
    (variable,) = [each.variable(program) for each in known if each.attribute == "log_format"] or [
        None
    ]
    places = given.get("log_format"), environ.get(variable or ""), from_file.get("log_format")
    return str(next(filter(None, places), "nsq"))


def _print_version(program: str, *, is_daemon: bool) -> NoReturn:
    built_with = f" (built w/{RUNTIME})" if is_daemon else ""
    sys.stdout.write(f"{program} v{NSQ_VERSION}{built_with}\n")
    raise SystemExit(0)


def _read_flags(known: Sequence[Flag], argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of the flags given, by attribute, and the words left over."""
    by_name = {each.name: each for each in known}
    given: dict[str, Any] = {}
    words = iter(argv)
    for word in words:
        if len(word) < 2 or not word.startswith("-"):
            return given, [word, *words]
        if word == "--":
            return given, list(words)
        name, has_value, text = _split_flag(word)
        if name not in by_name:
            raise _unknown_flag(name)
        _take_flag(given, by_name[name], text if has_value else None, words)
    return given, []


def _split_flag(word: str) -> tuple[str, bool, str]:
    """Split ``--name=value``; raises FlagError for what is no flag's name."""
    stripped = word[2:] if word.startswith("--") else word[1:]
    if not stripped or stripped[0] in "-=":
        raise FlagError(f"bad flag syntax: {word}")
    name, equals, text = stripped.partition("=")
    return name, bool(equals), text


def _unknown_flag(name: str) -> Exception:
    if name in ("h", "help"):
        return HelpRequested()
    return FlagError(f"flag provided but not defined: -{name}", unknown=name)


def _advice(known: Sequence[Flag], unknown: str, program: str) -> str:
    """Return what may help; Go prints the whole usage, in which the message is lost."""
    from difflib import get_close_matches  # not needed otherwise, and starts are short

    likely = get_close_matches(unknown, [each.name for each in known], n=1)
    suggestion = f"did you mean -{likely[0]}?\n" if likely else ""
    return f"{suggestion}{program} -h lists all flags"


def _take_flag(given: dict[str, Any], known: Flag, text: str | None, words: Iterator[str]) -> None:
    if text is None:
        text = "true" if known.kind.is_bool else next(words, None)
    if text is None:
        raise FlagError(f"flag needs an argument: -{known.name}")
    try:
        value = known.kind.parse(text)
    except ValueError as exc:
        raise _refused_value(known, text, exc) from exc
    if known.attribute in given:
        value = known.kind.combine(given[known.attribute], value)
    given[known.attribute] = value


def _refused_value(known: Flag, text: str, reason: ValueError) -> FlagError:
    if known.kind.is_bool:
        return FlagError(f"invalid boolean value {go_quote(text)} for -{known.name}: {reason}")
    return FlagError(f"invalid value {go_quote(text)} for flag -{known.name}: {reason}")


def _read_environment(
    known: Sequence[Flag], program: str, environ: Mapping[str, str]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in known:
        variable = each.variable(program)
        if variable is None or variable not in environ:
            continue
        text = environ[variable]
        try:
            found[each.attribute] = each.kind.from_environment(text)
        except ValueError as exc:
            raise StartupError(
                f"invalid value {go_quote(text)} for environment variable {variable}: {exc}"
            ) from exc
    return found


# --- usage ---


def usage(options_class: type[Options], program: str) -> str:
    """Return what ``-h`` prints, in the form of Go's flag package."""
    known = sorted(list_flags(options_class), key=lambda each: each.name)
    return f"Usage of {program}:\n" + "".join(map(_usage_of, known))


def _usage_of(known: Flag) -> str:
    type_word, text = _unquote(known)
    head = f"  -{known.name} {type_word}".rstrip()
    shown = known.kind.show(known.default)
    default = "" if _is_zero(known.default) else f" (default {shown})"
    # Go puts the text of a one-letter bool on the same line.
    gap = "\t" if len(head) <= 4 else "\n    \t"
    return head + gap + text.replace("\n", "\n    \t") + default + "\n"


def _unquote(known: Flag) -> tuple[str, str]:
    before, quoted, rest = known.help.partition("`")
    word, closed, after = rest.partition("`")
    if quoted and closed:
        return word, before + word + after
    return known.kind.type_word, known.help


def _is_zero(default: Any) -> bool:
    return default in ("", 0, False, 0.0) or default == []
