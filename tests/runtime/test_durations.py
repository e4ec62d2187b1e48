import contextlib

import pytest
from hypothesis import given, strategies as st

from nsqx.runtime.durations import DURATION_NS_MAX, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("0", 0),
        ("-0", 0),
        ("+5s", 5_000_000_000),
        ("-5s", -5_000_000_000),
        ("100ms", 100_000_000),
        ("1h2m3.5s", 3_723_500_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("5.s", 5_000_000_000),
        ("1us", 1_000),
        ("1\N{MICRO SIGN}s", 1_000),
        ("1\N{GREEK SMALL LETTER MU}s", 1_000),
        ("1.9ns", 1),
        ("3m3m", 360_000_000_000),
    ],
)
def test_durations_are_read_as_go_does(text: str, duration_ns: int) -> None:
    assert parse_duration(text) == duration_ns


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", ".s", "1", "-", "+", "1 s", "1s ", "1d", "1S", "1e3s", "--1s", "300000h9s9"],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^parse error$"):
        parse_duration(text)


def test_a_duration_beyond_64_bits_is_refused() -> None:
    assert parse_duration(f"{DURATION_NS_MAX}ns") == DURATION_NS_MAX
    with pytest.raises(ValueError, match="parse error"):
        parse_duration("2562048h")


@pytest.mark.parametrize(
    ("duration_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5\N{MICRO SIGN}s"),
        (250_000_000, "250ms"),
        (1_000_000_000, "1s"),
        (1_000_000_001, "1.000000001s"),
        (60_000_000_000, "1m0s"),
        (3_600_000_000_000, "1h0m0s"),
        (3_605_500_000_000, "1h0m5.5s"),
        (-1_500_000_000, "-1.5s"),
    ],
)
def test_durations_are_shown_as_go_does(duration_ns: int, text: str) -> None:
    assert format_duration(duration_ns) == text


@given(st.integers(-DURATION_NS_MAX, DURATION_NS_MAX))
def test_what_is_shown_reads_back(duration_ns: int) -> None:
    assert parse_duration(format_duration(duration_ns)) == duration_ns


@given(st.text(alphabet="0123456789.hmsnu+-µ", max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(text) == parse_duration(format_duration(parse_duration(text)))
