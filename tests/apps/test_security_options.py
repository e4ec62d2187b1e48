"""Commands reach nsqds that want TLS and a secret, by NSQ's protocol and by HTTPS."""

import json
from pathlib import Path

import pytest

from tests.support.auth_server import running_auth_server
from tests.support.certificates import Authority
from tests.support.commands import nsqx
from tests.support.processes import Cluster, Lookupd, eventually


async def test_tls_and_auth(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    server = authority.server()
    secret = tmp_path / "secret"
    secret.write_text("anybody\n")
    tls = [
        f"--tls-cert={server.certificate}",
        f"--tls-key={server.key}",
        "--tls-required=true",
        "--https-address=127.0.0.1:0",
    ]
    trust = f"--tls-ca-file={authority.certificate}"
    async with running_auth_server() as auth:
        node = await cluster.nsqd(*tls, f"--auth-http-address={auth.url}")
        tcp = f"--nsqd={node.tcp_address}"
        shown = f"--auth-secret-file={secret}"
        done = await nsqx("pub", "t", tcp, "-q", trust, shown, stdin=b"hello\n")
        assert (done.code, done.err) == (0, "")
        monkeypatch.setenv("NSQX_AUTH_SECRET", "anybody")
        done = await nsqx("tail", "t", tcp, "--channel=c", "-n1", trust)
        assert (done.code, done.out) == (0, "hello\n")
        http = f"--nsqd={node.http_address}"
        done = await nsqx("peek", "t", http, "--bodies", trust)
        assert (done.code, done.out) == (0, "hello\n")
        done = await nsqx("top", http, "-n1", "--json", trust)
        assert (done.code, json.loads(done.out)["channels"][0]["topic"]) == (0, "t")
        done = await nsqx("doctor", http, "--json", trust)
        (seen,) = json.loads(done.out)["nsqds"]
        assert (seen["tcp"]["problem"], seen["http"]["problem"]) == ("", "")
        monkeypatch.setenv("NSQX_AUTH_SECRET", "denied")
        done = await nsqx("doctor", http, "--json", trust)
        (seen,) = json.loads(done.out)["nsqds"]
        assert seen["tcp"]["problem"] == "E_AUTH_FAILED AUTH failed"
    node = await cluster.nsqd(*tls)
    done = await nsqx("pub", "t", f"--nsqd={node.tcp_address}", "-q", trust, stdin=b"1\n2\n")
    assert (done.code, done.err) == (0, "")
    http = f"--nsqd={node.http_address}"
    done = await nsqx("peek", "t", http, "--bodies", trust)
    assert (done.code, done.out) == (0, "1\n2\n")
    done = await nsqx("seek", "t", "c", "start", "--create", http, trust)
    assert (done.code, "2 waiting" in done.out) == (0, True)


def tls_of(authority: Authority) -> list[str]:
    """The flags of a daemon with a certificate of this authority."""
    server = authority.server()
    return [f"--tls-cert={server.certificate}", f"--tls-key={server.key}"]


async def https_lookupd(cluster: Cluster, tls: list[str]) -> tuple[Lookupd, str]:
    """A directory that answers by HTTPS, and its URL."""
    lookupd = await cluster.lookupd(*tls, "--https-address=127.0.0.1:0")
    line = await lookupd.wait_for_log(r"HTTPS: listening on (\S+)")
    return lookupd, f"https://{line.rpartition(' ')[2]}"


async def test_nsq_stat_asks_a_directory_by_https(cluster: Cluster, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    lookupd, url = await https_lookupd(cluster, tls_of(authority))
    https = f"--lookupd-http-address={url}"
    ca_file = f"--lookupd-tls-root-ca-file={authority.certificate}"
    wants = ["--lookupd-tls", ca_file]
    node = await cluster.nsqd(*wants, lookupds=[lookupd])
    await node.post("/topic/create?topic=t")
    await node.post("/channel/create?topic=t&channel=c")

    async def is_listed() -> bool:
        return (await lookupd.get("/lookup?topic=t"))[0] == 200

    await eventually(is_listed, "the topic is listed")
    asked = ["stat", "--topic=t", "--channel=c", "--count=1", "--interval=10ms"]
    trust = f"--http-client-tls-root-ca-file={authority.certificate}"
    done = await nsqx(*asked, https, trust)
    assert (done.code, done.err) == (0, "")
    done = await nsqx(*asked, https)
    assert (done.code, done.out) == (1, ""), "the certificate is nobody's whom the system knows"
    done = await nsqx(*asked, https, "--http-client-tls-root-ca-file=/none")
    assert done.code == 1


async def test_a_directory_with_a_certificate_of_its_own_is_asked_by_https(
    cluster: Cluster, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    tls = tls_of(authority)
    lookupd, https = await https_lookupd(cluster, tls)
    node = await cluster.nsqd(
        *tls,
        "--lookupd-tls",
        f"--lookupd-tls-root-ca-file={authority.certificate}",
        lookupds=[lookupd],
    )
    await node.post("/topic/create?topic=t")

    async def is_listed() -> bool:
        return (await lookupd.get("/lookup?topic=t"))[0] == 200

    await eventually(is_listed, "the topic is listed")
    trust = f"--tls-ca-file={authority.certificate}"
    done = await nsqx("pub", "t", f"--lookupd={https}", "-q", trust, stdin=b"one\ntwo\n")
    assert (done.code, done.err) == (0, "")
    done = await nsqx("tail", "t", f"--lookupd={https}", "--channel=c", "-n1", trust)
    assert (done.code, done.out) == (0, "one\n")
    # NSQ's tools, for which TLS to nsqds is another question.
    tail = ["nsq-tail", "--topic=t", "--channel=c", "-n=1", f"--lookupd-http-address={https}"]
    done = await nsqx(*tail, f"--consumer-opt=tls_root_ca_file,{authority.certificate}")
    assert (done.code, done.out) == (0, "two\n")


async def test_a_certificate_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = await nsqx("tail", "t", f"--tls-ca-file={tmp_path / 'none.pem'}")
    assert (done.code, "none.pem" in done.err) == (2, True)
