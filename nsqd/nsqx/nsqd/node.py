"""What the parts at the edge of nsqd see of the whole: the daemon, without depending on it."""

from typing import Protocol

from nsqx.nsqd.core.broker import Broker
from nsqx.nsqd.options import NsqdOptions

__all__ = ["Node"]


class Node(Protocol):
    """A node that runs."""

    @property
    def broker(self) -> Broker: ...

    @property
    def options(self) -> NsqdOptions: ...

    @property
    def tcp_port(self) -> int: ...

    @property
    def http_port(self) -> int: ...
