"""The flag ``--advertise``."""

import pytest

from nsqx.nsqd.directory.advertise import parse_advertised
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.defaults import ADVERTISED_MAX
from nsqx.protocol.errors import StartupError
from nsqx.protocol.lookup import Advertised


@pytest.mark.parametrize(
    ("text", "advertised"),
    [
        ("10.0.0.0/8=10.1.2.3", ("10.0.0.0/8", "10.1.2.3", 4150, 4151)),
        ("10.0.0.0/8=host:1", ("10.0.0.0/8", "host", 1, 4151)),
        ("10.1.2.3=host:1:2", ("10.1.2.3", "host", 1, 2)),
        ("fd00::/8=[fd00::3]", ("fd00::/8", "fd00::3", 4150, 4151)),
        ("fd00::/8=[fd00::3]:1:2", ("fd00::/8", "fd00::3", 1, 2)),
    ],
)
def test_what_it_means(text: str, advertised: tuple[str, str, int, int]) -> None:
    assert parse_advertised(text, 4150, 4151) == Advertised(*advertised)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not NETWORK="),
        ("10.0.0.0/8", "is not NETWORK="),
        ("10.0.0.0/8=", "is not NETWORK="),
        ("10.0.0.0/8=a:b", "is not NETWORK="),
        ("10.0.0.0/8=a:1:2:3", "is not NETWORK="),
        ("fd00::/8=fd00::3", "is not NETWORK="),
        ("10.0.0.0/8=a:0", "port that is not 1 to 65535"),
        ("10.0.0.0/8=a:1:65536", "port that is not 1 to 65535"),
        ("10.0.0.1/8=a", "has host bits set"),
        ("office=a", "does not appear to be an IPv4 or IPv6 network"),
    ],
)
def test_what_is_wrong_is_said_at_the_start(text: str, reason: str) -> None:
    options = NsqdOptions(advertise=["10.0.0.0/8=fine", text])
    with pytest.raises(StartupError, match=reason):
        options.check()


def test_number_is_limited_as_nsqlookupd_limits_it() -> None:
    NsqdOptions(advertise=["10.0.0.0/8=a"] * ADVERTISED_MAX).check()
    with pytest.raises(StartupError, match=r"more than 64 times --advertise"):
        NsqdOptions(advertise=["10.0.0.0/8=a"] * (ADVERTISED_MAX + 1)).check()
