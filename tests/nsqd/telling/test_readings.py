"""Every number of the table can be read, and comes out at each place that the table names."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nsqx.nsqd.telling.readings import of_channel, of_topic
from nsqx.nsqd.telling.statsd import StatsdReport
from nsqx.runtime import numbers
from nsqx.runtime.numbers import Number, Stats
from tests.support.node import running_node

AGE = "oldest_unfinished_age"  # takes the disk: /metrics asks for it


async def test_every_number_is_shown_where_the_table_says(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")
        await node.post("/mpub?topic=t", b"a\nb")
        topic = node.broker.topics["t"]
        channel = topic.channels["c"]
        of_t = {number.name: of_topic(number)(topic) for number in numbers.TOPIC}
        of_c = {
            number.name: of_channel(number)(topic, channel)
            for number in numbers.CHANNEL
            if number.name != AGE
        }
        (shown,) = (await node.stats("&topic=t"))["topics"]
        scrape = (await node.get("/metrics")).decode()
        statsd = "".join(StatsdReport(node.broker, "").lines(None))
    told = {number.metric for number in numbers.NODE if number.metric}
    assert told <= {line.split(" ")[2] for line in scrape.splitlines() if line[:6] == "# HELP"}
    for line in ("nsqd_topics 1", "nsqd_channels 1", "nsqd_healthy 1", "nsqd_damages_total 0"):
        assert f"\n{line}\n" in scrape
    assert of_t["message_count"] == of_c["depth"] == 2
    assert_told(numbers.TOPIC, of_t, shown, scrape, '{topic="t"')
    assert_told(numbers.CHANNEL, of_c, shown["channels"][0], scrape, '{topic="t",channel="c"')
    assert_sent(numbers.TOPIC, of_t, statsd, "topic.t.")
    assert_sent(numbers.CHANNEL, of_c, statsd, "topic.t.channel.c.")


def assert_told(
    table: Sequence[Number],
    values: Mapping[str, float],
    shown: Mapping[str, Any],
    scrape: str,
    labels: str,
) -> None:
    for number in table:
        value = values.get(number.name, 0)
        in_stats = number.stats is Stats.ALWAYS or (number.stats is Stats.NOT_ZERO and value)
        assert shown.get(number.name) == (value if in_stats else None)
        if number.metric:
            assert f"\n{number.metric}{labels}" in scrape
            assert f"# HELP {number.metric} " in scrape


def assert_sent(
    table: Sequence[Number], values: Mapping[str, float], statsd: str, prefix: str
) -> None:
    for number in table:
        if number.statsd:
            is_told = number.stats is not Stats.NOT_ZERO or bool(values[number.name])
            line = f"{prefix}{number.statsd}:{values[number.name]}|"
            assert (line in statsd) is is_told, line
