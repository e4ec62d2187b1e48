"""
What the log makes possible and NSQ does not have (docs/http-api.md): moving a channel to any
message that is kept. Looks are in `peek`.

    POST /channel/create  topic, channel, from
    POST /channel/seek    topic, channel, to
"""

from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.http.arguments import (
    existing_channel,
    existing_topic,
    made_channel,
    topic_and_channel_names,
)
from nsqx.nsqd.http.log_position import requested_position, sequence_at
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.http.server import (
    Answer,
    Handler,
    Request,
    Router,
    empty,
    json_answer,
)

__all__ = ["HistoryEndpoints"]


class HistoryEndpoints:
    """Moves in the log."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        router.add("POST", "/channel/create", self._create_channel)
        router.add("POST", "/channel/seek", self._seek)

    # Channels

    async def _create_channel(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic_text, name = topic_and_channel_names(request)
        topic = existing_topic(broker, topic_text)
        if "from" in request.query() and name not in topic.channels:
            sequence = await self._sequence(topic, request, "from")
            topic = existing_topic(broker, topic_text)  # others ran meanwhile
            if name not in topic.channels:
                broker.seek(topic, made_channel(broker, topic, name), sequence)
        made_channel(broker, topic, name)
        return empty()

    async def _seek(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        topic, _ = existing_channel(broker, request)
        sequence = await self._sequence(topic, request, "to")
        topic, channel = existing_channel(broker, request)  # others ran meanwhile
        broker.flush()
        broker.seek(topic, channel, sequence)
        return json_answer(
            {
                "topic": topic.name,
                "channel": channel.name,
                "sequence": channel.backlog.cursor,
                "depth": channel.depth,
                "deferred_count": channel.deferred_count,
            }
        )

    async def _sequence(self, topic: Topic, request: Request, name: str) -> int:
        """Return the message at a place; a number beyond what is kept becomes the next one."""
        position = requested_position(request, name, self._nsqd.broker.clock.wall())
        sequence = await sequence_at(position, topic, self._nsqd.storage)
        return min(max(sequence, topic.log.first), topic.log.end)
