"""
The options of NSQ's Go client, by name (``--consumer-opt=max_attempts,10``), as ours takes them.

One table says how each is read and what it defaults to (facts on the client's behaviour, section
1); ``ClientOptions`` turns what was given into the settings of ``nsqx.client``. Options about what
our client does in another way are accepted and do nothing; ``notices`` names those.
"""

import re
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nsqx.client.backoff import BackoffPolicy
from nsqx.client.consumer import Consumer
from nsqx.client.settings import Settings
from nsqx.net.host_port import split_host_port
from nsqx.net.tls import client_context
from nsqx.runtime.durations import (
    HOUR_NS,
    MILLISECOND_NS,
    MINUTE_NS,
    SECOND_NS,
    format_duration,
    parse_duration,
)
from nsqx.runtime.options.flags import STRINGS
from nsqx.runtime.options.go_values import go_quote, read_bool, read_float, read_int64

__all__ = ["CONSUMER_OPTION", "ClientOptions", "Given", "lenient", "parse_option"]

UINT16_MAX = 2**16 - 1

Value = Any
Given = tuple[str, Value]  # name and value of an option


# --- reading values; ValueError says why not ---


def _text(text: str) -> str:
    return text


def _duration(text: str) -> int:
    """Return nanoseconds; digits alone are milliseconds."""
    if re.fullmatch(r"[0-9]+", text):
        return int(text) * MILLISECOND_NS
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"time: invalid duration {go_quote(text)}") from None


def _local_address(text: str) -> tuple[str, int]:
    host, port = split_host_port(text)
    return host or "0.0.0.0", port


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"{go_quote(text)} is none of {', '.join(words)}")
        return text

    return read


# --- the table ---


@dataclass(frozen=True, slots=True)
class _Option:
    read: Callable[[str], Value]
    default: Value
    low: Value = None
    high: Value = None
    no_effect: str = ""  # why it does nothing here


# A minute, as in NSQ's client, is long for a dead lookupd.
LOOKUP_TIMEOUT_NS = 5 * SECOND_NS
_BY_NEED = "connections share max_in_flight by what they need"

_OPTIONS: Mapping[str, _Option] = {
    "dial_timeout": _Option(_duration, 5 * SECOND_NS),
    "read_timeout": _Option(
        _duration,
        MINUTE_NS,
        100 * MILLISECOND_NS,
        5 * MINUTE_NS,
    ),
    "write_timeout": _Option(_duration, 10 * SECOND_NS, 100 * MILLISECOND_NS, 5 * MINUTE_NS),
    "local_addr": _Option(_local_address, None),
    "lookupd_poll_interval": _Option(_duration, MINUTE_NS, 10 * MILLISECOND_NS, 5 * MINUTE_NS),
    "lookupd_poll_jitter": _Option(read_float, 0.3, 0.0, 1.0),
    "lookupd_poll_timeout": _Option(_duration, MINUTE_NS),
    "max_requeue_delay": _Option(_duration, 15 * MINUTE_NS, 0, HOUR_NS),
    "default_requeue_delay": _Option(_duration, 90 * SECOND_NS, 0, HOUR_NS),
    "backoff_strategy": _Option(_one_of("exponential", "full_jitter"), "exponential"),
    "max_backoff_duration": _Option(_duration, 2 * MINUTE_NS, 0, HOUR_NS),
    "backoff_multiplier": _Option(_duration, SECOND_NS, 0, HOUR_NS),
    "max_attempts": _Option(read_int64, 5, 0, UINT16_MAX),
    "low_rdy_idle_timeout": _Option(
        _duration, 10 * SECOND_NS, SECOND_NS, 5 * MINUTE_NS, no_effect=_BY_NEED
    ),
    "low_rdy_timeout": _Option(
        _duration, 30 * SECOND_NS, SECOND_NS, 5 * MINUTE_NS, no_effect=_BY_NEED
    ),
    "rdy_redistribute_interval": _Option(
        _duration, 5 * SECOND_NS, MILLISECOND_NS, 5 * SECOND_NS, no_effect=_BY_NEED
    ),
    "client_id": _Option(_text, None),
    "hostname": _Option(_text, None),
    "user_agent": _Option(_text, None),
    "heartbeat_interval": _Option(_duration, 30 * SECOND_NS),
    "sample_rate": _Option(read_int64, 0, 0, 99),
    "tls_v1": _Option(read_bool, False),
    "tls_root_ca_file": _Option(_text, ""),
    "tls_cert": _Option(_text, ""),
    "tls_key": _Option(_text, ""),
    "tls_insecure_skip_verify": _Option(read_bool, False),
    "tls_min_version": _Option(_one_of("ssl3.0", "tls1.0", "tls1.1", "tls1.2"), "tls1.2"),
    "deflate": _Option(read_bool, False),
    "deflate_level": _Option(read_int64, 6, 1, 9),
    "snappy": _Option(read_bool, False),
    "output_buffer_size": _Option(read_int64, 16384),
    "output_buffer_timeout": _Option(_duration, 250 * MILLISECOND_NS),
    "max_in_flight": _Option(read_int64, 1, 0, None, no_effect="--max-in-flight is what counts"),
    "msg_timeout": _Option(_duration, 0, 0),
    "auth_secret": _Option(_text, None),
    # Misnamed: true is to send it.
    "skip_lookupd_authorization": _Option(read_bool, True),
}


def parse_option(text: str) -> Given:
    """
    Read ``name,value``; ``name`` alone is ``name,true``, and ``-`` counts as ``_``.

    Raises:
        ValueError: with the Go client's text.
    """
    name, comma, value_text = text.partition(",")
    key = name.replace("-", "_")
    option = _OPTIONS.get(key)
    if option is None:
        raise ValueError(f"invalid option {name}")
    if not comma:
        value_text = "true"
    try:
        value = option.read(value_text)
    except ValueError as exc:
        raise ValueError(f"failed to coerce option {name} ({value_text}) - {exc}") from None
    _check_range(name, option, value)
    return key, value


def _check_range(name: str, option: _Option, value: Value) -> None:
    show = format_duration if option.read is _duration else str
    if option.low is not None and value < option.low:
        raise ValueError(f"invalid {name} ! {show(value)} < {show(option.low)}")
    if option.high is not None and value > option.high:
        raise ValueError(f"invalid {name} ! {show(value)} > {show(option.high)}")


# A flag that may be given several times; the value is a list of names and values.
CONSUMER_OPTION = replace(STRINGS, name="list of options", parse=lambda text: [parse_option(text)])


def lenient(text: str) -> list[Given]:
    """Read an option as nsq_to_file does, which passes over those it does not understand."""
    try:
        return [parse_option(text)]
    except ValueError:
        return []


# --- what they mean to our client ---


class ClientOptions:
    """The options of one tool: those that were given, and the defaults of the others."""

    def __init__(self, given: Iterable[Given] = ()) -> None:
        self._given = dict(given)

    def __getitem__(self, name: str) -> Value:
        return self._given.get(name, _OPTIONS[name].default)

    def has(self, name: str) -> bool:
        """Whether it was given. Where the defaults differ, ours hold unless it was."""
        return name in self._given

    def notices(self) -> list[str]:
        """Return a sentence for each option that was given and does nothing."""
        notices = [
            f"option {name} is accepted but has no effect: {_OPTIONS[name].no_effect}"
            for name in self._given
            if _OPTIONS[name].no_effect
        ]
        if self["heartbeat_interval"] < 0:
            notices.append("option heartbeat_interval: heartbeats cannot be off here, 30s it is")
        return notices

    def settings(self, user_agent: str) -> Settings:
        """
        Return the settings of connections.

        Raises:
            ValueError: the options do not go together.
            OSError: a certificate cannot be read.
        """
        heartbeat_ns = self["heartbeat_interval"]
        buffer_ns = self["output_buffer_timeout"]
        return Settings(
            extensions=False,  # what is sent is NSQ's, to the byte
            client_id=self["client_id"],
            hostname=self["hostname"] or socket.gethostname(),
            user_agent=self["user_agent"] or user_agent,
            connect_timeout=_seconds(self["dial_timeout"]),
            heartbeat_interval=_seconds(heartbeat_ns) if heartbeat_ns > 0 else 30.0,
            read_timeout=_seconds(self["read_timeout"]) if self.has("read_timeout") else None,
            write_timeout=_seconds(self["write_timeout"]),
            msg_timeout=_seconds(self["msg_timeout"]),
            output_buffer_size=self["output_buffer_size"],
            output_buffer_timeout=_seconds(buffer_ns) if buffer_ns >= 0 else -1,
            sample_rate=self["sample_rate"],
            tls=self._context() if self["tls_v1"] else False,
            lookupd_tls=self._context() if self._has_certificates() else None,
            compression=self._compression(),
            deflate_level=self["deflate_level"],
            auth_secret=self["auth_secret"],
            authorize_lookups=self["skip_lookupd_authorization"],
            local_address=self["local_addr"],
        )

    def consumer(
        self,
        topic: str,
        channel: str,
        *,
        nsqd: Iterable[str],
        lookupd: Iterable[str],
        max_in_flight: int,
        user_agent: str,
        drain_timeout: float,
        gives_up: bool = True,
    ) -> Consumer:
        """
        Return a consumer that is not open yet.

        Unless it ``gives_up``, ``max_attempts`` holds only if it was given.

        Raises:
            ValueError, OSError: as ``settings``, and for bad names and addresses.
        """
        is_given = self.has("lookupd_poll_timeout")
        timeout_ns = self["lookupd_poll_timeout"] if is_given else LOOKUP_TIMEOUT_NS
        is_limited = gives_up or self.has("max_attempts")
        return Consumer(
            topic,
            channel,
            nsqd=nsqd,
            lookupd=lookupd,
            max_in_flight=max_in_flight,
            settings=self.settings(user_agent),
            max_attempts=(self["max_attempts"] or None) if is_limited else None,
            requeue_delay=_seconds(self["default_requeue_delay"]),
            requeue_delay_max=_seconds(self["max_requeue_delay"]),
            backoff=BackoffPolicy(
                multiplier_seconds=_seconds(self["backoff_multiplier"]),
                longest_seconds=_seconds(self["max_backoff_duration"]),
                full_jitter=self["backoff_strategy"] == "full_jitter",
            ),
            lookupd_poll_interval=_seconds(self["lookupd_poll_interval"]),
            lookupd_poll_jitter=self["lookupd_poll_jitter"],
            lookupd_poll_timeout=_seconds(timeout_ns),
            drain_timeout=drain_timeout,
        )

    def _compression(self) -> Any:
        if self["deflate"] and self["snappy"]:
            raise ValueError("cannot use both deflate and snappy")
        if self["snappy"]:
            return "snappy"
        return "deflate" if self["deflate"] else None

    def _has_certificates(self) -> bool:
        """Whether it is said who is believed: lookupds by HTTPS are, without ``tls_v1``, too."""
        return bool(self["tls_root_ca_file"] or self["tls_insecure_skip_verify"])

    def _context(self) -> ssl.SSLContext:
        has_pair = self["tls_cert"] and self["tls_key"]
        context = client_context(
            self["tls_root_ca_file"],
            cert=self["tls_cert"] if has_pair else "",
            key=self["tls_key"] if has_pair else "",
            verify=not self["tls_insecure_skip_verify"],
        )
        if self["tls_min_version"] != "tls1.2":
            # Only if it is asked for by name: Go's default of TLS 1.0 is not safe any more.
            context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        return context


def _seconds(duration_ns: int) -> float:
    return duration_ns / SECOND_NS
