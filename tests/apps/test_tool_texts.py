"""Small parts of the tools that only compute: lines, limits, URLs."""

import pytest
from hypothesis import given, strategies as st

from nsqx.apps.tools import nsq_stat, standard_log
from nsqx.apps.tools.stat_lines import line
from nsqx.apps.tools.throttle import Throttle
from nsqx.apps.tools.timings import Timings, percentile
from nsqx.apps.tools.url_template import UrlTemplate
from nsqx.cluster.rows import ChannelRow

# --- nsq_stat ---


def test_what_servers_say_is_one_line_and_nothing_that_a_terminal_obeys(
    capsys: pytest.CaptureFixture[str],
) -> None:
    standard_log.say("E_INVALID \x1b]0;owned\x07\nfake line\twith \u202etab")
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.endswith(" E_INVALID \\x1b]0;owned\\x07\\nfake line\twith \\u202etab")
    assert str(nsq_stat._fatal("said \x1b[2J").message) == "ERROR: said \\x1b[2J"


def test_a_line_is_that_of_nsq() -> None:
    now = ChannelRow(depth=2, messages=2)
    assert line(now, now, 0.2) == (
        "      0       0 |       2       2       0     0     0 |"
        "       0       0            2       0\n"
    )


def test_rates_are_per_second_and_cut_off() -> None:
    before = ChannelRow(depth=10, messages=100)
    now = ChannelRow(depth=4, messages=109, backend_depth=1)
    columns = line(before, now, 2.0).replace("|", "").split()
    assert columns[:5] == ["4", "7", "4", "3", "1"]


# --- to_nsq ---


def test_a_throttle_lets_the_first_go_and_then_one_after_another() -> None:
    throttle = Throttle(10, now=0)
    assert [throttle.take(0) for _ in range(3)] == [0, pytest.approx(0.1), pytest.approx(0.2)]


def test_a_throttle_saves_one_second_and_no_more() -> None:
    throttle = Throttle(10, now=0)
    assert [throttle.take(1000) for _ in range(11)] == [*[0.0] * 10, pytest.approx(0.1)]


@given(st.integers(1, 100), st.lists(st.floats(0, 3), max_size=100))
def test_a_throttle_never_lets_more_through_than_allowed(rate: int, pauses: list[float]) -> None:
    throttle, now = Throttle(rate, 0), 0.0
    for sent, pause in enumerate(pauses, 1):
        now += pause
        now += throttle.take(now)
        assert sent <= 1 + rate * now + 1e-6


# --- nsq_to_http ---


@pytest.mark.parametrize(
    ("url", "body", "filled"),
    [
        ("http://x/?m=%s", b"a b&c", "http://x/?m=a+b%26c"),
        ("http://x/%s", b"\xff/~", "http://x/%FF%2F~"),
        ("http://x/100%%/%s", b"%s", "http://x/100%/%25s"),
        ("http://x/a%20b/%s", b"m", "http://x/a%20b/m"),
    ],
)
def test_a_message_is_put_into_the_url(url: str, body: bytes, filled: str) -> None:
    assert UrlTemplate(url).fill(body) == filled


@pytest.mark.parametrize("url", ["http://x/", "http://x/%s/%s", "http://x/%d", "http://x/%%s"])
def test_there_must_be_one_place(url: str) -> None:
    with pytest.raises(ValueError, match="must be a printf string"):
        UrlTemplate(url)


def test_timings_come_after_so_many_requests() -> None:
    timings = Timings(4, "[aggregate]:")
    seconds = [0.001, 0.002, 0.003, 0.01]
    lines = [timings.add(each) for each in seconds * 2]
    assert [at for at, text in enumerate(lines) if text] == [3, 7]
    assert lines[7] == ("[aggregate]: finished 8 - 99th: 10.00ms - 95th: 10.00ms - avg: 4.00ms")


def test_timings_may_be_off() -> None:
    assert [Timings(0, "").add(1) for _ in range(3)] == [None] * 3


@given(st.lists(st.floats(0, 100), min_size=1), st.integers(1, 100))
def test_a_percentile_is_a_value_that_few_exceed(values: list[float], percent: int) -> None:
    found = percentile(sorted(values), percent)
    above = sum(value > found for value in values)
    assert found in values
    assert above <= len(values) * (100 - percent) / 100
