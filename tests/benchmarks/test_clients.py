"""The comparison of clients runs through. No timing is asserted."""

from pathlib import Path

import pytest

from benchmarks import clients


def test_every_client_does_every_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--messages", "400", "--runs", "1", "--directory", str(tmp_path)]
    assert clients.main(arguments) == 0
    table = capsys.readouterr().out.splitlines()
    assert {line[:40].strip() for line in table} >= clients.MEASUREMENTS.keys()
