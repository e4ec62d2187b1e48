"""``nsqx worker``: runs the handlers of an application until it is told to end."""

import asyncio
import importlib
import sys
from pathlib import Path

import click

from nsqx.client import Nsq
from nsqx.runtime.process.run import new_event_loop

__all__ = ["worker"]

EPILOG = """\b
Examples:
  nsqx worker app:nsq                      the object "nsq" of app.py in this folder
  nsqx worker shop.workers:nsq             of a module in a package
  NSQ_URL=nsq://a,b nsqx worker app:nsq    for an app that calls Nsq.from_env()
"""


@click.command(epilog=EPILOG)
@click.argument("target", metavar="MODULE:NAME")
def worker(target: str) -> None:
    """
    Run the handlers of an nsqx.client.Nsq.

    MODULE is imported as from a script in the current folder. SIGTERM and Ctrl-C let handlers end
    what they do, and return what they have not begun.
    """
    nsq = load(target)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(nsq.run())


def load(target: str) -> Nsq:
    """
    Import an application.

    Raises:
        click.UsageError: it is not there, or something else.
    """
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise click.UsageError(f"{target!r} is not MODULE:NAME, such as app:nsq")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{module_name}.".startswith(f"{exc.name}."):
            raise  # the module is there; something that it imports is not
        raise click.UsageError(f"there is no module {module_name!r} here") from exc
    nsq = getattr(module, name, None)
    if not isinstance(nsq, Nsq):
        raise click.UsageError(f"{target} is not an nsqx.client.Nsq")
    return nsq
