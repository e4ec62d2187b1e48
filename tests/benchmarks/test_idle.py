"""The benchmark of idle channels, small: they are made, watched, and there at the next start."""

import json

import pytest

from benchmarks import idle


def test_idle_channels_are_watched(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = str(tmp_path_factory.mktemp("node"))
    few = ["--channels=20", "--windows=1", "--seconds=0.1"]
    assert idle.main([*few, "--json", "--directory", folder]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["made_ms"]) == 10
    assert len(found["idle"]) == 1
    assert found["start_ms"] > 0


def test_more_connections_than_files_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        idle.main(["--channels=100000000"])
    assert "open files" in capsys.readouterr().err
