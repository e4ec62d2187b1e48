"""Certificates that are replaced in their files."""

import io
import ssl
from pathlib import Path

from nsqx.net.tls import server_context
from nsqx.runtime.process import certificates, logs
from nsqx.runtime.process.logs import Level
from tests.support.certificates import Authority


def is_trusted(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Shake hands in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
            ends.remove(end)
    return True


def test_what_is_in_the_files_now_is_used_unless_it_is_none(tmp_path: Path) -> None:
    output = io.StringIO()
    logs.setup("nsq", Level.INFO, "", output)
    old, new = Authority(tmp_path, name="old"), Authority(tmp_path, name="new")
    identity = old.server()
    cert, key = str(identity.certificate), str(identity.key)
    context = server_context(cert, key)
    assert is_trusted(context, old.client_context())

    replacement = new.server()
    replacement.certificate.replace(identity.certificate)
    certificates.reload(context, cert, key)  # the key is still the old one
    assert is_trusted(context, old.client_context())
    replacement.key.replace(identity.key)
    certificates.reload(context, cert, key)
    logs.setup("nsq", Level.INFO, "")

    assert is_trusted(context, new.client_context())
    assert not is_trusted(context, old.client_context())
    failed, reloaded = output.getvalue().splitlines()
    assert "ERROR: failed to load the certificate again, the old one stays" in failed
    assert "INFO: the certificate was loaded again" in reloaded
