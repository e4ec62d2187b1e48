"""Every fault on real processes, for some seconds each; ``make chaos`` runs them for minutes."""

import subprocess
import sys

import pytest

from tests.chaos.faults import FAULTS

SECONDS = 12


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_that_was_answered_ok_is_lost(fault: str) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--fault", fault, "--seconds", str(SECONDS)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    row = finished.stdout.splitlines()[-1]
    _, _, times, _, acknowledged, delivered, _, lost, _ = (cell.strip() for cell in row.split("|"))
    assert int(times) > 0
    assert int(delivered) >= int(acknowledged) > 0
    assert lost == "0"
