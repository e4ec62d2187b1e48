"""`tests.runner`: what runs twice, what never does, and that no failure gets lost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.runner import AGAIN_MAX, FAILED_OPTION, run

REAL = "tests/browser/test_pages.py::test_home"
GOLDEN = "tests/nsqd/test_golden_tcp.py::test_tcp[a]"


class Pytest:
    """Stands for pytest: each run ends with the next exit code, and has failed what is given."""

    def __init__(self, *codes: int, failed: Sequence[tuple[str, bool]] | None) -> None:
        self.runs: list[list[str]] = []
        self._codes = list(codes)
        self._failed = failed

    def __call__(self, arguments: Sequence[str]) -> int:
        self.runs.append(list(arguments))
        option = arguments[-1]
        if option.startswith(FAILED_OPTION) and self._failed is not None:
            Path(option.partition("=")[2]).write_text(json.dumps(self._failed))
        return self._codes.pop(0)


def run_with(folder: Path, fake: Pytest) -> tuple[int, list[str], str]:
    """Return the exit code, the lines told, and what is listed as flaky."""
    told: list[str] = []
    flakes = folder / "flakes.txt"
    code = run(
        ["-n", "3"],
        fake,
        failed_path=folder / "failed.json",
        flakes_path=flakes,
        tell=told.append,
    )
    return code, told, flakes.read_text() if flakes.exists() else ""


def test_what_passes_runs_once(tmp_path: Path) -> None:
    fake = Pytest(0, failed=[])
    assert run_with(tmp_path, fake) == (0, [], "")
    assert len(fake.runs) == 1


def test_a_missed_deadline_gets_a_second_try_and_is_listed(tmp_path: Path) -> None:
    fake = Pytest(1, 0, failed=[(REAL, True)])
    code, told, flakes = run_with(tmp_path, fake)
    assert code == 0
    assert fake.runs[1] == ["-m", "", REAL]
    assert flakes == f"{REAL}\n"
    assert told[-1].strip() == REAL


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    code, _, flakes = run_with(tmp_path, Pytest(1, 1, failed=[(REAL, True)]))
    assert (code, flakes) == (1, "")


def test_what_does_not_depend_on_time_is_not_tried_again(tmp_path: Path) -> None:
    fake = Pytest(1, failed=[(REAL, True), (GOLDEN, False)])
    code, told, _ = run_with(tmp_path, fake)
    assert (code, len(fake.runs)) == (1, 1)
    assert GOLDEN in told[0]


def test_many_failures_are_no_flakes(tmp_path: Path) -> None:
    failed = [(f"{REAL}{number}", True) for number in range(AGAIN_MAX + 1)]
    fake = Pytest(1, failed=failed)
    assert run_with(tmp_path, fake)[0] == 1
    assert len(fake.runs) == 1


@pytest.mark.parametrize("code", [-9, 137, 2, 3, 4, 5])
def test_a_run_that_did_not_come_to_its_end_has_failed(tmp_path: Path, code: int) -> None:
    """A list of an earlier run is no excuse."""
    (tmp_path / "failed.json").write_text(json.dumps([[REAL, True]]))
    fake = Pytest(code, failed=None)
    assert run_with(tmp_path, fake)[0] == code
    assert len(fake.runs) == 1


def test_a_killed_pytest_that_says_1_without_a_list_has_failed(tmp_path: Path) -> None:
    (tmp_path / "failed.json").write_text(json.dumps([[REAL, True]]))
    fake = Pytest(1, failed=None)
    assert run_with(tmp_path, fake)[0] == 1
    assert len(fake.runs) == 1


CONFTEST = """
from pathlib import Path
from tests.runner import FailureList

def pytest_addoption(parser):
    parser.addoption("--failed-to", type=Path)

def pytest_configure(config):
    config.addinivalue_line("markers", "real_time")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailureList(config.getoption("--failed-to")))
"""
TESTS = """
import pytest

def test_passes():
    pass

@pytest.mark.real_time
def test_late():
    assert False

@pytest.fixture
def broken():
    raise OSError

def test_core(broken):
    pass
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_real_pytest_lists_what_failed(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    failed = tmp_path / "failed.json"
    command = [sys.executable, "-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    finished = subprocess.run(
        [*command, f"{FAILED_OPTION}={failed}", "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stdout
    assert sorted(json.loads(failed.read_text())) == [
        ["test_it.py::test_core", False],
        ["test_it.py::test_late", True],
    ]


def test_signals_that_a_starter_ignored_are_not_ignored_here() -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
