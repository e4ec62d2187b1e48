"""What must hold for every entry of the table of numbers; who shows them is tested there."""

from collections.abc import Sequence

import pytest

from nsqx.runtime import numbers
from nsqx.runtime.numbers import Behaviour, Number, Stats

TABLES = [numbers.TOPIC, numbers.CHANNEL, numbers.NODE]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("place", ["name", "statsd", "row", "rate"])
def test_no_two_numbers_share_a_name(table: Sequence[Number], place: str) -> None:
    names = [getattr(number, place) for number in table if getattr(number, place)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("table", TABLES)
def test_no_two_numbers_are_the_same_series(table: Sequence[Number]) -> None:
    series = [(number.metric, *sorted(number.labels.items())) for number in table if number.metric]
    assert len(series) == len(set(series))


@pytest.mark.parametrize("number", [each for table in TABLES for each in table], ids=str)
def test_an_entry_is_whole(number: Number) -> None:
    assert number.help.endswith((".", ")."))
    assert number.label
    assert bool(number.rate) == bool(number.rate_label)
    if number.metric:
        assert number.metric.endswith("_total") == (number.kind is Behaviour.COUNTER)
    assert number.kind is Behaviour.COUNTER or not number.rate
    assert number.row or not number.rate


@pytest.mark.parametrize("number", [*numbers.TOPIC, *numbers.CHANNEL], ids=str)
def test_what_the_dashboard_shows_of_topics_and_channels_comes_from_stats(number: Number) -> None:
    assert number.stats is not Stats.NEVER or not number.row


def test_columns_have_titles_and_so_have_their_rates() -> None:
    titles = numbers.titles(numbers.CHANNEL)
    assert (titles["timed_out"], titles["timeouts"]) == ("Timed out", "Timeouts")


def test_a_rate_is_known_by_what_it_counts() -> None:
    assert numbers.counted_rows(numbers.CHANNEL) == {
        "in_rate": "messages",
        "requeues": "requeued",
        "timeouts": "timed_out",
    }
