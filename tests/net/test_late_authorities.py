"""The system's authorities are read late, and trusted as ever."""

import ssl
import threading
from pathlib import Path

import pytest

from nsqx.net.late_authorities import LateContext, read_when_needed
from nsqx.net.tls import server_context
from tests.net.test_tls import shake_hands
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The only one that the system knows."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return authority


def known_to(context: ssl.SSLContext) -> int:
    return context.cert_store_stats()["x509"]


def test_they_are_read_before_the_first_connection(authority: Authority) -> None:
    with read_when_needed():
        context = ssl.create_default_context()
    assert known_to(context) == 0
    identity = authority.server()
    server = server_context(str(identity.certificate), str(identity.key))
    shake_hands(context, server, "localhost")
    assert known_to(context) == 1
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context, server, "elsewhere")


def test_sockets_wait_for_them_too(authority: Authority) -> None:
    with read_when_needed():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_default_verify_paths()
    assert known_to(context) == 0
    from socket import socketpair

    here, there = socketpair()
    with there, context.wrap_socket(here, server_hostname="x", do_handshake_on_connect=False):
        assert known_to(context) == 1


def test_contexts_of_others_are_as_ever(authority: Authority) -> None:
    before = dict(vars(ssl.SSLContext))
    made: list[ssl.SSLContext] = []
    with read_when_needed():
        thread = threading.Thread(target=lambda: made.append(ssl.create_default_context()))
        thread.start()
        thread.join()
    made.append(ssl.create_default_context())
    assert [known_to(context) for context in made] == [1, 1]
    assert not any(isinstance(context, LateContext) for context in made)
    assert dict(vars(ssl.SSLContext)) == before
