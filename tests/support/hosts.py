"""
Hosts on a network of their own: Linux network namespaces, one cable between them.

    with two_hosts() as (one, two):
        one.address                          10.213.0.1
        one.command("nsqd", "--help")        a command line that runs there

Needs root and Debian's iproute2; a test is skipped, with the reason, where they can't be made.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

__all__ = ["Host", "two_hosts"]

NETWORK = "10.213.0"


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace that has the loopback and one interface."""

    namespace: str
    address: str

    def command(self, *command: str) -> list[str]:
        """Return what runs a command there; it keeps the process id, so signals reach it."""
        return ["ip", "netns", "exec", self.namespace, *command]


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts in one network, and nothing else in it."""
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need iproute2")
    tag = uuid.uuid4().hex[:8]
    one = Host(f"nsqx-{tag}-1", f"{NETWORK}.1")
    two = Host(f"nsqx-{tag}-2", f"{NETWORK}.2")
    made: list[Host] = []
    try:
        try:
            for host in (one, two):
                _ip("netns", "add", host.namespace)
                made.append(host)
            _connect(one, two, tag)
        except subprocess.CalledProcessError as error:
            who = "" if os.geteuid() == 0 else ", not being root"
            pytest.skip(f"network namespaces can't be made here{who}: {error.stderr.strip()}")
        yield one, two
    finally:
        for host in made:
            _ip("netns", "delete", host.namespace)  # takes its interfaces along


def _connect(one: Host, two: Host, tag: str) -> None:
    ends = {one: f"q{tag}1", two: f"q{tag}2"}
    cable = ("link", "add", ends[one], "netns", one.namespace, "type", "veth")
    _ip(*cable, "peer", "name", ends[two], "netns", two.namespace)
    for host, interface in ends.items():
        inside = ("-n", host.namespace)
        _ip(*inside, "address", "add", f"{host.address}/24", "dev", interface)
        _ip(*inside, "link", "set", interface, "up")
        _ip(*inside, "link", "set", "lo", "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
