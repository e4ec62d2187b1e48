"""
Which nsqds a command is about: ``--lookupd``, ``--nsqd``, ``--discover`` and ``--cluster``.

    @source_options
    def top(sources: Sources, ...) -> None: ...

    async with sources:                 listens on the network for a moment, if that is wanted
        await sources.all(http)
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import click

from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.cluster.lookups import list_nodes, lookup
from nsqx.net.host_port import AddressError, split_host_port
from nsqx.protocol.defaults import DEFAULT_CLUSTER, LOOKUPD_HTTP_PORT
from nsqx.runtime.discovery import Finder
from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import Level

__all__ = ["LOOKUPD", "Sources", "source_options"]

LOOKUPD = f"127.0.0.1:{LOOKUPD_HTTP_PORT}"
DISCOVER_SECONDS = 3.0
OTHERS_SECONDS = 1.0  # behind the first that was heard; nobody says that all have been


class Sources:
    """
    HTTP addresses, ``host:port``. Without any, those of the cluster of ``nsqx up``.

    An async context manager; without a ``finder`` it does nothing.
    """

    def __init__(
        self,
        lookupds: Sequence[str] = (),
        nsqds: Sequence[str] = (),
        finder: Finder | None = None,
    ) -> None:
        self.lookupds = lookupds
        self.nsqds = nsqds
        self.finder = finder
        self._lookupds_asked: set[str] = set()

    def is_lookupd(self, address: str) -> bool:
        """Whether it was asked as a lookupd."""
        return address in self._lookupds_asked

    async def __aenter__(self) -> Self:
        if self.finder is not None:
            logs.set_level(Level.WARNING)  # stderr is the user's
            self.finder.start()
            await _listen(self.finder)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.finder is not None:
            await self.finder.stop()

    def _asked(self) -> Sequence[str]:
        """Return the lookupds to ask now; DaemonError if the network has none."""
        asked = self._chosen()
        self._lookupds_asked.update(asked)
        return asked

    def _chosen(self) -> Sequence[str]:
        if self.finder is not None:
            found = [each.http_address for each in self.finder.directories]
            if not found and not self.lookupds and not self.nsqds:
                reason = f"no nsqlookupd of the cluster {self.finder.cluster} was found"
                raise DaemonError("this network", reason)
            return list(dict.fromkeys([*self.lookupds, *found]))
        return self.lookupds if self.lookupds or self.nsqds else (LOOKUPD,)

    async def with_topic(self, http: DaemonHttp, topic: str) -> list[str]:
        """
        Return the HTTP addresses of the nsqds that have a topic, and of those given.

        Raises:
            DaemonError: a lookupd could not be asked, or none was found.
        """
        found = await lookup(http, self._asked(), topic)
        return list(dict.fromkeys([*self.nsqds, *(each.http_address for each in found)]))

    async def all(self, http: DaemonHttp) -> list[str]:
        """
        Return the HTTP addresses of all nsqds that are known.

        Raises:
            DaemonError: no lookupd was found or could be asked, and there is no nsqd.
        """
        try:
            found = await list_nodes(http, self._asked())
        except DaemonError:
            if not self.nsqds:
                raise
            found = []
        return list(dict.fromkeys([*self.nsqds, *(each.http_address for each in found)]))


async def _listen(finder: Finder) -> None:
    """Wait until somebody was heard, and who else is there could be."""
    heard = asyncio.Event()
    unsubscribe = finder.subscribe(lambda found: heard.set() if found else None)
    try:
        async with asyncio.timeout(DISCOVER_SECONDS):
            await heard.wait()
            await asyncio.sleep(OTHERS_SECONDS)
    except TimeoutError:
        pass
    finally:
        unsubscribe()


def source_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets them as ``sources``."""

    @functools.wraps(function)
    def with_sources(
        lookupds: tuple[str, ...],
        nsqds: tuple[str, ...],
        discover: bool,
        cluster: str,
        **others: Any,
    ) -> None:
        try:
            finder = Finder(cluster) if discover else None
        except ValueError as exc:
            raise click.BadParameter(str(exc)) from None
        function(sources=Sources(lookupds, nsqds, finder), **others)

    command: Callable[..., None] = with_sources
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def discovery_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add ``--discover`` and ``--cluster``."""
    for option in reversed(_DISCOVERY_OPTIONS):
        command = option(command)
    return command


def _addresses(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse what nobody can be asked at: ``host:port``, or a URL that says no more."""
    wrong = [text for text in given if not _is_address(text)]
    if wrong:
        raise click.BadParameter(f"{wrong[0]!r} is not host:port")
    return given


def _is_address(text: str) -> bool:
    scheme, _, place = text.rpartition("://")
    if scheme not in ("", "http", "https") or set(place) & set("/?#@ "):
        return False
    try:
        host, port = split_host_port(place)
    except AddressError:  # a URL has a port of its own
        is_whole = place.endswith("]") if place.startswith("[") else ":" not in place
        return bool(scheme and place and is_whole)
    return bool(host) and port > 0


_Decorator = Callable[[Callable[..., None]], Callable[..., None]]

_DISCOVERY_OPTIONS: list[_Decorator] = [
    click.option("--discover", is_flag=True, help="Ask the lookupds on the local network (mDNS)."),
    click.option(
        "--cluster",
        default=DEFAULT_CLUSTER,
        show_default=True,
        metavar="NAME",
        help="Cluster that --discover looks for.",
    ),
]

_OPTIONS: list[_Decorator] = [
    click.option(
        "--lookupd",
        "lookupds",
        multiple=True,
        metavar="HOST:PORT",
        callback=_addresses,
        help="HTTP address of a lookupd; may be given several times.",
    ),
    click.option(
        "--nsqd",
        "nsqds",
        multiple=True,
        metavar="HOST:PORT",
        callback=_addresses,
        help="HTTP address of an nsqd; may be given several times.",
    ),
    discovery_options,
]
