"""
Every counter of ``/stats`` in each operation, with what Go's nsqd says there beside it.

A case does something with the topic ``t``, its channel ``c`` and a client, and names each number
of them that is not 0; all others must be. Where Go's nsqd says another number, it stands in
``go``, and the decision that says why. Where its numbers are from: nsqd at 3103474b,
``nsqd/topic.go``, ``channel.go``, ``client_v2.go`` and ``protocol_v2.go``.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from nsqx.nsqd.telling.stats import Selection, Stats
from nsqx.protocol import commands
from nsqx.protocol.frames import Message
from tests.nsqd.core.test_session import Connection, SessionBench, bench_of
from tests.support.broker_bench import MSG_TIMEOUT_NS, SECOND_NS

Numbers = dict[str, int]

OF_TOPIC = ("depth", "backend_depth", "message_count", "message_bytes")
OF_CHANNEL = (
    *("depth", "backend_depth", "in_flight_count", "deferred_count", "message_count"),
    *("requeue_count", "timeout_count", "client_count"),
)
OF_CLIENT = ("ready_count", "in_flight_count", "message_count", "finish_count", "requeue_count")
# How the text form calls them. It has no message_bytes and counts no clients.
IN_TEXT = {
    "depth": "depth",
    "backend_depth": "be-depth",
    "in_flight_count": "inflt",
    "deferred_count": "def",
    "message_count": "msgs",
    "requeue_count": "re-q",
    "timeout_count": "timeout",
    "ready_count": "rdy",
    "finish_count": "fin",
}


class Play:
    """A node with one topic, one channel and one client, and what happens to them."""

    def __init__(self, **settings: Any) -> None:
        self.bench: SessionBench = bench_of(**settings)
        self.producer = self.bench.connect()
        self.client: Connection | None = None

    def publish(self, *bodies: bytes, topic: str = "t") -> None:
        for body in bodies:
            self.producer.tell(commands.pub(topic, body))

    def subscribe(self, *, ready: int = 0, channel: str = "c", **wishes: int) -> Connection:
        self.client = client = self.bench.connect()
        if wishes:
            client.identify(feature_negotiation=True, **wishes)
        client.tell(commands.sub("t", channel))
        if ready:
            client.tell(commands.rdy(ready))
        return client

    def make(self, channel: str = "c") -> None:
        self.bench.channel(channel, "t")

    def got(self) -> list[Message]:
        """What the client has got, ever."""
        assert self.client is not None
        self.bench.run()
        return self.client.messages

    def tell(self, command: bytes) -> None:
        assert self.client is not None
        self.client.tell(command)

    def pass_time(self, duration_ns: int) -> None:
        self.bench.pass_time(duration_ns)
        self.bench.broker.flush()

    def leave(self) -> None:
        assert self.client is not None
        self.client.session.closed()
        self.bench.connections.remove(self.client)
        self.client = None

    def pause(self, is_paused: bool = True) -> None:
        self.bench.broker.pause_topic(self.bench.topic("t"), is_paused)
        self.bench.broker.flush()

    def empty_topic(self) -> None:
        self.bench.broker.empty_topic(self.bench.topic("t"))

    def empty(self) -> None:
        self.bench.broker.empty_channel(self.bench.topic("t"), self.bench.channel("c", "t"))

    def restart(self) -> None:
        for connection in self.bench.connections:
            connection.session.closed()
        self.bench.connections.clear()
        self.client = None
        self.bench.stop()
        self.bench.broker.flush()
        self.producer = self.bench.connect()

    # What is told

    def stats(self) -> Stats:
        bench = self.bench
        sessions = [each.session for each in bench.connections if not each.is_closed]
        return Stats(
            bench.broker,
            sessions,
            Selection(topic="t", include_memory=False),
            version="1.3.0",
            runtime="test",
            start_time_s=0,
            uptime_ns=0,
            now_ns=bench.now_ns,
            wall_ns=bench.wall_ns,
            memory={},
        )


@dataclass(frozen=True)
class Case:
    """
    What is done, and all numbers that are not 0 then.

    Attributes:
        facts: where it is said what Go's nsqd does: the section of the protocol's description, or
            "ours" for what it has not.
        go: what it says instead.
        why: the decision that says why it is another number here.
    """

    name: str
    act: Callable[[Play], object]
    topic: Numbers = field(default_factory=dict)
    channel: Numbers | None = None  # None: there is none
    client: Numbers | None = None
    facts: str = ""
    go: dict[str, Numbers] = field(default_factory=dict)
    why: str = ""
    settings: dict[str, Any] = field(default_factory=dict)


def topic(depth: int = 0, msgs: int = 0, size: int = 0, backend: int = 0) -> Numbers:
    return {
        "depth": depth,
        "backend_depth": backend,
        "message_count": msgs,
        "message_bytes": size,
    }


def channel(**named: int) -> Numbers:
    names = {"backend": "backend_depth", "clients": "client_count", "depth": "depth"}
    return {names.get(name, f"{name}_count"): value for name, value in named.items()}


def client(**named: int) -> Numbers:
    return {f"{name}_count": value for name, value in named.items()}


def three(play: Play, ready: int = 2) -> list[Message]:
    """Three messages of one, two and three bytes at ``c``, and a client with a RDY."""
    play.make()
    play.publish(b"a", b"bb", b"ccc")
    play.subscribe(ready=ready)
    return play.got()


THREE = topic(msgs=3, size=6)


def before_any_channel(play: Play) -> None:
    play.publish(b"a", b"bb")


def the_first_channel(play: Play) -> None:
    play.publish(b"a", b"bb")
    play.make()


def a_later_channel(play: Play) -> None:
    play.publish(b"a", b"bb")
    play.make("first")
    play.make()
    play.publish(b"c")


def finished(play: Play) -> None:
    play.tell(commands.fin(three(play)[0].id))


def finished_twice(play: Play) -> None:
    first = three(play, ready=1)[0]
    play.tell(commands.rdy(0))
    play.tell(commands.fin(first.id))
    play.tell(commands.fin(first.id))


def requeued(play: Play) -> None:
    first = three(play, ready=1)[0]
    play.tell(commands.rdy(0))
    play.tell(commands.req(first.id, 0))


def requeued_and_delivered_again(play: Play) -> None:
    play.make()
    play.publish(b"a")
    play.subscribe(ready=1)
    play.tell(commands.req(play.got()[0].id, 0))
    assert [message.attempts for message in play.got()] == [1, 2]


def requeued_for_later(play: Play) -> None:
    first = three(play, ready=1)[0]
    play.tell(commands.rdy(0))
    play.tell(commands.req(first.id, 5_000))


def due(play: Play) -> None:
    requeued_for_later(play)
    play.pass_time(6 * SECOND_NS)


def touched(play: Play) -> None:
    play.tell(commands.touch(three(play)[0].id))


def timed_out(play: Play) -> None:
    first = three(play, ready=1)[0]
    play.tell(commands.rdy(0))
    play.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    play.tell(commands.fin(first.id))  # too late


def timed_out_and_delivered_again(play: Play) -> None:
    play.make()
    play.publish(b"a")
    play.subscribe(ready=1)
    play.pass_time(MSG_TIMEOUT_NS + SECOND_NS)
    assert [message.attempts for message in play.got()] == [1, 2]


def disconnected(play: Play) -> None:
    three(play)
    play.leave()


def disconnected_and_timed_out(play: Play) -> None:
    disconnected(play)
    play.pass_time(MSG_TIMEOUT_NS + SECOND_NS)


def lowered(play: Play) -> None:
    three(play)
    play.tell(commands.rdy(1))


def closing(play: Play) -> None:
    first = three(play)[0]
    play.tell(commands.cls())
    play.tell(commands.fin(first.id))


def deferred(play: Play) -> None:
    play.make()
    play.producer.tell(commands.dpub("t", 5_000, b"aa"))


def deferred_without_a_channel(play: Play) -> None:
    play.producer.tell(commands.dpub("t", 5_000, b"aa"))


def many(play: Play) -> None:
    play.make()
    play.producer.tell(commands.mpub("t", [b"a", b"bb", b"ccc"]))


def refused(play: Play) -> None:
    play.make()
    play.producer.tell(commands.pub("t", b"a"))
    play.producer.tell(b"PUB t\n\x00\x00\x00\x00")
    assert play.producer.is_closed


def paused_topic(play: Play) -> None:
    play.make()
    play.pause()
    play.publish(b"a", b"bb")


def topic_goes_on(play: Play) -> None:
    paused_topic(play)
    play.pause(False)


def emptied_topic(play: Play) -> None:
    paused_topic(play)
    play.empty_topic()
    play.pause(False)
    play.publish(b"c")


def emptied_topic_keeps_what_its_channels_have(play: Play) -> None:
    three(play)
    play.empty_topic()


def paused_channel(play: Play) -> None:
    three(play, ready=1)
    play.bench.broker.pause_channel(play.bench.topic("t"), play.bench.channel("c", "t"), True)
    play.tell(commands.rdy(5))
    play.publish(b"d")


def emptied_channel(play: Play) -> None:
    first, second = three(play)
    play.tell(commands.req(second.id, 5_000))  # the third comes in its place
    play.publish(b"d")
    play.empty()
    play.tell(commands.fin(first.id))  # there is none such any more


def made_again(play: Play) -> None:
    finished(play)
    play.bench.broker.delete_channel(play.bench.topic("t"), play.bench.channel("c", "t"))
    play.make()


def topic_made_again(play: Play) -> None:
    finished(play)
    play.bench.broker.delete_topic(play.bench.topic("t"))
    play.make()


def two_channels(play: Play) -> None:
    play.make("other")
    three(play)


def fills_up(play: Play) -> None:
    play.subscribe(channel="c#ephemeral")
    play.publish(b"a", b"b", b"c", b"d", b"e")


def publishes_as_well(play: Play) -> None:
    play.subscribe()
    play.tell(commands.mpub("t", [b"a", b"b"]))


def restarted(play: Play) -> None:
    first, _second = three(play)
    play.tell(commands.fin(first.id))  # the third comes in its place
    play.tell(commands.rdy(1))
    play.publish(b"d")
    play.restart()


def restarted_with_a_deferred_one(play: Play) -> None:
    requeued_for_later(play)
    play.restart()


def restarted_without_a_channel(play: Play) -> None:
    before_any_channel(play)
    play.restart()


def restarted_and_given_a_channel(play: Play) -> None:
    restarted_without_a_channel(play)
    play.make()
    play.publish(b"c")


def sampled(play: Play) -> None:
    play.subscribe(ready=2500, sample_rate=9)
    play.publish(*[b"a"] * 100)


def given_back(play: Play) -> None:
    play.make()
    play.publish(b"a", b"bb", b"ccc")
    play.subscribe(ready=1, nsqx_extensions=True)
    play.tell(commands.rdy(0))
    play.tell(commands.give_back(play.got()[0].id))


def moved(play: Play) -> None:
    first, _second = three(play)
    broker = play.bench.broker
    broker.seek(play.bench.topic("t"), play.bench.channel("c", "t"), 3)
    play.tell(commands.fin(first.id))


CASES = [
    Case("before any channel", before_any_channel, topic(2, 2, 3), facts="10"),
    Case(
        "the first channel gets what waits",
        the_first_channel,
        topic(msgs=2, size=3),
        channel(depth=2, message=2),
        facts="10",
    ),
    Case(
        "a later channel gets what comes after it",
        a_later_channel,
        topic(msgs=3, size=4),
        channel(depth=1, message=1),
        facts="10",
    ),
    Case(
        "delivered",
        three,
        THREE,
        channel(depth=1, in_flight=2, message=3, clients=1),
        client(ready=2, in_flight=2, message=2),
        facts="9",
    ),
    Case(
        "finished: the next is delivered",
        finished,
        THREE,
        channel(in_flight=2, message=3, clients=1),
        client(ready=2, in_flight=2, message=3, finish=1),
        facts="9",
    ),
    Case(
        "finished once more: E_FIN_FAILED does not count",
        finished_twice,
        THREE,
        channel(depth=2, message=3, clients=1),
        client(message=1, finish=1),
        facts="5, 9",
    ),
    Case(
        "requeued: it waits again, and came from the topic once",
        requeued,
        THREE,
        channel(depth=3, message=3, requeue=1, clients=1),
        client(message=1, requeue=1),
        facts="9, 10",
    ),
    Case(
        "requeued and delivered again",
        requeued_and_delivered_again,
        topic(msgs=1, size=1),
        channel(in_flight=1, message=1, requeue=1, clients=1),
        client(ready=1, in_flight=1, message=2, requeue=1),
        facts="9, 10",
    ),
    Case(
        "requeued for later: not in the depth",
        requeued_for_later,
        THREE,
        channel(depth=2, deferred=1, message=3, requeue=1, clients=1),
        client(message=1, requeue=1),
        facts="9, 10",
    ),
    Case(
        "due: in the depth, and no count for it",
        due,
        THREE,
        channel(depth=3, message=3, requeue=1, clients=1),
        client(message=1, requeue=1),
        facts="9, 10",
    ),
    Case(
        "touched: nothing counts",
        touched,
        THREE,
        channel(depth=1, in_flight=2, message=3, clients=1),
        client(ready=2, in_flight=2, message=2),
        facts="9",
    ),
    Case(
        "timed out: no requeue, and its late FIN does not count",
        timed_out,
        THREE,
        channel(depth=3, message=3, timeout=1, clients=1),
        client(message=1),
        facts="9",
    ),
    Case(
        "timed out and delivered again",
        timed_out_and_delivered_again,
        topic(msgs=1, size=1),
        channel(in_flight=1, message=1, timeout=1, clients=1),
        client(ready=1, in_flight=1, message=2),
        facts="9, 10",
    ),
    Case(
        "disconnected: in flight until the deadline",
        disconnected,
        THREE,
        channel(depth=1, in_flight=2, message=3),
        facts="9",
    ),
    Case(
        "disconnected: then they count as timed out",
        disconnected_and_timed_out,
        THREE,
        channel(depth=3, message=3, timeout=2),
        facts="9",
    ),
    Case(
        "RDY below what is in flight",
        lowered,
        THREE,
        channel(depth=1, in_flight=2, message=3, clients=1),
        client(ready=1, in_flight=2, message=2),
        facts="9",
    ),
    Case(
        "CLS: RDY is 0, FIN counts",
        closing,
        THREE,
        channel(depth=1, in_flight=1, message=3, clients=1),
        client(in_flight=1, message=2, finish=1),
        facts="9",
    ),
    Case(
        "published for later: of the channel, not of the depth",
        deferred,
        topic(msgs=1, size=2),
        channel(deferred=1, message=1),
        facts="10",
    ),
    Case(
        "published for later without a channel: the delay runs in channels",
        deferred_without_a_channel,
        topic(1, 1, 2),
        facts="10",
    ),
    Case("many", many, THREE, channel(depth=3, message=3), facts="10"),
    Case(
        "refused: nothing counts",
        refused,
        topic(msgs=1, size=1),
        channel(depth=1, message=1),
        facts="5",
    ),
    Case("a paused topic keeps all", paused_topic, topic(2, 2, 3), channel(), facts="10"),
    Case(
        "a topic that goes on",
        topic_goes_on,
        topic(msgs=2, size=3),
        channel(depth=2, message=2),
        facts="10",
    ),
    Case(
        "emptied at the topic: never the channel's",
        emptied_topic,
        topic(msgs=3, size=4),
        channel(depth=1, message=1),
        facts="10; HTTP 2",
    ),
    Case(
        "an emptied topic: what its channels have stays",
        emptied_topic_keeps_what_its_channels_have,
        THREE,
        channel(depth=1, in_flight=2, message=3, clients=1),
        client(ready=2, in_flight=2, message=2),
        facts="HTTP 2",
    ),
    Case(
        "a paused channel",
        paused_channel,
        topic(msgs=4, size=7),
        channel(depth=3, in_flight=1, message=4, clients=1),
        client(ready=5, in_flight=1, message=1),
        facts="10",
    ),
    Case(
        "an emptied channel: what was counted stays, and a FIN fails",
        emptied_channel,
        topic(msgs=4, size=7),
        channel(message=4, requeue=1, clients=1),
        client(ready=2, message=3, requeue=1),
        facts="10",
    ),
    Case(
        "a channel that was made again",
        made_again,
        THREE,
        channel(),
        facts="10",
    ),
    Case("a topic that was made again", topic_made_again, topic(), channel(), facts="10"),
    Case(
        "each channel has its own",
        two_channels,
        THREE,
        channel(depth=1, in_flight=2, message=3, clients=1),
        client(ready=2, in_flight=2, message=2),
        facts="10",
    ),
    Case(
        "what an ephemeral channel drops is counted",
        fills_up,
        topic(msgs=5, size=5),
        channel(depth=2, message=5, clients=1),
        client(),
        facts="10",
        settings={"mem_queue_size": 2},
    ),
    Case(
        "a consumer that publishes",
        publishes_as_well,
        topic(msgs=2, size=2),
        channel(depth=2, message=2, clients=1),
        client(),
        facts="HTTP 6",
    ),
    Case(
        "restarted: counters begin at 0, what was in flight waits on disk",
        restarted,
        topic(),
        channel(depth=3, backend=1),
        facts="14",
        go={"channel": channel(depth=3, backend=3)},
        why="docs/http-api.md: what waits to be delivered again counts as in memory",
    ),
    Case(
        "restarted: what is deferred stays so",
        restarted_with_a_deferred_one,
        topic(),
        channel(depth=2, backend=2, deferred=1),
        facts="14",
        go={"channel": channel(depth=3, backend=3)},
        why="docs/decisions/0004: a delay is never lost",
    ),
    Case(
        "restarted without a channel",
        restarted_without_a_channel,
        topic(depth=2, backend=2),
        facts="14",
    ),
    Case(
        "restarted, then given a channel: it came from the topic",
        restarted_and_given_a_channel,
        topic(msgs=1, size=1),
        channel(depth=3, message=3, backend=2),
        facts="10, 14",
    ),
    Case(
        "sampled: who gets one of ten has counts for that one only",
        sampled,
        topic(msgs=100, size=100),
        channel(in_flight=9, message=100, clients=1),
        client(ready=2500, in_flight=9, message=9),
        facts="9",
    ),
    Case(
        "given back: as if it had not been delivered",
        given_back,
        THREE,
        channel(depth=3, message=3, clients=1),
        client(message=1),
        facts="ours",
    ),
    Case(
        "moved: nothing is in flight any more, and a FIN fails",
        moved,
        THREE,
        channel(message=3, clients=1),
        client(ready=2, message=2),
        facts="ours",
    ),
]


def text_of(name: str, line: str) -> int | None:
    found = re.search(rf" {re.escape(IN_TEXT[name])}: (\d+) ", line) if name in IN_TEXT else None
    return int(found[1]) if found else None


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_counters(case: Case) -> None:
    play = Play(**case.settings)
    case.act(play)
    play.bench.run()
    stats = json.loads(b"".join(play.stats().json()))
    lines = "".join(play.stats().text()).splitlines()
    (found,) = stats["topics"]
    shown = {"topic": found, "channel": None, "client": None}
    for each in found["channels"]:
        if each["channel_name"].startswith("c"):
            shown["channel"] = each
            shown["client"] = next(iter(each["clients"]), None)
    if shown["client"] is not None and shown["channel"] is not None:
        # Go's counts deliveries from memory; here all are (docs/http-api.md).
        delivered = shown["channel"].get("global_msg_count", 0)
        assert delivered == shown["client"]["message_count"] == len(play.got())
    wanted = {"topic": case.topic, "channel": case.channel, "client": case.client}
    starts = {"topic": "   [t ", "channel": "      [c", "client": "        [V2"}
    for what, names in (("topic", OF_TOPIC), ("channel", OF_CHANNEL), ("client", OF_CLIENT)):
        expected, actual = wanted[what], shown[what]
        assert (expected is None) == (actual is None), what
        if expected is None or actual is None:
            continue
        assert {name: actual[name] for name in names} == dict.fromkeys(names, 0) | expected, what
        # The text form says the same.
        line = next(each for each in lines if re.sub(r"\*P", "  ", each).startswith(starts[what]))
        in_text = {name: text_of(name, line) for name in names}
        said = {name: value for name, value in in_text.items() if value is not None}
        if "pub_counts" not in actual:
            assert said == {name: actual[name] for name in said}
            assert len(said) >= 3
    assert bool(case.go) == bool(case.why)
