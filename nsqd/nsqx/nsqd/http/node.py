"""What the HTTP API sees of nsqd."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from nsqx.nsqd.directory.peers import LookupPeers
from nsqx.nsqd.edge.auth import AuthServers
from nsqx.nsqd.edge.files import FileStorage
from nsqx.nsqd.edge.loop_lag import LoopLag
from nsqx.nsqd.edge.tcp import TcpServer
from nsqx.nsqd.node import Node
from nsqx.nsqd.telling.latencies import Latencies
from nsqx.nsqd.telling.memory_stats import MemoryStats

__all__ = ["HttpNode"]


class HttpNode(Node, Protocol):
    """A node with all that its endpoints tell and change."""

    @property
    def https_port(self) -> int: ...

    @property
    def broadcast_tcp_port(self) -> int: ...

    @property
    def broadcast_http_port(self) -> int: ...

    @property
    def statsd_prefix(self) -> str: ...

    @property
    def auth_servers(self) -> AuthServers | None: ...

    @property
    def peers(self) -> LookupPeers: ...

    @property
    def tcp_server(self) -> TcpServer: ...

    @property
    def latencies(self) -> Latencies: ...

    @property
    def loop_lag(self) -> LoopLag: ...

    @property
    def storage(self) -> FileStorage: ...

    @property
    def memory(self) -> MemoryStats: ...

    @property
    def start_time_s(self) -> int: ...

    @property
    def started_ns(self) -> int: ...

    @property
    def is_stopping(self) -> bool: ...

    async def share(self, kind: str, factory: Callable[[], asyncio.BaseProtocol]) -> None: ...
