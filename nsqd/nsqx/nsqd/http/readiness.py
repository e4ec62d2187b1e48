"""Whether this node should be given work: what ``/readyz`` says, and orchestrators wait for."""

import time

from nsqx.nsqd.http.node import HttpNode

__all__ = ["Readiness"]

# A directory that is dead must not keep all restarted nodes from taking messages.
REGISTRATION_NS_MAX = 60 * 10**9


class Readiness:
    """Judges one node. To be alive is another question: ``/livez``."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd
        self._was_registered = False

    def obstacle(self) -> str:
        """Return what is in the way, or an empty text when the node is ready."""
        nsqd = self._nsqd
        if nsqd.is_stopping:
            return "stopping"
        if nsqd.broker.draining.is_on:
            return "draining"
        if nsqd.broker.health != "OK":
            return nsqd.broker.health.removeprefix("NOK - ")
        if not self._is_registered():
            return "not registered at any nsqlookupd yet"
        return ""

    def _is_registered(self) -> bool:
        """Once is enough: when all directories die, the nodes go on (docs/discovery.md)."""
        if not self._was_registered:
            peers = self._nsqd.peers.states()
            age_ns = time.monotonic_ns() - self._nsqd.started_ns
            self._was_registered = (
                not peers
                or any(peer.is_connected and peer.is_complete for peer in peers)
                or age_ns > REGISTRATION_NS_MAX
            )
        return self._was_registered
