"""A consumer whose lookupds are found while it runs: by a played finder, and by mDNS."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from nsqx.client import Consumer, Nsq
from nsqx.client.lookupds import FoundLookupd
from nsqx.protocol.commands import Publish
from nsqx.runtime.discovery import Advertiser, Finder
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.processes import eventually
from tests.support.scripted_nsqd import ScriptedNsqd


@dataclass(frozen=True)
class Lookupd:
    http_address: str


class PlayedFinder:
    """Tells what the test says."""

    def __init__(self, *lookupds: str) -> None:
        self.lookupds = [Lookupd(address) for address in lookupds]
        self.subscribers: list[Callable[[Sequence[FoundLookupd]], None]] = []

    def subscribe(self, changed: Callable[[Sequence[FoundLookupd]], None]) -> Callable[[], None]:
        self.subscribers.append(changed)
        changed(self.lookupds)
        return lambda: self.subscribers.remove(changed)

    def find(self, *lookupds: str) -> None:
        self.lookupds = [Lookupd(address) for address in lookupds]
        for changed in self.subscribers:
            changed(self.lookupds)


def names(nsqd: ScriptedNsqd) -> dict[str, object]:
    """Answers of a lookupd that knows this nsqd."""
    host, _, port = nsqd.address.rpartition(":")
    known = {"producers": [{"broadcast_address": host, "tcp_port": int(port)}]}
    return {"/lookup": known, "/nodes": known}


async def asked(lookupd: FakeHttp, count: int) -> None:
    """Wait until it was asked so many times in all."""

    async def was_asked() -> bool:
        return lookupd.requests.count("/lookup?topic=t&draining=true") >= count

    await eventually(was_asked, f"{count} lookups")


async def test_lookupd_that_is_found_is_asked_at_once() -> None:
    async with ScriptedNsqd() as nsqd, fake_http(names(nsqd)) as lookupd:
        finder = PlayedFinder()
        async with Consumer("t", "c", discover=finder, lookupd_poll_interval=600):
            finder.find(lookupd.address)
            await nsqd.accept()
        assert finder.subscribers == []


async def test_lookupd_that_has_left_is_asked_no_more() -> None:
    async with (
        ScriptedNsqd() as nsqd,
        fake_http(names(nsqd)) as one,
        fake_http(names(nsqd)) as two,
    ):
        finder = PlayedFinder(one.address, two.address)
        async with Consumer("t", "c", discover=finder, lookupd_poll_interval=0.01):
            await asked(one, 2)
            finder.find(two.address)
            await asked(two, two.requests.count("/lookup?topic=t&draining=true") + 2)
            before = len(one.requests)
            await asked(two, two.requests.count("/lookup?topic=t&draining=true") + 5)
            assert len(one.requests) == before


async def test_nonsense_from_the_network_is_left_out() -> None:
    async with ScriptedNsqd() as nsqd, fake_http(names(nsqd)) as lookupd:
        finder = PlayedFinder("[:::]:4161", lookupd.address, "h:99999")
        async with Consumer("t", "c", discover=finder):
            await nsqd.accept()


async def test_lookupd_that_was_given_stays() -> None:
    async with ScriptedNsqd() as nsqd, fake_http(names(nsqd)) as lookupd:
        finder = PlayedFinder("127.0.0.1:1")
        consumer = Consumer(
            "t", "c", lookupd=lookupd.address, discover=finder, lookupd_poll_interval=600
        )
        async with consumer:
            finder.find()
            await nsqd.accept()


async def test_nodes_of_a_lookupd_that_is_found_are_published_to() -> None:
    async with ScriptedNsqd() as nsqd, fake_http(names(nsqd)) as lookupd:
        finder = PlayedFinder()
        async with Nsq(discover=finder) as nsq:
            publishing = asyncio.create_task(nsq.publish("t", b"1"))
            await asyncio.sleep(0)  # it has begun to look
            finder.find(lookupd.address)
            peer = await nsqd.accept()
            await peer.identify()
            await peer.expect(Publish)
            peer.ok()
            await publishing
        assert finder.subscribers == []


async def test_consumer_without_any_source_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the address"):
        Consumer("t", "c")


async def test_lookupd_on_the_local_network_is_used() -> None:
    cluster = f"test-{uuid.uuid4().hex}"
    async with ScriptedNsqd() as nsqd, fake_http(names(nsqd)) as lookupd:
        http_port = int(lookupd.address.rpartition(":")[2])
        async with (
            Advertiser(cluster=cluster, tcp_port=1, http_port=http_port, listens_on="127.0.0.1"),
            Finder(cluster, "127.0.0.1") as finder,
            Consumer("t", "c", discover=finder),
        ):
            await nsqd.accept()
