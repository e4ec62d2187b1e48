"""Which nsqds a command is about: the options ``--lookupd`` and ``--nsqd``."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import click

from nsqx.apps.node_http import NodeHttp, RequestFailed

__all__ = ["LOOKUPD", "Sources", "source_options"]

LOOKUPD = "127.0.0.1:4161"

Function = TypeVar("Function", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Sources:
    """HTTP addresses, ``host:port``. Without any, those of the cluster of ``nsqx up``."""

    lookupds: Sequence[str] = ()
    nsqds: Sequence[str] = ()

    @property
    def _asked(self) -> Sequence[str]:
        return self.lookupds if self.lookupds or self.nsqds else (LOOKUPD,)

    async def with_topic(self, http: NodeHttp, topic: str) -> list[str]:
        """
        Return the HTTP addresses of the nsqds that have a topic, and of those given.

        Raises:
            RequestFailed: a lookupd could not be asked.
        """
        found = await http.producers(self._asked, topic)
        return list(dict.fromkeys([*self.nsqds, *found]))

    async def all(self, http: NodeHttp) -> list[str]:
        """
        Return the HTTP addresses of all nsqds that are known.

        Raises:
            RequestFailed: no lookupd could be asked, and there is no nsqd.
        """
        answers = await asyncio.gather(
            *(http.nodes([lookupd]) for lookupd in self._asked), return_exceptions=True
        )
        found, failure = list(self.nsqds), None
        for answer in answers:
            if isinstance(answer, RequestFailed):
                failure = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                found += answer
        if failure is not None and not found:
            raise failure
        return list(dict.fromkeys(found))


def source_options(function: Function) -> Function:
    """Add the options to a command."""
    add_lookupd = click.option(
        "--lookupd",
        "lookupds",
        multiple=True,
        metavar="HOST:PORT",
        help="HTTP address of a lookupd; may be given several times.",
    )
    add_nsqd = click.option(
        "--nsqd",
        "nsqds",
        multiple=True,
        metavar="HOST:PORT",
        help="HTTP address of an nsqd; may be given several times.",
    )
    return add_lookupd(add_nsqd(function))
