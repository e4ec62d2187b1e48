"""
Asks nsqlookupds over HTTP which channels a topic has elsewhere (lookupd section 4).

All are asked at once, and the answer is what any of them knows.
"""

from collections.abc import Collection

from nsqx.cluster.http import DaemonHttp
from nsqx.cluster.lookups import channels_of
from nsqx.net.host_port import format_host_port
from nsqx.net.tls import client_context
from nsqx.protocol.lookup import ANSWER_BYTES_MAX
from nsqx.protocol.names import is_ephemeral, is_valid_name
from nsqx.runtime.process import logs

__all__ = ["KnownChannels"]


_log = logs.get_logger("LOOKUPD")


class KnownChannels:
    """An HTTP client; ``close`` it at the end."""

    def __init__(self, *, connect_s: float, request_s: float, ca_file: str = "") -> None:
        """
        The times are limits for connecting and for a whole request.

        ``ca_file`` holds the certificates by which HTTPS is verified; empty: the system's.
        """
        self._http = DaemonHttp(
            connect_s=connect_s,
            request_s=request_s,
            answer_bytes_max=ANSWER_BYTES_MAX,
            tls=lambda: client_context(ca_file),
        )

    async def close(self) -> None:
        """Close what is kept alive."""
        await self._http.close()

    async def ask(self, nsqlookupds: Collection[tuple[str, int]], topic: str) -> list[str]:
        """
        Return the names of all channels, sorted, without ephemeral and invalid ones.

        ``nsqlookupds`` are hosts with their HTTP ports. What fails is logged and left out.
        """
        addresses = [format_host_port(*each) for each in nsqlookupds]
        answers = await channels_of(self._http, addresses, topic)
        for error in answers.errors.values():
            _log.error("asking for the channels of %s failed - %s", topic, error)
        names = {name for each in answers.by_address.values() for name in each.channels or ()}
        return sorted(name for name in names if is_valid_name(name) and not is_ephemeral(name))
