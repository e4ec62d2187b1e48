"""docs/tools.md names every tool and sub-command, and its examples are right command lines."""

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from nsqx.apps import cli
from nsqx.apps.tools.nsq_stat import StatOptions
from nsqx.apps.tools.nsq_tail import TailOptions
from nsqx.apps.tools.nsq_to_file import ToFileOptions
from nsqx.apps.tools.nsq_to_http import ToHttpOptions
from nsqx.apps.tools.nsq_to_nsq import ToNsqdOptions
from nsqx.apps.tools.to_nsq import ToNsqOptions
from nsqx.runtime.options import flags

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "tools.md").read_text()
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

OPTIONS: dict[str, type[flags.Options]] = {
    "nsq_stat": StatOptions,
    "nsq_tail": TailOptions,
    "nsq_to_file": ToFileOptions,
    "nsq_to_http": ToHttpOptions,
    "nsq_to_nsq": ToNsqdOptions,
    "to_nsq": ToNsqOptions,
}


def examples() -> list[list[str]]:
    """Return our commands in the indented blocks, from where they begin in a pipe to its next |."""
    blocks = "\n".join(re.findall(r"^    (.*)$", DOCUMENT, re.MULTILINE)).replace("\\\n", " ")
    programs = "|".join(["nsqx", *OPTIONS])
    commands = re.findall(rf"(?:^|\| )((?:{programs}) .*?)(?: \| |$)", blocks, re.MULTILINE)
    return [shlex.split(command) for command in commands]


def section(name: str) -> str:
    return DOCUMENT.partition(f"### {name}\n")[2].partition("\n### ")[0]


def test_every_tool_is_a_program_and_a_sub_command() -> None:
    targets = {entry.target for entry in cli.TOOLS.values()}
    assert {SCRIPTS[name] for name in OPTIONS} == targets


def test_every_program_and_sub_command_is_listed() -> None:
    for name in OPTIONS:
        assert f"[`{name}`](#{name})" in DOCUMENT
    for name in cli.TOOLS:
        assert f"`nsqx {name}`" in DOCUMENT
    for name in cli.COMMANDS:
        assert f"nsqx {name}" in DOCUMENT or f"`{name}`" in DOCUMENT or f", {name}" in DOCUMENT


def test_every_flag_of_nsq_to_file_is_explained() -> None:
    common = ("version", "log-level", "log-prefix", "http-client", "max-in-flight", "consumer-opt")
    names = [each.name for each in flags.list_flags(ToFileOptions)]
    own = [name for name in names if not name.startswith(common) and "address" not in name]
    assert [name for name in own if f"`--{name}`" not in section("nsq_to_file")] == []


@pytest.mark.parametrize("words", examples(), ids=" ".join)
def test_an_example_is_a_right_command_line(words: list[str]) -> None:
    program, *arguments = words
    if program in OPTIONS:
        assert flags.parse(OPTIONS[program], arguments, program, environ={}).leftovers == []
        return
    group = cli.main
    assert isinstance(group, click.Group)
    with click.Context(group) as context:
        command = group.get_command(context, arguments[0])
        assert command is not None
        command.make_context(arguments[0], arguments[1:], parent=context)
