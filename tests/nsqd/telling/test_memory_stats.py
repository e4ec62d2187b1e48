"""Numbers about memory, while the collector works."""

import gc
from collections.abc import Iterator

import pytest

from nsqx.nsqd.telling.memory_stats import MemoryStats


@pytest.fixture
def eager_collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    gc.set_threshold(1, 1, 1)  # a collection with nearly every object
    yield
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("eager_collector")
def test_a_collection_while_the_pauses_are_read_does_no_harm() -> None:
    stats = MemoryStats()
    stats.start()
    try:
        numbers = [stats.read() for _ in range(300)]
    finally:
        stats.stop()
    assert numbers[-1]["gc_total_runs"] > numbers[0]["gc_total_runs"]
