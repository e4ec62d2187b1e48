"""
Runs the tests; what failed and depends on real time runs once more.

    python -m tests.runner -n 4 [what pytest takes]

A machine that others keep busy may make a real process, browser or host miss a deadline. Tests of
such things are marked ``real_time`` (`tests.conftest` says which). When a run ends with exit code 1
and nothing else has failed, they run again, one after the other; what passes then is a *flake*: it
is counted, listed at the end, and written to ``artifacts/flakes.txt``. Any other exit code, and any
failure of a golden case, of the core or of the simulator, is a failure at once: those do not depend
on time, so a second try could only hide a defect.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["FAILED_OPTION", "Failure", "FailureList", "run"]

ROOT = Path(__file__).parents[1]
FLAKES = ROOT / "artifacts" / "flakes.txt"
FAILED = ROOT / "artifacts" / "failed.json"
# Beyond this it is not a missed deadline here and there.
AGAIN_MAX = 10
FAILED_OPTION = "--failed-to"
REAL_TIME = "real_time"
NOT_COMPILED = "PYTHONDONTWRITEBYTECODE"

RunPytest = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that failed, and whether it depends on real time."""

    nodeid: str
    is_real_time: bool


class FailureList:
    """A plugin of pytest: writes which tests failed, once, where all reports come together."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failures: dict[str, Failure] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a failure of any phase of a test."""
        if report.failed:
            self._failures[report.nodeid] = Failure(report.nodeid, REAL_TIME in report.keywords)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that can't be imported is no matter of time."""
        if report.failed:
            self._failures[report.nodeid] = Failure(report.nodeid, False)

    def pytest_sessionfinish(self) -> None:
        """Write the list: an empty one says that the run came to its end."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[each.nodeid, each.is_real_time] for each in self._failures.values()]
        self._path.write_text(json.dumps(rows))


def run(
    arguments: Sequence[str],
    run_pytest: RunPytest,
    *,
    failed_path: Path = FAILED,
    flakes_path: Path = FLAKES,
    tell: Callable[[str], Any] = print,
) -> int:
    """
    Run pytest, and once more what may have missed a deadline.

    Args:
        arguments: for pytest.
        run_pytest: runs it with arguments and returns its exit code, below 0 for a signal.
        failed_path: where pytest writes what failed.
        flakes_path: where flakes are written; the file is there only if there were some.

    Returns:
        0 if all passed, flakes at their second try; otherwise the exit code of what did not.
    """
    failed_path.unlink(missing_ok=True)
    flakes_path.unlink(missing_ok=True)
    code = run_pytest([*arguments, f"{FAILED_OPTION}={failed_path}"])
    if code != pytest.ExitCode.TESTS_FAILED or not failed_path.exists():
        return code
    failures = [Failure(*row) for row in json.loads(failed_path.read_text())]
    refused = [each for each in failures if not each.is_real_time]
    if refused or not 0 < len(failures) <= AGAIN_MAX:
        for each in refused:
            tell(f"no second try, since it does not depend on time: {each.nodeid}")
        return code
    nodeids = [each.nodeid for each in failures]
    tell(f"{len(nodeids)} failed that depend on real time; once more, by themselves")
    code = run_pytest(["-m", "", *nodeids])
    if code == pytest.ExitCode.OK:
        flakes_path.parent.mkdir(parents=True, exist_ok=True)
        flakes_path.write_text("".join(f"{nodeid}\n" for nodeid in nodeids))
        tell(f"{len(nodeids)} flaky, in {flakes_path}:")
        for nodeid in nodeids:
            tell(f"  {nodeid}")
    return code


def _run_pytest(arguments: Sequence[str]) -> int:
    command = [sys.executable, "-m", "pytest", *arguments]
    # Without compiled files every process that a test starts would compile all it imports.
    environment = {name: value for name, value in os.environ.items() if name != NOT_COMPILED}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], _run_pytest))
