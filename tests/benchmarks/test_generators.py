"""The load generators, as the processes they are, against a scripted broker: counts, no timing."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.broker import Broker, write_certificate
from benchmarks.consumer import ConsumeJob, consume
from benchmarks.latency import LatencyJob, measure_latency
from benchmarks.link import Target
from benchmarks.publisher import PublishJob, publish
from benchmarks.runner import Runner
from benchmarks.scenarios import Kind, Scenario
from benchmarks.worker import Job, LoadError, Outcome, Pipe, Worker
from tests.support.scripted_broker import ScriptedBroker


def run(work: Callable[[Job, Pipe], Outcome], job: Job) -> Outcome:
    worker = Worker(work, job)
    try:
        worker.wait_ready()
        worker.go()
        return worker.outcome()
    finally:
        worker.stop()


def publish_job(broker: ScriptedBroker, batch: int, connections: int, window: int) -> PublishJob:
    return PublishJob(Target("127.0.0.1", broker.port), "t", 1_000, batch, 64, connections, window)


def consume_job(broker: ScriptedBroker, messages: int) -> ConsumeJob:
    target = Target("127.0.0.1", broker.port)
    return ConsumeJob(target, "t", ("c",), messages, body_bytes=64, connections=1)


@pytest.mark.parametrize(("batch", "connections", "window"), [(1, 1, 1), (1, 3, 1), (10, 3, 4)])
def test_publisher_publishes_exactly_what_it_counts(
    batch: int, connections: int, window: int
) -> None:
    with ScriptedBroker() as broker:
        outcome = run(publish, publish_job(broker, batch, connections, window))
    assert outcome.messages == len(broker.published) == 1_000
    assert {len(body) for body in broker.published} == {64}


def test_generators_speak_tls(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*write_certificate(tmp_path))
    with ScriptedBroker(tls=context) as broker:
        scenario = Scenario("small", Kind.BOTH, 1_000, batch=10, consumers=1, tls=True)
        result = Runner(Broker("127.0.0.1", broker.port, http=None, process=None)).run(scenario)
    assert result.messages == len(broker.published) == 1_000


def test_publisher_reports_a_refused_message() -> None:
    with (
        ScriptedBroker(refuse=True) as broker,
        pytest.raises(LoadError, match="E_PUB_FAILED disk full"),
    ):
        run(publish, publish_job(broker, batch=1, connections=1, window=1))


@pytest.mark.parametrize("heartbeats", [False, True])
def test_consumer_finishes_each_message_once(heartbeats: bool) -> None:
    with ScriptedBroker(heartbeats=heartbeats) as broker:
        broker.publish([b"x" * 64] * 6_000)
        outcome = run(consume, consume_job(broker, 6_000))
        with broker.changed:
            assert broker.changed.wait_for(lambda: len(broker.finished) == 6_000, timeout=10)
    assert outcome.messages == 6_000
    assert broker.finished == [b"%016x" % number for number in range(6_000)]
    assert (broker.nops > 0) == heartbeats


def test_latency_generator_stamps_every_message() -> None:
    with ScriptedBroker() as broker:
        outcome = run(measure_latency, LatencyJob(consume_job(broker, 200), 20_000, publishers=2))
    assert outcome.messages == len(outcome.latencies_ns) == len(outcome.lateness_ns) == 200
    assert all(
        late_ns <= latency_ns
        for latency_ns, late_ns in zip(outcome.latencies_ns, outcome.lateness_ns, strict=True)
    )


@pytest.mark.parametrize("kind", [Kind.PUBLISH, Kind.CONSUME, Kind.BOTH, Kind.LATENCY])
def test_runner_measures_a_broker_it_knows_only_by_address(kind: Kind) -> None:
    with ScriptedBroker() as broker:
        aimed = Broker("127.0.0.1", broker.port, http=None, process=None)
        scenario = Scenario("small", kind, 1_000, batch=10, consumers=1, rate=10_000)
        result = Runner(aimed).run(scenario)
    assert result.messages == 1_000
    assert result.rate > 0
    assert result.cpu_us is None  # nobody said which process it is
    assert (result.p99_ms is not None) == (kind is Kind.LATENCY)
