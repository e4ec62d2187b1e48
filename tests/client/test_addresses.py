"""Addresses as users write them."""

import pytest

from nsqx.client.addresses import Address, lookup_url, parse_address, parse_addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.org", "example.org", 4150),
        ("example.org:4250", "example.org", 4250),
        ("tcp://10.0.0.1:4150", "10.0.0.1", 4150),
        ("nsq://host", "host", 4150),
        ("[::1]:4150", "::1", 4150),
        ("[fe80::1]", "fe80::1", 4150),
    ],
)
def test_addresses_of_nsqds(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ":4150", "http://host:4151", "host:port", "host:70000", "host:0", "host/path"),
        *("u@host", "4150", "a b:4150", "host\t:4150", "[::1", "[zz]:4150"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="not an address of an nsqd"):
        parse_address(text)


def test_an_address_is_written_as_it_is_read() -> None:
    assert str(Address("::1", 4150)) == "[::1]:4150"
    assert str(Address("host", 1)) == "host:1"


def test_one_address_or_several() -> None:
    assert parse_addresses("a:1") == [Address("a", 1)]
    assert parse_addresses(["a:1", "b:2", "a:1"]) == [Address("a", 1), Address("b", 2)]


@pytest.mark.parametrize(
    ("lookupd", "url"),
    [
        ("host:4161", "http://host:4161/lookup?topic=t%23ephemeral&draining=true"),
        ("host", "http://host:4161/lookup?topic=t%23ephemeral&draining=true"),
        ("http://host:80/", "http://host:80/lookup?topic=t%23ephemeral&draining=true"),
        ("https://host/nsq/lookup", "https://host/nsq/lookup?topic=t%23ephemeral&draining=true"),
        ("http://host:1/x?a=b", "http://host:1/x?a=b&topic=t%23ephemeral&draining=true"),
    ],
)
def test_urls_of_lookupds(lookupd: str, url: str) -> None:
    assert lookup_url(lookupd, "t#ephemeral") == url


@pytest.mark.parametrize("lookupd", ["", " ", "a b", "ftp://host", "http://", "http:// :4161"])
def test_what_is_no_lookupd(lookupd: str) -> None:
    with pytest.raises(ValueError, match="not an address of a lookupd"):
        lookup_url(lookupd, "t")


@pytest.mark.parametrize("lookupd", ["host:99999", "https://host:99999", "host:x", "[:::]:4161"])
def test_what_is_no_port_or_host_of_a_lookupd(lookupd: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of urllib
        lookup_url(lookupd, "t")
