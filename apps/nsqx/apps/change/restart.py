"""
Restarts one node, and looks whether it is as it was before: what ``nsqx roll`` does at each.

Nobody is told how a node is restarted: the operator's command does that. What counts is what is
seen from here. Each gate is waited for, and the first that stays shut ends all::

    before      it answers, is healthy, and all nsqlookupds list it
    empty       if that is wanted: it drains until nothing is left
    command     ends with 0
    back        it answers, and was started since
    healthy     its disk takes writes, and it is ready for work
    registered  all nsqlookupds list it, with the topics it had
    complete    it has the topics and channels that it had, and says how much waits
"""

import asyncio
import shlex
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from nsqx.apps.change.draining import NotEmptyError, begin, end, until_empty
from nsqx.apps.look.peek import explain
from nsqx.cluster.answers import NodeCounts, NodesAnswer, NsqdInfo
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.net.host_port import split_host_port
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.names import is_ephemeral
from nsqx.protocol.node_host import is_node_host

__all__ = ["GateError", "Node", "Plan", "Restart", "command_words"]

POLL_S = 0.25
SECOND_S = 1.1
OUTPUT_CHARS_MAX = 500  # of a command that failed, in the complaint


class GateError(NsqxError):
    """A gate stayed shut. ``gate`` names it."""

    def __init__(self, gate: str, reason: str) -> None:
        super().__init__(f"{gate}: {reason}")
        self.gate = gate


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done at each node."""

    command: str
    lookupds: Sequence[str]
    seconds_max: float  # for each gate
    drain_seconds_max: float | None = None  # None: it is not emptied


@dataclass(slots=True)
class Node:
    """A node and what is known of it."""

    address: str  # HTTP
    tcp_port: int = 0
    start_time: int = 0
    names: set[str] = field(default_factory=set)  # topics, and channels as topic/channel
    depth: int = 0

    @property
    def topics(self) -> set[str]:
        return {name for name in self.names if "/" not in name}


def command_words(command: str, node: Node) -> list[str]:
    """
    Return the operator's command for a node. No shell reads it.

    Raises:
        ValueError: it has an unknown placeholder or an open quote, or the node's host is none.
    """
    host, http_port = split_host_port(node.address)
    if not is_node_host(host):  # who registers must not write options of ssh
        raise ValueError(f"{host!r} is no host")
    known = {
        "host": host,
        "node": node.address,
        "http_port": str(http_port),
        "tcp_port": str(node.tcp_port),
    }
    try:
        return [word.format_map(known) for word in shlex.split(command)]
    except (KeyError, IndexError, AttributeError) as error:
        names = ", ".join(f"{{{name}}}" for name in known)
        raise ValueError(f"there is no {{{error.args[0]}}}; there are {names}") from None


class Restart:
    """Takes one node through the gates."""

    def __init__(
        self, http: DaemonHttp, plan: Plan, node: Node, told: Callable[[str], None]
    ) -> None:
        """``told`` gets the gate that is waited for now."""
        self._http = http
        self._plan = plan
        self.node = node
        self._told = told

    async def check(self) -> None:
        """Look whether the node may be restarted: nothing is changed. GateError if not."""
        node = self.node
        try:
            info = await self._http.ask(node.address, "/info", NsqdInfo)
            await self._see()
        except DaemonError as error:
            raise GateError("before", error.short) from error
        node.tcp_port = info.tcp_port
        await self._pass("before", self._healthy, seconds_max=0)
        await self._pass("before", self._registered, seconds_max=0)

    async def run(self) -> None:
        """Restart it. GateError if it does not come back as it was."""
        await self.check()
        if self._plan.drain_seconds_max is not None:
            await self._empty(self._plan.drain_seconds_max)
        before = Node(self.node.address, self.node.tcp_port, self.node.start_time, self.node.names)
        await _let_its_second_pass(before.start_time)
        self._told("command")
        await self._run_command()
        await self._pass("back", lambda: self._back(before))
        if self._plan.drain_seconds_max is not None:
            await self._pass("back", self._take_messages)
        await self._pass("healthy", self._healthy)
        self.node.names = before.names
        await self._pass("registered", self._registered)
        await self._pass("complete", lambda: self._complete(before))

    async def _pass(
        self, gate: str, ask: Callable[[], Awaitable[str]], seconds_max: float | None = None
    ) -> None:
        """Wait until a gate is open; ``ask`` returns what is in the way, or ""."""
        self._told(gate)
        limit_s = self._plan.seconds_max if seconds_max is None else seconds_max
        until = time.monotonic() + limit_s
        while True:
            try:
                obstacle = await ask()
            except DaemonError as error:
                obstacle = error.short
            if not obstacle:
                return
            if time.monotonic() >= until:
                raise GateError(gate, obstacle)
            await asyncio.sleep(POLL_S)

    # Gates

    async def _healthy(self) -> str:
        for path in ("/ping", "/readyz"):
            reply = await self._http.request("GET", self.node.address, path)
            is_unknown = path == "/readyz" and reply.status == 404  # NSQ's has none
            if reply.status != 200 and not is_unknown:
                said = reply.body[:OUTPUT_CHARS_MAX].decode(errors="replace").strip()
                return said or f"{path} is answered {reply.status}"
        return ""

    async def _registered(self) -> str:
        for lookupd in self._plan.lookupds:
            answer = await self._http.ask(lookupd, "/nodes", NodesAnswer)
            listed = [each for each in answer.nodes if each.http_address == self.node.address]
            if not listed:
                return f"{lookupd} does not list it"
            shown = {
                topic
                for each in listed
                for topic, is_hidden in zip(each.topics or (), each.tombstones or (), strict=False)
                if not is_hidden
            }
            if missing := sorted(self.node.topics - shown):
                return f"{lookupd} does not list its topic {missing[0]} ({len(missing)} in all)"
        return ""

    async def _see(self) -> None:
        """Ask what it has. DaemonError if it does not answer."""
        path = "/stats?format=json&include_clients=false"
        stats = await self._http.ask(self.node.address, path, NodeCounts)
        node = self.node
        node.start_time, node.names, node.depth = stats.start_time, set(), 0
        for topic in stats.topics or ():
            if is_ephemeral(topic.topic_name):
                continue
            node.names.add(topic.topic_name)
            node.depth += topic.depth
            for channel in topic.channels or ():
                node.depth += channel.depth
                if not is_ephemeral(channel.channel_name):
                    node.names.add(f"{topic.topic_name}/{channel.channel_name}")

    async def _empty(self, seconds_max: float) -> None:
        self._told("empty")
        address = self.node.address
        try:
            await begin(self._http, address)
            await until_empty(self._http, address, seconds_max, lambda _: None)
        except DaemonError as error:
            raise GateError("empty", explain(error)) from error
        except NotEmptyError as error:
            left = "it did not answer" if error.state is None else error.state.text()
            await end(self._http, address)
            raise GateError("empty", f"{left}; it takes messages again") from error

    async def _run_command(self) -> None:
        words = command_words(self._plan.command, self.node)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise GateError("command", f"{words[0]}: {error.strerror or error}") from error
        try:
            async with asyncio.timeout(self._plan.seconds_max):
                output, _ = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            limit_s = self._plan.seconds_max
            raise GateError("command", f"it did not end in {limit_s:g} s") from error
        if process.returncode:
            said = output.decode(errors="replace").strip()[-OUTPUT_CHARS_MAX:]
            raise GateError("command", f"it ended with {process.returncode}: {said}")

    async def _back(self, before: Node) -> str:
        await self._see()
        if self.node.start_time == before.start_time:
            return "it answers, and was not started anew"
        return ""

    async def _take_messages(self) -> str:
        state = await end(self._http, self.node.address)
        return "it drains" if state.draining else ""

    async def _complete(self, before: Node) -> str:
        await self._see()
        missing = sorted(before.names - self.node.names)
        return f"it has lost {missing[0]} ({len(missing)} in all)" if missing else ""


async def _let_its_second_pass(start_time: int) -> None:
    """Wait if a node is so young: starts are told in whole seconds, and two in one look alike."""
    age_s = time.time() - start_time
    if 0 <= age_s < SECOND_S:
        await asyncio.sleep(SECOND_S - age_s)
