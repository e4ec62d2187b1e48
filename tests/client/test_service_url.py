"""A cluster in one line, and in environment variables."""

import ssl
from pathlib import Path

import pytest

from nsqx.client import JSON, MSGPACK, Nsq, Settings
from nsqx.client.service_url import Service, parse_environment, parse_service_url
from tests.support.certificates import Authority


def test_nsqds() -> None:
    assert parse_service_url("nsq://a,b:5150") == Service(nsqd=["a", "b:5150"], settings=Settings())


def test_lookupds() -> None:
    service = parse_service_url("nsq+lookupd://a:4161,b:4161")
    assert (service.nsqd, service.lookupd) == ([], ["a:4161", "b:4161"])
    assert parse_service_url("nsq://a?lookupd=b,c").lookupd == ["b", "c"]


def test_settings() -> None:
    service = parse_service_url(
        "nsq://a?tls=1&compression=snappy&auth_secret=s&msg_timeout=1.5&sample_rate=10"
        "&client_id=me&codec=msgpack&timeout=3"
    )
    assert service.settings == Settings(
        tls=True,
        compression="snappy",
        auth_secret="s",
        msg_timeout=1.5,
        sample_rate=10,
        client_id="me",
    )
    assert (service.codec, service.timeout) == (MSGPACK, 3.0)


def test_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client("me")
    service = parse_service_url(
        f"nsq://a?tls=1&tls_root_ca_file={authority.certificate}"
        f"&tls_cert={client.certificate}&tls_key={client.key}"
    )
    assert isinstance(service.settings.tls, ssl.SSLContext)
    assert service.settings.tls.verify_mode is ssl.CERT_REQUIRED
    unchecked = parse_service_url("nsq://a?tls_insecure_skip_verify=1").settings.tls
    assert isinstance(unchecked, ssl.SSLContext)
    assert unchecked.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://a", "not the URL of an NSQ cluster"),
        ("nsq://", "not the URL of an NSQ cluster"),
        ("nsq://a/topic", "not the URL of an NSQ cluster"),
        ("a:4150", "not the URL of an NSQ cluster"),
        ("nsq://a?colour=red", "unknown setting 'colour'"),
        ("nsq://a?tls=perhaps", "tls cannot be 'perhaps'"),
        ("nsq://a?msg_timeout=long", "msg_timeout cannot be 'long'"),
        ("nsq://a?codec=xml", "unknown codec 'xml'"),
        ("nsq://a?compression=zip", "unknown compression 'zip'"),
    ],
)
def test_what_is_no_url(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Nsq(url)


def test_environment() -> None:
    service = parse_environment({"NSQ_LOOKUPD": "a,b", "NSQ_TLS": "1", "NSQ_CODEC": "json"})
    assert service == Service([], ["a", "b"], Settings(tls=True), JSON)


def test_a_variable_wins_over_the_url() -> None:
    service = parse_environment(
        {"NSQ_URL": "nsq://a?tls=1&timeout=1&codec=msgpack", "NSQ_AUTH_SECRET": "s"}
    )
    assert service == Service(["a"], [], Settings(tls=True, auth_secret="s"), MSGPACK, 1.0)
    service = parse_environment({"NSQ_URL": "nsq://a?timeout=1", "NSQ_TIMEOUT": "2"})
    assert service.timeout == 2.0


def test_an_environment_without_addresses() -> None:
    with pytest.raises(ValueError, match="set APP_URL, APP_NSQD or APP_LOOKUPD"):
        parse_environment({"NSQ_URL": "nsq://a"}, "APP_")


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSQ_URL", "nsq://a")
    Nsq.from_env(codec=MSGPACK)
    with pytest.raises(ValueError, match="not an address"):
        Nsq.from_env(nsqd="b/c")


@pytest.mark.parametrize("options", [{}, {"nsqd": "http://a"}, {"lookupd": "tcp://a"}])
def test_addresses_are_checked_at_once(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="address"):
        Nsq(**options)  # type: ignore[arg-type]  # mypy thinks of the other parameters too
