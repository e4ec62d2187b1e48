"""Contexts from files: what is wrong with a file is said, and the two ends come together."""

import ssl
import subprocess
from pathlib import Path

import pytest

from nsqx.net.tls import TlsFileError, client_context, server_context
from tests.support.certificates import Authority

ROOT = Path(__file__).parents[2]
COMPONENTS = [each.parent.name for each in ROOT.glob("*/nsqx") if each.is_dir()]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Have both ends talk in memory; an ssl.SSLError if one does not trust the other."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert all(end.version() for end in ends)


def test_ends_that_trust_the_same_authority_come_together(authority: Authority) -> None:
    identity = authority.server()
    server = server_context(str(identity.certificate), str(identity.key))
    shake_hands(client_context(str(authority.certificate)), server, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(), server, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(str(authority.certificate)), server, "elsewhere")
    shake_hands(client_context(verify=False), server, "elsewhere")


def test_old_versions_are_allowed_only_if_told(authority: Authority) -> None:
    assert client_context().minimum_version >= ssl.TLSVersion.TLSv1_2
    old = client_context(min_version=ssl.TLSVersion.TLSv1)
    assert old.minimum_version == ssl.TLSVersion.TLSv1


def test_what_is_wrong_with_a_file_is_said(authority: Authority, tmp_path: Path) -> None:
    server, other = authority.server(), authority.client("other")
    text, missing = tmp_path / "text.pem", tmp_path / "missing.pem"
    text.write_text("hello")
    for files, reason in (
        ((server.certificate, missing), f"open {missing}: No such file or directory"),
        ((server.certificate, other.key), f"the key in {other.key} is not that of the certificate"),
        ((text, server.key), f"{text} or {server.key} is not a certificate or key in PEM format"),
    ):
        with pytest.raises(TlsFileError) as raised:
            server_context(str(files[0]), str(files[1]))
        assert str(raised.value).startswith(reason)
    with pytest.raises(TlsFileError, match=f"no certificate in {text}"):
        client_context(str(text))
    with pytest.raises(OSError, match=f"open {missing}"):
        client_context(str(missing))
    with pytest.raises(TlsFileError, match=f"{text} is not a certificate"):
        client_context(cert=str(text))


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(
    authority: Authority, tmp_path: Path
) -> None:
    server, locked = authority.server(), tmp_path / "locked.pem"
    command = ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", str(server.key)]
    if "BEGIN EC" in server.key.read_text():
        command[1] = "ec"
    subprocess.run([*command, "-out", str(locked)], check=True, capture_output=True)
    with pytest.raises(TlsFileError, match="is protected by a password"):
        server_context(str(server.certificate), str(locked))


def test_nobody_else_makes_contexts() -> None:
    assert len(COMPONENTS) > 8
    found = [
        str(file.relative_to(ROOT))
        for name in COMPONENTS
        for file in (ROOT / name / "nsqx").rglob("*.py")
        if "create_default_context" in file.read_text() or "SSLContext(" in file.read_text()
    ]
    assert found == ["net/nsqx/net/tls.py"]
