"""``/api/v2/topics/T/settings``, and of a channel: what is set there, at each node that has it."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from nsqx.admin.guard.access import Visitor
from nsqx.admin.guard.gate import V2Error
from nsqx.admin.shown.hub import Hub
from nsqx.admin.v2.answers import json_bytes
from nsqx.cluster.http import DaemonHttp
from nsqx.cluster.views import NodeView
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.http.server import Answer, Request
from nsqx.runtime.settings import Scope, Setting, of_scope

__all__ = ["SettingsAnswer", "SettingsEndpoints"]

NOT_OURS = "NOT_SUPPORTED by this nsqd"
UNHEARD = "it has never answered"


class SettingAtNode(msgspec.Struct):
    """What holds at one node, and what was set there; None: the node's own holds."""

    effective: str
    own: str | None


class ShownSetting(msgspec.Struct):
    """One entry of the table of settings. ``differs``: not all nodes have the same value."""

    name: str
    kind: str
    help: str
    choices: list[str]
    differs: bool
    nodes: dict[str, SettingAtNode]


class SettingsAnswer(msgspec.Struct):
    """All settings of a topic or channel; ``errors``: why a node does not tell."""

    topic: str
    channel: str
    settings: list[ShownSetting]
    errors: dict[str, str]


class _NodeAnswer(msgspec.Struct):
    """nsqd's ``/topic/settings`` and ``/channel/settings``."""

    settings: dict[str, Any]
    effective: dict[str, Any]


class SettingsEndpoints:
    """The handlers. They are changed by actions."""

    def __init__(self, hub: Hub, http: DaemonHttp) -> None:
        self._hub = hub
        self._http = http

    async def topic(self, request: Request, _visitor: Visitor) -> Answer:
        return await self._answer(Scope.TOPIC, *_names(request))

    async def channel(self, request: Request, _visitor: Visitor) -> Answer:
        return await self._answer(Scope.CHANNEL, *_names(request))

    async def _answer(self, scope: Scope, topic: str, channel: str) -> Answer:
        having = list(self._having(topic, channel))
        if not having:
            raise V2Error(404, "NOT_FOUND", f"no node has {f'{topic}/{channel}'.rstrip('/')}")
        names = {"topic": topic, "channel": channel} if channel else {"topic": topic}
        path = f"/{scope.value}/settings?{urlencode(names)}"
        ours = [node.address for node in having if node.is_nsqx]
        found = await self._http.ask_all(ours, path, _NodeAnswer)
        errors = {
            node.address: UNHEARD if node.is_nsqx is None else NOT_OURS
            for node in having
            if not node.is_nsqx
        }
        errors |= {address: error.reason for address, error in found.errors.items()}
        shown = [_shown(each, found.by_address) for each in of_scope(scope)]
        return json_bytes(msgspec.json.encode(SettingsAnswer(topic, channel, shown, errors)))

    def _having(self, topic: str, channel: str) -> Iterator[NodeView]:
        for node in self._hub.view.nodes_with(topic):
            if not channel or node.channel(topic, channel) is not None:
                yield node


def _names(request: Request) -> tuple[str, str]:
    topic, channel = request.parameters["topic"], request.parameters.get("channel", "")
    for name in filter(None, (topic, channel)):
        if not is_valid_name(name):
            raise V2Error(400, "INVALID_NAME", f"{name[:100]!r} is no valid name")
    return topic, channel


def _shown(setting: Setting, answers: Mapping[str, _NodeAnswer]) -> ShownSetting:
    # A node of another version may not know it.
    told = {address: each for address, each in answers.items() if setting.name in each.effective}
    nodes = {
        address: SettingAtNode(
            setting.show(answer.effective[setting.name]),
            _show_own(setting, answer.settings.get(setting.name)),
        )
        for address, answer in told.items()
    }
    return ShownSetting(
        setting.name,
        setting.kind.name,
        setting.help,
        list(setting.choices),
        differs=len({each.effective for each in nodes.values()}) > 1,
        nodes=nodes,
    )


def _show_own(setting: Setting, value: Any) -> str | None:
    return None if value is None else setting.show(value)
