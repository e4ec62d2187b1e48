"""The table of scenarios, and the budgets some of them have to meet."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

BATCHES = (1, 10, 200)
BODIES_BYTES = (100, 1_000, 10_000)
CONNECTIONS = (1, 8, 64)
CHANNELS = (1, 4)

DURABILITY = "os"  # nsqd's default: OK means that write() returned

# How far a producer that pipelines runs ahead of the broker's OKs, per connection. More makes
# the broker look better (larger reads), less makes it wait for the network.
PIPELINED_COMMANDS = 4
PIPELINED_BYTES = 4_000_000


class Kind(Enum):
    """What is measured; README.md says how."""

    PUBLISH = "publish"
    CONSUME = "consume"
    BOTH = "both"
    LATENCY = "latency"
    BACKLOG = "backlog"


class Measure(Enum):
    """The figures of a result that a budget can limit."""

    CPU_US = "broker CPU us per message"
    RATE = "messages/s"
    P99_MS = "latency p99 ms"
    RSS_MB = "peak RSS MB"
    START_SECONDS = "start s"


@dataclass(frozen=True, slots=True)
class Budget:
    measure: Measure
    limit: float

    def met(self, value: float) -> bool:
        return value >= self.limit if self.measure is Measure.RATE else value <= self.limit


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    One measurement. ``consumers`` is connections per channel, ``messages`` what is published in a
    run, ``rate`` messages per second of a latency scenario.
    """

    name: str
    kind: Kind
    messages: int
    batch: int = 200
    body_bytes: int = 200
    publishers: int = 8
    consumers: int = 2
    channels: int = 1
    window: int = 0  # commands unconfirmed per connection; 0 = by batch size
    rate: int = 0
    tls: bool = False
    snappy: bool = False
    durability: str = DURABILITY
    budgets: tuple[Budget, ...] = ()

    @property
    def commands_in_flight(self) -> int:
        """One by one means one at a time; batches are pipelined, but not by the megabyte."""
        if self.window or self.batch == 1:
            return self.window or 1
        return max(1, min(PIPELINED_COMMANDS, PIPELINED_BYTES // (self.batch * self.body_bytes)))

    def scaled(self, factor: float) -> "Scenario":
        return replace(self, messages=max(self.batch, int(self.messages * factor)))


def _cpu(limit_us: float) -> tuple[Budget, ...]:
    return (Budget(Measure.CPU_US, limit_us),)


def _p99(limit_ms: float) -> tuple[Budget, ...]:
    return (Budget(Measure.P99_MS, limit_ms),)


BUDGETED = (
    Scenario("publish-200", Kind.PUBLISH, 1_000_000, batch=200, budgets=_cpu(0.9)),
    Scenario("publish-10", Kind.PUBLISH, 500_000, batch=10, budgets=_cpu(1.8)),
    Scenario("publish-1-c64", Kind.PUBLISH, 150_000, batch=1, publishers=64, budgets=_cpu(6.0)),
    Scenario("publish-1-c8", Kind.PUBLISH, 150_000, batch=1, publishers=8, budgets=_cpu(7.0)),
    Scenario(
        "publish-1-c1",
        Kind.PUBLISH,
        40_000,
        batch=1,
        publishers=1,
        budgets=(Budget(Measure.RATE, 20_000),),
    ),
    Scenario("deliver", Kind.CONSUME, 1_000_000, budgets=_cpu(0.6)),
    Scenario("four-channels", Kind.BOTH, 500_000, channels=4, consumers=1, budgets=_cpu(2.0)),
    Scenario("latency-1k", Kind.LATENCY, 5_000, rate=1_000, budgets=_p99(1.0)),
    Scenario("latency-20k", Kind.LATENCY, 100_000, rate=20_000, budgets=_p99(1.0)),
    Scenario(
        "backlog-5m",
        Kind.BACKLOG,
        5_000_000,
        budgets=(Budget(Measure.RSS_MB, 80), Budget(Measure.START_SECONDS, 3)),
    ),
)

EXTRA = (
    Scenario("both-200", Kind.BOTH, 1_000_000),
    Scenario("publish-200-tls", Kind.PUBLISH, 500_000, tls=True),
    Scenario("publish-200-snappy", Kind.PUBLISH, 500_000, snappy=True),
    Scenario("deliver-tls", Kind.CONSUME, 500_000, tls=True),
    Scenario("deliver-snappy", Kind.CONSUME, 500_000, snappy=True),
    Scenario("publish-200-fsync", Kind.PUBLISH, 200_000, durability="fsync"),
    Scenario("publish-10-fsync", Kind.PUBLISH, 50_000, batch=10, durability="fsync"),
    Scenario(
        "publish-1-c64-fsync", Kind.PUBLISH, 20_000, batch=1, publishers=64, durability="fsync"
    ),
    Scenario("publish-1-c1-fsync", Kind.PUBLISH, 1_000, batch=1, publishers=1, durability="fsync"),
)


def matrix() -> Iterator[Scenario]:
    """Every combination of operation, batch, body, connections and channels that has a meaning."""
    for body_bytes in BODIES_BYTES:
        for connections in CONNECTIONS:
            for batch in BATCHES:
                yield _publish(batch, body_bytes, connections)
            for channels in CHANNELS:
                yield _consume(body_bytes, connections, channels)
                for batch in BATCHES:
                    yield _both(batch, body_bytes, connections, channels)


def _publish(batch: int, body_bytes: int, connections: int) -> Scenario:
    return Scenario(
        f"publish-{batch}x{body_bytes}-c{connections}",
        Kind.PUBLISH,
        _amount(batch, body_bytes),
        batch=batch,
        body_bytes=body_bytes,
        publishers=connections,
    )


def _consume(body_bytes: int, connections: int, channels: int) -> Scenario:
    return Scenario(
        f"consume-{body_bytes}-c{connections}-ch{channels}",
        Kind.CONSUME,
        _amount(200, body_bytes),
        body_bytes=body_bytes,
        consumers=connections,
        channels=channels,
        batch=20,
    )


def _both(batch: int, body_bytes: int, connections: int, channels: int) -> Scenario:
    return Scenario(
        f"both-{batch}x{body_bytes}-c{connections}-ch{channels}",
        Kind.BOTH,
        _amount(batch, body_bytes),
        batch=batch,
        body_bytes=body_bytes,
        publishers=connections,
        consumers=connections,
        channels=channels,
    )


def _amount(batch: int, body_bytes: int) -> int:
    """Messages for about a second of work: small batches and large bodies take longer each."""
    by_batch = {1: 40_000, 10: 200_000, 200: 400_000}[batch]
    return min(by_batch, 400_000_000 // body_bytes)
