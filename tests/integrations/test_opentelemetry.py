"""Spans of publishes and handlers, with the real SDK."""

import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from nsqx.client import Message, PublishFailed
from nsqx.integrations.opentelemetry import Tracing, carrier
from nsqx.testing.cluster import Cluster

WAIT_SECONDS = 10.0


class Traces:
    """A tracer provider and what it was given."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def named(self, name: str) -> Sequence[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def traces() -> Traces:
    return Traces()


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.trace_id)


async def test_publishes(nsq_server: Cluster, traces: Traces) -> None:
    async with nsq_server.client(observers=[Tracing(traces.provider)]) as nsq:
        with traces.tracer.start_as_current_span("checkout") as checkout:
            await nsq.publish("orders", b"1")
            await nsq.publish_many("many", [b"1", b"2"])
        with pytest.raises(PublishFailed):
            await nsq.publish("large", b"x" * 2_000_000)

    span = traces.one("publish orders")
    assert span.kind is SpanKind.PRODUCER
    assert span.parent == checkout.get_span_context()
    assert span.attributes == {
        "messaging.system": "nsq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "orders",
    }
    attributes = traces.one("publish many").attributes
    assert attributes is not None
    assert attributes["messaging.batch.message_count"] == 2

    failed = traces.one("publish large")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "PublishFailed"
    assert [event.name for event in failed.events] == ["exception"]


async def test_every_attempt_is_a_trace_with_what_its_handler_did(
    nsq_server: Cluster, traces: Traces
) -> None:
    nsq = nsq_server.client(observers=[Tracing(traces.provider)])
    finished = asyncio.Event()
    ids: list[bytes] = []

    @nsq.handler("orders", "billing", requeue_delay=0, backoff=False)
    async def bill(message: Message) -> None:
        ids.append(message.id)
        if message.attempts == 1:
            raise LookupError("not yet")
        await nsq.publish("invoices", b"1")
        finished.set()

    async with nsq:
        with traces.tracer.start_as_current_span("start of the application"):
            await nsq.publish("orders", b"123")
            async with nsq.running(), asyncio.timeout(WAIT_SECONDS):
                await finished.wait()

    first, second = traces.named("process orders")
    for attempt, span in enumerate((first, second), 1):
        assert span.kind is SpanKind.CONSUMER
        assert span.parent is None
        assert span.links == ()
        expected = {
            "messaging.system": "nsq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "orders",
            "messaging.destination.subscription.name": "billing",
            "messaging.message.id": ids[0].decode(),
            "messaging.message.body.size": 3,
            "nsq.message.attempts": attempt,
        }
        if attempt == 1:
            expected["error.type"] = "LookupError"
        assert span.attributes == expected
    assert first.status.status_code is StatusCode.ERROR
    assert second.status.status_code is StatusCode.UNSET
    assert trace_id(first) != trace_id(second)
    assert traces.one("publish invoices").parent == second.context


async def test_a_context_in_the_body_becomes_a_link(nsq_server: Cluster, traces: Traces) -> None:
    tracing = Tracing(traces.provider, carrier=lambda message: message.decode()["trace"])
    nsq = nsq_server.client(observers=[tracing])
    handled: asyncio.Queue[Message] = asyncio.Queue()

    @nsq.handler("orders", "billing")
    def bill(message: Message) -> None:
        loop.call_soon_threadsafe(handled.put_nowait, message)

    loop = asyncio.get_running_loop()
    assert carrier() == {}
    async with nsq, nsq.running(), asyncio.timeout(WAIT_SECONDS):
        with traces.tracer.start_as_current_span("checkout") as checkout:
            await nsq.publish("orders", {"trace": carrier()})
        await handled.get()
        # What is no context, and what is no such body, is handled nevertheless.
        await nsq.publish("orders", {"trace": {"traceparent": "?"}})
        await handled.get()
        await nsq.publish("orders", b"[1")
        await handled.get()

    linked, *others = traces.named("process orders")
    (link,) = linked.links
    assert link.context.span_id == checkout.get_span_context().span_id
    assert linked.parent is None
    assert [span.links for span in others] == [(), ()]
