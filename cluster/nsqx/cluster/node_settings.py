"""
What one nsqd says about its options. No I/O.

Our nsqd lists them (``/options``). NSQ's shows one at a time (``/config/<opt>``), so only those of
``FOREIGN_OPTIONS`` are asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from nsqx.runtime.durations import format_duration

__all__ = ["FOREIGN_OPTIONS", "NodeSettings", "Option", "OptionsAnswer", "foreign_option"]

# Of NSQ 1.3.0's nsqd: those that consumers, producers and operators feel; with their kinds.
FOREIGN_OPTIONS = {
    "broadcast_address": "string",
    "nsqlookupd_tcp_addresses": "list of strings",
    "auth_http_addresses": "list of strings",
    "mem_queue_size": "int",
    "max_bytes_per_file": "int",
    "sync_every": "int",
    "sync_timeout": "duration",
    "msg_timeout": "duration",
    "max_msg_timeout": "duration",
    "max_msg_size": "int",
    "max_req_timeout": "duration",
    "max_body_size": "int",
    "max_heartbeat_interval": "duration",
    "max_rdy_count": "int",
    "max_output_buffer_size": "int",
    "max_output_buffer_timeout": "duration",
    "max_channel_consumers": "int",
    "statsd_address": "string",
    "statsd_interval": "duration",
    "e2e_processing_latency_window_time": "duration",
    "deflate": "bool",
    "max_deflate_level": "int",
    "snappy": "bool",
}


class Option(msgspec.Struct):
    """One option of one node. ``source`` is empty if the node does not tell."""

    value: Any
    kind: str = ""
    source: str = ""
    has_effect: bool = True


class OptionsAnswer(msgspec.Struct):
    """Our nsqd's ``/options``."""

    options: dict[str, Option]


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What one node has said about its options."""

    observed_at: float
    options: Mapping[str, Option]
    is_complete: bool


def foreign_option(name: str, body: bytes) -> Option:
    """Return an option from NSQ's ``/config/<opt>``: JSON, or text as it is."""
    kind = FOREIGN_OPTIONS[name]
    if kind == "string":
        return Option(body.decode("utf-8", "replace"), kind)
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return Option(body.decode("utf-8", "replace"), kind)
    if kind == "duration" and isinstance(value, int):
        value = format_duration(value)
    return Option([] if kind == "list of strings" and value is None else value, kind)
