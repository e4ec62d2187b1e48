"""
The flag ``--advertise``: how those in one network reach this node.

    advertise := network "=" host [":" tcp port [":" http port]]

    10.0.0.0/8=10.1.2.3
    192.168.0.0/16=gateway.example.com:34150:34151
    fd00::/8=[fd00::3]:4150

Ports that are not named are those that everybody is told.
"""

import re

from nsqx.protocol.lookup import Advertised

__all__ = ["parse_advertised"]

_CLAIM = re.compile(
    r"(?P<network>[^=\s]+)="
    r"(?:\[(?P<v6>[^\]\s]+)\]|(?P<host>[^:\s\[\]]+))"
    r"(?::(?P<tcp>\d+)(?::(?P<http>\d+))?)?",
    re.ASCII,
)
PORT_MAX = 65535


def parse_advertised(text: str, tcp_port: int, http_port: int) -> Advertised:
    """
    Read the value of one flag. The ports are those to take where none is named.

    Raises:
        ValueError: what is wrong, in a sentence.
    """
    claim = _CLAIM.fullmatch(text)
    if claim is None:
        raise ValueError(f"{text!r} is not NETWORK=HOST[:TCP_PORT[:HTTP_PORT]]")
    ports = [int(claim["tcp"] or tcp_port), int(claim["http"] or http_port)]
    if not all(1 <= port <= PORT_MAX for port in ports):
        raise ValueError(f"{text!r} has a port that is not 1 to {PORT_MAX}")
    return Advertised(claim["network"], claim["v6"] or claim["host"], *ports)
