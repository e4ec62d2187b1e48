"""``nsq_stat``: prints the rates and depths of a channel, a line for each interval."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from nsqx.apps.terminal import printable
from nsqx.apps.tools.consuming import HttpTlsOptions, ToolOptions, check, run, stop_event
from nsqx.apps.tools.stat_lines import HEADER, line
from nsqx.cluster.answers import NodeCounts
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.cluster.lookups import lookup
from nsqx.cluster.merge import merge
from nsqx.cluster.observer import Observer
from nsqx.cluster.rows import ChannelRow
from nsqx.protocol.errors import StartupError
from nsqx.runtime.durations import SECOND_NS
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import DURATION, flag
from nsqx.runtime.process.startup import exit_with_failure

__all__ = ["StatOptions", "main"]

TOOL = "nsq_stat"
POLLS_PER_HEADER = 25
NO_LIMIT = -1


@dataclass
class StatOptions(HttpTlsOptions, ToolOptions):
    """Options of ``nsq_stat``."""

    topic: str = flag("", help="topic of the channel")
    channel: str = flag("", help="channel")
    interval: int = flag("2s", kind=DURATION, help="time between lines")
    count: int = flag(NO_LIMIT, help="end after so many lines", default_text="no limit")
    nsqd_http_addresses: list[str] = flag(
        [], name="nsqd-http-address", help="`host:port` of an nsqd (may be given several times)"
    )
    lookupd_http_addresses: list[str] = flag(
        [],
        name="lookupd-http-address",
        help="`host:port` of an nsqlookupd (may be given several times)",
    )
    connect_timeout: int = flag(
        "2s",
        kind=DURATION,
        name="http-client-connect-timeout",
        help="how long connecting may take",
    )
    request_timeout: int = flag(
        "5s", kind=DURATION, name="http-client-request-timeout", help="how long a request may take"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nsq_stat`` and return its exit code."""
    options = flags.parse(StatOptions, sys.argv[1:] if argv is None else argv, TOOL, environ={})
    try:
        _check(options)
    except StartupError as exc:
        raise exit_with_failure(exc, "") from None
    return run(_report(options))


def _check(options: StatOptions) -> None:
    check(options.topic and options.channel, "--topic and --channel are required")
    for name, duration_ns in (
        ("interval", options.interval),
        ("http-client-connect-timeout", options.connect_timeout),
        ("http-client-request-timeout", options.request_timeout),
    ):
        check(duration_ns > 0, f"--{name} should be positive")
    is_limited = options.source("count") is not flags.Source.DEFAULT
    check(not is_limited or options.count > 0, "--count should be positive")
    nsqds, lookupds = options.nsqd_http_addresses, options.lookupd_http_addresses
    check(nsqds or lookupds, "--nsqd-http-address or --lookupd-http-address required")
    check(not (nsqds and lookupds), "use --nsqd-http-address or --lookupd-http-address not both")
    options.http_tls()  # a file that is missing is said now
    for name, addresses in (("nsqd", nsqds), ("lookupd", lookupds)):
        for address in addresses:
            if name == "lookupd" and address.startswith("https://"):
                continue  # nsqds say themselves that they want it
            check(
                not address.startswith("http"),
                f"--{name}-http-address error - address should not contain scheme",
            )


async def _report(options: StatOptions) -> None:
    stop = stop_event(hangup=True)
    seconds = options.interval / SECOND_NS
    timeouts = (options.connect_timeout / SECOND_NS, options.request_timeout / SECOND_NS)
    polls, left = 0, options.count
    before: ChannelRow | None = None
    async with DaemonHttp(
        connect_s=timeouts[0], request_s=timeouts[1], tls=options.http_tls
    ) as http:
        while left != 0 and not stop.is_set():
            totals = await _poll(http, options)
            if polls % POLLS_PER_HEADER == 0:
                sys.stdout.write(HEADER)
            if before is not None:
                sys.stdout.write(line(before, totals, seconds))
                left -= 1
            sys.stdout.flush()
            before, polls = totals, polls + 1
            if left != 0:
                await _pause(stop, seconds)


async def _poll(http: DaemonHttp, options: StatOptions) -> ChannelRow:
    """Ask all nsqds; StartupError, with NSQ's words, if one of them cannot be asked."""
    topic, channel = options.topic, options.channel
    try:
        found = await lookup(http, options.lookupd_http_addresses, topic)
        nsqds = options.nsqd_http_addresses or [each.http_address for each in found]
    except DaemonError as exc:
        raise _fatal(f"failed to get topic producers - {exc.short}") from exc
    try:
        query = urlencode({"format": "json", "topic": topic, "include_clients": "false"})
        path = f"/stats?{query}"
        answers = await asyncio.gather(*(http.ask(nsqd, path, NodeCounts) for nsqd in nsqds))
    except DaemonError as exc:
        raise _fatal(f"failed to get nsqd stats - {exc.short}") from exc
    view = Observer().view(0.0, 0.0, dict(zip(nsqds, answers, strict=True)), {})
    totals = merge(view).channels.get(f"{topic}/{channel}")
    if not any(answer.topics for answer in answers):
        raise _fatal("failed to get nsqd stats - failed to query any nsqd: ")
    if totals is None:
        raise _fatal(f"failed to find channel({channel}) in stats metadata for topic({topic})")
    return totals


def _fatal(reason: str) -> StartupError:
    return StartupError(f"ERROR: {printable(reason)}", bare=True)  # a server's words are in it


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
