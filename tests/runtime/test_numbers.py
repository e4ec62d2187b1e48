"""What must hold for every entry of the table of numbers; who shows them is tested there."""

from collections.abc import Sequence

import pytest

from nsqx.runtime import numbers
from nsqx.runtime.numbers import Behaviour, Number, Stats

TABLES = [numbers.TOPIC, numbers.CHANNEL]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("place", ["name", "statsd", "row", "rate"])
def test_no_two_numbers_share_a_name(table: Sequence[Number], place: str) -> None:
    names = [getattr(number, place) for number in table if getattr(number, place)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("table", TABLES)
def test_no_two_numbers_are_the_same_series(table: Sequence[Number]) -> None:
    series = [(number.metric, *sorted(number.labels.items())) for number in table if number.metric]
    assert len(series) == len(set(series))


@pytest.mark.parametrize("number", [*numbers.TOPIC, *numbers.CHANNEL], ids=lambda each: each.name)
def test_an_entry_is_whole(number: Number) -> None:
    assert number.help.endswith((".", ")."))
    assert number.label
    if number.metric:
        assert number.metric.endswith("_total") == (number.kind is Behaviour.COUNTER)
    assert number.kind is Behaviour.COUNTER or not number.rate
    assert number.row or not number.rate
    # What the dashboard shows comes from /stats.
    assert number.stats is not Stats.NEVER or not number.row


def test_a_rate_is_known_by_what_it_counts() -> None:
    assert numbers.counted_rows(numbers.CHANNEL) == {
        "in_rate": "messages",
        "requeues": "requeued",
        "timeouts": "timed_out",
    }
