"""
Finding nsqlookupds on the network: TXT records alone, then real multicast over the loopback.

Other tests, and whoever works at this machine, use the same network: each test has a cluster of its
own.
"""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface

import pytest

from nsqx.runtime import discovery
from nsqx.runtime.discovery import Advertiser, Directory, Finder, read_directory
from tests.support.processes import eventually

LOOPBACK = "127.0.0.1"
TXT = {"cluster": "main", "version": "1.2", "tcp": "4160", "http": "4161"}
LAN = [IPv4Interface("127.0.0.1/8"), IPv4Interface("192.168.1.5/24")]
PATIENCE_S = 20.0


def read(
    txt: dict[str, str | None],
    addresses: list[str] | None = None,
    own: list[IPv4Interface] | None = None,
) -> Directory | None:
    return read_directory("one", txt, addresses or ["192.168.1.7"], "main", own or LAN)


# TXT records


def test_record_says_where_the_directory_is() -> None:
    found = read({**TXT})
    assert found == Directory("one", "192.168.1.7", 4160, 4161, "1.2")
    assert (found.tcp_address, found.http_address) == ("192.168.1.7:4160", "192.168.1.7:4161")


@pytest.mark.parametrize(
    "difference",
    [
        {"cluster": "other"},
        {"cluster": None},
        {"tcp": None},
        {"tcp": ""},
        {"tcp": "0"},
        {"http": "65536"},
        {"http": "-1"},
        {"http": "4161 "},
        {"http": "\u0664\u0661"},
        {"host": "a b"},
        {"host": "evil/path?"},
    ],
)
def test_record_of_another_cluster_or_without_sense_is_passed_over(
    difference: dict[str, str | None],
) -> None:
    assert read({**TXT, **difference}) is None


def test_record_without_any_address_is_passed_over() -> None:
    assert read_directory("one", TXT, [], "main", LAN) is None


def test_host_that_was_chosen_is_used() -> None:
    found = read({**TXT, "host": "directory.example"})
    assert found is not None
    assert found.tcp_address == "directory.example:4160"


@pytest.mark.parametrize(
    ("addresses", "nearest"),
    [
        (["10.9.9.9", "192.168.1.7"], "192.168.1.7"),
        (["10.9.9.9"], "10.9.9.9"),
        (["192.168.1.5", "10.9.9.9"], "192.168.1.5"),
    ],
)
def test_address_in_a_network_of_this_host_is_preferred(addresses: list[str], nearest: str) -> None:
    found = read({**TXT}, addresses)
    assert found is not None
    assert found.host == nearest


def test_bridge_that_every_host_has_is_not_taken_for_the_other_host() -> None:
    bridge = IPv4Interface("172.17.0.1/16")
    found = read({**TXT}, ["172.17.0.1", "192.168.1.7"], [*LAN, bridge])
    assert found is not None
    assert found.host == "192.168.1.7"


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_cluster_must_have_a_name_that_fits(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Finder(name)
    with pytest.raises(ValueError, match="1 to 64 bytes"):
        Advertiser(cluster=name, tcp_port=1, http_port=2, listens_on=LOOPBACK)


def test_zeroconf_is_loaded_only_when_something_starts() -> None:
    check = (
        "import sys; from nsqx.runtime.discovery import Finder; Finder();"
        "sys.exit('zeroconf' in sys.modules or 'ifaddr' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# On the network


@pytest.fixture
def cluster() -> str:
    return f"test-{uuid.uuid4().hex}"


class Seen:
    """What a finder has told, and a way to wait for it."""

    finder: Finder

    def __init__(self) -> None:
        self.ports: list[list[int]] = []
        self._changed = asyncio.Event()

    def __call__(self, directories: list[Directory]) -> None:
        self.ports.append(sorted(directory.tcp_port for directory in directories))
        self._changed.set()

    async def until(self, *ports: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.ports[-1] != sorted(ports):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def finding(cluster: str, **seconds: float) -> AsyncIterator[Seen]:
    seen = Seen()
    async with Finder(cluster, LOOPBACK, **seconds) as seen.finder:
        seen.finder.subscribe(seen)
        yield seen


Advertise = Callable[[int], Advertiser]


@pytest.fixture
def advertise(cluster: str) -> Advertise:
    def make(tcp_port: int) -> Advertiser:
        return Advertiser(
            cluster=cluster, tcp_port=tcp_port, http_port=tcp_port + 1, listens_on=LOOPBACK
        )

    return make


async def test_directories_come_and_go(cluster: str, advertise: Advertise) -> None:
    async with finding(cluster) as seen:
        assert seen.ports == [[]]
        async with advertise(20001):
            await seen.until(20001)
            async with advertise(20003):
                await seen.until(20001, 20003)
            await seen.until(20001)
        await seen.until()
        async with advertise(20001):
            await seen.until(20001)


async def test_finder_that_comes_later_finds_what_is_there(
    cluster: str, advertise: Advertise
) -> None:
    async with advertise(20011):
        async with finding(cluster) as seen:
            await seen.until(20011)
        async with finding(cluster) as seen:
            await seen.until(20011)


async def test_other_clusters_are_not_found(cluster: str, advertise: Advertise) -> None:
    other = Advertiser(
        cluster=cluster + "-other", tcp_port=20021, http_port=20022, listens_on=LOOPBACK
    )
    async with finding(cluster) as seen, finding(cluster + "-other") as elsewhere:
        async with other, advertise(20023):
            await seen.until(20023)
            await elsewhere.until(20021)
        await seen.until()
        assert all(20021 not in ports for ports in seen.ports)


async def test_two_directories_of_one_name_are_both_found(
    cluster: str, advertise: Advertise
) -> None:
    """Host names such as localhost are not unique; here even the ports are the same."""
    async with finding(cluster) as seen, advertise(20031):
        await seen.until(20031)
        async with advertise(20031):
            await seen.until(20031, 20031)


async def test_end_in_the_middle_of_the_beginning(cluster: str, advertise: Advertise) -> None:
    async with finding(cluster) as seen:
        for _ in range(2):
            async with advertise(20041):
                await asyncio.sleep(0)
        assert seen.ports == [[]]


async def test_change_of_interfaces_begins_anew(
    cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a laptop that is woken in another network: what was there is forgotten."""
    usable = [LOOPBACK]
    monkeypatch.setattr(
        discovery, "own_addresses", lambda host: list(usable) if host == LOOPBACK else [LOOPBACK]
    )

    async def is_away() -> bool:
        return seen.finder._zeroconf is None

    async with finding(cluster, interfaces_s=0.05, confirm_s=0.5) as seen:
        async with Advertiser(
            cluster=cluster, tcp_port=20051, http_port=20052, listens_on="localhost"
        ):
            await seen.until(20051)
            usable.clear()
            await eventually(is_away, "the finder has left the network")
        assert seen.ports[-1] == [20051]  # nobody heard the goodbye
        usable.append(LOOPBACK)
        await seen.until()
