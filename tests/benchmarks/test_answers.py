"""The benchmark of what answers cost, small: that each kind of command is sent and measured."""

import json

import pytest

from benchmarks import answers


def test_every_command_is_measured(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = str(tmp_path_factory.mktemp("node"))
    assert answers.main(["--messages=130", "--json", "--directory", folder]) == 0
    cpu_us = json.loads(capsys.readouterr().out)
    assert cpu_us.keys() == {"PUB", *answers.BUDGETS}
    assert all(value > 0 for value in cpu_us.values()), cpu_us
