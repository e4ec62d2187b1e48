"""What the units start with is a cluster on one host, and its dashboard is for that host only."""

from typing import TypeVar

from deploy.generate import ROOT
from nsqx.admin.options import AdminOptions
from nsqx.lookupd.options import LookupdOptions
from nsqx.net.addresses import parse_tcp_address
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options import flags

UNITS = ROOT / "deploy" / "systemd"
OptionsType = TypeVar("OptionsType", bound=flags.Options)


def started(options: type[OptionsType], program: str) -> OptionsType:
    return flags.parse(options, [f"--config={UNITS / program}.toml"], program, environ={})


def test_they_know_each_other() -> None:
    lookupd = started(LookupdOptions, "nsqlookupd")
    nsqd = started(NsqdOptions, "nsqd")
    admin = started(AdminOptions, "nsqadmin")
    ports = {parse_tcp_address(each).port for each in (lookupd.tcp_address, lookupd.http_address)}
    named = [*nsqd.lookupd_tcp_address, *admin.lookupd_http_address]
    assert {parse_tcp_address(each).port for each in named} == ports


def test_the_dashboard_is_reached_from_its_host_only() -> None:
    admin = started(AdminOptions, "nsqadmin")
    assert parse_tcp_address(admin.http_address).host == "127.0.0.1"
    assert "Reachable from this host only" in (UNITS / "nsqadmin.service").read_text()


def test_a_stop_has_the_time_that_a_drain_takes() -> None:
    nsqd = started(NsqdOptions, "nsqd")
    unit = (UNITS / "nsqd@.service").read_text()
    assert nsqd.drain_timeout / 1e9 + 15 <= int(unit.partition("TimeoutStopSec=")[2].split()[0])
