"""Where lookupds differ from each other and from the nodes."""

from nsqx.cluster.health import DaemonState
from nsqx.cluster.registry import registry_of
from tests.support.cluster_views import (
    cluster_view,
    lookupd_view,
    node_view,
    producer,
    topic,
)


def test_lookupds_that_agree() -> None:
    lookupds = [lookupd_view(f"l{n}:1", producer("n1:1", {"t": False})) for n in (1, 2)]
    registry = registry_of(cluster_view(node_view("n1:1", topic("t")), lookupds=lookupds))
    entry = registry.registrations["t@n1:1"]
    assert entry.at == {"l1:1": "registered", "l2:1": "registered"}
    assert (entry.has_topic, entry.differs, entry.repair) == (True, False, [])
    assert registry.inactive == {}


def test_a_lookupd_that_does_not_list_it() -> None:
    lookupds = [lookupd_view("l1:1", producer("n1:1", {"t": False})), lookupd_view("l2:1")]
    registry = registry_of(cluster_view(node_view("n1:1", topic("t")), lookupds=lookupds))
    entry = registry.registrations["t@n1:1"]
    assert entry.at["l2:1"] == "missing"
    assert entry.why == "l2:1 does not list t at n1:1"
    assert entry.repair == ["register_topic"]


def test_a_node_that_does_not_have_what_is_listed() -> None:
    lookupds = [lookupd_view("l1:1", producer("n1:1", {"t": False}))]
    registry = registry_of(cluster_view(node_view("n1:1"), lookupds=lookupds))
    entry = registry.registrations["t@n1:1"]
    assert (entry.has_topic, entry.differs, entry.repair) == (False, True, ["tombstone"])


def test_a_tombstone_at_one_lookupd_only() -> None:
    lookupds = [
        lookupd_view("l1:1", producer("n1:1", {"t": True})),
        lookupd_view("l2:1", producer("n1:1", {"t": False})),
    ]
    registry = registry_of(cluster_view(node_view("n1:1", topic("t")), lookupds=lookupds))
    entry = registry.registrations["t@n1:1"]
    assert entry.at == {"l1:1": "tombstoned", "l2:1": "registered"}
    assert entry.why == "t at n1:1 is hidden by a tombstone at l1:1 only"


def test_who_does_not_answer_is_no_difference() -> None:
    lookupds = [
        lookupd_view("l1:1", producer("n1:1", {"t": False})),
        lookupd_view("l2:1", state=DaemonState.STALE),
    ]
    frozen = node_view("n1:1", topic("t"), state=DaemonState.STALE)
    entry = registry_of(cluster_view(frozen, lookupds=lookupds)).registrations["t@n1:1"]
    assert entry.at["l2:1"] == "stale"
    assert (entry.has_topic, entry.differs) == (None, False)


def test_topics_that_no_node_has() -> None:
    lookupds = [
        lookupd_view("l1:1", topics=["old"], channels={"old": ["b"]}),
        lookupd_view("l2:1", topics=["old"], channels={"old": ["a"]}),
    ]
    registry = registry_of(cluster_view(lookupds=lookupds))
    assert registry.inactive["old"].channels == ["a", "b"]
    assert registry.inactive["old"].at == ["l1:1", "l2:1"]


def test_a_topic_of_a_silent_node_is_not_one_that_no_node_has() -> None:
    silent = node_view("n1:1", topic("t"), state=DaemonState.STALE)
    lookupd = lookupd_view("l1:1", topics=["t", "u"])
    registry = registry_of(cluster_view(silent, lookupds=[lookupd]))
    assert list(registry.inactive) == ["u"]
