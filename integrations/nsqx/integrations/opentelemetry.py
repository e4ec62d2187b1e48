"""
Spans of publishes and handlers for OpenTelemetry. Needs ``nsqx[otel]``, and an SDK to take them.

    nsq = Nsq(lookupd="127.0.0.1:4161", observers=[Tracing()])

    publish orders    kind PRODUCER, a child of what runs then: of a handler's span in a handler
    process orders    kind CONSUMER, a trace of its own for each attempt

Theory of operation. NSQ's messages have no headers, and an nsqd does not say which id it gave to
what it accepted. So no context travels by itself, and no span of a producer can name its message.
What all attempts in all channels have in common is ``messaging.message.id``; look for that.

Whoever writes both ends can have more: put the context into the body, and say where it is.

    await nsq.publish("orders", {"id": 1, "trace": carrier()})

    Tracing(carrier=lambda message: message.decode()["trace"])

A handler's span then has a link to the publish's. It is no child of it: a message may be handled
in several channels, again and again, and long after.

Names are those of OpenTelemetry's conventions for messaging, which may still change.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, TracerProvider
from opentelemetry.util.types import AttributeValue

from nsqx.client import Message
from nsqx.client.observer import Observer

__all__ = ["Tracing", "carrier"]

Carrier = Mapping[str, str]

_log = logging.getLogger("nsqx.integrations.opentelemetry")


def carrier() -> dict[str, str]:
    """Return the context of the current span, to be put into a body; empty without one."""
    fields: dict[str, str] = {}
    propagate.inject(fields)
    return fields


class Tracing(Observer):
    """An observer; one may serve several ``Nsq``."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        carrier: Callable[[Message], Carrier | None] | None = None,
    ) -> None:
        """
        Take the global tracer provider, if none is given.

        Args:
            tracer_provider: where spans go to.
            carrier: finds what ``carrier()`` returned in a message; None: there is nothing. If
                it raises, the message is handled all the same.
        """
        self._tracer = trace.get_tracer("nsqx.client", tracer_provider=tracer_provider)
        self._carrier = carrier

    @contextmanager
    def publishing(self, topic: str) -> Iterator[None]:
        attributes = {
            "messaging.system": "nsq",
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
        }
        opened = self._tracer.start_as_current_span(
            f"publish {topic}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        with opened as span, _naming_the_error(span):
            yield

    def published(self, topic: str, messages: int) -> None:
        # Called within publishing(), so the span is that of the publish.
        if messages != 1:
            trace.get_current_span().set_attribute("messaging.batch.message_count", messages)

    @contextmanager
    def handling(self, message: Message, topic: str, channel: str) -> Iterator[None]:
        attributes: dict[str, AttributeValue] = {
            "messaging.system": "nsq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": topic,
            "messaging.destination.subscription.name": channel,
            "messaging.message.id": message.id.decode(errors="replace"),
            "messaging.message.body.size": len(message.body),
            "nsq.message.attempts": message.attempts,
        }
        opened = self._tracer.start_as_current_span(
            f"process {topic}",
            # Not a child of what ran when the consumer was started.
            context=Context(),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=self._links(message),
        )
        with opened as span, _naming_the_error(span):
            yield

    def _links(self, message: Message) -> list[Link]:
        if self._carrier is None:
            return []
        try:
            found = self._carrier(message)
        except Exception:  # whatever is in a body, and whatever it is read by
            _log.debug("no trace context in message %r", message.id, exc_info=True)
            return []
        extracted = propagate.extract(found, context=Context()) if found else Context()
        linked = trace.get_current_span(extracted).get_span_context()
        return [Link(linked)] if linked.is_valid else []


@contextmanager
def _naming_the_error(span: Span) -> Iterator[None]:
    """Add what the SDK does not, which records the error and the status."""
    try:
        yield
    except Exception as error:
        span.set_attribute("error.type", type(error).__qualname__)
        raise
