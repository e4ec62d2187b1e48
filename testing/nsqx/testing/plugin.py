"""
The pytest plugin: a real cluster for each test that asks for one.

    nsq_server      a cluster of one nsqd and one nsqlookupd
    nsq_cluster     makes a cluster of as many nsqds as wanted: ``nsq_cluster(3)``
    nsq             a client of nsq_server that needs no event loop
    published       what was published on nsq_server: ``published("orders").wait(2)``

The fixtures are plain functions, so they work in synchronous tests and in asynchronous ones,
however those are run. The daemons have threads of their own, and any NSQ client may be used.

Installed with nsqx, and so imported by every run of pytest: it costs next to nothing until a
fixture is used.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nsqx.client import sync
    from nsqx.testing.cluster import Cluster
    from nsqx.testing.recorder import Recorder

__all__ = ["nsq", "nsq_cluster", "nsq_server", "published"]


@pytest.fixture
def nsq_cluster(tmp_path: Path) -> "Iterator[Callable[..., Cluster]]":
    """Make clusters: ``nsq_cluster(3, msg_timeout=10**9)``. They end with the test."""
    from nsqx.testing.cluster import Cluster

    with ExitStack() as stack:
        numbers = iter(range(1, 1000))

        def make(nodes: int = 1, **nsqd_options: Any) -> Cluster:
            folder = tmp_path / f"nsq-cluster-{next(numbers)}"
            return stack.enter_context(Cluster(nodes, folder, **nsqd_options))

        yield make


@pytest.fixture
def nsq_server(nsq_cluster: "Callable[..., Cluster]") -> "Cluster":
    """One nsqd and one nsqlookupd."""
    return nsq_cluster(1)


@pytest.fixture
def nsq(nsq_server: "Cluster") -> "Iterator[sync.Nsq]":
    """A client of ``nsq_server`` whose calls wait."""
    from nsqx.client import sync

    with sync.Nsq(nsqd=nsq_server.nsqd_addresses, lookupd=nsq_server.lookupd_address) as nsq:
        yield nsq


@pytest.fixture
def published(nsq_server: "Cluster") -> "Callable[..., Recorder]":
    """Look at what was published on ``nsq_server``, whoever did it, consumed or not."""
    return nsq_server.published
