"""
Fixtures that every test folder may use, and how long properties are tried.

``make test`` tries the same examples each time, for seconds; ``make test-long`` tries new ones, for
as long as a nightly run may. What it finds is kept in ``.hypothesis`` and tried first.
"""

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.support.processes import cluster

__all__ = ["cluster"]

settings.register_profile("short", deadline=None, derandomize=True)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=3000,
    stateful_step_count=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


class FileByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """
    Keeps the tests of a file on one worker, in their order; those in the browser all on one.

    The tests of a golden file share a daemon and build on each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "tests/browser" if path.startswith("tests/browser/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileByFile:
    """Share out the tests between workers by file, whatever ``--dist`` says."""
    return FileByFile(config, log)
