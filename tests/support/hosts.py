"""
Hosts on a network of their own: Linux network namespaces, each with a cable to one switch.

    with switched_hosts(3) as switch:
        one, two, three = switch.hosts
        one.address                          10.213.0.1
        one.command("nsqd", "--help")        a command line that runs there
        with switch.cut(three): ...          its cable is out
        with switch.lossy(two): ...          packets on their way to it get lost

Needs root and Debian's iproute2; a test is skipped, with the reason, where they can't be made.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

__all__ = ["Host", "Switch", "switched_hosts"]

NETWORK = "10.213.0"
# The first that this kernel has: random losses, or a cable so slow that its queue overflows.
LOSSES = (
    ("netem", "loss", "15%", "delay", "2ms"),
    ("tbf", "rate", "200kbit", "burst", "1600", "limit", "3200"),
)


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace that has the loopback and one interface, ``eth0``."""

    namespace: str
    address: str
    port: str  # of the switch

    def command(self, *command: str) -> list[str]:
        """Return what runs a command there; it keeps the process id, so signals reach it."""
        return ["ip", "netns", "exec", self.namespace, *command]


class Switch:
    """What connects the hosts, and can fail to."""

    def __init__(self, namespace: str, hosts: list[Host]) -> None:
        self.hosts = hosts
        self._namespace = namespace

    @contextmanager
    def cut(self, host: Host) -> Iterator[None]:
        """Pull out the cable of a host: nobody is told, packets go nowhere."""
        self._set_port(host, "down")
        try:
            yield
        finally:
            self._set_port(host, "up")

    @contextmanager
    def lossy(self, host: Host) -> Iterator[None]:
        """Lose packets that go to a host."""
        for loss in LOSSES:
            if self._try_tc("qdisc", "add", "dev", host.port, "root", *loss):
                break
        else:
            pytest.skip("this kernel can't lose packets: neither netem nor tbf")
        try:
            yield
        finally:
            self._try_tc("qdisc", "delete", "dev", host.port, "root")

    def lost_packets(self, host: Host) -> int:
        """How many packets were lost since `lossy` was entered."""
        command = ("tc", "-n", self._namespace, "-s", "-j", "qdisc", "show", "dev", host.port)
        shown = subprocess.run(command, check=True, capture_output=True, text=True)
        return sum(queue["drops"] for queue in json.loads(shown.stdout))

    def _set_port(self, host: Host, state: str) -> None:
        _ip("-n", self._namespace, "link", "set", host.port, state)

    def _try_tc(self, *arguments: str) -> bool:
        command = ("tc", "-n", self._namespace, *arguments)
        return subprocess.run(command, capture_output=True).returncode == 0


@contextmanager
def switched_hosts(count: int) -> Iterator[Switch]:
    """Hosts in one network, and nothing else in it."""
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need iproute2")
    tag = uuid.uuid4().hex[:8]
    switch = f"nsqx-{tag}"
    hosts = [
        Host(f"nsqx-{tag}-{number}", f"{NETWORK}.{number}", f"port{number}")
        for number in range(1, count + 1)
    ]
    made: list[str] = []
    try:
        try:
            for namespace in (switch, *(host.namespace for host in hosts)):
                _ip("netns", "add", namespace)
                made.append(namespace)
            _connect(switch, hosts)
        except subprocess.CalledProcessError as error:
            who = "" if os.geteuid() == 0 else ", not being root"
            pytest.skip(f"network namespaces can't be made here{who}: {error.stderr.strip()}")
        yield Switch(switch, hosts)
    finally:
        for namespace in made:
            _ip("netns", "delete", namespace)  # takes its interfaces along


def _connect(switch: str, hosts: list[Host]) -> None:
    _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
    _ip("-n", switch, "link", "set", "bridge", "up")
    for host in hosts:
        cable = ("link", "add", host.port, "netns", switch, "type", "veth")
        _ip(*cable, "peer", "name", "eth0", "netns", host.namespace)
        _ip("-n", switch, "link", "set", host.port, "master", "bridge", "up")
        inside = ("-n", host.namespace)
        _ip(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
