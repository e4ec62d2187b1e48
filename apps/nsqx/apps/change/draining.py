"""An nsqd that is being emptied, as it is told by HTTP: begin, wait until nothing is left, end."""

import asyncio
from collections.abc import Callable

import msgspec

from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.protocol.errors import NsqxError

__all__ = ["DrainState", "Holder", "NotEmptyError", "begin", "end", "until_empty"]

POLL_S = 0.5
# How long an empty node is asked on until all its nsqlookupds hide it. One may be down, and forgets
# the node by itself.
HIDDEN_S = 5.0


class Holder(msgspec.Struct, frozen=True):
    """A channel that has messages, or a topic (``channel`` "")."""

    topic: str
    channel: str = ""
    waiting: int = 0
    in_flight: int = 0
    deferred: int = 0
    clients: int = 0
    paused: bool = False

    @property
    def obstacle(self) -> str:
        """Why its messages will not go by themselves; "" if they may."""
        if self.paused:
            return "is paused"
        if not self.channel:
            return "has no channel"
        return "" if self.clients else "has no consumer"

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.channel}".rstrip("/")


class Directory(msgspec.Struct, frozen=True):
    """An nsqlookupd of the node, and whether it hides it."""

    address: str
    hidden: bool = False


class DrainState(msgspec.Struct, frozen=True):
    """nsqd ``/node/drain``."""

    draining: bool
    empty: bool
    survives_restart: bool = False
    since: int | None = None
    waiting: int = 0
    in_flight: int = 0
    deferred: int = 0
    held_by: tuple[Holder, ...] = ()
    directories: tuple[Directory, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there, and nothing will come any more."""
        return self.draining and self.empty

    @property
    def is_hidden(self) -> bool:
        """Whether all nsqlookupds have confirmed that they hide it."""
        return all(each.hidden for each in self.directories)

    def text(self) -> str:
        """One line for people."""
        counts = (
            f"{self.waiting:,} waiting, {self.in_flight:,} in flight, {self.deferred:,} deferred"
        )
        hidden = sum(each.hidden for each in self.directories)
        if not self.directories or not self.draining:
            return counts
        return f"{counts}; hidden at {hidden} of {len(self.directories)} nsqlookupds"


class NotEmptyError(NsqxError):
    """It was not empty in time. ``state`` is what it said last; None if it said nothing."""

    def __init__(self, state: DrainState | None) -> None:
        super().__init__("not empty in time")
        self.state = state


async def begin(http: DaemonHttp, node: str) -> DrainState:
    """Have a node take no more messages. DaemonError if it does not."""
    return await _post(http, node, "/node/drain")


async def end(http: DaemonHttp, node: str) -> DrainState:
    """Have a node take messages again. DaemonError if it does not."""
    return await _post(http, node, "/node/undrain")


async def until_empty(
    http: DaemonHttp,
    node: str,
    seconds_max: float | None,
    told: Callable[[DrainState | DaemonError], None],
) -> DrainState:
    """
    Wait until a node that drains has nothing left, and a moment for all to hide it.

    ``told`` gets each state, and each failure to ask: it may be starting again.

    Raises:
        NotEmptyError: it was not in time, or it does not drain any more.
    """
    state: DrainState | None = None
    clock = asyncio.get_running_loop().time
    empty_at: float | None = None
    try:
        async with asyncio.timeout(seconds_max):
            while True:
                try:
                    state = await http.ask(node, "/node/drain", DrainState)
                except DaemonError as error:
                    told(error)
                else:
                    told(state)
                    if state.is_empty:
                        empty_at = empty_at or clock()
                        if state.is_hidden or clock() >= empty_at + HIDDEN_S:
                            return state
                    if not state.draining:
                        raise NotEmptyError(state)
                await asyncio.sleep(POLL_S if empty_at is None else POLL_S / 10)
    except TimeoutError:
        raise NotEmptyError(state) from None


async def _post(http: DaemonHttp, node: str, path: str) -> DrainState:
    body = await http.post(node, path)
    try:
        return msgspec.json.decode(body, type=DrainState)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DaemonError(node, f"it answers {path} in another way than nsqd") from error
