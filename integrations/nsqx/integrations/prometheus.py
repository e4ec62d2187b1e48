"""
Metrics of the client for Prometheus. Needs ``nsqx[prometheus]``.

    nsq = Nsq(lookupd="127.0.0.1:4161", observers=[PrometheusMetrics()])

    nsqx_publish_seconds{topic}              histogram, of calls that succeeded
    nsqx_publish_errors_total{topic,error}   calls that failed, by class of the error
    nsqx_published_messages_total{topic}
    nsqx_handler_seconds{topic,channel}      histogram, of all calls of handlers
    nsqx_handler_errors_total{topic,channel,error}
    nsqx_message_age_seconds{topic,channel}  histogram: from when nsqd accepted it to its handler

and of each consumer, by topic and channel: ``nsqx_consumer_received_messages_total``, ``finished``,
``requeued``, ``given_up`` and ``expired`` (as ``ConsumerStats`` has them), and the gauge
``nsqx_consumer_connections``. These are read when they are asked for, and cost nothing otherwise.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from nsqx.client import Consumer, Message
from nsqx.client.observer import Observer

__all__ = ["PrometheusMetrics"]

_CHANNEL = ("topic", "channel")
_COUNTS = ("received", "finished", "requeued", "given_up", "expired")
_AGE_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600)


class PrometheusMetrics(Observer):
    """An observer; one may serve several ``Nsq``."""

    def __init__(
        self, registry: prometheus_client.CollectorRegistry = prometheus_client.REGISTRY
    ) -> None:
        """``registry`` takes the metrics; a second object needs another one."""
        self._publish_seconds = prometheus_client.Histogram(
            "nsqx_publish_seconds", "Until nsqd had accepted it.", ["topic"], registry=registry
        )
        self._publish_errors = prometheus_client.Counter(
            "nsqx_publish_errors", "Failed publishes.", ["topic", "error"], registry=registry
        )
        self._published = prometheus_client.Counter(
            "nsqx_published_messages", "Messages nsqd accepted.", ["topic"], registry=registry
        )
        self._handler_seconds = prometheus_client.Histogram(
            "nsqx_handler_seconds", "Calls of handlers.", _CHANNEL, registry=registry
        )
        self._handler_errors = prometheus_client.Counter(
            "nsqx_handler_errors", "Handlers that failed.", [*_CHANNEL, "error"], registry=registry
        )
        self._age = prometheus_client.Histogram(
            "nsqx_message_age_seconds",
            "From when nsqd accepted a message to its handler.",
            _CHANNEL,
            buckets=_AGE_BUCKETS,
            registry=registry,
        )
        self._consumers = _ConsumerCollector()
        registry.register(self._consumers)

    # Observer

    @contextmanager
    def publishing(self, topic: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        except Exception as exc:
            self._publish_errors.labels(topic, type(exc).__name__).inc()
            raise
        self._publish_seconds.labels(topic).observe(time.monotonic() - started)

    def published(self, topic: str, messages: int) -> None:
        self._published.labels(topic).inc(messages)

    @contextmanager
    def handling(self, message: Message, topic: str, channel: str) -> Iterator[None]:
        self._age.labels(topic, channel).observe(message.age)
        started = time.monotonic()
        try:
            yield
        except Exception as exc:
            self._handler_errors.labels(topic, channel, type(exc).__name__).inc()
            raise
        finally:
            self._handler_seconds.labels(topic, channel).observe(time.monotonic() - started)

    def consumer_opened(self, consumer: Consumer) -> None:
        self._consumers.add(consumer)

    def consumer_closed(self, consumer: Consumer) -> None:
        self._consumers.remove(consumer)


class _ConsumerCollector(Collector):
    """The sums over all consumers of a channel, those that are closed included."""

    def __init__(self) -> None:
        self._open: set[Consumer] = set()
        self._closed: Counter[tuple[str, str, str]] = Counter()

    def add(self, consumer: Consumer) -> None:
        self._open.add(consumer)

    def remove(self, consumer: Consumer) -> None:
        self._open.discard(consumer)
        self._closed.update(_counts(consumer))

    def collect(self) -> Iterator[Metric]:
        # A copy: it is asked in another thread.
        consumers = list(self._open)
        sums = Counter(self._closed)
        connections: Counter[tuple[str, str]] = Counter()
        for consumer in consumers:
            sums.update(_counts(consumer))
            connections[consumer.topic, consumer.channel] += consumer.stats.connections
        for name in _COUNTS:
            family = CounterMetricFamily(
                f"nsqx_consumer_{name}_messages", f"Messages {name}.", labels=_CHANNEL
            )
            for (topic, channel, counted), count in sums.items():
                if counted == name:
                    family.add_metric((topic, channel), count)
            yield family
        gauge = GaugeMetricFamily(
            "nsqx_consumer_connections", "Connections to nsqds.", labels=_CHANNEL
        )
        for labels, count in connections.items():
            gauge.add_metric(labels, count)
        yield gauge


def _counts(consumer: Consumer) -> dict[tuple[str, str, str], int]:
    return {
        (consumer.topic, consumer.channel, name): getattr(consumer.stats, name) for name in _COUNTS
    }
