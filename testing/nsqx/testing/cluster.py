"""A cluster: one nsqlookupd and some nsqds, within this process, on ports the system picks."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from nsqx.client import Nsq
from nsqx.client.codecs import JSON, Codec
from nsqx.runtime.process import logs
from nsqx.runtime.process.logs import Level
from nsqx.testing.daemons import Lookupd, Node
from nsqx.testing.recorder import Recorder

__all__ = ["Cluster"]


class Cluster:
    """
    Runs for the length of a ``with``::

        with Cluster(nodes=3) as cluster:
            cluster.nodes[0].kill()

    Attributes:
        nodes: the nsqds.
        lookupd: the nsqlookupd.
    """

    def __init__(self, nodes: int = 1, folder: Path | None = None, **nsqd_options: Any) -> None:
        """
        Nothing runs yet.

        Args:
            nodes: how many nsqds.
            folder: for their data; a temporary one if not given.
            nsqd_options: for ``NsqdOptions`` of each of them. Durations are nanoseconds.
        """
        self._count = nodes
        self._folder = folder
        self._options = nsqd_options
        self._stack = ExitStack()
        self.lookupd = Lookupd()
        self.nodes: list[Node] = []

    # Start and stop

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            _less_logs(stack)
            if self._folder is None:
                self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="nsqx-")))
            self.lookupd.start()
            stack.callback(self.lookupd.stop)
            stack.callback(self._stop_nodes)
            for _ in range(self._count):
                self.add_node()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add_node(self, **nsqd_options: Any) -> Node:
        """
        Start another nsqd, and return when the lookupd knows it.

        Args:
            nsqd_options: added to those of the cluster.
        """
        assert self._folder is not None
        known = {"lookupd_tcp_address": [self.lookupd.tcp_address]}
        options = {**known, **self._options, **nsqd_options}
        node = Node(self._folder / f"nsqd-{len(self.nodes) + 1}", **options)
        node.start()
        self.nodes.append(node)
        self.lookupd.wait_for(node)
        return node

    def _stop_nodes(self) -> None:
        for node in self.nodes:
            node.stop()

    # Where it is

    @property
    def lookupd_address(self) -> str:
        """Where consumers ask: ``host:port`` for HTTP."""
        return self.lookupd.http_address

    @property
    def nsqd_addresses(self) -> list[str]:
        """``host:port`` of all nsqds, for TCP."""
        return [node.tcp_address for node in self.nodes]

    @property
    def node(self) -> Node:
        """The first nsqd."""
        return self.nodes[0]

    @property
    def tcp_address(self) -> str:
        """``host:port`` of the first nsqd, for TCP."""
        return self.node.tcp_address

    @property
    def http_address(self) -> str:
        """``host:port`` of the first nsqd, for HTTP."""
        return self.node.http_address

    # What one does with it

    def client(self, **options: Any) -> Nsq:
        """Return a client, to be opened in an event loop; the options are those of ``Nsq``."""
        known = {"nsqd": self.nsqd_addresses, "lookupd": self.lookupd_address}
        return Nsq(**{**known, **options})

    def published(self, topic: str, codec: Codec = JSON) -> Recorder:
        """Return the recorder of a topic."""
        return Recorder(lambda: self.nodes, topic, codec)

    def create(self, topic: str, channels: Iterable[str] = ()) -> None:
        """Make a topic and channels of it on all nodes, so that messages wait for consumers."""
        for node in self.nodes:
            node.post(f"/topic/create?topic={quote(topic)}")
            for channel in channels:
                node.post(f"/channel/create?topic={quote(topic)}&channel={quote(channel)}")


def _less_logs(stack: ExitStack) -> None:
    """A test that fails should not show every connection that was made."""
    before = logs.get_level()
    logs.set_level(max(before, Level.WARNING))
    stack.callback(logs.set_level, before)
