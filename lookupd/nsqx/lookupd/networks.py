"""
Which networks nsqds advertise addresses for, and which of them an asker is in. No I/O.

A view is the part of these networks that holds the asker's IP address, smallest first. Two askers
with the same view get the same answers, so answers are kept by view and not by asker.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterable

from nsqx.protocol.lookup import Network

__all__ = ["NO_VIEW", "Networks", "View", "parse_network"]

View = tuple[Network, ...]

NO_VIEW: View = ()
ASKERS_MAX = 10_000  # whose views are kept


class Networks:
    """Counts how many nsqds have an address for each network."""

    def __init__(self) -> None:
        self._uses: Counter[Network] = Counter()
        self._views: dict[str, View] = {}

    def add(self, networks: Iterable[Network]) -> None:
        """Take in the networks of an nsqd."""
        for network in networks:
            self._uses[network] += 1
            if self._uses[network] == 1:
                self._views.clear()

    def remove(self, networks: Iterable[Network]) -> None:
        """Take out the networks of an nsqd that is gone."""
        for network in networks:
            self._uses[network] -= 1
            if not self._uses[network]:
                del self._uses[network]
                self._views.clear()

    def view(self, asker: str) -> View:
        """
        Return the networks that hold an IP address, smallest first.

        What is no IP address, such as a Unix socket's name, is in none. Costs a look at each
        network for an asker that is new, and a dictionary access for others.
        """
        if not self._uses:
            return NO_VIEW
        view = self._views.get(asker)
        if view is None:
            if len(self._views) >= ASKERS_MAX:
                self._views.clear()
            view = self._views[asker] = self._find(asker)
        return view

    def _find(self, asker: str) -> View:
        try:
            address = ipaddress.ip_address(asker.partition("%")[0])
        except ValueError:
            return NO_VIEW
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped  # a socket for both families says ::ffff:10.1.2.3
        holding = [network for network in self._uses if address in network]
        return tuple(sorted(holding, key=lambda network: -network.prefixlen))


def parse_network(text: str) -> Network:
    """
    Read a network such as ``10.0.0.0/8`` or ``fd00::/8``.

    Raises:
        ValueError: it is none, or has bits beyond its prefix.
    """
    return ipaddress.ip_network(text)
