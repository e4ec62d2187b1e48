"""Addresses by network: each asker is told the one of the smallest network that it is in."""

import ipaddress
import json
from collections.abc import Iterable
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings, strategies as st

from nsqx.lookupd.answers import Answers
from nsqx.lookupd.networks import Networks, parse_network
from nsqx.lookupd.registry import Producer, Registry
from nsqx.protocol.lookup import Advertised, PeerInfo
from tests.support.processes import Cluster

OFFICE, RACK, HOST = "10.0.0.0/8", "10.7.0.0/16", "10.7.0.9/32"
V6 = "fd00::/8"


def peer(*networks: str) -> PeerInfo:
    """An nsqd that is ``everywhere`` by default and in each network has the address ``in <it>``."""
    advertised = tuple(Advertised(network, f"in {network}", 1, 2) for network in networks)
    info = PeerInfo("everywhere", "host", 4151, 4150, "region", "zone", "1.3.0")
    return PeerInfo(**{**_fields(info), "advertised": advertised}) if advertised else info


def _fields(info: PeerInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in info.__struct_fields__}


class Directory:
    """A registry whose producers all have the topic t."""

    def __init__(self) -> None:
        self.registry = Registry(inactive_timeout_ns=1000, tombstone_lifetime_ns=10)
        self.answers = Answers(self.registry)
        self.now_ns = 0
        self.connections = 0

    def connect(self, *networks: str) -> Producer:
        self.connections += 1
        producer = self.registry.add_producer(f"id{self.connections}", peer(*networks), 0)
        self.registry.register(producer, "t", None)
        return producer

    def lookup(self, asker: str, topic: str = "t") -> dict[str, str]:
        """The address of each producer that ``asker`` is told, by id."""
        body = self.answers.lookup(topic, self.now_ns, asker)
        assert body is not None
        return _addresses(body)

    def nodes(self, asker: str) -> dict[str, str]:
        return _addresses(self.answers.nodes(self.now_ns, asker))


def _addresses(body: bytes) -> dict[str, str]:
    producers = json.loads(body)["producers"]
    assert all("network" not in each and "advertised" not in each for each in producers)
    return {each["remote_address"]: each["broadcast_address"] for each in producers}


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.mark.parametrize(
    ("asker", "address"),
    [
        ("10.1.1.1", "in 10.0.0.0/8"),
        ("10.7.1.1", "in 10.7.0.0/16"),
        ("10.7.0.9", "in 10.7.0.9/32"),
        ("::ffff:10.7.1.1", "in 10.7.0.0/16"),
        ("fd00::1", "in fd00::/8"),
        ("fd00::1%eth0", "in fd00::/8"),
        ("192.168.1.1", "everywhere"),
        ("fe80::1", "everywhere"),
        ("", "everywhere"),
        ("/run/socket", "everywhere"),
    ],
)
def test_smallest_network_wins(directory: Directory, asker: str, address: str) -> None:
    producer = directory.connect(OFFICE, HOST, V6, RACK)
    assert directory.lookup(asker) == {producer.id: address}
    assert directory.lookup(asker, "*") == {producer.id: address}
    assert directory.nodes(asker) == {producer.id: address}


def test_everything_else_is_the_same_for_all(directory: Directory) -> None:
    directory.connect(OFFICE)
    body = directory.answers.lookup("t", 0, "10.1.1.1")
    assert body == (
        b'{"channels":[],"producers":[{"remote_address":"id1","hostname":"host",'
        b'"broadcast_address":"in 10.0.0.0/8","tcp_port":1,"http_port":2,"version":"1.3.0",'
        b'"topology_zone":"zone","topology_region":"region"}]}'
    )


def test_nsqd_without_a_network_of_the_asker_is_found_where_all_find_it(
    directory: Directory,
) -> None:
    office, rack, plain = (directory.connect(*each) for each in ([OFFICE], [RACK], []))
    assert directory.lookup("10.1.1.1") == {
        office.id: "in 10.0.0.0/8",
        rack.id: "everywhere",
        plain.id: "everywhere",
    }


def test_changes_reach_every_asker(directory: Directory) -> None:
    first = directory.connect(OFFICE)
    for asker in ("10.1.1.1", "192.168.1.1"):
        directory.lookup(asker)
        directory.nodes(asker)
    second = directory.connect(OFFICE, RACK)
    directory.registry.remove_producer(first)
    assert directory.lookup("10.7.1.1") == {second.id: "in 10.7.0.0/16"}
    assert directory.lookup("10.1.1.1") == {second.id: "in 10.0.0.0/8"}
    assert directory.lookup("192.168.1.1") == {second.id: "everywhere"}
    assert directory.nodes("10.1.1.1") == {second.id: "in 10.0.0.0/8"}


def test_tombstone_names_the_node_as_any_asker_sees_it(directory: Directory) -> None:
    producer = directory.connect(OFFICE)
    directory.registry.tombstone("t", "in 10.0.0.0/8:2", directory.now_ns)
    assert directory.lookup("10.1.1.1") == directory.lookup("192.168.1.1") == {}
    directory.now_ns += 10
    assert directory.lookup("10.1.1.1") == {producer.id: "in 10.0.0.0/8"}
    assert directory.lookup("192.168.1.1") == {producer.id: "everywhere"}


def test_one_moment_gives_one_index_however_many_networks_ask(directory: Directory) -> None:
    producer = directory.connect(OFFICE)
    directory.registry.tombstone("t", producer.node, directory.now_ns)
    for asker in ("10.1.1.1", "192.168.1.1"):
        directory.lookup(asker)
    before = directory.registry.index_of("t")
    directory.now_ns += 10
    directory.lookup("10.1.1.1")
    after = directory.registry.index_of("t")
    directory.lookup("192.168.1.1")
    assert before < after == directory.registry.index_of("t")


def test_askers_of_one_view_share_an_answer(directory: Directory) -> None:
    directory.connect(OFFICE, RACK)
    answers = directory.answers
    assert answers.lookup("t", 0, "10.1.1.1") is answers.lookup("t", 0, "10.200.1.1")
    assert answers.lookup("t", 0, "8.8.8.8") is answers.lookup("t", 0, "")


def test_kept_answers_are_bounded(directory: Directory) -> None:
    directory.answers = Answers(directory.registry, views_max=3)
    hosts = [f"10.0.0.{number}" for number in range(1, 9)]
    producer = directory.connect(*(f"{host}/32" for host in hosts))
    indices = set()
    for host in hosts:
        assert directory.lookup(host) == {producer.id: f"in {host}/32"}
        assert directory.nodes(host) == {producer.id: f"in {host}/32"}
        indices.add(directory.registry.index_of("t"))
    assert len(directory.registry.topics["t"].lookup_answers) <= 3
    assert len(directory.registry.nodes_answers) <= 3
    assert len(indices) > 1  # what a dropped answer knew of time is gone: watchers must ask again


def test_networks_without_nsqds_are_forgotten() -> None:
    networks = Networks()
    office = parse_network(OFFICE)
    networks.add([office])
    networks.add([office])
    networks.remove([office])
    assert networks.view("10.1.1.1") == (office,)
    networks.remove([office])
    assert networks.view("10.1.1.1") == ()


some_networks = st.lists(
    st.builds(
        lambda number, bits: str(ipaddress.ip_network((number << 16, bits), strict=False)),
        st.integers(0, 15),
        st.integers(10, 18),
    ),
    unique=True,
    max_size=4,
)
some_askers = st.integers(0, 15).map(lambda number: str(ipaddress.ip_address(number << 16 | 1)))


@settings(deadline=None)
@given(st.lists(some_networks, min_size=1, max_size=4), st.lists(some_askers, min_size=1))
def test_answers_agree_with_trying_every_network(
    producers: list[list[str]], askers: list[str]
) -> None:
    directory = Directory()
    connected = {directory.connect(*networks).id: networks for networks in producers}
    for asker in askers:
        expected = {id: _best(networks, asker) for id, networks in connected.items()}
        assert directory.lookup(asker) == expected
        assert directory.nodes(asker) == expected


def _best(networks: Iterable[str], asker: str) -> str:
    address = ipaddress.ip_address(asker)
    holding = [each for each in networks if address in ipaddress.ip_network(each)]
    smallest = max(holding, key=lambda each: ipaddress.ip_network(each).prefixlen, default=None)
    return f"in {smallest}" if smallest else "everywhere"


async def test_nsqd_tells_and_nsqlookupd_answers_by_the_ip_of_who_asks(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(
        "--broadcast-address=node.example.com",
        "--advertise=127.0.0.0/8=127.0.0.1",
        "--advertise=127.0.0.2/32=gateway.example.com:34150:34151",
        lookupds=[lookupd],
    )
    await node.post("/topic/create?topic=orders")
    index = "0"
    told = {}
    for asker in ("127.0.0.1", "127.0.0.2"):
        connector = aiohttp.TCPConnector(local_addr=(asker, 0))
        async with aiohttp.ClientSession(connector=connector) as http:
            url = lookupd.url(f"/watch?topic=orders&index={index}")
            async with http.get(url) as response:  # waits until it is registered
                (producer,) = (await response.json())["producers"]
            async with http.get(lookupd.url("/lookup?topic=orders")) as response:
                assert (await response.json())["producers"] == [producer]
            async with http.get(lookupd.url("/nodes")) as response:
                (seen,) = (await response.json())["producers"]
        keys = ("broadcast_address", "tcp_port", "http_port")
        told[asker] = [producer[key] for key in keys]
        assert [seen[key] for key in keys] == told[asker]
    assert told == {
        "127.0.0.1": ["127.0.0.1", node.tcp_port, node.http_port],
        "127.0.0.2": ["gateway.example.com", 34150, 34151],
    }
