"""
Every program and its options in one form, whether Go-style or click's. No I/O.

Manual pages and completions are made of it.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

import click

from deploy.references import DAEMON_OPTIONS, TOOL_OPTIONS
from nsqx.apps.cli import COMMANDS, DAEMONS, TOOLS, load, main
from nsqx.apps.completion import kind_of_option, kind_of_parameter
from nsqx.runtime.options.flags import Flag, Options, list_flags
from nsqx.runtime.process.levels import WORDS

__all__ = ["ALIASES", "Option", "Program", "Value", "programs"]

_LEVELS = tuple(WORDS)
_POOLS = ("hostpool", "epsilon-greedy")
# What a Go-style flag takes, where that is one of a few words.
CHOICES: dict[tuple[str, str], tuple[str, ...]] = {
    **{(daemon, "log-level"): _LEVELS for daemon in DAEMON_OPTIONS},
    **{(daemon, "log-format"): ("nsq", "console", "json") for daemon in DAEMON_OPTIONS},
    ("nsqd", "durability"): ("os", "fsync"),
    ("nsqd", "auth-http-request-method"): ("get", "post"),
    ("nsqd", "tls-client-auth-policy"): ("require", "require-verify"),
    ("nsqd", "tls-required"): ("true", "false", "tcp-https"),
    ("nsqd", "tls-min-version"): ("tls1.0", "tls1.1", "tls1.2", "tls1.3"),
    ("nsqadmin", "message-role"): ("viewer", "operator", "admin"),
    ("nsq_to_file", "log-level"): _LEVELS,
    ("nsq_to_http", "mode"): ("round-robin", *_POOLS),
    ("nsq_to_nsq", "mode"): _POOLS,
}
_FILE = re.compile(r"config$|-(path|file|cert|key)$")
_FOLDER = re.compile(r"data-path$|-dir$")
_NO_FILE = ("base-path",)

# Sub-commands that are programs of their own as well.
ALIASES = {
    "nsqd": "nsqd",
    "lookupd": "nsqlookupd",
    "admin": "nsqadmin",
    **{name: tool.target.split(":")[0].rsplit(".", 1)[1] for name, tool in TOOLS.items()},
}


class Value(Enum):
    """What completes the value of an option."""

    NONE = "a switch, which takes none"
    ANY = "anything"
    CHOICE = "one of its choices"
    FILE = "a file"
    FOLDER = "a folder"
    NAME = "what the cluster has: nsqx complete says it"


@dataclass(frozen=True, slots=True)
class Option:
    """
    An option as typed.

    Attributes:
        names: with their dashes; of a Go-style flag the form with two.
        word: what stands for the value in a manual.
        variable: the environment variable that sets it, too; may be empty.
    """

    names: tuple[str, ...]
    help: str
    value: Value = Value.NONE
    word: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""
    group: str = ""
    variable: str = ""
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Program:
    """
    A program, or a sub-command such as ``nsqx pub``.

    Attributes:
        arguments: what follows the options, as in ``TOPIC [FILE]``.
        paragraphs: of its help; one that begins with ``\\b`` keeps its lines.
        is_go: its options may be typed with one dash as well.
        takes_files: its arguments are completed as files.
        takes_names: its arguments are completed by names that the cluster has, the first ones.
    """

    name: str
    summary: str
    options: tuple[Option, ...]
    arguments: str = ""
    paragraphs: tuple[str, ...] = ()
    is_go: bool = False
    takes_files: bool = False
    takes_names: bool = False
    commands: dict[str, str] = field(default_factory=dict)


SUMMARIES = {
    "nsqd": "message broker that speaks NSQ's protocol",
    "nsqlookupd": "directory of nsqd brokers and their topics",
    "nsqadmin": "web dashboard of an NSQ cluster",
    "nsq_tail": "print the messages of topics",
    "nsq_to_file": "write the messages of topics to files",
    "nsq_to_http": "send the messages of a topic to web servers",
    "nsq_to_nsq": "publish the messages of topics to other brokers",
    "nsq_stat": "print the rates and depths of a channel",
    "to_nsq": "publish standard input as messages",
}


def programs() -> list[Program]:
    """Return the daemons, ``nsqx`` and its own sub-commands, then NSQ's tools."""
    found = [_go_program(name, options) for name, options in DAEMON_OPTIONS.items()]
    found.append(_umbrella())
    for name, entry in COMMANDS.items():
        summary = entry.summary[0].lower() + entry.summary[1:].removesuffix(".")
        found.append(_click_program(f"nsqx {name}", load(entry.target), summary))
    return found + [_go_program(name, options) for name, options in TOOL_OPTIONS.items()]


# --- Go-style ---


def _go_program(name: str, options: type[Options]) -> Program:
    flags = sorted(list_flags(options), key=lambda each: each.name)
    help_option = Option(("-h", "--help"), "print the options and exit")
    found = (*(_go_option(name, each) for each in flags), help_option)
    return Program(name, SUMMARIES[name], found, is_go=True)


def _go_option(program: str, known: Flag) -> Option:
    quoted = re.search(r"`(.+?)`", known.help)
    choices = CHOICES.get((program, known.name), ())
    text = known.help.replace("`", "")
    if known.no_effect is not None:
        text += f" (no effect: {known.no_effect})"
    return Option(
        names=(f"--{known.name}",),
        help=text,
        value=_go_value(program, known, choices),
        word="" if known.kind.is_bool else quoted[1] if quoted else known.kind.type_word,
        choices=choices,
        default="" if known.default_text in ("", "false", '""') else known.default_text,
        group=known.group,
        variable=(program in DAEMON_OPTIONS and known.variable(program)) or "",
        repeats=known.kind.repeats,
    )


def _go_value(program: str, known: Flag, choices: tuple[str, ...]) -> Value:
    if known.kind.is_bool:
        return Value.NONE
    if program in TOOL_OPTIONS and kind_of_option(known.name) is not None:
        return Value.NAME
    if choices:
        return Value.CHOICE
    if _FOLDER.search(known.name):
        return Value.FOLDER
    is_file = _FILE.search(known.name) and known.name not in _NO_FILE
    return Value.FILE if is_file else Value.ANY


# --- click's ---


def _umbrella() -> Program:
    tables = {**COMMANDS, **TOOLS, **DAEMONS}
    commands = {name: entry.summary for name, entry in tables.items()}
    program = _click_program("nsqx", main, "an NSQ cluster and the tools around it")
    return Program(
        "nsqx",
        program.summary,
        program.options,
        "COMMAND [ARGUMENT...]",
        program.paragraphs,
        commands=commands,
    )


def _click_program(name: str, command: click.Command, summary: str) -> Program:
    with click.Context(command, info_name=name, help_option_names=["-h", "--help"]) as context:
        options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
        arguments = [each for each in command.params if isinstance(each, click.Argument)]
        return Program(
            name,
            summary,
            tuple(_click_option(each, context) for each in options),
            " ".join(_argument(each, context) for each in arguments),
            tuple(_paragraphs(command)),
            takes_files=any(isinstance(each.type, click.File) for each in arguments),
            takes_names=any(kind_of_parameter(each) is not None for each in arguments),
        )


def _argument(argument: click.Argument, context: click.Context) -> str:
    return argument.make_metavar(context)


def _paragraphs(command: click.Command) -> Iterator[str]:
    for text in (command.help, command.epilog):
        if text:
            yield from re.split(r"\n\s*\n", inspect.cleandoc(text))


def _click_option(option: click.Option, context: click.Context) -> Option:
    record = option.get_help_record(context)
    assert record is not None, "no option is hidden"
    value, choices = _click_value(option)
    return Option(
        names=tuple(option.opts),
        help=record[1],
        value=value,
        word="" if value is Value.NONE else option.make_metavar(context),
        choices=choices,
        repeats=option.multiple,
    )


def _click_value(option: click.Option) -> tuple[Value, tuple[str, ...]]:
    if option.is_flag or option.count:
        return Value.NONE, ()
    if isinstance(option.type, click.Choice):
        return Value.CHOICE, tuple(map(str, option.type.choices))
    if isinstance(option.type, click.Path):
        return (Value.FILE if option.type.file_okay else Value.FOLDER), ()
    if kind_of_parameter(option) is not None:
        return Value.NAME, ()
    return Value.ANY, ()
