"""
What a change of the cluster does, to whom, and what that means. No I/O: others carry it out.

A plan is stages of steps; the steps of a stage go out together, stages one after another (lookupds
before nodes, so that nobody looks a topic up while it goes). A step is a POST to one daemon.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlencode

import msgspec

from nsqx.cluster.merge import ClusterSnapshot
from nsqx.cluster.rows import ChannelRow, TopicRow
from nsqx.cluster.views import ClusterView, NodeView
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.settings import DEFAULT, Scope, Setting, of_scope

__all__ = [
    "ACTIONS",
    "ActionRequest",
    "BadActionError",
    "Impact",
    "Plan",
    "Power",
    "Step",
    "make_plan",
]

LOOKUPD, NSQD = "nsqlookupd", "nsqd"

# Why what only our nsqd can is not even tried, by whether it is one.
_REFUSALS = {
    True: "",
    False: "NOT_SUPPORTED by this nsqd",
    None: "it has never answered: whether it can is not known",
}


class Power(Enum):
    """What somebody must be allowed to do."""

    OPERATE = "operate"  # what can be undone, or is daily work
    ADMINISTER = "administer"  # also what takes messages or names away


class ActionRequest(msgspec.Struct, rename={"from_": "from"}):
    """The body of ``POST /api/v2/actions``."""

    action: str = ""
    topic: str = ""
    channel: str = ""
    node: str = ""
    nodes: list[str] = []
    from_: str = ""
    to: str = ""
    new_channel: str = ""
    setting: str = ""
    value: str = ""
    dry_run: bool = False
    confirm: str = ""
    idempotency_key: str = ""

    @property
    def detail(self) -> str:
        """What it says besides names, in one word."""
        return f"{self.setting}={self.value}" if self.setting else self.to or self.from_


class BadActionError(NsqxError):
    """The request makes no sense; ``code`` is for the answer."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether it speaks of what is not there."""
        return self.code in ("UNKNOWN_NODE", "NOTHING_TO_DO")


@dataclass(frozen=True, slots=True)
class Step:
    """One POST."""

    kind: str
    address: str
    path: str
    refusal: str = ""  # why it is not even tried


class Impact(msgspec.Struct):
    """What an action would mean, by what was seen last."""

    text: str
    messages: int | None = 0  # None: nobody who has them has answered
    in_flight: int | None = 0
    clients: int | None = 0
    channels: int | None = 0
    nodes: list[str] = []
    stale: list[str] = []
    lookupds: list[str] = []


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one action before it happens."""

    power: Power
    confirm: str  # what must be typed; empty: nothing
    impact: Impact
    stages: list[list[Step]]

    @property
    def command(self) -> str:
        """The same by hand."""
        steps = [step for stage in self.stages for step in stage]
        return "\n".join(f"curl -X POST 'http://{step.address}{step.path}'" for step in steps)


@dataclass(frozen=True, slots=True)
class _Case:
    """One request with what is known about its subject."""

    request: ActionRequest
    topic: TopicRow | None
    channel: ChannelRow | None
    nodes: list[NodeView]  # that the action goes to
    lookupds: list[str]

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]

    def names(self, *, channel: str = "", **more: str) -> str:
        pairs = {"topic": self.request.topic}
        pairs |= {"channel": channel} if channel else {}
        return urlencode({**pairs, **{key: value for key, value in more.items() if value}})

    def to_lookupds(self, path: str) -> list[Step]:
        return [Step(LOOKUPD, address, path) for address in self.lookupds]

    def to_nodes(self, path: str) -> list[Step]:
        return [Step(NSQD, address, path) for address in self.addresses]

    def to_ours(self, path: str) -> list[Step]:
        """Only our nsqd can move in its log. NSQ's would do something else, and not say so."""
        return [Step(NSQD, node.address, path, _REFUSALS[node.is_nsqx]) for node in self.nodes]


@dataclass(frozen=True, slots=True)
class _Action:
    """How one action works."""

    power: Power
    stages: Callable[[_Case], list[list[Step]]]
    text: Callable[[_Case], str]
    needs: tuple[str, ...] = ("topic",)
    confirm: str = ""  # the field whose value must be typed
    everywhere: bool = False  # at all nodes, not only at those that have the topic
    messages: Callable[[_Case], int | None] = field(default=lambda _case: 0)  # that are lost


def make_plan(request: ActionRequest, view: ClusterView, snapshot: ClusterSnapshot) -> Plan:
    """
    Return what a request would do.

    Raises:
        BadActionError: it cannot be done.
    """
    action = ACTIONS.get(request.action)
    if action is None:
        raise BadActionError("INVALID_ACTION", f"no action is called {request.action[:100]!r}")
    _check(request, action)
    case = _Case(
        request,
        snapshot.topics.get(request.topic),
        snapshot.channels.get(f"{request.topic}/{request.channel}"),
        _nodes_of(request, action, view),
        [lookupd.address for lookupd in view.lookupds],
    )
    stages = [stage for stage in action.stages(case) if stage]
    if not stages:
        raise BadActionError("NOTHING_TO_DO", f"no node has the topic {request.topic}")
    return Plan(
        power=action.power,
        confirm=str(getattr(request, action.confirm)) if action.confirm else "",
        impact=_impact(case, action, stages),
        stages=stages,
    )


def _check(request: ActionRequest, action: _Action) -> None:
    for name in action.needs:
        value = str(getattr(request, name))
        plain = name.rstrip("_")
        if not value:
            raise BadActionError(f"MISSING_ARG_{plain.upper()}", f"{plain} is missing")
        if name in ("topic", "channel", "new_channel") and not is_valid_name(value):
            raise BadActionError(
                f"INVALID_ARG_{plain.upper()}", f"{value[:100]!r} is no valid name"
            )
    place = request.to or request.from_
    if place.startswith("seq:") and len(request.nodes) != 1:
        raise BadActionError("INVALID_ARG_NODES", "numbers of messages are those of a single node")


def _nodes_of(request: ActionRequest, action: _Action, view: ClusterView) -> list[NodeView]:
    wanted = set(request.nodes) | ({request.node} if request.node else set())
    unknown = wanted - {node.address for node in view.nodes}
    if unknown:
        raise BadActionError("UNKNOWN_NODE", f"there is no node {', '.join(sorted(unknown))}")
    if wanted:
        return [node for node in view.nodes if node.address in wanted]
    return list(view.nodes) if action.everywhere else view.nodes_with(request.topic)


def _impact(case: _Case, action: _Action, stages: Sequence[Iterable[Step]]) -> Impact:
    asked = {step.address for stage in stages for step in stage}
    row: TopicRow | ChannelRow | None = case.channel if case.request.channel else case.topic
    nodes = [node for node in case.nodes if node.address in asked]
    return Impact(
        text=action.text(case),
        messages=action.messages(case),
        in_flight=row.in_flight if row else 0,
        clients=row.clients if row else 0,
        channels=case.topic.channels if case.topic and not case.request.channel else 1,
        nodes=[node.address for node in nodes],
        stale=[node.address for node in nodes if not node.is_current],
        lookupds=[address for address in case.lookupds if address in asked],
    )


# --- the actions ---


def _create_topic(case: _Case) -> list[list[Step]]:
    """A node gets it when somebody publishes; without lookupds, or if it is named, at once."""
    path = f"/topic/create?{case.names()}"
    if case.lookupds and not case.request.nodes:
        return [case.to_lookupds(path)]
    return [case.to_lookupds(path), case.to_nodes(path)]


def _create_channel(case: _Case) -> list[list[Step]]:
    names = case.names(channel=case.request.channel)
    at_node = case.names(channel=case.request.channel, **{"from": case.request.from_})
    return [
        case.to_lookupds(f"/topic/create?{case.names()}"),
        case.to_lookupds(f"/channel/create?{names}"),
        (case.to_ours if case.request.from_ else case.to_nodes)(f"/channel/create?{at_node}"),
    ]


def _at_nodes(kind: str, verb: str) -> Callable[[_Case], list[list[Step]]]:
    def stages(case: _Case) -> list[list[Step]]:
        channel = case.request.channel if kind == "channel" else ""
        return [case.to_nodes(f"/{kind}/{verb}?{case.names(channel=channel)}")]

    return stages


def _delete(kind: str) -> Callable[[_Case], list[list[Step]]]:
    def stages(case: _Case) -> list[list[Step]]:
        channel = case.request.channel if kind == "channel" else ""
        path = f"/{kind}/delete?{case.names(channel=channel)}"
        # A retry at some nodes must not take the topic's other nodes out of the directory.
        lookupds = [] if case.request.nodes else case.to_lookupds(path)
        return [lookupds, case.to_nodes(path)]

    return stages


def _tombstone(case: _Case) -> list[list[Step]]:
    path = f"/topic/tombstone?{case.names(node=case.request.node)}"
    return [case.to_lookupds(path), case.to_nodes(f"/topic/delete?{case.names()}")]


def _register(case: _Case) -> list[list[Step]]:
    """
    Have a node register a topic again.

    nsqd registers a topic along with each new channel of it, so a channel comes and goes. It must
    not be the topic's only one: it would take what waits at the topic along.
    """
    if not all(node.has_channels(case.request.topic) for node in case.nodes):
        raise BadActionError("NO_CHANNELS", f"{case.request.topic} needs a channel there first")
    names = case.names(channel="admin-register#ephemeral")
    create, delete = f"/channel/create?{names}", f"/channel/delete?{names}"
    return [case.to_nodes(create), case.to_nodes(delete)]


def _seek(case: _Case) -> list[list[Step]]:
    names = case.names(channel=case.request.channel, to=case.request.to)
    return [case.to_ours(f"/channel/seek?{names}")]


def _replay(case: _Case) -> list[list[Step]]:
    names = case.names(channel=case.request.new_channel, **{"from": case.request.from_})
    return [case.to_ours(f"/channel/create?{names}")]


def _configure(scope: Scope) -> Callable[[_Case], list[list[Step]]]:
    def stages(case: _Case) -> list[list[Step]]:
        setting = _setting(scope, case)
        names = case.names(channel=case.request.channel, **{setting.name: case.request.value})
        return [case.to_ours(f"/{scope.value}/settings?{names}")]

    return stages


def _setting(scope: Scope, case: _Case) -> Setting:
    """Return the setting that is wanted; BadActionError if there is none, or it can't be so."""
    request = case.request
    setting = next((each for each in of_scope(scope) if each.name == request.setting), None)
    if setting is None:
        known = ", ".join(each.name for each in of_scope(scope))
        raise BadActionError("INVALID_ARG_SETTING", f"{request.setting[:100]!r} is none of {known}")
    try:
        setting.parse(request.value)
    except ValueError as exc:
        raise BadActionError("INVALID_ARG_VALUE", f"{setting.name}: {exc}") from exc
    return setting


# --- what they mean, in words ---


def _waiting(case: _Case) -> int:
    return case.channel.waiting if case.channel else 0


def _all_waiting(case: _Case) -> int | None:
    row = case.topic
    if row is None:
        return 0
    numbers = (row.total_depth, row.in_flight, row.deferred)
    return None if None in numbers else sum(number or 0 for number in numbers)


def _loss(verb: str, count: Callable[[_Case], int | None]) -> Callable[[_Case], str]:
    def text(case: _Case) -> str:
        row: ChannelRow | TopicRow | None = case.channel if case.request.channel else case.topic
        clients = row.clients if row else 0
        connected = f"{_number(clients, 'consumer')} {'is' if clients == 1 else 'are'} connected"
        return f"{verb} {_number(count(case), 'message')} on {_nodes(case)}; {connected}"

    return text


def _delete_topic_text(case: _Case) -> str:
    channels = _number(case.topic.channels if case.topic else 0, "channel")
    return _loss(f"Deletes the topic with {channels} and", _all_waiting)(case)


def _pause_text(what: str) -> Callable[[_Case], str]:
    def text(case: _Case) -> str:
        row: ChannelRow | TopicRow | None = case.channel if case.request.channel else case.topic
        clients = _number(row.clients if row else 0, "consumer")
        return f"{what} on {_nodes(case)}; {clients} connected"

    return text


def _plain_text(what: str) -> Callable[[_Case], str]:
    return lambda case: f"{what} on {_nodes(case)}"


def _create_topic_text(case: _Case) -> str:
    if case.lookupds and not case.request.nodes:
        count = _number(len(case.lookupds), "nsqlookupd")
        return f"Makes the topic known at {count}; a node gets it with the first message"
    return f"Creates the topic on {_nodes(case)}"


def _tombstone_text(case: _Case) -> str:
    return (
        f"Hides {case.request.topic} at {case.request.node} from lookups and deletes it there, "
        "with what waits"
    )


def _seek_text(case: _Case) -> str:
    in_flight = _number(case.channel.in_flight if case.channel else 0, "message")
    return (
        f"Moves the channel to {case.request.to} on {_nodes(case)}: what lies before counts as "
        f"finished, what follows is delivered, again or for the first time; {in_flight} in flight "
        "are taken from their consumers"
    )


def _replay_text(case: _Case) -> str:
    return (
        f"Creates the channel {case.request.new_channel} on {_nodes(case)}, beginning at "
        f"{case.request.from_}"
    )


def _configure_text(scope: Scope) -> Callable[[_Case], str]:
    def text(case: _Case) -> str:
        setting, value = _setting(scope, case), case.request.value
        what = f"Gives back {setting.name} to" if value == DEFAULT else f"Sets {setting.name} on"
        end = "" if value == DEFAULT else f" to {value}"
        return f"{what} {_nodes(case)}{end}: {setting.help}"

    return text


def _nodes(case: _Case) -> str:
    return _number(len(case.nodes), "node")


def _number(count: int | None, noun: str) -> str:
    if count is None:
        return f"an unknown number of {noun}s"
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


OPERATOR, ADMIN = Power.OPERATE, Power.ADMINISTER
_CHANNEL = ("topic", "channel")

ACTIONS: dict[str, _Action] = {
    "create_topic": _Action(OPERATOR, _create_topic, _create_topic_text, everywhere=True),
    "create_channel": _Action(
        OPERATOR, _create_channel, _plain_text("Creates the channel"), _CHANNEL
    ),
    "pause_topic": _Action(
        OPERATOR, _at_nodes("topic", "pause"), _pause_text("No message reaches a channel any more")
    ),
    "unpause_topic": _Action(
        OPERATOR, _at_nodes("topic", "unpause"), _pause_text("Messages reach the channels again")
    ),
    "pause_channel": _Action(
        OPERATOR,
        _at_nodes("channel", "pause"),
        _pause_text("Consumers get no message any more"),
        _CHANNEL,
    ),
    "unpause_channel": _Action(
        OPERATOR,
        _at_nodes("channel", "unpause"),
        _pause_text("Consumers get messages again"),
        _CHANNEL,
    ),
    "empty_channel": _Action(
        OPERATOR,
        _at_nodes("channel", "empty"),
        _loss("Drops", _waiting),
        _CHANNEL,
        confirm="channel",
        messages=_waiting,
    ),
    "empty_topic": _Action(
        ADMIN,
        _at_nodes("topic", "empty"),
        _loss("Drops, before they reach a channel,", lambda c: c.topic.depth if c.topic else 0),
        confirm="topic",
        messages=lambda case: case.topic.depth if case.topic else 0,
    ),
    "delete_channel": _Action(
        ADMIN,
        _delete("channel"),
        _loss("Deletes the channel and drops", _waiting),
        _CHANNEL,
        confirm="channel",
        messages=_waiting,
    ),
    "delete_topic": _Action(
        ADMIN,
        _delete("topic"),
        _delete_topic_text,
        confirm="topic",
        messages=_all_waiting,
    ),
    "tombstone": _Action(ADMIN, _tombstone, _tombstone_text, ("topic", "node"), confirm="topic"),
    "register_topic": _Action(
        OPERATOR, _register, _plain_text("Has the topic registered again"), ("topic", "node")
    ),
    "seek": _Action(OPERATOR, _seek, _seek_text, ("topic", "channel", "to"), confirm="channel"),
    "configure_topic": _Action(
        ADMIN,
        _configure(Scope.TOPIC),
        _configure_text(Scope.TOPIC),
        ("topic", "setting", "value"),
    ),
    "configure_channel": _Action(
        OPERATOR,
        _configure(Scope.CHANNEL),
        _configure_text(Scope.CHANNEL),
        (*_CHANNEL, "setting", "value"),
    ),
    "replay": _Action(OPERATOR, _replay, _replay_text, ("topic", "new_channel", "from_")),
}
