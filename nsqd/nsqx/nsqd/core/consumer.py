"""A client that is subscribed to a channel, as the channel sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ELSEWHERE", "SAME_REGION", "SAME_ZONE", "Consumer", "Place", "Sink"]

# How far a consumer is from its node (protocol section 13), nearest first.
SAME_ZONE, SAME_REGION, ELSEWHERE = range(3)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is. A consumer that tells no place is with the nodes that have none."""

    region: str
    zone: str

    def distance(self, region: str, zone: str) -> int:
        """Return how far another place is."""
        if region != self.region:
            return ELSEWHERE
        return SAME_ZONE if zone == self.zone else SAME_REGION


class Sink(Protocol):
    """Where frames for a client go."""

    @property
    def send(self) -> Callable[[bytes | bytearray], None]:
        """What sends frames. Never blocks; `Consumer.writable` tells when it has had enough."""

    def close(self) -> None:
        """End the connection."""


class Consumer:
    """
    Takes up to ``ready_count`` unanswered messages at a time (RDY, protocol section 9).

    It outlives its connection while messages are in flight to it: they wait for their time-out.
    """

    __slots__ = (
        "closing",
        "distance",
        "finish_count",
        "in_flight",
        "is_waiting",
        "message_count",
        "msg_timeout_ns",
        "ready_count",
        "requeue_count",
        "sample_rate",
        "send",
        "sink",
        "topology_region",
        "topology_zone",
        "writable",
    )

    def __init__(
        self,
        sink: Sink,
        msg_timeout_ns: int,
        *,
        sample_rate: int = 0,
        topology_region: str = "",
        topology_zone: str = "",
    ) -> None:
        self.sink = sink
        self.send = sink.send  # found once: no layer comes after SUB
        self.msg_timeout_ns = msg_timeout_ns
        self.sample_rate = sample_rate  # percent of messages to deliver; 0 delivers all
        self.topology_region = topology_region
        self.topology_zone = topology_zone
        self.distance = ELSEWHERE  # from the node; given by the channel
        self.ready_count = 0
        self.in_flight = 0  # of all backlogs of the channel
        self.writable = True
        self.closing = False  # after CLS: answers count, nothing is delivered
        self.is_waiting = False  # in the channel's queue of those that can take messages
        self.message_count = 0
        self.finish_count = 0
        self.requeue_count = 0

    @property
    def room(self) -> int:
        """Return how many messages may be delivered now."""
        if not self.writable or self.closing:
            return 0
        return self.ready_count - self.in_flight
