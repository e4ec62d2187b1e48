"""The pages of the documentation that the code writes: every option, every command. No I/O."""

import click

from nsqx.admin.options import AdminOptions
from nsqx.apps.cli import COMMANDS, DAEMONS, TOOLS, load, main
from nsqx.apps.tools.nsq_stat import StatOptions
from nsqx.apps.tools.nsq_tail import TailOptions
from nsqx.apps.tools.nsq_to_file import ToFileOptions
from nsqx.apps.tools.nsq_to_http import ToHttpOptions
from nsqx.apps.tools.nsq_to_nsq import ToNsqdOptions
from nsqx.apps.tools.to_nsq import ToNsqOptions
from nsqx.lookupd.options import LookupdOptions
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options.docs import reference_table
from nsqx.runtime.options.flags import DaemonOptions, Flag, Options, list_flags
from nsqx.runtime.settings import Scope, of_scope

__all__ = ["DAEMON_OPTIONS", "TOOL_OPTIONS", "command_reference", "option_reference"]

DAEMON_OPTIONS: dict[str, type[DaemonOptions]] = {
    "nsqd": NsqdOptions,
    "nsqlookupd": LookupdOptions,
    "nsqadmin": AdminOptions,
}
TOOL_OPTIONS: dict[str, type[Options]] = {
    "nsq_tail": TailOptions,
    "nsq_to_file": ToFileOptions,
    "nsq_to_http": ToHttpOptions,
    "nsq_to_nsq": ToNsqdOptions,
    "nsq_stat": StatOptions,
    "to_nsq": ToNsqOptions,
}
HELP_COLUMNS = 96

OPTIONS_HEAD = """\
# Configuration

Every option of the daemons. A value comes from the flag, else from the environment variable, else
from the TOML file (`--config`), else it is the default. Lists are given by repeating the flag, with
commas in a variable, as an array in the file. Durations are written as `1m30s`. Example files with
every option: `deploy/config`.

This page is generated from the code (`make deploy-files`).
"""

SETTINGS_HEAD = """\
## Settings of one topic or channel

Set by HTTP at a running nsqd, [`/topic/settings` and `/channel/settings`](http-api.md), and kept
over restarts. What is not set is as the option of the same name says; `default` gives that back.
"""

COMMANDS_HEAD = """\
# Commands

`nsqx` is one command for everything; NSQ's own programs are there under their own names and with
their own flags.

This page is generated from the code (`make deploy-files`).
"""


def option_reference() -> str:
    """Return the page of the daemons' options."""
    parts = [OPTIONS_HEAD]
    for program, options in DAEMON_OPTIONS.items():
        parts.append(f"## {program}\n\n{reference_table(options, program)}")
    parts.append(SETTINGS_HEAD)
    parts += map(_settings_of, Scope)
    return "\n".join(parts).rstrip() + "\n"


def _settings_of(scope: Scope) -> str:
    rows = "".join(
        f"| `{each.name}` | {each.kind.name} | {each.help} |\n" for each in of_scope(scope)
    )
    head = "| setting | type | meaning |\n|---|---|---|\n"
    return f"### Of a {scope.value}\n\n{head}{rows}"


def command_reference() -> str:
    """Return the page of ``nsqx`` and NSQ's tools."""
    parts = [COMMANDS_HEAD, _help("nsqx", main)]
    parts += [_help(f"nsqx {name}", load(COMMANDS[name].target)) for name in COMMANDS]
    daemons = ", ".join(f"`nsqx {name}`" for name in DAEMONS)
    tools = ", ".join(f"`nsqx {name}`" for name in TOOLS)
    parts.append(
        f"## Daemons\n\n{daemons} take the options of `nsqd`, `nsqlookupd` and `nsqadmin`: "
        "[configuration](configuration.md).\n"
    )
    parts.append(f"## NSQ's tools\n\n{tools} are these programs.\n")
    for tool, options in TOOL_OPTIONS.items():
        rows = "\n".join(map(_row, list_flags(options)))
        parts.append(
            f"### {tool}\n\n| flag | type | default | meaning |\n|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts).rstrip() + "\n"


def _help(title: str, command: click.Command) -> str:
    context = click.Context(
        command,
        info_name=title,
        terminal_width=HELP_COLUMNS,
        help_option_names=["-h", "--help"],
    )
    return f"## {title}\n\n```text\n{command.get_help(context)}\n```\n"


def _row(known: Flag) -> str:
    meaning = known.help.replace("`", "")
    if known.no_effect is not None:
        meaning += f" (no effect: {known.no_effect})"
    default = f"`{known.default_text}`" if known.default_text not in ("", '""') else ""
    cells = (f"`--{known.name}`", known.kind.name, default, meaning)
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"
