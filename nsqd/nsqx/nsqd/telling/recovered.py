"""What a start found in the data folder, as a line of the log."""

from nsqx.nsqd.core.broker import Broker
from nsqx.runtime.durations import format_duration

__all__ = ["recovery_text"]

NAMES_MAX = 20  # a line is for eyes


def recovery_text(broker: Broker, took_ns: int) -> str:
    """Return the topics, what waits in them, what is damaged, and how long it took to find out."""
    topics = list(broker.topics.values())
    channels = [channel for topic in topics for channel in topic.channels.values()]
    waiting = sum(topic.depth for topic in topics) + sum(channel.depth for channel in channels)
    text = (
        f"recovered {_count(len(topics), 'topic')} and {_count(len(channels), 'channel')}, "
        f"{_count(waiting, 'message')} waiting"
    )
    if broker.damages:
        text += f", {_count(len(broker.damages), 'damaged range')}"
    return f"{text}, in {format_duration(took_ns)}{_names(list(broker.topics))}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _names(names: list[str]) -> str:
    if not names:
        return ""
    rest = len(names) - NAMES_MAX
    more = f" and {rest} more" if rest > 0 else ""
    return ": " + ", ".join(names[:NAMES_MAX]) + more
