"""
The ``nsqx`` command line: one table of sub-commands, each imported when it is asked for.

``nsqx tail`` must not wait for the broker's modules to load, nor ``nsqx --help`` for any.
"""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from nsqx.protocol.version import VERSION

__all__ = ["main"]


class Entry(NamedTuple):
    """Where a sub-command is, and its line in the help."""

    target: str
    summary: str


COMMANDS = {
    "up": Entry("nsqx.apps.run.up:up", "Run a whole cluster on this machine until Ctrl-C."),
    "pub": Entry("nsqx.apps.change.pub:pub", "Publish lines of a file or of stdin to a topic."),
    "tail": Entry("nsqx.apps.look.tail:tail", "Print the messages of topics as they come."),
    "worker": Entry("nsqx.apps.run.worker:worker", "Run the handlers of a Python application."),
    "top": Entry("nsqx.apps.look.top:top", "Show what goes on in a cluster, again and again."),
    "peek": Entry("nsqx.apps.look.peek:peek", "Show messages of a topic without consuming them."),
    "seek": Entry("nsqx.apps.change.seek:seek", "Move a channel to another place of its topic."),
    "drain": Entry("nsqx.apps.change.drain:drain", "Empty a node, and say when it is empty."),
    "roll": Entry("nsqx.apps.change.roll:roll", "Restart the nodes of a cluster one by one."),
    "bench": Entry("nsqx.apps.run.bench:bench", "Measure how fast a broker is."),
    "doctor": Entry("nsqx.apps.look.doctor:doctor", "Check a cluster, and say what to do."),
}

# The command lines of these are NSQ's own, which click could not parse: they get all that follows.
TOOLS = {
    "to-file": Entry("nsqx.apps.tools.nsq_to_file:main", "Write messages to files (nsq_to_file)."),
    "to-http": Entry("nsqx.apps.tools.nsq_to_http:main", "Send messages to URLs (nsq_to_http)."),
    "nsq-to-nsq": Entry(
        "nsqx.apps.tools.nsq_to_nsq:main", "Publish messages to other brokers (nsq_to_nsq)."
    ),
    "to-nsq": Entry("nsqx.apps.tools.to_nsq:main", "Publish what comes on stdin (to_nsq)."),
    "stat": Entry(
        "nsqx.apps.tools.nsq_stat:main", "Print a channel's rates and depths (nsq_stat)."
    ),
    "nsq-tail": Entry("nsqx.apps.tools.nsq_tail:main", "Print messages, with NSQ's own flags."),
}

DAEMONS = {
    "nsqd": Entry("nsqx.nsqd.__main__:main", "Run a broker (options as NSQ's nsqd)."),
    "lookupd": Entry("nsqx.lookupd.__main__:main", "Run a directory (as nsqlookupd)."),
    "admin": Entry("nsqx.admin.__main__:main", "Run a dashboard (as nsqadmin)."),
}

# What shells run, and nobody types: not in the help.
HELPERS = {"complete": Entry("nsqx.apps.completion:complete", "Print names for a shell to offer.")}


class ForeignCommand(click.Command):
    """Hands the words after its name to the ``main(argv)`` of a daemon or a tool, unread."""

    def __init__(self, name: str, entry: Entry) -> None:
        super().__init__(name, short_help=entry.summary, add_help_option=False)
        self._target = entry.target

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> None:
        run: Callable[[list[str]], int] = load(self._target)
        ctx.exit(run(ctx.args))


class LazyGroup(click.Group):
    """Finds its sub-commands in the tables above."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *TOOLS, *DAEMONS]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        foreign = {**TOOLS, **DAEMONS, **HELPERS}
        if name in foreign:
            return ForeignCommand(name, foreign[name])
        if name in COMMANDS:
            command: click.Command = load(COMMANDS[name].target)
            return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click's own would import every command for its summary.
        tables = (("Commands", COMMANDS), ("Tools with NSQ's flags", TOOLS), ("Daemons", DAEMONS))
        for title, table in tables:
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in table.items()])


EPILOG = """\b
Examples:
  nsqx up                                  a cluster to try things on
  echo hello | nsqx pub greetings          one message
  nsqx tail greetings                      all messages from now on
  nsqx nsqd --data-path=/var/lib/nsqd      a single broker
  nsqx COMMAND --help                      more about a command
"""


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="nsqx", message="%(prog)s %(version)s")
def main() -> None:
    """NSQ in Python: brokers that keep what they acknowledged, and the tools around them."""


def load(target: str) -> Any:
    """Import ``module:name``."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)
