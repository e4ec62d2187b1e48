"""
Logs of the daemons: leveled lines on stderr, NSQ's own form by default.

    logs.setup(options.log_format, options.log_level, options.log_prefix)
    log = logs.get_logger("TCP")
    log.info("listening on %s", address)

    nsq      [nsqd] 2026/11/24 05:54:41.780364 INFO: TCP: listening on 127.0.0.1:4150
    json     {"time": "2026-11-24T05:54:41.780364+00:00", "level": "info", "logger": "TCP",
              "event": "listening on 127.0.0.1:4150"}
    console  for eyes; in colours if stderr is a terminal

Keyword arguments are fields in json and console, and ``key=value`` behind the text in nsq:
``log.info("segment closed", topic="t", bytes=12)``. ``exc_info=True`` adds the traceback.

A level that is off costs one comparison: arguments are not formatted and structlog is not entered.
A reader of stderr that stalls holds nobody up (`line_writer`): beyond a bound lines are dropped,
which is counted and said. Control characters, which a peer may have sent, are shown escaped. For
systemd's journal each line has its priority (`journal`).

The level may change while running (``set_level``); loggers made before follow it. structlog renders
json and console, and is imported for them only, as it takes long. Our own thin ``Logger`` exists so
that its calls are typed and cheap when off.
"""

import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

from nsqx.runtime.metrics import Family, told
from nsqx.runtime.numbers import PROCESS, number_of
from nsqx.runtime.process import journal
from nsqx.runtime.process.levels import Level, parse_level
from nsqx.runtime.process.line_writer import LineWriter

__all__ = [
    "LOG_FORMATS",
    "Level",
    "Logger",
    "dropped_lines",
    "families",
    "flush",
    "get_level",
    "get_logger",
    "parse_level",
    "set_level",
    "setup",
]

LOG_FORMATS = ("nsq", "console", "json")

_EventDict = MutableMapping[str, Any]
_Processor = Callable[[Any, str, _EventDict], Any]


class _Output:
    """Where and how lines are written: one for the process, replaced in place by ``setup``."""

    def __init__(self) -> None:
        self.level = Level.INFO
        self.logger: _Renderer = _NsqLogger("", None)


class Logger:
    """A named logger. Texts take ``%`` arguments; keywords become fields."""

    __slots__ = ("name",)

    def __init__(self, name: str = "") -> None:
        self.name = name

    def log(self, level: Level, text: str, *arguments: object, **fields: Any) -> None:
        """Write a line. A traceback is added by ``exc_info=True`` or ``exc_info=error``."""
        if level < _output.level:
            return
        if arguments:
            text = text % arguments
        if self.name:
            fields["logger"] = self.name
        _output.logger.msg(text, level=level, **fields)

    def debug(self, text: str, *arguments: object, **fields: Any) -> None:
        if _output.level <= Level.DEBUG:
            self.log(Level.DEBUG, text, *arguments, **fields)

    def info(self, text: str, *arguments: object, **fields: Any) -> None:
        if _output.level <= Level.INFO:
            self.log(Level.INFO, text, *arguments, **fields)

    def warning(self, text: str, *arguments: object, **fields: Any) -> None:
        if _output.level <= Level.WARNING:
            self.log(Level.WARNING, text, *arguments, **fields)

    def error(self, text: str, *arguments: object, **fields: Any) -> None:
        if _output.level <= Level.ERROR:
            self.log(Level.ERROR, text, *arguments, **fields)

    def fatal(self, text: str, *arguments: object, **fields: Any) -> None:
        """Write a line of the highest level. Does not exit."""
        self.log(Level.FATAL, text, *arguments, **fields)


def get_logger(name: str = "") -> Logger:
    """Return a logger; its name stands before the text, such as ``TCP``, ``HTTP``, ``LOOKUPD``."""
    return Logger(name)


def setup(log_format: str, level: Level, prefix: str, stream: TextIO | None = None) -> None:
    """
    Set the form, the level and the prefix of all lines; ``stream`` is stderr if not given.

    Raises:
        ValueError: if the format is none of ``LOG_FORMATS``.
    """
    _output.logger = _make_logger(log_format, prefix, stream)
    _output.level = level


def set_level(level: Level) -> None:
    """Change the level of all loggers from now on."""
    _output.level = level


def get_level() -> Level:
    """Return the level in force; its number is what ``/config/log_level`` shows."""
    return _output.level


def flush(seconds_max: float) -> None:
    """Wait until what was logged is written, but not longer than this."""
    for writer in _writers.values():
        writer.flush(seconds_max)


def dropped_lines() -> int:
    """Return how many lines were lost because nobody read them in time."""
    return sum(writer.dropped for writer in _writers.values())


def families() -> Iterator[Family]:
    """Yield what is to be known about the log of this process."""
    yield told(number_of(PROCESS, "dropped_lines"), dropped_lines())


# --- rendering ---


class _Renderer(Protocol):
    """What makes a line of a text, its level and its fields, and writes it."""

    def msg(self, event: str, *, level: Level, **fields: Any) -> object: ...


def _make_logger(log_format: str, prefix: str, stream: TextIO | None) -> _Renderer:
    match log_format:
        case "nsq":
            return _NsqLogger(prefix, stream)
        case "console":
            return _structlog_logger(_console_processors(stream or sys.stderr), stream)
        case "json":
            return _structlog_logger(_json_processors(), stream)
        case _:
            raise ValueError(f"invalid log format '{log_format}' ({', '.join(LOG_FORMATS)})")


class _Writer:
    """Writes finished lines; the innermost logger of structlog."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str, *, level: Level) -> None:
        # Looked up per line: stderr may be replaced, by a test or by a supervisor's redirection.
        stream = self._stream or sys.stderr
        writer = _writer_of(stream)
        if writer is not None:
            if journal.is_journal(writer.fd):
                line = journal.prioritized(line, level)
            writer.write(f"{line}\n".encode(errors="backslashreplace"))
        else:
            # A reader that went away must not stop the daemon.
            with contextlib.suppress(OSError):
                stream.write(line + "\n")


# By file descriptor: what waits for one is not lost when the form of the lines changes.
_writers: dict[int, LineWriter] = {}


def _writer_of(stream: TextIO) -> LineWriter | None:
    """Return what writes to a stream's file; None if there is none, as in tests."""
    try:
        fd = stream.fileno()
    except (OSError, ValueError):  # it is no file, or closed
        return None
    if fd not in _writers:
        _writers[fd] = LineWriter(fd, _say_dropped)
    return _writers[fd]


def _say_dropped(count: int) -> None:
    text = f"{count} lines were dropped here: nobody read what was logged"
    _output.logger.msg(text, level=Level.WARNING)


def _printable(text: str) -> str:
    """Escape what moves a terminal's cursor, begins another line, or turns text around."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class _NsqLogger:
    """Writes ``<prefix><YYYY/MM/DD HH:MM:SS.micros> <LEVEL>: <text>`` (options section 1)."""

    def __init__(self, prefix: str, stream: TextIO | None) -> None:
        self._prefix = prefix
        self._writer = _Writer(stream)

    def msg(self, event: str, *, level: Level, **fields: Any) -> None:
        name, error = fields.pop("logger", None), fields.pop("exc_info", None)
        line = f"{self._prefix}{datetime.now():%Y/%m/%d %H:%M:%S.%f} {level.name}: "
        line += _printable((f"{name}: {event}" if name else event) + _as_suffix(fields))
        self._writer.msg(line + _traceback_of(error), level=level)


def _traceback_of(error: BaseException | bool | None) -> str:
    """Return the lines below the text; True stands for the error that is being handled."""
    shown = sys.exception() if error is True else error
    if not isinstance(shown, BaseException):
        return ""
    return "\n" + "".join(traceback.format_exception(shown)).rstrip("\n")


def _as_suffix(fields: Mapping[str, Any]) -> str:
    return "".join(f" {key}={_quoted(str(value))}" for key, value in fields.items())


def _quoted(value: str) -> str:
    """Return a value that can be told from what stands beside it, whoever has sent it."""
    is_plain = value and not any(char in ' "=' for char in value)
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _structlog_logger(processors: list[_Processor], stream: TextIO | None) -> _Renderer:
    import structlog

    logger: _Renderer = structlog.wrap_logger(
        _Writer(stream),
        processors=[_keeping_level(processors)],
        wrapper_class=structlog.BoundLogger,
        context_class=dict,
    )
    return logger


def _keeping_level(processors: list[_Processor]) -> _Processor:
    """Return a processor that makes a line as these do, and hands over its level beside it."""

    def render(logger: Any, method: str, event: _EventDict) -> tuple[tuple[Any], dict[str, Level]]:
        level, rendered = event["level"], event
        for process in processors:
            rendered = process(logger, method, rendered)
        return (rendered,), {"level": level}

    return render


def _json_processors() -> list[_Processor]:
    import structlog

    return [
        _lay_out_for_json,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]


def _lay_out_for_json(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
    head = {"time": datetime.now(UTC).isoformat(), "level": event.pop("level").name.lower()}
    if "logger" in event:
        head["logger"] = event.pop("logger")
    head["event"] = event.pop("event")
    return head | dict(event)


def _console_processors(stream: TextIO) -> list[_Processor]:
    import structlog

    def name_level(_logger: Any, _method: str, event: _EventDict) -> _EventDict:
        level, text = event["level"].name.lower(), _printable(event["event"])
        return dict(event, level=level, event=text)

    return [
        name_level,
        structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S.%f", utc=False),
        structlog.dev.ConsoleRenderer(colors=stream.isatty()),
    ]


_output = _Output()
