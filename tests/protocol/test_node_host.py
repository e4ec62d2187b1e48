"""Hosts and nothing else: who asks the directory builds URLs of them."""

import pytest

from nsqx.protocol.node_host import is_node_host


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "nsqd-1.example", "my_host", "a"])
def test_hosts_that_are_taken(host: str) -> None:
    assert is_node_host(host)


@pytest.mark.parametrize(
    "host",
    ["", "127.0.0.1:80", "[::1]", "a/b", "a b", "a@b", "a" * 256, "-a", "a-", "fd00:ec2::254"],
)
def test_hosts_that_are_none(host: str) -> None:
    assert not is_node_host(host)
