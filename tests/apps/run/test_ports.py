"""Ports for a local cluster, against sockets that really hold some."""

import errno
import socket

import pytest

from nsqx.apps.run.ports import Ports


def test_a_free_port_is_given_as_wanted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
    assert Ports("127.0.0.1").take(port) == port


def test_a_port_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        assert Ports("127.0.0.1").take(port) > port


def test_no_port_is_given_twice() -> None:
    ports = Ports("127.0.0.1")
    first = ports.take(20000)
    assert ports.take(20000) > first


def test_an_address_of_another_machine_is_an_error_not_a_search() -> None:
    with pytest.raises(OSError, match="assign") as raised:
        Ports("192.0.2.1").take(4150)
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_when_no_port_is_left_the_error_says_so() -> None:
    with socket.create_server(("127.0.0.1", 65535)) as _, pytest.raises(OSError, match="no free"):
        Ports("127.0.0.1").take(65535)
