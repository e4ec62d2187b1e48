"""Numbers that callers give: each option says no before it matters, by an error that names it."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from nsqx.client import BackoffPolicy, Nsq, Producer, Settings
from nsqx.client.ranges import check_count, check_seconds, milliseconds

NO_SECONDS = [math.nan, math.inf, -math.inf, -1, True, "5"]
WRONG = (ValueError, TypeError)


@pytest.mark.parametrize("seconds", NO_SECONDS)
def test_seconds_are_a_number_that_ends(seconds: Any) -> None:
    for check in (check_seconds, milliseconds):
        with pytest.raises(WRONG, match="delay"):
            check("delay", seconds)


def test_what_is_a_number_is_taken() -> None:
    assert check_seconds("delay", 0) == 0
    assert check_seconds("share", 1, most=1) == 1
    assert milliseconds("delay", 0.0015) == 2
    assert check_count("concurrency", 1, 1) == 1


@pytest.mark.parametrize("count", [0, -1, 1.5, math.nan, True, "2"])
def test_counts_are_whole_numbers(count: Any) -> None:
    with pytest.raises(WRONG, match="concurrency"):
        check_count("concurrency", count, 1)


@pytest.mark.parametrize("number", NO_SECONDS)
@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            Settings,
            "connect_timeout heartbeat_interval read_timeout reply_timeout write_timeout "
            "msg_timeout output_buffer_timeout output_buffer_size deflate_level sample_rate "
            "frame_bytes_max",
        ),
        (
            lambda **options: Producer("127.0.0.1", **options),
            "timeout slow_after close_timeout outstanding_bytes_max",
        ),
        (lambda **options: Nsq(nsqd="127.0.0.1", **options), "timeout close_timeout"),
        (
            lambda **options: Nsq(nsqd="127.0.0.1").handler("t", "c", **options),
            "timeout concurrency max_attempts",
        ),
        (BackoffPolicy, "multiplier_seconds longest_seconds"),
    ],
)
def test_no_option_takes_what_is_no_number_of_its_kind(
    make: Callable[..., object], names: str, number: Any
) -> None:
    for name in names.split():
        if number == -1 and name.startswith("output_buffer"):
            continue  # switches it off
        with pytest.raises(WRONG, match=name):
            make(**{name: number})


@pytest.mark.parametrize("number", NO_SECONDS)
async def test_no_call_takes_what_is_no_number_of_seconds(number: Any) -> None:
    async with Nsq(nsqd="127.0.0.1:1") as nsq:
        for name in ("delay", "timeout"):
            with pytest.raises(WRONG, match=name):
                await nsq.publish("t", b"x", **{name: number})
        with pytest.raises(WRONG, match="timeout"):
            await nsq.publish_many("t", [b"x"], timeout=number)
        with pytest.raises(WRONG, match="timeout"):
            await nsq.consume("t", "c").close(number)
