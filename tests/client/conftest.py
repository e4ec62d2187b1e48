"""
The client is a library: its tests run on asyncio's event loop and on uvloop's.

Those that start processes take long, and run on one of them.
"""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tests.support.dns import Dns, play_dns


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if "cluster" in getattr(item, "fixturenames", ()):
        del loops["asyncio"]
    return loops


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    """What names resolve to; all others cannot be resolved."""
    return play_dns(monkeypatch)
