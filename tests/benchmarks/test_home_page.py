"""The benchmark of the home page, small: that it measures something."""

import json
import shutil

import pytest

from benchmarks import home_page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_all_figures_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert home_page.main(["--json", "--topics=5", "--seconds=1"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures.keys() == {"first_table_ms", "update_ms", "update_ms_p95"}
    assert all(value > 0 for value in figures.values()), figures
