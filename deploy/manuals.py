"""
Manual pages, as man(7) has them: one for each program and sub-command. No I/O.

They bear the version and no date: a page changes with its program only.
"""

import re
from collections.abc import Iterator

from deploy.programs import ALIASES, Option, Program, programs
from deploy.references import DAEMON_OPTIONS
from nsqx.protocol.version import VERSION

__all__ = ["manuals"]

SECTION = {True: 8, False: 1}  # programs of the administrator, of everybody

DESCRIPTIONS = {
    "nsqd": (
        "The broker. It takes messages from producers, keeps them in its data folder until every"
        " channel of their topic has finished with them, and delivers them to consumers. A publish"
        " is answered OK when the message is in the log.",
        "A host may run several, each with ports and a data folder of its own.",
    ),
    "nsqlookupd": (
        "The directory. Every nsqd tells it which topics and channels it has, and consumers ask it"
        " where a topic is. It keeps nothing on disk. Run two or three, on different hosts.",
    ),
    "nsqadmin": (
        "The dashboard: topics, channels, nodes and clients, with what can be done to them. Without"
        " --admin-user, --operator-user and files of credentials who sees it may change things.",
    ),
    "nsq_tail": ("Prints each message on a line. Without a channel it takes nothing from others.",),
    "nsq_to_file": (
        "Appends each message and a line feed to a file. A message is finished only when the file"
        " was synced: none is lost however the program ends, and some are written twice.",
    ),
    "nsq_to_http": (
        "Sends each message by POST or GET, and finishes it when a status of 200 to 299 came back.",
    ),
    "nsq_to_nsq": ("Publishes each message to another nsqd, and finishes it when that said OK.",),
    "nsq_stat": ("Asks the nsqds of a topic again and again, and prints the sums.",),
    "to_nsq": ("Cuts its input at the delimiter and publishes each part, in order.",),
}
SIGNALS = {
    "nsqd": (
        (
            "SIGTERM, SIGINT",
            "Deliver nothing more, wait for consumers, close. The second ends now.",
        ),
        ("SIGHUP", "Say so in the log: there is no file to open anew."),
    ),
    "nsq_to_file": (("SIGHUP", "Sync and close all files."),),
}
GO_STYLE = (
    "Every option may be typed with one dash or two, and its value after a blank or an equals sign."
    " A switch takes a value after an equals sign only, as in --verbose=false."
)


def manuals() -> dict[str, str]:
    """Return the pages by the names of their files."""
    return {f"{_page(each.name)}.{_section(each.name)}": _manual(each) for each in programs()}


def _page(name: str) -> str:
    return name.replace(" ", "-")


def _section(name: str) -> int:
    return SECTION[name in DAEMON_OPTIONS]


def _manual(program: Program) -> str:
    lines = [
        r".\" Generated from the code: python -m deploy.generate",
        f'.TH {_page(program.name).upper()} {_section(program.name)} "" "nsqx {VERSION}" "nsqx"',
        *_heading("NAME", rf"{_escape(_page(program.name))} \- {_escape(program.summary)}"),
        *_heading("SYNOPSIS", *_synopsis(program)),
        ".SH DESCRIPTION",
        *_description(program),
        *_options(program),
        *_commands(program),
        *_sections_of_help(program),
        *_daemon_sections(program),
        *_heading("SEE ALSO", _see_also(program)),
    ]
    return "\n".join(lines) + "\n"


def _heading(title: str, *lines: str) -> list[str]:
    return [f".SH {title}", *lines]


def _synopsis(program: Program) -> Iterator[str]:
    yield rf".B {_escape(program.name)}"
    yield r"[\fIoption\fR...]"
    if program.arguments:
        yield _escape(program.arguments)


def _description(program: Program) -> Iterator[str]:
    texts = DESCRIPTIONS.get(program.name, ())
    plain = [each for each in program.paragraphs if not each.startswith("\b")]
    yield from _joined(_escape(" ".join(each.split())) for each in (*texts, *plain))
    if program.is_go:
        yield ".PP"
        yield _escape(GO_STYLE)


def _joined(paragraphs: Iterator[str]) -> Iterator[str]:
    for index, text in enumerate(paragraphs):
        if index:
            yield ".PP"
        yield text


# --- options and commands ---


def _options(program: Program) -> Iterator[str]:
    yield ".SH OPTIONS"
    groups: dict[str, list[Option]] = {}
    for option in program.options:
        groups.setdefault(option.group, []).append(option)
    for group in sorted(groups):
        if group:
            yield f".SS {_escape(group.capitalize())}"
        for option in groups[group]:
            yield from _option(option)


def _option(option: Option) -> Iterator[str]:
    names = ", ".join(rf"\fB{_escape(name)}\fR" for name in option.names)
    yield ".TP"
    yield names + (rf" \fI{_escape(option.word)}\fR" if option.word else "")
    text = " ".join(option.help.split())
    text = text if text.endswith((".", ")", "]")) else text + "."
    yield _escape(text + (f" Default: {option.default}." if option.default else ""))


def _commands(program: Program) -> Iterator[str]:
    if not program.commands:
        return
    yield ".SH COMMANDS"
    for name, summary in program.commands.items():
        yield ".TP"
        yield rf"\fB{_escape(name)}\fR"
        yield _escape(summary)


# --- what the help says ---


def _sections_of_help(program: Program) -> Iterator[str]:
    for text in program.paragraphs:
        if text.startswith("\b"):
            yield from _section_of_help(text.removeprefix("\b").strip("\n"))


def _section_of_help(text: str) -> Iterator[str]:
    title, _, rest = text.partition(":")
    if title == "Exit codes":
        yield from _heading("EXIT STATUS", _escape(" ".join(rest.split())))
        return
    assert title == "Examples", text
    examples = [line.removeprefix("  ") for line in rest.strip("\n").splitlines()]
    yield from _heading("EXAMPLES", ".EX", *map(_escape, examples), ".EE")


def _daemon_sections(program: Program) -> Iterator[str]:
    if any(option.variable for option in program.options):
        text = (
            "Every option of the file can be set by a variable, too: its name in capitals, with _"
            f" for -, and {program.name.upper()}_ before it. A flag is stronger than a variable,"
            " and a variable than the file. Lists are given with commas."
        )
        yield from _heading("ENVIRONMENT", _escape(text))
        file = f"/etc/nsqx/{program.name}.toml"
        about = "What --config names in the systemd units. deploy/config has one with every option."
        yield from _heading("FILES", ".TP", _escape(file), _escape(about))
    if signals := SIGNALS.get(program.name):
        yield ".SH SIGNALS"
        for name, meaning in signals:
            yield from (".TP", rf"\fB{name}\fR", _escape(meaning))
    if program.is_go:
        codes = "0 after a signal or when all was done, 1 if something failed, 2 for wrong options."
        yield from _heading("EXIT STATUS", _escape(codes))


def _see_also(program: Program) -> str:
    names = {"nsqd", "nsqlookupd", "nsqadmin", "nsqx"}
    if program.commands:
        names |= {f"nsqx {name}" for name in program.commands if name not in ALIASES}
        names |= set(ALIASES.values())
    names.discard(program.name)
    pages = (rf"\fB{_escape(_page(name))}\fR({_section(name)})" for name in sorted(names))
    return ", ".join(pages)


def _escape(text: str) -> str:
    """Return text as roff shows it: a dash that can be copied, and no line that is a request."""
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)
