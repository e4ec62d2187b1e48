"""The lines that ``nsq_stat`` prints, from a channel's sums (tools section 6). No I/O."""

from nsqx.cluster.rows import ChannelRow

__all__ = ["HEADER", "line"]

HEADER = (
    "------rate------+----------------depth----------------+--------------metadata---------------\n"
    "ingress  egress |   total     mem    disk inflt   def |     req     t-o         msgs clients\n"
)


def line(before: ChannelRow, now: ChannelRow, seconds: float) -> str:
    """Return the report of an interval: its rates, and what is the case at its end."""
    grown = now.messages - before.messages
    ingress = int(grown / seconds)
    egress = int((grown - (now.depth - before.depth)) / seconds)
    memory = now.depth - now.backend_depth
    return (
        f"{ingress:7d} {egress:7d} | {now.depth:7d} {memory:7d} {now.backend_depth:7d} "
        f"{now.in_flight:5d} {now.deferred:5d} | {now.requeued:7d} "
        f"{now.timed_out:7d} {now.messages:12d} {now.clients:7d}\n"
    )
