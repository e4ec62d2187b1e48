"""What a node may be called where others are told to connect to it."""

import ipaddress
import re

__all__ = ["is_node_host"]

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_.])?")
_METADATA_HOSTS = frozenset({"169.254.169.254", "fd00:ec2::254"})


def is_node_host(host: str) -> bool:
    """
    Return whether something can be a node's address: a host name or an IP address, nothing else.

    Who asks the directory connects to it and builds URLs of it. What clouds answer secrets at is
    no node.
    """
    if ":" in host:
        try:
            return str(ipaddress.IPv6Address(host)) not in _METADATA_HOSTS
        except ValueError:
            return False
    return _HOST_NAME.fullmatch(host) is not None and host not in _METADATA_HOSTS
