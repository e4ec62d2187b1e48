"""What some polls of nsqds make of a cluster, for who looks for a moment. No I/O."""

from collections.abc import Mapping
from dataclasses import replace

from nsqx.cluster.answers import NodeCounts
from nsqx.cluster.counters import Layouts
from nsqx.cluster.health import DaemonState
from nsqx.cluster.node_metrics import NodeMetrics
from nsqx.cluster.rates import RateWindow
from nsqx.cluster.views import ClusterView, NodeView

__all__ = ["Observer"]


class Observer:
    """Takes in one poll after another; rates are known from a node's second answer on."""

    def __init__(self) -> None:
        self._layouts = Layouts()
        self._windows: dict[str, RateWindow] = {}
        self._answered: dict[str, NodeView] = {}  # how each was seen when it answered last

    def view(
        self,
        at_s: float,
        now: float,
        answers: Mapping[str, NodeCounts],
        failures: Mapping[str, str],
        metrics: Mapping[str, NodeMetrics] | None = None,
    ) -> ClusterView:
        """
        Return the cluster as it is seen now.

        Args:
            at_s: of the answers, by a clock that runs evenly.
            now: seconds since 1970.
            answers: what each nsqd said to ``/stats``, by its address.
            failures: why an nsqd said nothing, by its address.
            metrics: what ours say besides, if they were asked.
        """
        nodes = []
        for address, stats in answers.items():
            window = self._windows.setdefault(address, RateWindow(self._layouts))
            window.add(at_s, stats)
            node = NodeView(
                address,
                DaemonState.OK,
                observed_at=now,
                failing_since=None,
                error="",
                version=stats.version,
                stats=stats,
                counters=window.counters,
                rates=window.rates,
                metrics=(metrics or {}).get(address),
            )
            self._answered[address] = node
            nodes.append(node)
        for address, error in failures.items():
            nodes.append(self._silent(address, now, error))
        return ClusterView(now, at_s, (), sorted(nodes, key=lambda node: node.address))

    def _silent(self, address: str, now: float, error: str) -> NodeView:
        """Return a node that said nothing: with what it said last, as the dashboard has it."""
        last = self._answered.get(address)
        if last is None:
            return NodeView(address, DaemonState.UNREACHABLE, None, now, error)
        return replace(last, state=DaemonState.STALE, failing_since=now, error=error, rates=None)
