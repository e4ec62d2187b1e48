"""The benchmark of nsqlookupd, small: that it measures something, and the cluster it means to."""

import json

import pytest

from benchmarks import lookupd
from benchmarks.lookupd import Size

SMALL = ["--nodes=25", "--topics=10", "--topics-per-node=2", "--watchers=10", "--seconds=0.1"]


def test_topics_are_spread_evenly() -> None:
    size = Size(nodes=1_000, topics=1_000, topics_per_node=20)
    assert size.registrations == 100_000
    holders = [topic for node in range(size.nodes) for topic in size.of_node(node)]
    assert {holders.count(topic) for topic in set(holders[:100])} == {20}


def test_all_figures_are_measured(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = str(tmp_path_factory.mktemp("log"))
    assert lookupd.main([*SMALL, "--json", "--directory", folder]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["nodes"], figures["registrations"], figures["watchers"]) == (25, 250, 10)
    assert all(value > 0 for value in figures.values()), figures
