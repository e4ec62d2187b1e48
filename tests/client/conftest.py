"""
The client is a library: its tests run on asyncio's event loop and on uvloop's.

asyncio's is in debug mode. Those that start processes take long, and run on one of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator

import pytest
import uvloop

from tests.support.dns import Dns, play_dns


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    loops = {"asyncio": debugged_loop, "uvloop": uvloop.new_event_loop}
    if "cluster" in getattr(item, "fixturenames", ()):
        del loops["uvloop"]
    return loops


def debugged_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


@pytest.fixture(autouse=True)
def no_task_is_forgotten() -> Iterator[None]:
    """Nor an error: asyncio tells its log of tasks destroyed while pending, and errors not seen."""
    complaints: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            if "was destroyed" in message or "never retrieved" in message:
                complaints.append(message)

    listener = Listener(logging.ERROR)
    logger = logging.getLogger("asyncio")
    logger.addHandler(listener)
    yield
    logger.removeHandler(listener)
    assert complaints == []


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> Dns:
    """What names resolve to; all others cannot be resolved."""
    return play_dns(monkeypatch)
