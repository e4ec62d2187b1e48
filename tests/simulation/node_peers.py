"""A node's talk with its nsqlookupds: what `nsqx.nsqd.directory.peers` does with asyncio."""

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.directory.lookup_peer import LookupPeer, State
from nsqx.protocol.lookup import PeerInfo
from nsqx.protocol.names import is_ephemeral
from tests.simulation.directory import Directory
from tests.simulation.network import End, Network
from tests.simulation.node import Node
from tests.simulation.scheduler import SECOND_NS, Scheduler

__all__ = ["NodePeers"]

ANSWER_BYTES_MAX = 1024 * 1024


class NodePeers:
    """Registers a node at every directory, and asks them for the channels of new topics."""

    def __init__(
        self,
        node: Node,
        directories: Sequence[Directory],
        scheduler: Scheduler,
        network: Network,
        chance: random.Random,
    ) -> None:
        self._node = node
        self._directories = directories
        self._links = [
            PeerLink(node, directory, scheduler, network, chance) for directory in directories
        ]
        if directories:
            node.on_started = self._started
            node.on_changed = self._changed
            node.on_topic_created = self._topic_created

    @property
    def is_complete(self) -> bool:
        """Whether every directory has confirmed everything."""
        return all(link.peer.is_complete for link in self._links)

    def _started(self) -> None:
        for link in self._links:
            link.start()

    def _changed(self, topic: str, channel: str | None, is_there: bool) -> None:
        for link in self._links:
            link.changed(topic, channel, is_there)

    def _topic_created(self, topic: Topic) -> None:
        """Hold it until its channels are known."""
        topic.hold()
        answers: list[list[str]] = []
        broker = self._node.broker

        def answered(channels: list[str]) -> None:
            answers.append(channels)
            if len(answers) < len(self._directories) or self._node.broker is not broker:
                return
            self._node.later(0, make)

        def make() -> None:
            if broker.topics.get(topic.name) is not topic or topic.is_closing:
                return
            names = sorted({name for names in answers for name in names})
            try:
                for name in names:
                    if not is_ephemeral(name):
                        broker.get_channel(topic, name)
            except OSError as error:
                self._node.note(f"can not make the known channels of {topic.name}: {error}")
            finally:
                topic.let_go(broker.clock.monotonic())

        for directory in self._directories:
            directory.ask(self._node.name, partial(directory.channels_of, topic.name), answered)


class PeerLink:
    """One directory as a node sees it, over its connections. Is the `Handler` of its end."""

    def __init__(
        self,
        node: Node,
        directory: Directory,
        scheduler: Scheduler,
        network: Network,
        chance: random.Random,
    ) -> None:
        self._node = node
        self._directory = directory
        self._scheduler = scheduler
        self._network = network
        self._chance = chance
        self._end: End | None = None
        self._tick_at_ns = 0
        self.peer = self._new_peer()

    def _new_peer(self) -> LookupPeer:
        return LookupPeer(self._identity, self._catalogue, answer_bytes_max=ANSWER_BYTES_MAX)

    def _identity(self) -> PeerInfo:
        name = self._node.name
        return PeerInfo(name, name, 4151, 4150, version="simulated")

    def _catalogue(self) -> Iterator[tuple[str, Iterable[str]]]:
        for topic in self._node.broker.topics.values():
            yield topic.name, topic.channels

    def start(self) -> None:
        """Begin anew, with a new process."""
        self._end = None
        self.peer = self._new_peer()
        self._connect(self._node.broker)

    def _connect(self, broker: object) -> None:
        if not self._node.is_alive or self._node.broker is not broker:
            return
        self._network.connect(
            self._node.name, self._directory.name, partial(self._connected, broker)
        )

    def _connected(self, broker: object, end: End | None) -> "PeerLink | None":
        if not self._node.is_alive or self._node.broker is not broker:
            return None
        if end is None:
            self._try_again()
            return None
        self._end = end
        output = self.peer.connected(self._now_s())
        self._scheduler.after(0, partial(self._send, end, output))
        return self

    def changed(self, topic: str, channel: str | None, is_there: bool) -> None:
        """Say that something is new or gone, at the end of this turn."""
        (self.peer.register if is_there else self.peer.unregister)(topic, channel)
        end = self._end
        if end is not None:
            self._node.later(0, lambda: self._send(end, self.peer.take_output(self._now_s())))

    def _now_s(self) -> float:
        return self._scheduler.elapsed_s

    def _send(self, end: End, output: bytes) -> None:
        if self._end is not end:
            return
        end.send(output)
        if self.peer.error is not None:
            self._node.note(f"gives up {self._directory.name}: {self.peer.error}")
            end.abort()
            self._lost()
            return
        at_ns = self._tick_at_ns = self._scheduler.now_ns + max(
            1, int((self.peer.next_at - self._now_s()) * SECOND_NS) + 1
        )
        self._node.later(at_ns - self._scheduler.now_ns, partial(self._tick, end, at_ns))

    def _tick(self, end: End, at_ns: int) -> None:
        if self._end is end and at_ns == self._tick_at_ns:
            self._send(end, self.peer.tick(self._now_s()))

    def _lost(self) -> None:
        self._end = None
        self._try_again()

    def _try_again(self) -> None:
        delay_s = self.peer.lost(self._chance.random())
        broker = self._node.broker
        self._node.later(int(delay_s * SECOND_NS), partial(self._connect, broker))

    # Handler

    def received(self, data: bytes) -> None:
        end = self._end
        if end is not None:
            was_present = self.peer.state is State.PRESENT
            output = self.peer.receive_data(data, self._now_s())
            if not was_present and self.peer.state is State.PRESENT:
                self._node.note(f"is known to {self._directory.name}")
            self._send(end, output)

    def ended(self) -> None:
        self.lost()

    def lost(self) -> None:
        if self._end is not None and self._node.is_alive:
            self._lost()

    def set_writable(self, is_writable: bool) -> None:
        """Little is sent."""
