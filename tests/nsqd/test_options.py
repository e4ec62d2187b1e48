"""What nsqd says of options that are wrong, or do nothing as they were given."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import DURATION, INT
from tests.nsqd.test_startup import refused


def notices(*argv: str) -> list[str]:
    options = flags.parse(NsqdOptions, argv, "nsqd", environ={})
    options.check()
    return options.notices()


def test_the_defaults_say_nothing() -> None:
    assert notices() == []


@pytest.mark.parametrize(
    ("flag", "needed"),
    [
        ("--https-address=:4152", "--tls-cert"),
        ("--tls-min-version=tls1.2", "--tls-cert or --auth-http-address"),
        ("--tls-root-ca-file=ca.pem", "--tls-client-auth-policy or --auth-http-address"),
        ("--auth-http-request-method=post", "--auth-http-address"),
        ("--statsd-interval=10s", "--statsd-address"),
        ("--statsd-mem-stats=false", "--statsd-address"),
        ("--statsd-prefix=nsq", "--statsd-address"),
        ("--statsd-udp-packet-size=1400", "--statsd-address"),
        ("--statsd-exclude-ephemeral", "--statsd-address"),
        ("--e2e-processing-latency-window-time=1m", "--e2e-processing-latency-percentile"),
        ("--cluster=blue", "--discover"),
        ("--lookupd-tls-root-ca-file=ca.pem", "--lookupd-tls"),
        ("--lookupd-tls-insecure-skip-verify", "--lookupd-tls"),
    ],
)
def test_an_option_that_needs_another(flag: str, needed: str) -> None:
    assert notices(flag) == [f"{flag.partition('=')[0]} has no effect without {needed}"]


def test_an_option_that_has_what_it_needs() -> None:
    assert notices("--statsd-address=127.0.0.1:8125", "--statsd-interval=10s") == []
    assert notices("--auth-http-address=127.0.0.1:80", "--auth-http-request-method=post") == []
    assert notices("--https-address=") == []


@pytest.mark.parametrize(
    "name", ["output-buffer-timeout", "min-output-buffer-timeout", "max-output-buffer-timeout"]
)
def test_buffering_is_only_told(name: str) -> None:
    assert notices(f"--{name}=1s") == [f"--{name} is only told to clients: messages go out at once"]


@pytest.mark.parametrize(
    "flag",
    [
        "--node-id=7",
        "--worker-id",
        "--verbose",
        "--queue-scan-worker-pool-max=8",
        "--queue-scan-selection-count=8",
    ],
)
def test_an_option_that_never_does_anything(flag: str) -> None:
    (notice,) = notices(flag)
    assert notice.startswith(f"{flag.partition('=')[0]} is accepted but has no effect: ")


def test_words_that_are_not_known() -> None:
    assert notices("--enable-experiment=time-travel") == [
        "unknown to --enable-experiment, ignored: time-travel; there is topology-aware-consumption"
    ]
    assert notices("--enable-experiment=topology-aware-consumption") == []


def test_a_policy_that_is_not_known_is_not_taken_for_none() -> None:
    tls: dict[str, Any] = {"tls_cert": "c", "tls_key": "k"}
    reason = "=required asks for no certificate; those that do: require, require-verify"
    with pytest.raises(StartupError, match=reason):
        NsqdOptions(tls_client_auth_policy="required", **tls).check()
    NsqdOptions(tls_client_auth_policy="require", **tls).check()


NUMBERS = [each.attribute for each in flags.list_flags(NsqdOptions) if each.kind in (INT, DURATION)]


@pytest.mark.parametrize("attribute", NUMBERS)
def test_no_number_may_be_negative(attribute: str) -> None:
    assert attribute in {each.name for each in fields(NsqdOptions)}
    values: dict[str, Any] = {attribute: -1}
    with pytest.raises(StartupError, match=f"^--{attribute.replace('_', '-')} must "):
        NsqdOptions(**values).check()


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--tcp-address=", "--tcp-address must not be empty"),
        ("--sync-timeout=0", "--sync-timeout must be above 0"),
        ("--statsd-interval=0s", "--statsd-interval must be above 0"),
        ("--statsd-address=nowhere", "invalid --statsd-address - address nowhere: missing port"),
        ("--auth-http-address=host:http", "invalid --auth-http-address - neither host:port nor"),
        ("--auth-http-address=ftp://host/auth", "invalid --auth-http-address - neither host:port"),
        ("--auth-http-address=http:///auth?key=x", "invalid --auth-http-address - neither host"),
    ],
)
def test_a_start_with_a_wrong_value_is_one_line(tmp_path: Path, flag: str, reason: str) -> None:
    line = refused("--tcp-address=127.0.0.1:0", f"--data-path={tmp_path}", flag)
    assert f"FATAL: failed to instantiate nsqd - {reason}" in line
    assert list(tmp_path.iterdir()) == [], "nothing was begun"
