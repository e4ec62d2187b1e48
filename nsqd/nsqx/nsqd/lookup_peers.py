"""nsqd as a client of nsqlookupd."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.topic import Topic

if TYPE_CHECKING:
    from nsqx.nsqd.daemon import Nsqd

__all__ = ["LookupPeers"]


class LookupPeers:
    """Tells every nsqlookupd what this node has."""

    def __init__(self, nsqd: "Nsqd") -> None:
        self._nsqd = nsqd

    def start(self, addresses: Sequence[str]) -> None: ...

    async def stop(self) -> None: ...

    def topic_created(self, topic: Topic) -> None: ...

    def topic_deleted(self, topic: Topic) -> None: ...

    def channel_created(self, topic: Topic, channel: Channel) -> None: ...

    def channel_deleted(self, topic: Topic, channel: Channel) -> None: ...
