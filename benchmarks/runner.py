"""Runs scenarios: starts the load, reads the clocks around it, makes a Result."""

import itertools
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.broker import Broker, OwnBroker
from benchmarks.consumer import ConsumeJob, consume, consume_one
from benchmarks.latency import LatencyJob, measure_latency
from benchmarks.publisher import PublishJob, publish
from benchmarks.result import Result, percentile
from benchmarks.scenarios import Kind, Scenario
from benchmarks.usage import CpuTime
from benchmarks.worker import Job, Outcome, Pipe, Worker

# Time after the last answer in which the broker finishes what it has been told (the last FINs,
# writes put off): part of the cost of the messages.
_SETTLE_SECONDS = 0.05
_SLOW_MESSAGES = 20_000
_SLOW_READY_COUNT = 100
_SLOW_PAUSE_SECONDS = 0.02

_topic_numbers = itertools.count()


class Runner:
    """Measures one broker. ``load_cpus`` is where load processes may run; empty = anywhere."""

    def __init__(self, broker: Broker, load_cpus: Collection[int] = ()) -> None:
        self._broker = broker
        self._load_cpus = load_cpus

    def run(self, scenario: Scenario) -> Result:
        """Measure once, on a topic of its own, which is deleted afterwards where possible."""
        topic = f"benchmark-{os.getpid()}-{next(_topic_numbers)}"
        measure = {
            Kind.PUBLISH: self._publish,
            Kind.CONSUME: self._consume,
            Kind.BOTH: self._both,
            Kind.LATENCY: self._latency,
            Kind.BACKLOG: self._backlog,
        }[scenario.kind]
        result = measure(scenario, topic)
        self._broker.delete_topic(topic)
        return result

    def _publish(self, scenario: Scenario, topic: str) -> Result:
        with _ready(self._worker(publish, self._publish_job(scenario, topic))) as (publisher,):
            meter = _Meter(self._broker)
            publisher.go()
            return meter.result(publisher.outcome())

    def _consume(self, scenario: Scenario, topic: str) -> Result:
        """Subscribe first, so that every channel gets everything; RDY only after publishing."""
        with _ready(self._worker(consume, self._consume_job(scenario, topic))) as (consumer,):
            self._load(scenario, topic)
            meter = _Meter(self._broker)
            consumer.go()
            return meter.result(consumer.outcome())

    def _both(self, scenario: Scenario, topic: str) -> Result:
        with _ready(
            self._worker(consume, self._consume_job(scenario, topic)),
            self._worker(publish, self._publish_job(scenario, topic)),
        ) as (consumer, publisher):
            consumer.go()
            meter = _Meter(self._broker)
            publisher.go()
            return meter.result(publisher.outcome(), consumer.outcome())

    def _latency(self, scenario: Scenario, topic: str) -> Result:
        job = LatencyJob(self._consume_job(scenario, topic), scenario.rate, scenario.publishers)
        with _ready(self._worker(measure_latency, job)) as (both,):
            meter = _Meter(self._broker)
            both.go()
            outcome = both.outcome()
            result = meter.result(outcome)
        _add_latencies(result, outcome)
        return result

    def _backlog(self, scenario: Scenario, topic: str) -> Result:
        """Publish beside a slow consumer; kill -9; start; deliver all that is left."""
        broker = self._broker
        if not isinstance(broker, OwnBroker):
            raise TypeError("the backlog scenario kills its broker, so it takes only its own")
        result, finished = self._build_backlog(scenario, topic)
        broker.kill()
        started = time.monotonic()
        listening = broker.start()
        finished += consume_one(self._consume_job(scenario, topic))
        result.start_seconds = time.monotonic() - started
        left = _unfinished(broker, topic)
        lost = max(0, scenario.messages - finished - left)
        assert broker.process is not None
        broker.process.forget_rss_peak()
        drained = self._drain(scenario, topic, left)
        result.notes = {
            "listening_seconds": listening,
            "lost": lost,
            "delivered again": left + finished + lost - scenario.messages,
            "drain_rate": drained.rate,
            "drain_cpu_us": drained.cpu_us or 0,
            "drain_rss_peak_mb": drained.rss_peak_mb or 0,
        }
        return result

    def _build_backlog(self, scenario: Scenario, topic: str) -> tuple[Result, int]:
        slow = replace(
            self._consume_job(scenario, topic),
            messages=min(_SLOW_MESSAGES, scenario.messages // 2),
            connections=1,
            ready_count=_SLOW_READY_COUNT,
            pause_seconds=_SLOW_PAUSE_SECONDS,
        )
        with _ready(
            self._worker(consume, slow),
            self._worker(publish, self._publish_job(scenario, topic)),
        ) as (consumer, publisher):
            meter = _Meter(self._broker)
            consumer.go()
            publisher.go()
            published, consumed = publisher.outcome(), consumer.outcome()
            result = meter.result(published)
        return result, consumed.messages

    def _drain(self, scenario: Scenario, topic: str, messages: int) -> Result:
        job = replace(self._consume_job(scenario, topic), messages=messages)
        with _ready(self._worker(consume, job)) as (consumer,):
            meter = _Meter(self._broker)
            consumer.go()
            return meter.result(consumer.outcome())

    def _load(self, scenario: Scenario, topic: str) -> None:
        """Fill the topic, in batches whatever the scenario's own."""
        with _ready(self._worker(publish, self._publish_job(scenario, topic))) as (publisher,):
            publisher.go()
            publisher.outcome()

    def _publish_job(self, scenario: Scenario, topic: str) -> PublishJob:
        return PublishJob(
            self._broker.target(scenario),
            topic,
            scenario.messages,
            scenario.batch,
            scenario.body_bytes,
            scenario.publishers,
            scenario.commands_in_flight,
        )

    def _consume_job(self, scenario: Scenario, topic: str) -> ConsumeJob:
        return ConsumeJob(
            self._broker.target(scenario),
            topic,
            tuple(f"channel{number}" for number in range(scenario.channels)),
            scenario.messages,
            scenario.body_bytes,
            scenario.consumers,
        )

    def _worker(self, work: Callable[[Job, Pipe], Outcome], job: Job) -> Worker:
        return Worker(work, job, self._load_cpus)


@contextmanager
def _ready(*workers: Worker) -> Iterator[tuple[Worker, ...]]:
    """Wait until all have connected; in the end none is left running."""
    try:
        for worker in workers:
            worker.wait_ready()
        yield workers
    finally:
        for worker in workers:
            worker.stop()


class _Meter:
    """Reads the broker's clocks when made and when the load is done."""

    def __init__(self, broker: Broker) -> None:
        self._process = broker.process
        if self._process is not None:
            self._process.forget_rss_peak()
            self._before = self._process.cpu_time()

    def result(self, first: Outcome, second: Outcome | None = None) -> Result:
        """``first`` counts; ``second`` are the consumers where the first are publishers."""
        time.sleep(_SETTLE_SECONDS)
        ended_ns = max(first.ended_ns, second.ended_ns if second else 0)
        seconds = (ended_ns - first.started_ns) / 1e9
        load_cpu_ns = first.cpu_ns + (second.cpu_ns if second else 0)
        result = Result(
            messages=first.messages,
            seconds=seconds,
            rate=first.messages / seconds,
            delivered_rate=second.messages / seconds if second else None,
            load_cpu_us=load_cpu_ns / 1e3 / first.messages,
        )
        if self._process is not None:
            used: CpuTime = self._process.cpu_time().since(self._before)
            result.cpu_us = used.total_ns / 1e3 / first.messages
            result.cpu_system_us = used.system_ns / 1e3 / first.messages
            result.rss_peak_mb = self._process.rss_peak_bytes() / 1e6
        return result


def _add_latencies(result: Result, consumed: Outcome) -> None:
    ordered = sorted(consumed.latencies_ns)
    result.p50_ms = percentile(ordered, 0.5) / 1e6
    result.p99_ms = percentile(ordered, 0.99) / 1e6
    result.p999_ms = percentile(ordered, 0.999) / 1e6
    result.max_ms = ordered[-1] / 1e6
    result.late_p99_ms = percentile(sorted(consumed.lateness_ns), 0.99) / 1e6


def _unfinished(broker: Broker, topic: str) -> int:
    """Messages the channel still has to deliver or to see finished."""
    channel = broker.topic_stats(topic)["channels"][0]
    return int(channel["depth"]) + int(channel["in_flight_count"]) + int(channel["deferred_count"])
