"""The options of all nodes beside each other, and where nodes differ. No I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from nsqx.admin.shown.feed import Document
from nsqx.cluster.node_settings import NodeSettings, Option
from nsqx.cluster.views import ClusterView

__all__ = ["OptionRow", "SettingsOfNode", "settings_document"]

# Nodes have to differ in these, or may.
INDIVIDUAL = frozenset(
    {
        "advertise",
        "broadcast_address",
        "broadcast_http_port",
        "broadcast_tcp_port",
        "data_path",
        "http_address",
        "https_address",
        "id",
        "log_prefix",
        "statsd_prefix",
        "tcp_address",
        "tls_cert",
        "tls_key",
        "topology_region",
        "topology_zone",
    }
)


class SettingsOfNode(msgspec.Struct):
    """Whose options are shown. ``complete``: these are all of its options."""

    state: str
    observed_at: float | None
    complete: bool


class OptionRow(msgspec.Struct):
    """One option, by node. ``individual``: nodes may differ in it."""

    kind: str
    individual: bool
    differs: bool
    has_effect: bool
    values: dict[str, Any]
    sources: dict[str, str]


def settings_document(view: ClusterView) -> Document:
    """Return the document."""
    known = {node.address: node.settings for node in view.nodes if node.settings is not None}
    names = dict.fromkeys(name for each in known.values() for name in each.options)
    return {
        "nodes": {
            node.address: SettingsOfNode(
                node.state.value,
                node.settings.observed_at if node.settings else None,
                node.settings.is_complete if node.settings else False,
            )
            for node in view.nodes
        },
        "options": {name: _row(name, dict(_options(name, known))) for name in sorted(names)},
    }


def _options(name: str, known: Mapping[str, NodeSettings]) -> Iterator[tuple[str, Option]]:
    for address, settings in known.items():
        if (option := settings.options.get(name)) is not None:
            yield address, option


def _row(name: str, options: Mapping[str, Option]) -> OptionRow:
    values = {address: option.value for address, option in options.items()}
    distinct = {msgspec.json.encode(value) for value in values.values()}
    is_individual = name in INDIVIDUAL
    return OptionRow(
        kind=next(option.kind for option in options.values()),
        individual=is_individual,
        differs=len(distinct) > 1 and not is_individual,
        has_effect=any(option.has_effect for option in options.values()),
        values=values,
        sources={address: option.source for address, option in options.items()},
    )
