"""Tasks that run as long as their owner: none of them ends unseen."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["start"]

_log = logging.getLogger("nsqx.client")


def start(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Begin a task that is only to end by being cancelled; any other end is logged."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report_end)
    return task


def _report_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.error("%s ended by mistake", task.get_name(), exc_info=task.exception())
