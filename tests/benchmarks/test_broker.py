"""The generators against our real nsqd, as the benchmarks start it. No timing is asserted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.broker import OwnBroker
from benchmarks.runner import Runner
from benchmarks.scenarios import Kind, Scenario


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OwnBroker]:
    broker = OwnBroker(tmp_path)
    yield broker
    broker.stop()


@pytest.mark.parametrize("snappy", [False, True])
def test_everything_published_is_delivered_to_every_channel(
    broker: OwnBroker, snappy: bool
) -> None:
    scenario = Scenario("small", Kind.BOTH, 5_000, batch=50, channels=2, snappy=snappy)
    result = Runner(broker).run(scenario)
    assert result.messages == 5_000
    assert result.delivered_rate == pytest.approx(2 * result.rate)
    assert result.cpu_us is not None
    assert result.rss_peak_mb is not None


def test_backlog_survives_the_kill(broker: OwnBroker) -> None:
    result = Runner(broker).run(Scenario("small", Kind.BACKLOG, 5_000))
    assert result.notes["lost"] == 0
    assert result.start_seconds is not None
