"""
What lookupds list, and where they differ from each other and from the nodes. No I/O.

A topic at a node is *registered*, *missing* or *tombstoned* at each lookupd; what a lookupd that
does not answer lists is *stale*. A lookupd only has to list a node that is connected to it, so one
with which a node has nothing to do (it lists the node nowhere) still counts as missing: clients
that ask only this one would not find the topic there.
"""

from collections.abc import Collection
from functools import cached_property
from typing import TypeAlias

import msgspec

from nsqx.cluster.health import DaemonState
from nsqx.cluster.views import ClusterView, LookupdView, NodeView

__all__ = ["Inactive", "Registration", "Registry", "inputs_of", "registry_of"]

Inputs: TypeAlias = tuple[object, ...]

REGISTERED, MISSING, TOMBSTONED, STALE = "registered", "missing", "tombstoned", "stale"


class Registration(msgspec.Struct):
    """One topic at one node, as each lookupd has it."""

    topic: str
    node: str
    has_topic: bool | None
    at: dict[str, str]
    differs: bool = False
    why: str = ""
    repair: list[str] = []


class Inactive(msgspec.Struct):
    """A topic that no node has."""

    channels: list[str]
    at: list[str]


class Registry(msgspec.Struct, dict=True):  # for what is looked for once
    """The registry document."""

    lookupds: list[str]
    registrations: dict[str, Registration]
    inactive: dict[str, Inactive]

    @cached_property
    def differing(self) -> list[Registration]:
        return [each for each in self.registrations.values() if each.differs]


def inputs_of(view: ClusterView) -> Inputs:
    """
    Return what a registry is made from: another one need not be made while it is equal.

    Costs next to nothing while the collector keeps the same objects, which it does as long as
    daemons answer the same.
    """
    lookupds = [
        (each.address, each.state, each.producers, each.topics, each.channels)
        for each in view.lookupds
    ]
    layouts = [node.counters.layout for node in view.nodes]
    return lookupds, [(node.address, _topics_of(node)) for node in view.nodes], layouts


def registry_of(view: ClusterView) -> Registry:
    """Return the document. Costs topics times nodes times lookupds."""
    listed = {lookupd.address: _listed(lookupd) for lookupd in view.lookupds}
    present = {node.address: _topics_of(node) for node in view.nodes}
    pairs = {pair for each in listed.values() for pair in each}
    pairs |= {(topic, node) for node, topics in present.items() for topic in topics or ()}
    registrations = {}
    for topic, node in sorted(pairs):
        topics = present.get(node)
        registration = Registration(
            topic,
            node,
            None if topics is None else topic in topics,
            {
                lookupd.address: _state_at(lookupd, listed[lookupd.address], topic, node)
                for lookupd in view.lookupds
            },
        )
        _judge(registration)
        registrations[f"{topic}@{node}"] = registration
    active = {topic for topic, _ in pairs}
    # What a silent node had may still be there, also if no lookupd lists the node any more.
    active.update(*(node.counters.layout.topics for node in view.nodes))
    return Registry(
        [lookupd.address for lookupd in view.lookupds], registrations, _inactive(view, active)
    )


def _listed(lookupd: LookupdView) -> dict[tuple[str, str], bool]:
    """Return each topic and node that a lookupd lists, and whether it is tombstoned."""
    listed = {}
    for producer in lookupd.producers:
        node = producer.http_address
        marks = producer.tombstones or ()
        for index, topic in enumerate(producer.topics or ()):
            listed[topic, node] = index < len(marks) and marks[index]
    return listed


def _topics_of(node: NodeView) -> Collection[str] | None:
    """Return what a node has; None if it is not known for sure now."""
    if not node.is_current or node.stats is None:
        return None
    return node.counters.layout.topic_index


def _state_at(
    lookupd: LookupdView, listed: dict[tuple[str, str], bool], topic: str, node: str
) -> str:
    if lookupd.state is not DaemonState.OK:
        return STALE
    mark = listed.get((topic, node))
    if mark is None:
        return MISSING
    return TOMBSTONED if mark else REGISTERED


def _judge(registration: Registration) -> None:
    """Say whether and why the lookupds differ, and what would help."""
    topic, node = registration.topic, registration.node
    by_state: dict[str, list[str]] = {}
    for lookupd, state in registration.at.items():
        by_state.setdefault(state, []).append(lookupd)
    missing, marked = by_state.get(MISSING, []), by_state.get(TOMBSTONED, [])
    listing = [*by_state.get(REGISTERED, []), *marked]
    if registration.has_topic is False and listing:
        registration.why = f"{_join(listing)} still lists {topic} at {node}, which does not have it"
        registration.repair = ["tombstone"]
    elif registration.has_topic and missing:
        registration.why = f"{_join(missing)} does not list {topic} at {node}"
        registration.repair = ["register_topic"]
    elif registration.has_topic is None and missing and listing:
        registration.why = f"{_join(missing)} does not list {topic} at {node}, others do"
    if marked and registration.at.keys() - set(marked) - set(by_state.get(STALE, [])):
        # It ends by itself, after --tombstone-lifetime of the lookupd.
        hidden = f"{topic} at {node} is hidden by a tombstone at {_join(marked)} only"
        registration.why = f"{registration.why}; {hidden}" if registration.why else hidden
    registration.differs = bool(registration.why)


def _inactive(view: ClusterView, active: set[str]) -> dict[str, Inactive]:
    inactive: dict[str, Inactive] = {}
    for lookupd in view.lookupds:
        for topic in sorted(lookupd.topics - active):
            entry = inactive.setdefault(topic, Inactive([], []))
            entry.at.append(lookupd.address)
            known = {*entry.channels, *lookupd.channels.get(topic, ())}
            entry.channels = sorted(known)
    return inactive


def _join(addresses: list[str]) -> str:
    return " and ".join(addresses)
