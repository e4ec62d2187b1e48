"""
The changes of NSQ's own API (nsqadmin section 3, "What a change does"): lookupds first, then nsqds.

A POST that fails does not stop the rest; all failures together are the warning. Only who is to be
changed must be found out: without that a change fails as a whole.
"""

from collections.abc import Iterable
from urllib.parse import quote

from nsqx.admin.changed.audit import NodeResult
from nsqx.admin.nsq_api.cluster import LOOKUPD, NSQD, Cluster, Node, Warnings
from nsqx.cluster.http import DaemonError, DaemonHttp

__all__ = ["Changes"]


class Changes:
    """
    One change of one request.

    Attributes:
        results: of each daemon that was to be changed, in the order asked.
    """

    def __init__(self, cluster: Cluster, http: DaemonHttp) -> None:
        self._cluster = cluster
        self._http = http
        self._lookup_errors: list[str] = []
        self.results: list[NodeResult] = []

    @property
    def message(self) -> str:
        """For the ``message`` of the answer; empty when all went well."""
        failed = [*self._lookup_errors, *(each.error for each in self.results if not each.ok)]
        return "WARNING: " + "\n".join(failed) if failed else ""

    def fail(self, error: str) -> None:
        """Note that it failed as a whole."""
        self.results.append(NodeResult("", "", False, error))

    async def create(self, topic: str, channel: str) -> None:
        """Raises: AllFailedError. Without lookupds nothing happens, as in NSQ."""
        if not self._cluster.lookupds:
            return
        await self._post_to_lookupds(f"/topic/create?{_names(topic)}")
        if channel:
            names = _names(topic, channel)
            await self._post_to_lookupds(f"/channel/create?{names}")
            nodes = await self._nodes_with(topic)
            await self._post_to_nodes(nodes, f"/channel/create?{names}")

    async def delete(self, topic: str, channel: str = "") -> None:
        """Raises: AllFailedError."""
        nodes = await self._nodes_with(topic)
        path = f"/{'channel' if channel else 'topic'}/delete?{_names(topic, channel)}"
        await self._post_to_lookupds(path)
        await self._post_to_nodes(nodes, path)

    async def act(self, action: str, topic: str, channel: str = "") -> None:
        """Pause, unpause or empty. Raises: AllFailedError."""
        nodes = await self._nodes_with(topic)
        kind = "channel" if channel else "topic"
        await self._post_to_nodes(nodes, f"/{kind}/{action}?{_names(topic, channel)}")

    async def tombstone(self, topic: str, node: str) -> None:
        """
        Hide a topic at a node from lookups, and delete it there.

        Raises:
            AllFailedError: the node does not say who it is. The tombstone is set then.
        """
        path = f"/topic/tombstone?{_names(topic)}&node={quote(node, safe='')}"
        await self._post_to_lookupds(path)
        producer = await self._cluster.node_at(node)
        await self._post_to_nodes([producer], f"/topic/delete?{_names(topic)}")

    async def _nodes_with(self, topic: str) -> list[Node]:
        warnings = Warnings()
        nodes = await self._cluster.nodes_with(topic, warnings)
        self._lookup_errors += warnings.steps
        return nodes

    async def _post_to_lookupds(self, path: str) -> None:
        for address in self._cluster.lookupds:
            await self._post(LOOKUPD, address, path)

    async def _post_to_nodes(self, nodes: Iterable[Node], path: str) -> None:
        for node in nodes:
            await self._post(NSQD, node.http_address, path)

    async def _post(self, kind: str, address: str, path: str) -> None:
        try:
            await self._http.post(address, path)
        except DaemonError as exc:
            self.results.append(NodeResult(address, kind, False, str(exc)))
        else:
            self.results.append(NodeResult(address, kind, True))


def _names(topic: str, channel: str = "") -> str:
    names = f"topic={quote(topic, safe='')}"
    return f"{names}&channel={quote(channel, safe='')}" if channel else names
