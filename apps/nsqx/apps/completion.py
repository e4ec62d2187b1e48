"""
The names that a shell offers: of topics, channels and nodes. For the shells' completions only.

    nsqx complete nsqx tail --lookupd 10.0.0.1:4161 or      topics that begin with "or", one a line

The words are a command line up to the cursor; the last one is begun, and may be "". Whoever the
line names is asked, else whoever the command would ask. What can't be had in a moment is left out:
a shell that waits, or that shows an error in the middle of a line, is worse than one that offers
nothing. Names come from whoever registered them, so only those that NSQ allows are shown: they are
nothing that a shell would obey.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any
from urllib.parse import urlencode

import click

from nsqx.apps.cli import COMMANDS, TOOLS, load
from nsqx.apps.look.probes import ask_http_address
from nsqx.apps.security_options import PLAIN, Security, security_of
from nsqx.apps.sources import LOOKUPD
from nsqx.cluster.answers import NsqdStats
from nsqx.cluster.http import DaemonHttp
from nsqx.cluster.lookups import channels_of, list_nodes, list_topics
from nsqx.net.host_port import split_host_port
from nsqx.protocol.defaults import NSQD_TCP_PORT
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.names import is_valid_name

__all__ = ["Kind", "complete", "kind_of_option", "kind_of_parameter", "names_for"]

SECONDS_MAX = 1.0  # of each that is asked: what the others say by then is shown


class Kind(Enum):
    """What a word names."""

    TOPIC = "topic"
    CHANNEL = "channel"
    NODE = "node"


@dataclass(slots=True)
class Question:
    """
    What to offer, and who knows it.

    Attributes:
        begun: what the names begin with.
        topics: whose channels are wanted.
        nsqds: HTTP addresses; ``tcp_nsqds``: those of nsqds that the line names by TCP.
    """

    kind: Kind
    begun: str
    topics: Sequence[str] = ()
    lookupds: Sequence[str] = ()
    nsqds: Sequence[str] = ()
    tcp_nsqds: Sequence[str] = ()
    security: Security = field(default=PLAIN)


def complete(words: Sequence[str]) -> int:
    """Print the names; return the exit code."""
    for name in sorted(asyncio.run(names_for(words))):
        click.echo(name)
    return 0


async def names_for(words: Sequence[str]) -> set[str]:
    """Return what may stand for the last word, with what is begun of it."""
    try:
        question = _question(words)
    except click.ClickException:  # of files that the line names, for one
        return set()
    return set() if question is None else await _names(question)


def _question(words: Sequence[str]) -> Question | None:
    if len(words) < 2:
        return None
    program, *rest = words
    name = PurePath(program).name
    if name != "nsqx":
        return _of_tool(rest)
    if len(rest) < 2:
        return None
    command, *rest = rest
    if command in COMMANDS:
        return _of_command(load(COMMANDS[command].target), rest)
    return _of_tool(rest) if command in TOOLS else None


# --- nsqx's own commands ---


def kind_of_parameter(parameter: click.Parameter | None) -> Kind | None:
    """Return what a parameter of a command names, an argument or the value of an option."""
    if parameter is None or parameter.type is not click.STRING:
        return None
    return _PARAMETERS.get(parameter.name or "")


_PARAMETERS = {
    "topic": Kind.TOPIC,
    "topics": Kind.TOPIC,
    "channel": Kind.CHANNEL,
    "node": Kind.NODE,
    "nodes": Kind.NODE,
}
# Their --nsqd is the address that clients connect to.
_CLIENTS = ("pub", "tail")


def _of_command(command: click.Command, words: Sequence[str]) -> Question | None:
    *before, current = words
    option, equals, value = current.partition("=")
    if current.startswith("-"):
        kind = kind_of_parameter(_option(command, option)) if equals else None
        given, begun = _given(command, before), value
    elif before and (known := _option(command, before[-1])) is not None:
        kind = kind_of_parameter(known)
        given, begun = _given(command, before[:-1]), current
    else:
        given, begun = _given(command, before), current
        kind = _next_argument(command, given)
    if kind is None:
        return None
    topic = given.get("topic")
    named = {name: given.get(name) or () for name in ("lookupds", "nsqds")}
    by_tcp = command.name in _CLIENTS
    if command.name == "pub" and not any(named.values()):
        named["nsqds"] = (f"127.0.0.1:{NSQD_TCP_PORT}",)
    return Question(
        kind,
        begun,
        topics=given.get("topics") or ([topic] if topic else []),
        lookupds=named["lookupds"],
        nsqds=() if by_tcp else named["nsqds"],
        tcp_nsqds=named["nsqds"] if by_tcp else (),
        security=security_of(given),
    )


def _option(command: click.Command, word: str) -> click.Option | None:
    """Return the option that a word is, if it takes a value."""
    for each in command.params:
        if isinstance(each, click.Option) and word in each.opts:
            return None if each.is_flag or each.count else each
    return None


def _given(command: click.Command, words: Sequence[str]) -> dict[str, Any]:
    """Return the parameters by name, as far as the words say them; the rest is None."""
    with command.make_context(command.name, list(words), resilient_parsing=True) as context:
        return context.params


def _next_argument(command: click.Command, given: dict[str, Any]) -> Kind | None:
    for each in command.params:
        if isinstance(each, click.Argument) and (each.nargs == -1 or given.get(each.name) is None):
            return kind_of_parameter(each)
    return None


# --- NSQ's tools ---


def kind_of_option(name: str) -> Kind | None:
    """Return what the value of an option of NSQ's tools names; without its dashes."""
    return _OPTIONS.get(name)


_DESTINATION = "destination-topic"
_OPTIONS = {"topic": Kind.TOPIC, "channel": Kind.CHANNEL, _DESTINATION: Kind.TOPIC}


def _of_tool(words: Sequence[str]) -> Question | None:
    *before, current = words
    option, equals, value = current.partition("=")
    if not current.startswith("-"):
        option, value = before[-1] if before else "", current
    elif not equals:
        return None
    name = option.lstrip("-")
    kind = kind_of_option(name)
    if kind is None or not option.startswith("-"):
        return None
    given = _flags(before)
    prefix = "destination-" if name == _DESTINATION else ""
    return Question(
        kind,
        value,
        topics=given.get("topic", []),
        lookupds=[] if prefix else given.get("lookupd-http-address", []),
        nsqds=given.get("nsqd-http-address", []),
        tcp_nsqds=given.get(f"{prefix}nsqd-tcp-address", []),
    )


def _flags(words: Sequence[str]) -> dict[str, list[str]]:
    """Return what Go-style flags say, ``-name=value`` or ``--name value``; switches say nothing."""
    found: dict[str, list[str]] = {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            found.setdefault(name, []).append(value if equals else following)
    return found


# --- asking ---


async def _names(question: Question) -> set[str]:
    lookupds = question.lookupds
    if not (lookupds or question.nsqds or question.tcp_nsqds):
        lookupds = (LOOKUPD,)
    is_lookupd = frozenset(lookupds).__contains__
    async with question.security.http(is_lookupd, seconds_max=SECONDS_MAX) as http:
        told = await asyncio.gather(
            _in_time(_of_lookupds(http, lookupds, question)),
            *(_in_time(_of_nsqd(http, each, question)) for each in question.nsqds),
            *(_in_time(_of_tcp_nsqd(http, each, question)) for each in question.tcp_nsqds),
        )
    is_wanted = is_valid_name if question.kind is not Kind.NODE else bool
    found = set().union(*told)
    return {name for name in found if name.startswith(question.begun) and is_wanted(name)}


async def _in_time(names: Awaitable[set[str]]) -> set[str]:
    """Return what somebody says; nothing if that takes too long, or they can't be asked."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            return await names
    except (NsqxError, OSError, ValueError, click.ClickException):  # a TimeoutError is an OSError
        return set()


async def _of_lookupds(http: DaemonHttp, lookupds: Sequence[str], question: Question) -> set[str]:
    match question.kind:
        case Kind.TOPIC:
            return await list_topics(http, lookupds)
        case Kind.NODE:
            return {each.http_address for each in await list_nodes(http, lookupds)}
        case Kind.CHANNEL:
            asked = [channels_of(http, lookupds, topic) for topic in question.topics]
            answers = [
                each for one in await asyncio.gather(*asked) for each in one.by_address.values()
            ]
            return {name for each in answers for name in each.channels or ()}


async def _of_tcp_nsqd(http: DaemonHttp, address: str, question: Question) -> set[str]:
    """Ask an nsqd that is named by its TCP address."""
    http_address = await ask_http_address(*split_host_port(address), SECONDS_MAX)
    return await _of_nsqd(http, http_address, question)


async def _of_nsqd(http: DaemonHttp, address: str, question: Question) -> set[str]:
    query = urlencode({"format": "json", "include_clients": "false"})
    topics = (await http.ask(address, f"/stats?{query}", NsqdStats)).topics or ()
    if question.kind is Kind.TOPIC:
        return {topic.topic_name for topic in topics}
    wanted = [topic for topic in topics if topic.topic_name in question.topics]
    return {each.channel_name for topic in wanted for each in topic.channels or ()}
