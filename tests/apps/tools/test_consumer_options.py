"""Options of NSQ's client by name: texts of its errors, and what they become in ours."""

import pytest

from nsqx.apps.tools.consumer_options import ClientOptions, lenient, parse_option
from nsqx.client import Settings
from nsqx.client.discovery import JITTER
from nsqx.client.lookup import TIMEOUT_SECONDS
from nsqx.net.tls import TlsFileError
from nsqx.runtime.durations import MILLISECOND_NS, MINUTE_NS, SECOND_NS


def settings_of(*options: str) -> Settings:
    return ClientOptions(map(parse_option, options)).settings("tool/1")


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("max_attempts,7", ("max_attempts", 7)),
        ("max-attempts,7", ("max_attempts", 7)),
        ("snappy", ("snappy", True)),
        ("snappy,0", ("snappy", False)),
        ("msg_timeout,1m30s", ("msg_timeout", 90 * SECOND_NS)),
        ("msg_timeout,1500", ("msg_timeout", 1500 * MILLISECOND_NS)),
        ("auth_secret,a,b", ("auth_secret", "a,b")),
        ("lookupd_poll_jitter,0.5", ("lookupd_poll_jitter", 0.5)),
    ],
)
def test_an_option_is_read(text: str, given: object) -> None:
    assert parse_option(text) == given


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nosuch,1", "invalid option nosuch"),
        (
            "max_in_flight,x",
            "failed to coerce option max_in_flight (x) - "
            'strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (
            "snappy,maybe",
            "failed to coerce option snappy (maybe) - "
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        (
            "msg_timeout,1x",
            'failed to coerce option msg_timeout (1x) - time: invalid duration "1x"',
        ),
        (
            "local_addr,10.0.0.1",
            "failed to coerce option local_addr (10.0.0.1) - "
            "address 10.0.0.1: missing port in address",
        ),
        ("deflate_level,0", "invalid deflate_level ! 0 < 1"),
        ("sample_rate,100", "invalid sample_rate ! 100 > 99"),
        ("max_requeue_delay,2h", "invalid max_requeue_delay ! 2h0m0s > 1h0m0s"),
        ("max_attempts,65536", "invalid max_attempts ! 65536 > 65535"),
    ],
)
def test_a_bad_option_is_refused_in_the_words_of_nsq(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_option(text)
    assert str(caught.value) == error


def test_nsq_to_file_passes_over_what_it_does_not_understand() -> None:
    assert lenient("nosuch,1") == []
    assert lenient("snappy") == [("snappy", True)]


def test_without_options_the_defaults_are_those_of_nsq() -> None:
    options = ClientOptions()
    assert options["max_attempts"] == 5
    assert options["lookupd_poll_interval"] == MINUTE_NS
    settings = options.settings("tool/1")
    assert (settings.output_buffer_size, settings.output_buffer_timeout) == (16384, 0.25)
    assert (settings.heartbeat_interval, settings.msg_timeout) == (30, 0)
    assert settings.user_agent == "tool/1"


def test_settings_are_taken_over() -> None:
    settings = settings_of(
        "client_id,me",
        "hostname,host",
        "user_agent,mine/2",
        "heartbeat_interval,5s",
        "output_buffer_size,-1",
        "output_buffer_timeout,-1ns",
        "sample_rate,10",
        "deflate",
        "deflate_level,9",
        "auth_secret,s",
        "dial_timeout,2s",
        "write_timeout,3s",
        "local_addr,[::1]:0",
        "skip_lookupd_authorization,false",
    )
    assert (settings.client_id, settings.hostname) == ("me", "host")
    assert (settings.user_agent, settings.heartbeat_interval) == ("mine/2", 5)
    assert (settings.output_buffer_size, settings.output_buffer_timeout) == (-1, -1)
    assert (settings.sample_rate, settings.auth_secret) == (10, "s")
    assert (settings.compression, settings.deflate_level) == ("deflate", 9)
    assert (settings.connect_timeout, settings.write_timeout) == (2, 3)
    assert (settings.local_address, settings.authorize_lookups) == (("::1", 0), False)


def test_two_compressions_are_refused() -> None:
    with pytest.raises(ValueError, match="both"):
        settings_of("deflate", "snappy")


def test_tls_files_are_loaded_only_with_tls() -> None:
    assert settings_of("tls_cert,nowhere", "tls_key,nowhere").tls is False
    with pytest.raises(TlsFileError, match="open nowhere"):
        settings_of("tls_v1", "tls_cert,nowhere", "tls_key,nowhere")


def test_what_is_ours_unless_it_is_given() -> None:
    assert settings_of().read_timeout is None
    assert settings_of("read_timeout,45s").read_timeout == 45.0
    with pytest.raises(ValueError, match="heartbeat_interval"):
        settings_of("read_timeout,30s")


def test_how_lookupds_are_polled_is_ours_unless_it_is_given() -> None:
    def made_of(*options: str) -> tuple[float, float]:
        consumer = ClientOptions(map(parse_option, options)).consumer(
            "t",
            "c",
            nsqd=(),
            lookupd=["127.0.0.1:1"],
            max_in_flight=1,
            user_agent="tool/1",
            drain_timeout=1.0,
        )
        return consumer.lookupd_poll_jitter, consumer.lookupd_poll_timeout

    assert made_of() == (JITTER, TIMEOUT_SECONDS)
    given = made_of("lookupd_poll_jitter,0", "lookupd_poll_timeout,9s")
    assert given == (0.0, 9.0)


def test_what_does_nothing_here_is_told() -> None:
    given = map(parse_option, ("low_rdy_timeout,5s", "heartbeat_interval,-1ns", "snappy"))
    notices = ClientOptions(given).notices()
    assert [notice.split()[1].rstrip(":") for notice in notices] == [
        "low_rdy_timeout",
        "heartbeat_interval",
    ]
