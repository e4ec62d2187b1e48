"""The client is a library: its tests run on asyncio's event loop and on uvloop's."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tests.support.dns import Dns, play_dns


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    """What names resolve to; all others cannot be resolved."""
    return play_dns(monkeypatch)
