"""
``nsq_to_file``: appends messages to files, and finishes them when they are on the disk.

Theory of operation. Each topic has a consumer, a ``RollingFile`` and a ``TopicWriter`` between the
two. A batch of messages is appended in a thread; it stays pending, and is touched by the client,
until a sync. A sync comes when ``max_in_flight`` messages are pending, when some nsqd has nearly
all in flight that it may, at each sync interval, when files change, on SIGHUP and at the end. Only
after it are the pending messages finished. A lock keeps appends, ticks and signals in turn.
"""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from nsqx.apps.tools.consumer_options import CONSUMER_OPTION, Given, lenient
from nsqx.apps.tools.consuming import (
    ConsumerToolOptions,
    check,
    check_sources,
    consume,
    leaves,
    make_consumer,
    new_event_loop,
    reason_of,
    start_log,
    stop_event,
)
from nsqx.apps.tools.file_names import FileNames, MissingRevisionError
from nsqx.apps.tools.rolling_file import FilePlaces, RollingFile
from nsqx.apps.tools.rotation import Rotation, RotationPolicy
from nsqx.client.consumer import Consumer
from nsqx.client.errors import NsqError
from nsqx.client.message import Message
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.cluster.lookups import list_topics
from nsqx.protocol.errors import StartupError
from nsqx.runtime.durations import MICROSECOND_NS, SECOND_NS
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import DURATION, flag
from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import parse_level
from nsqx.runtime.process.startup import exit_with_failure

__all__ = ["ToFileOptions", "main"]

TOOL = "nsq_to_file"

_log = logs.get_logger()

Result = TypeVar("Result")


@dataclass
class ToFileOptions(ConsumerToolOptions):
    """Options of ``nsq_to_file``."""

    log_level: str = flag("info", help="least level logged: debug, info, warn, error, fatal")
    log_prefix: str = flag("[nsq_to_file] ", help="text before every line of the log")
    topics: list[str] = flag([], name="topic", help="topic (may be given several times)")
    topic_pattern: str = flag("", help="only topics that this regular expression is found in")
    topic_refresh: int = flag(
        "1m", kind=DURATION, help="how often nsqlookupds are asked for topics, without --topic"
    )
    channel: str = flag(TOOL, help="channel")
    output_dir: str = flag("/tmp", help="folder of the files")
    work_dir: str = flag("", help="folder of files in progress, if not that of the others")
    datetime_format: str = flag("%Y-%m-%d_%H", help="what becomes of <DATETIME>, as in strftime")
    filename_format: str = flag(
        "<TOPIC>.<HOST><REV>.<DATETIME>.log",
        help="name of the files, of <TOPIC>, <HOST>, <PID>, <DATETIME> and <REV>",
    )
    host_identifier: str = flag(
        "", help="what becomes of <HOST>; <SHORT_HOST> and <HOSTNAME> in it are filled in"
    )
    gzip: bool = flag(False, help="compress the files")
    gzip_level: int = flag(6, help="how hard to compress, 1 to 9")
    skip_empty_files: bool = flag(False, help="make no files without messages")
    rotate_size: int = flag(0, help="begin another file after so many bytes; 0: never")
    rotate_interval: int = flag(
        "0s", kind=DURATION, help="begin another file after so long; 0: never"
    )
    sync_interval: int = flag("30s", kind=DURATION, help="longest time between syncs")
    connect_timeout: int = flag(
        "2s",
        kind=DURATION,
        name="http-client-connect-timeout",
        help="how long connecting to an nsqlookupd may take",
    )
    request_timeout: int = flag(
        "5s",
        kind=DURATION,
        name="http-client-request-timeout",
        help="how long a request to an nsqlookupd may take",
    )
    consumer_opts: list[Given] = flag(
        [],
        kind=replace(CONSUMER_OPTION, parse=lenient),
        name="consumer-opt",
        help="option of the client, as `name,value` (may be given several times)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nsq_to_file`` and return its exit code."""
    options = flags.parse(ToFileOptions, sys.argv[1:] if argv is None else argv, TOOL, environ={})
    try:
        _check(options)
    except StartupError as exc:
        raise exit_with_failure(exc, "") from None
    logs.setup("nsq", parse_level(options.log_level), options.log_prefix)
    start_log(options.consumer_opts)
    return _run(options)


def _check(options: ToFileOptions) -> None:
    check(not options.leftovers, f"unknown arguments: [{' '.join(options.leftovers)}]")
    check(_is_level(options.log_level), "--log-level is invalid")
    check(options.channel, "--channel is required")
    _check_positive(options)
    check_sources(options, dot=".")
    level = options.gzip_level
    check(1 <= level <= 9, f"invalid --gzip-level value ({level}), should be 1-9")
    check(options.topics or options.topic_pattern, "--topic or --topic-pattern required")
    check(
        options.topics or options.lookupd_http_addresses,
        "--lookupd-http-address must be specified when no --topic specified",
    )

    check(_compiles(options.topic_pattern), "--topic-pattern is no regular expression")


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _check_positive(options: ToFileOptions) -> None:
    for name, duration_ns in (
        ("http-client-connect-timeout", options.connect_timeout),
        ("http-client-request-timeout", options.request_timeout),
        ("sync-interval", options.sync_interval),
        ("topic-refresh", options.topic_refresh),
    ):
        check(duration_ns > 0, f"--{name} should be positive")


def _is_level(word: str) -> bool:
    try:
        parse_level(word)
    except ValueError:
        return False
    return True


# --- one topic ---


class TopicWriter:
    """Takes the messages of one topic to its files."""

    def __init__(self, consumer: Consumer, file: RollingFile, options: ToFileOptions) -> None:
        self._consumer = consumer
        self._file = file
        self._options = options
        self._turn = asyncio.Lock()
        self._pending: list[Message] = []  # appended, and perhaps not synced yet
        self._held = AsyncExitStack()  # of them; closing it finishes them

    async def run(self, consumer: Consumer) -> None:
        """
        Write until the consumer is closed.

        Raises:
            OSError: a file cannot be written; what was not synced is given back to nsqd.
        """
        try:
            async with asyncio.TaskGroup() as group:
                ticking = group.create_task(self._tick())
                async for batch in consumer.batches(self._options.max_in_flight, wait=0):
                    await self._append(batch)
                ticking.cancel()
            await self.close_file()
        except BaseException:
            for message in self._pending:
                message.requeue(0, backoff=False)
            raise

    async def close_file(self) -> None:
        """Sync, finish, and close the file; the next message opens another."""
        async with self._turn:
            await _in_thread(self._file.close)
            await self._finish()

    async def _append(self, batch: list[Message]) -> None:
        async with self._turn:
            self._pending += batch
            for message in batch:
                await self._held.enter_async_context(message)
            is_full = len(self._pending) >= self._options.max_in_flight
            is_synced = await _in_thread(
                partial(
                    self._file.append,
                    [message.body for message in batch],
                    _now(),
                    sync=is_full or self._consumer.is_starved,
                )
            )
            if is_synced:
                await self._finish()

    async def _tick(self) -> None:
        seconds = self._options.sync_interval / SECOND_NS
        while True:
            await asyncio.sleep(seconds)
            async with self._turn:
                skip_empty = self._options.skip_empty_files
                await _in_thread(partial(self._file.roll_if_due, _now(), skip_empty=skip_empty))
                await _in_thread(self._file.sync)
                await self._finish()

    async def _finish(self) -> None:
        """Finish what is pending: it is on the disk."""
        if self._pending:
            _log.debug("%s: %d messages synced", self._consumer.topic, len(self._pending))
        self._pending.clear()
        await self._held.aclose()


async def _in_thread(work: Callable[[], Result]) -> Result:
    """Do what blocks, to its end: a cancelled append would go on behind our back."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait((doing,))
        raise


def _now() -> datetime:
    return datetime.now().astimezone()


# --- all topics ---


class Archive:
    """The topics being written. New ones may come while it runs."""

    def __init__(self, options: ToFileOptions, group: asyncio.TaskGroup) -> None:
        self._options = options
        self._group = group
        self._writers: dict[str, TopicWriter | None] = {}  # None: has no file name, and no writer
        self._stop = stop_event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._close_files)

    async def run(self) -> None:
        """Write until a signal ends it."""
        options = self._options
        if options.topics:
            self._add(options.topics)
            await self._stop.wait()
            return
        searching = asyncio.create_task(self._search())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait((searching, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (searching, stopping):
                task.cancel()
            await asyncio.wait((searching, stopping))
        if not searching.cancelled():
            searching.result()

    def _close_files(self) -> None:
        for writer in self._writers.values():
            if writer is not None:
                self._group.create_task(writer.close_file())

    async def _search(self) -> None:
        options = self._options
        async with DaemonHttp(
            connect_s=options.connect_timeout / SECOND_NS,
            request_s=options.request_timeout / SECOND_NS,
        ) as http:
            while True:
                try:
                    self._add(await list_topics(http, options.lookupd_http_addresses))
                except DaemonError as exc:
                    _log.error("could not retrieve topic list: %s", exc.short)
                await asyncio.sleep(options.topic_refresh / SECOND_NS)

    def _add(self, topics: Iterable[str]) -> None:
        for topic in topics:
            if topic not in self._writers and _is_wanted(topic, self._options.topic_pattern):
                self._writers[topic] = self._begin(topic)

    def _begin(self, topic: str) -> TopicWriter | None:
        options = self._options
        # A full disk, and a service manager, would have it drop after five starts what it promises
        # not to lose.
        consumer = make_consumer(options, topic, options.channel, TOOL, gives_up=False)
        try:
            file = _file_of(topic, options)
        except MissingRevisionError as exc:
            _log.error("couldn't create logger for new topic %s: %s", topic, exc)
            return None
        writer = TopicWriter(consumer, file, options)
        number = len(self._writers) + 1
        self._group.create_task(consume([consumer], writer.run, self._stop, first_number=number))
        return writer


def _is_wanted(topic: str, pattern: str) -> bool:
    return re.search(pattern, topic) is not None


def _file_of(topic: str, options: ToFileOptions) -> RollingFile:
    """Return the files of a topic; raises MissingRevisionError."""
    output = Path(options.output_dir)
    work = Path(options.work_dir or options.output_dir)
    is_rotated = options.rotate_size > 0 or options.rotate_interval > 0
    places = FilePlaces(
        output,
        work,
        gzip_level=options.gzip_level if options.gzip else None,
        always_new=options.gzip or options.rotate_interval > 0,
    )
    names = FileNames(
        options.filename_format,
        options.datetime_format,
        topic=topic,
        host=_host(options.host_identifier),
        pid=os.getpid(),
        gzip=options.gzip,
        revisions=options.gzip or is_rotated or places.moves,
    )
    interval = timedelta(microseconds=options.rotate_interval / MICROSECOND_NS)
    rotation = Rotation(RotationPolicy(max(options.rotate_size, 0), interval))
    return RollingFile(names, rotation, places, lambda text: _log.info("%s: %s", topic, text))


def _host(identifier: str) -> str:
    hostname = socket.gethostname()
    short = hostname.partition(".")[0]
    if not identifier:
        return short
    return identifier.replace("<SHORT_HOST>", short).replace("<HOSTNAME>", hostname)


def _run(options: ToFileOptions) -> int:
    code = 0
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_write_all(options))
    except* (NsqError, OSError, StartupError) as group:
        code = 1
        for error in leaves(group):
            _log.fatal("%s", reason_of(error))
    return code


async def _write_all(options: ToFileOptions) -> None:
    async with asyncio.TaskGroup() as group:
        await Archive(options, group).run()
