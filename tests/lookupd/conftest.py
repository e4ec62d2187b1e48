"""Sockets within this process run on both event loops; processes choose their own."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

OWN_SOCKETS = ("test_tcp", "test_http_api")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in OWN_SOCKETS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
