"""Host and port, joined and split; and that nobody does it by hand."""

import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from nsqx.net.host_port import (
    AddressError,
    format_host_port,
    host_of,
    is_loopback,
    split_host_port,
)

ROOT = Path(__file__).parents[2]
COMPONENTS = ("admin", "apps", "client", "cluster", "lookupd", "net", "nsqd", "runtime", "testing")

# What glues a host and a port together, or takes them apart, without knowing of brackets.
BY_HAND = (
    re.compile(r"\{[\w.\[\]()]*(?:host|address|addr)\w*\}:\{"),
    re.compile(r"\.r?partition\(\":\"\)\[[02]\]\.strip\(\"\[\]\"\)"),
    re.compile(r"(?:host|address)\w*(?:, \w+)*\s*=\s*[\w.\[\]]+\.r?(?:partition|split)\(\":\""),
    re.compile(r"address\w*\.r?split\(\":\""),
)
ALLOWED = {"net/nsqx/net/host_port.py"}


@given(st.ip_addresses().map(str) | st.just("nsq.example"), st.integers(0, 65535))
def test_what_was_joined_is_split(host: str, port: int) -> None:
    assert split_host_port(format_host_port(host, port)) == (host, port)


def test_an_ipv6_host_has_brackets() -> None:
    assert format_host_port("::1", 4151) == "[::1]:4151"
    assert host_of("[::1]:4151") == "::1"


@pytest.mark.parametrize("text", ["::1:4151", "[::1]", "[::1", "host", "host:x", "host:65536"])
def test_what_is_no_host_and_port(text: str) -> None:
    with pytest.raises(AddressError, match=re.escape(f"address {text}: ")):
        split_host_port(text)
    assert host_of(text) == ""


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("10.0.0.1", "fe80::1%eth0", "nsq.example", "")))


def test_nobody_does_it_by_hand() -> None:
    files = [file for name in COMPONENTS for file in (ROOT / name / "nsqx").rglob("*.py")]
    assert len(files) > 200
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        if str(file.relative_to(ROOT)) not in ALLOWED
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if any(pattern.search(line) for pattern in BY_HAND)
    ]
    assert found == []
