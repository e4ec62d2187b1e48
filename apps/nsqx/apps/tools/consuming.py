"""
What the consuming tools share: their flags, the checks of these, and a run from start to signal.
"""

import asyncio
import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from nsqx.apps.tools.consumer_options import CONSUMER_OPTION, ClientOptions, Given
from nsqx.apps.tools.standard_log import log_client, name_consumer, say
from nsqx.client.consumer import Consumer
from nsqx.client.errors import ConnectFailed, NsqError
from nsqx.client.producer import Producer
from nsqx.net.tls import TlsFileError, client_context
from nsqx.protocol.errors import StartupError
from nsqx.protocol.names import is_valid_name
from nsqx.protocol.version import NSQ_VERSION, VERSION
from nsqx.runtime.options.flags import Options, flag
from nsqx.runtime.process.run import new_event_loop

__all__ = [
    "DRAIN_SECONDS",
    "ConsumerToolOptions",
    "HttpTlsOptions",
    "ToolOptions",
    "check",
    "check_sources",
    "consume",
    "leaves",
    "make_consumer",
    "make_producers",
    "new_event_loop",
    "reason_of",
    "run",
    "start_log",
    "stop_event",
    "user_agent",
]

DRAIN_SECONDS = 30.0  # how long messages in flight are waited for at the end

Work = Callable[[Consumer], Awaitable[None]]


@dataclass
class ToolOptions(Options):
    """What every tool takes but ``to_nsq``."""

    version: bool = flag(False, config_key=None, help="print the version and exit")


@dataclass
class HttpTlsOptions(Options):
    """How daemons that are asked by HTTPS are believed; named as nsqadmin's."""

    http_client_tls_root_ca_file: str = flag(
        "", help="path of the certificates that an HTTPS daemon's must come from"
    )
    http_client_tls_cert: str = flag("", help="path of the certificate to show an HTTPS daemon")
    http_client_tls_key: str = flag("", help="path of that certificate's key")
    http_client_tls_insecure_skip_verify: bool = flag(
        False, help="accept any certificate of an HTTPS daemon"
    )

    def http_tls(self) -> ssl.SSLContext:
        """Return how they are verified; StartupError if a file is missing or damaged."""
        cert, key = self.http_client_tls_cert, self.http_client_tls_key
        check(
            bool(cert) == bool(key), "--http-client-tls-cert and --http-client-tls-key go together"
        )
        try:
            return client_context(
                self.http_client_tls_root_ca_file,
                cert=cert,
                key=key,
                verify=not self.http_client_tls_insecure_skip_verify,
            )
        except TlsFileError as error:
            raise StartupError(str(error)) from error


@dataclass
class ConsumerToolOptions(ToolOptions):
    """What every tool takes that consumes."""

    nsqd_tcp_addresses: list[str] = flag(
        [], name="nsqd-tcp-address", help="`host:port` of an nsqd (may be given several times)"
    )
    lookupd_http_addresses: list[str] = flag(
        [],
        name="lookupd-http-address",
        help="`host:port` of an nsqlookupd (may be given several times)",
    )
    max_in_flight: int = flag(200, help="how many messages may be in flight at a time")
    consumer_opts: list[Given] = flag(
        [],
        kind=CONSUMER_OPTION,
        name="consumer-opt",
        help="option of the client, as `name,value` (may be given several times)",
    )


def check(condition: object, complaint: str) -> None:
    """Raise StartupError with this text unless the condition holds."""
    if not condition:
        raise StartupError(complaint, bare=True)


def check_sources(options: ConsumerToolOptions, *, dot: str = "") -> None:
    """Check that there are addresses of one kind."""
    nsqds, lookupds = options.nsqd_tcp_addresses, options.lookupd_http_addresses
    check(nsqds or lookupds, f"--nsqd-tcp-address or --lookupd-http-address required{dot}")
    check(not (nsqds and lookupds), "use --nsqd-tcp-address or --lookupd-http-address not both")
    check(options.max_in_flight > 0, "--max-in-flight should be positive")


def user_agent(tool: str) -> str:
    """Return how a tool shows in nsqd's statistics."""
    return f"{tool}/{NSQ_VERSION} nsqx/{VERSION}"


def make_consumer(
    options: ConsumerToolOptions,
    topic: str,
    channel: str,
    tool: str,
    max_in_flight: int = 0,
    *,
    gives_up: bool = True,
) -> Consumer:
    """
    Return a consumer that is not open yet; ``max_in_flight`` is that of the options if it is 0.

    ``gives_up``: whether it finishes messages unseen that came more than five times, as NSQ's tools
    do if no option says otherwise.

    Raises:
        StartupError: it cannot be what the options ask for.
    """
    check(is_valid_name(topic), "invalid topic name")
    check(is_valid_name(channel), "invalid channel name")
    client_options = ClientOptions(options.consumer_opts)
    try:
        return client_options.consumer(
            topic,
            channel,
            nsqd=options.nsqd_tcp_addresses,
            lookupd=options.lookupd_http_addresses,
            max_in_flight=max_in_flight or options.max_in_flight,
            user_agent=user_agent(tool),
            drain_timeout=DRAIN_SECONDS,
            gives_up=gives_up,
        )
    except (ValueError, OSError) as exc:
        raise StartupError(str(exc), bare=True) from exc


def make_producers(
    addresses: Sequence[str], given: Sequence[Given], tool: str
) -> dict[str, Producer]:
    """
    Return a producer for each address, not open yet.

    A lost connection fails what is being published, which nsqd may have or not: so that no message
    is published twice.

    Raises:
        StartupError: an address or an option is wrong.
    """
    try:
        settings = ClientOptions(given).settings(user_agent(tool))
        return {
            address: Producer(address, settings=settings, resend=False) for address in addresses
        }
    except (ValueError, OSError) as exc:
        raise StartupError(str(exc), bare=True) from exc


def start_log(given: Sequence[Given]) -> None:
    """Have the client's log lines written, and say which of the options given do nothing."""
    log_client()
    for notice in ClientOptions(given).notices():
        say(f"WRN  {notice}")


def stop_event(*, hangup: bool = False) -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set, and SIGHUP if it is to."""
    stop = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangup else [])):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


async def consume(
    consumers: Sequence[Consumer], work: Work, stop: asyncio.Event, *, first_number: int = 1
) -> None:
    """
    Open the consumers and do ``work`` with each, until it ends or ``stop`` is set.

    They are numbered in the log.

    Raises:
        ConnectFailed: an nsqd that was given by address cannot be reached at the start.
        Exception: what ``work`` raises, in a group.
    """
    async with AsyncExitStack() as stack:
        for number, consumer in enumerate(consumers, first_number):
            name_consumer(number, f"{consumer.topic}/{consumer.channel}")
            await stack.enter_async_context(consumer)
        for consumer in consumers:
            await consumer.ready()
        closing = asyncio.create_task(_close_at(stop, consumers))
        try:
            async with asyncio.TaskGroup() as group:
                for consumer in consumers:
                    group.create_task(_as_coroutine(work(consumer)))
        finally:
            if not stop.is_set():
                closing.cancel()
            await asyncio.wait((closing,))


async def _as_coroutine(work: Awaitable[None]) -> None:
    await work


async def _close_at(stop: asyncio.Event, consumers: Sequence[Consumer]) -> None:
    await stop.wait()
    await asyncio.gather(*(consumer.close(DRAIN_SECONDS) for consumer in consumers))


def run(work: Coroutine[None, None, None]) -> int:
    """Run a tool and return its exit code: 1 if it fails, with a line that says why."""
    code = 0
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(work)
    except* BrokenPipeError:  # nobody reads what we print, so nobody wants to hear of it
        code = 1
    except* (NsqError, OSError, StartupError) as group:
        code = 1
        for error in leaves(group):
            say(reason_of(error))
    return code


def reason_of(error: BaseException) -> str:
    """Return an error in words; a refused connection in those of NSQ's tools."""
    if isinstance(error, ConnectFailed):
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno:
            text = os.strerror(cause.errno).lower()
            return f"dial tcp {error.address}: connect: {text}"
    return str(error)


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """Return the errors in a group of groups."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
