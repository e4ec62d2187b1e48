"""Finding nsqds through lookupds that answer, fail, or say nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from nsqx.client import Consumer, Settings
from nsqx.client.addresses import Address
from nsqx.client.discovery import Discovery, jittered, parse_lookup
from tests.support.fake_http import FakeHttp, fake_http
from tests.support.processes import eventually
from tests.support.scripted_nsqd import ScriptedNsqd
from tests.support.stream_server import stream_server

TOPIC = "/lookup?topic=t&draining=true"
PATIENT = Settings(reconnect_delay=1200, reconnect_delay_max=1200)  # none comes back by itself


def producers(*ports: int) -> dict[str, object]:
    """Return an answer that names these ports of 127.0.0.1."""
    entries = [{"broadcast_address": "127.0.0.1", "tcp_port": port} for port in ports]
    return {"channels": [], "producers": entries}


class Findings:
    """What a discovery has found, one entry for each poll."""

    def __init__(self) -> None:
        self.polls: asyncio.Queue[tuple[set[int], bool]] = asyncio.Queue()

    def __call__(self, addresses: set[Address], is_complete: bool) -> None:
        assert all(address.host == "127.0.0.1" for address in addresses)
        self.polls.put_nowait(({address.port for address in addresses}, is_complete))


Start = Callable[..., Discovery]


@pytest.fixture
async def found() -> Findings:
    return Findings()


@pytest.fixture
async def start(found: Findings) -> AsyncIterator[Start]:
    discoveries = []

    def start(*lookupds: str, interval: float = 60) -> Discovery:
        discoveries.append(Discovery(lookupds, "t", found, interval))
        return discoveries[-1]

    yield start
    if discoveries:
        await asyncio.wait([discovery.stop() for discovery in discoveries])


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        (Settings(auth_secret="s", authorize_lookups=True), "Bearer s"),
        (Settings(auth_secret="s"), None),
        (Settings(auth_secret="s", authorize_lookups=True, tls=True), None),  # asked in clear
        (Settings(authorize_lookups=True), None),
    ],
)
async def test_a_lookupd_is_shown_the_secret_only_if_that_is_wanted(
    settings: Settings, shown: str | None
) -> None:
    async with (
        fake_http({TOPIC: producers()}) as lookupd,
        Consumer("t", "c", lookupd=lookupd.address, settings=settings),
    ):

        async def was_asked() -> bool:
            return TOPIC in lookupd.requests

        await eventually(was_asked, "the lookupd is asked")
    assert set(lookupd.authorizations) == {shown}


async def test_all_lookupds_are_asked_and_their_answers_united(
    start: Start, found: Findings
) -> None:
    async with (
        fake_http({TOPIC: producers(1, 2)}) as one,
        fake_http({TOPIC: producers(2, 3)}) as two,
    ):
        start(one.address, two.address)
        each = [await found.polls.get(), await found.polls.get()]  # as they come
        assert sorted(each, key=str) == [({1, 2}, False), ({2, 3}, False)]
        assert await found.polls.get() == ({1, 2, 3}, True)


@pytest.mark.parametrize(
    "failure",
    [(500, "no"), "not JSON", {"producers": 1}, [], {"producers": [{}]}, ConnectionResetError],
)
async def test_one_bad_lookupd_does_not_matter(
    start: Start, found: Findings, failure: object
) -> None:
    async with fake_http({TOPIC: producers(1)}) as good, fake_http({TOPIC: failure}) as bad:
        start(bad.address, good.address, "127.0.0.1:1")
        while (finding := await found.polls.get()) == (set(), False):
            pass  # that of the bad one
        assert finding == ({1}, False)


async def test_a_lookupd_that_says_nothing_is_not_waited_for_longer_than_told(
    found: Findings,
) -> None:
    async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with stream_server(say_nothing) as address:
        # Who was told nothing waits for the usual five seconds, on any machine the longer time.
        others = Findings()
        discoveries = [
            Discovery([address], "t", others),
            Discovery([address], "t", found, timeout=0.05),
        ]
        try:
            assert await found.polls.get() == (set(), False)
            assert others.polls.empty()
        finally:
            await asyncio.wait([discovery.stop() for discovery in discoveries])


def test_jitter_is_a_share_of_the_interval_around_it() -> None:
    assert jittered(60.0, 0.0, 0.9) == 60.0
    assert (jittered(60.0, 1.0, 0.0), jittered(60.0, 1.0, 1.0)) == (30.0, 90.0)


async def test_an_unknown_topic_is_no_failure(start: Start, found: Findings) -> None:
    async with fake_http({TOPIC: (404, {"message": "TOPIC_NOT_FOUND"})}) as lookupd:
        start(lookupd.address)
        assert await found.polls.get() == (set(), True)


async def test_polls_again_and_again(start: Start, found: Findings) -> None:
    async with fake_http({TOPIC: producers(1)}) as lookupd:
        start(lookupd.address, interval=0.01)
        assert await found.polls.get() == ({1}, True)
        lookupd.answers[TOPIC] = producers(2)
        while await found.polls.get() != ({2}, True):
            pass


async def test_hurry_polls_at_once(start: Start, found: Findings) -> None:
    async with fake_http({TOPIC: producers(1)}) as lookupd:
        discovery = start(lookupd.address)
        await found.polls.get()
        discovery.hurry()
        assert await found.polls.get() == ({1}, True)


def test_the_answer_of_old_lookupds_is_read_too() -> None:
    answer = b'{"status_code":200,"data":{"producers":[{"broadcast_address":"h","tcp_port":1}]}}'
    assert parse_lookup(answer) == {Address("h", 1)}


# The consumer


@pytest.fixture
async def nsqd() -> AsyncIterator[ScriptedNsqd]:
    async with ScriptedNsqd() as nsqd:
        yield nsqd


@pytest.fixture
async def lookupd(nsqd: ScriptedNsqd) -> AsyncIterator[FakeHttp]:
    async with fake_http({TOPIC: producers(nsqd.port)}) as lookupd:
        yield lookupd


async def test_a_consumer_connects_to_what_is_found(nsqd: ScriptedNsqd, lookupd: FakeHttp) -> None:
    async with Consumer("t", "c", lookupd=lookupd.address):
        await (await nsqd.accept()).subscribe()


async def test_a_lost_connection_triggers_a_poll(nsqd: ScriptedNsqd, lookupd: FakeHttp) -> None:
    async with (
        ScriptedNsqd() as successor,
        Consumer("t", "c", lookupd=lookupd.address, lookupd_poll_interval=600),
    ):
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        lookupd.answers[TOPIC] = producers(successor.port)
        await nsqd.stop()
        peer.disconnect()
        await (await successor.accept()).subscribe()


async def test_an_nsqd_that_lookupds_forget_stays_connected(
    nsqd: ScriptedNsqd, lookupd: FakeHttp
) -> None:
    async with (
        ScriptedNsqd() as successor,
        Consumer("t", "c", lookupd=lookupd.address, lookupd_poll_interval=0.01) as consumer,
    ):
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        lookupd.answers[TOPIC] = producers(successor.port)
        await (await successor.accept()).subscribe()
        peer.deliver(b"still here")
        assert (await anext(consumer)).body == b"still here"


async def test_an_nsqd_that_is_gone_and_forgotten_is_tried_again_for_a_while(
    nsqd: ScriptedNsqd, lookupd: FakeHttp
) -> None:
    """NSQ's lookupds name an nsqd that was restarted at the next poll only."""
    async with Consumer("t", "c", lookupd=lookupd.address, lookupd_poll_interval=600):
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        lookupd.answers[TOPIC] = producers()
        await polled(lookupd, 1, peer.disconnect)
        await (await nsqd.accept()).subscribe()


async def test_an_nsqd_that_is_forgotten_for_long_is_not_tried_again(
    nsqd: ScriptedNsqd, lookupd: FakeHttp
) -> None:
    async with Consumer(
        "t",
        "c",
        lookupd=lookupd.address,
        lookupd_poll_interval=0.01,
        forget_after=0,
        settings=PATIENT,
    ) as reader:
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        lookupd.answers[TOPIC] = producers()
        peer.disconnect()

        async def is_given_up() -> bool:
            return not reader._sources.links

        await eventually(is_given_up, "it is given up")
        lookupd.answers[TOPIC] = producers(nsqd.port)
        await (await nsqd.accept()).subscribe()


async def test_an_nsqd_that_appears_again_is_tried_at_once(
    nsqd: ScriptedNsqd, lookupd: FakeHttp
) -> None:
    """However long its last attempts have made it wait."""
    async with Consumer(
        "t", "c", lookupd=lookupd.address, lookupd_poll_interval=0.01, settings=PATIENT
    ):
        peer = await nsqd.accept()
        await peer.subscribe()
        await peer.ready()
        lookupd.answers[TOPIC] = producers()
        await polled(lookupd, 3, peer.disconnect)
        lookupd.answers[TOPIC] = producers(nsqd.port)
        await (await nsqd.accept()).subscribe()


async def polled(lookupd: FakeHttp, times: int, cause: Callable[[], object]) -> None:
    """Wait for this many polls after ``cause``, and for the answers to be taken up."""

    def polls() -> int:
        return sum(request.startswith("/lookup") for request in lookupd.requests)

    before = polls()
    cause()

    async def were_polled() -> bool:
        return polls() >= before + times

    await eventually(were_polled, f"{times} polls")
