"""Names of nsqlookupds and the addresses they stand for, with a resolver that a test plays."""

import asyncio
from collections.abc import Iterable

from nsqx.net.addresses import TcpAddress
from nsqx.nsqd.directory.addresses import PeerAddresses, choose, resolve

ONE, TWO = TcpAddress("10.0.0.1", 4160), TcpAddress("10.0.0.2", 4160)
SIX, SEVEN = TcpAddress("fd00::6", 4160), TcpAddress("fd00::7", 4160)


def chosen(
    found: list[TcpAddress],
    before: Iterable[TcpAddress] = (),
    connected: Iterable[TcpAddress] = (),
) -> list[TcpAddress]:
    return choose(found, list(before), set(connected).__contains__)


def test_all_addresses_are_used() -> None:
    assert chosen([ONE, TWO]) == [ONE, TWO]


def test_host_with_both_kinds_of_address_is_one_directory() -> None:
    assert chosen([SIX, ONE]) == [ONE]


def test_host_with_ipv6_only_is_used() -> None:
    assert chosen([SIX, SEVEN]) == [SIX, SEVEN]


def test_other_kind_is_tried_when_nothing_answers() -> None:
    assert chosen([SIX, ONE], before=[ONE]) == [SIX, ONE]


def test_kind_that_answered_stays() -> None:
    assert chosen([SIX, SEVEN, ONE], before=[SIX, ONE], connected=[SIX]) == [SIX, SEVEN]


def test_host_that_answers_both_ways_is_left_one() -> None:
    assert chosen([SIX, ONE], before=[SIX, ONE], connected=[SIX, ONE]) == [ONE]


def test_connected_address_outlives_its_name() -> None:
    assert chosen([TWO], before=[ONE], connected=[ONE]) == [TWO, ONE]
    assert chosen([TWO], before=[ONE]) == [TWO]


class Resolver:
    """Answers what the test says, and counts."""

    def __init__(self, *answers: list[TcpAddress] | OSError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[TcpAddress]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        if isinstance(answer, OSError):
            raise answer
        return answer


class Owner:
    """Whoever uses the addresses: is told of changes."""

    def __init__(self, resolver: Resolver, **seconds: float) -> None:
        self.connected: set[TcpAddress] = set()
        self.changed = asyncio.Event()
        self.addresses = PeerAddresses(
            self.changed.set,
            lambda address: address in self.connected,
            resolver,
            **seconds,
        )

    async def change(self) -> list[TcpAddress]:
        async with asyncio.timeout(10):
            await self.changed.wait()
        self.changed.clear()
        return list(self.addresses.current)


async def test_literal_addresses_are_there_at_once_and_never_asked_about() -> None:
    resolver = Resolver([])
    owner = Owner(resolver)
    owner.addresses.set(["10.0.0.1:4160", "[fd00::6]:4160"])
    assert list(owner.addresses.current) == [ONE, SIX]
    await owner.addresses.settled()
    assert resolver.asked == 0


async def test_name_is_looked_up_again_after_a_failure() -> None:
    owner = Owner(Resolver([ONE], [TWO]))
    owner.addresses.set(["directories.example:4160"])
    assert await owner.change() == [ONE]
    owner.addresses.noticed(ONE)
    async with asyncio.timeout(10):
        while not owner.changed.is_set():
            owner.addresses.noticed(ONE)
            await asyncio.sleep(0.05)
    assert await owner.change() == [TWO]
    owner.addresses.stop()


async def test_name_that_cannot_be_told_keeps_its_addresses() -> None:
    resolver = Resolver([ONE], OSError("no resolver"), OSError("no resolver"), [ONE, TWO])
    owner = Owner(resolver, again_s=0.02, again_min_s=0.01)
    owner.addresses.set(["directories.example:4160"])
    assert await owner.change() == [ONE]
    assert await owner.change() == [ONE, TWO]
    owner.addresses.stop()


async def test_name_without_address_is_asked_about_again() -> None:
    owner = Owner(Resolver(OSError("not known"), [ONE]))
    owner.addresses.set(["late.example:4160"])
    await owner.addresses.settled()
    assert owner.addresses.unresolved == [TcpAddress("late.example", 4160)]
    assert await owner.change() == [ONE]
    assert owner.addresses.unresolved == []
    owner.addresses.stop()


async def test_removed_name_takes_its_addresses_along() -> None:
    owner = Owner(Resolver([ONE]))
    owner.addresses.set(["directories.example:4160", "10.0.0.2:4160"])
    assert set(await owner.change()) == {ONE, TWO}
    owner.addresses.set(["10.0.0.2:4160"])
    assert list(owner.addresses.current) == [TWO]


async def test_system_resolver_knows_this_machine() -> None:
    assert TcpAddress("127.0.0.1", 4160) in await resolve("localhost", 4160)
