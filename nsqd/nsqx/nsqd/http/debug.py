"""
``/debug`` (HTTP section 8): the paths that NSQ has, with what a Python program can tell.

    /debug/pprof/            what there is
    /debug/pprof/cmdline     the command line
    /debug/pprof/goroutine   the stack of every thread and of every asyncio task
    /debug/pprof/heap        memory, garbage collector, and the most frequent types of objects
    /debug/pprof/threadcreate   the threads
    /debug/pprof/symbol, profile, block    nothing: only a Go program has these
    /debug/setblockrate, freememory        answer 500 as NSQ does; the latter collects garbage
"""

import asyncio
import gc
import io
import sys
import threading
import traceback
from collections import Counter
from urllib.parse import parse_qs

from nsqx.net.host_port import without_secrets
from nsqx.nsqd.http.node import HttpNode
from nsqx.runtime.http.server import Answer, ApiError, Handler, Request, Router, plain_text
from nsqx.runtime.options.go_values import read_int64

__all__ = ["DebugEndpoints"]

_FORM_BYTES_MAX = 64 * 1024
_FORM_TYPE = "application/x-www-form-urlencoded"
_TYPES_SHOWN = 30
_OBJECTS_PER_STEP = 20_000  # about 2 ms of the event loop
_STACK_FRAMES_MAX = 30


class DebugEndpoints:
    """For whoever looks into a running nsqd."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd

    def add_to(self, router: Router[Handler]) -> None:
        """Add the routes."""
        for method, path, handler in [
            ("GET", "/debug/pprof/", _index),
            ("GET", "/debug/pprof/cmdline", _command_line),
            ("GET", "/debug/pprof/symbol", _symbol),
            ("POST", "/debug/pprof/symbol", _symbol),
            ("GET", "/debug/pprof/profile", _nothing),
            ("GET", "/debug/pprof/heap", self._heap),
            ("GET", "/debug/pprof/goroutine", _stacks),
            ("GET", "/debug/pprof/block", _nothing),
            ("GET", "/debug/pprof/threadcreate", _threads),
            ("PUT", "/debug/setblockrate", _set_block_rate),
            ("POST", "/debug/freememory", _free_memory),
        ]:
            router.add(method, path, handler)

    async def _heap(self, request: Request) -> Answer:
        lines = [f"{name}: {value}\n" for name, value in self._nsqd.memory.read().items()]
        lines += [
            f"generation {number}: {' '.join(f'{key} {value}' for key, value in stats.items())}\n"
            for number, stats in enumerate(gc.get_stats())
        ]
        types: Counter[str] = Counter()
        objects = gc.get_objects()
        for start in range(0, len(objects), _OBJECTS_PER_STEP):
            types.update(
                type(item).__qualname__ for item in objects[start : start + _OBJECTS_PER_STEP]
            )
            await asyncio.sleep(0)
        del objects
        lines += [f"{count:>9} {name}\n" for name, count in types.most_common(_TYPES_SHOWN)]
        return plain_text("".join(lines))


async def _index(request: Request) -> Answer:
    return plain_text(__doc__ or "")


async def _command_line(request: Request) -> Answer:
    return plain_text("\0".join(map(_shown, sys.argv)))


def _shown(argument: str) -> str:
    """Return an argument without keys: those of URLs, such as the auth server's."""
    name, equals, value = argument.partition("=") if argument[:1] == "-" else ("", "", argument)
    return f"{name}{equals}{without_secrets(value)}"


async def _symbol(request: Request) -> Answer:
    return plain_text("num_symbols: 1\n")


async def _nothing(request: Request) -> Answer:
    return plain_text("nsqd of nsqx is not a Go program and has no such profile\n")


async def _stacks(request: Request) -> Answer:
    output = io.StringIO()
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        output.write(f"thread {names.get(ident, ident)}\n")
        output.writelines(traceback.format_stack(frame))
        output.write("\n")
    for number, task in enumerate(asyncio.all_tasks()):
        task.print_stack(limit=_STACK_FRAMES_MAX, file=output)
        output.write("\n")
        if number % 50 == 49:
            await asyncio.sleep(0)
    return plain_text(output.getvalue())


async def _threads(request: Request) -> Answer:
    names = sorted(thread.name for thread in threading.enumerate())
    return plain_text("".join(f"{name}\n" for name in names))


async def _set_block_rate(request: Request) -> Answer:
    """Judge the rate as NSQ does, which then fails to answer; there is nothing to set here."""
    rate = request.query().get("rate")
    if rate is None and request.header("Content-Type").startswith(_FORM_TYPE):
        form = await request.body(_FORM_BYTES_MAX, "INVALID_REQUEST")
        rate = parse_qs(form.decode("utf-8", "replace")).get("rate", [""])[0]
    try:
        read_int64(rate or "")
    except ValueError:
        message = f'invalid block rate : strconv.Atoi: parsing "{rate or ""}": invalid syntax'
        return plain_text(message, 400)
    raise ApiError(500, "INTERNAL_ERROR")


async def _free_memory(request: Request) -> Answer:
    gc.collect()
    raise ApiError(500, "INTERNAL_ERROR")
