"""
Fixtures that every test folder may use, and how long properties are tried.

``make test`` tries the same examples each time, for seconds; ``make test-long`` tries new ones, for
as long as a nightly run may. What it finds is kept in ``.hypothesis`` and tried first.

Two marks are given by file and folder, or by what a test asks for. ``real_time``: the test talks to
real processes, browsers or hosts, which a busy machine may make late, so `tests.runner` may try it
twice. ``acceptance``: a proof that takes longer than 20 s, for ``make acceptance``.
"""

import gc
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.runner import FAILED_OPTION, FailureList
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


# What takes long goes first, so that no worker has it left when the others are done; the longest
# first. By number of tests, as xdist does, the longest would come last: they have few.
LONGEST = (
    "tests/browser",
    "tests/simulation/test_simulation.py",
    "tests/apps/run/test_up.py",
    "tests/clients/test_third_party_clients.py",
    "tests/client/test_codecs.py",
    "tests/apps/test_peek_seek.py",
    "tests/system/test_discovery.py",
    "tests/test_time.py",
    "tests/nsqd/test_daemon_cli.py",
    "tests/nsqd/test_full_disk.py",
    "tests/docs/test_handbook_commands.py",
    "tests/strangers/test_strangers.py",
    "tests/testing/test_plugin.py",
    "tests/system/test_set_clock.py",
    "tests/test_nothing_is_dead.py",
)


def _scope_of(path: str) -> str:
    return "tests/browser" if path.startswith("tests/browser/") else path


class FileByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """
    Keeps the tests of a file on one worker, in their order; those in the browser on one.

    The tests of a golden file share a daemon. Proofs that take long are shared out one by one.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        if path.startswith("tests/acceptance/"):
            return nodeid
        return _scope_of(path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileByFile:
    """Share out the tests between workers by file, whatever ``--dist`` says."""
    return FileByFile(config, log)


# Folders and files whose tests wait for other processes. Never the golden cases: what NSQ answers
# is not a matter of time.
REAL_TIME = (
    "tests/acceptance",
    "tests/admin/test_frozen.py",
    "tests/admin/test_process.py",
    "tests/apps",
    "tests/browser",
    "tests/chaos",
    "tests/client",
    "tests/clients",
    "tests/deploy",
    "tests/docs",
    "tests/integrations",
    "tests/lookupd/test_startup.py",
    "tests/nsqd/directory",
    "tests/nsqd/edge",
    "tests/nsqd/http",
    "tests/nsqd/test_crash_truth.py",
    "tests/nsqd/test_full_disk.py",
    "tests/nsqd/test_startup.py",
    "tests/runtime/process",
    "tests/runtime/test_discovery.py",
    "tests/strangers",
    "tests/support",
    "tests/system",
    "tests/testing",
)
# Wherever a test is: who asks for one of these has daemons that are processes.
REAL_DAEMONS = {"cluster", "dashboard"}
# Proofs that take longer than 20 s, one or all of a file, but stand beside what they prove.
ACCEPTANCE = (
    "tests/acceptance",
    "tests/benchmarks/test_answers.py",
    "tests/benchmarks/test_clients.py",
    "tests/benchmarks/test_home_page.py",
    "tests/benchmarks/test_lookupd.py",
    "tests/browser/test_access.py",
    "tests/browser/test_accessible_pages.py",
    "tests/browser/test_actions.py",
    "tests/browser/test_heap.py",
    "tests/browser/test_keyboard.py",
    "tests/browser/test_live.py",
    "tests/browser/test_messages.py",
    "tests/browser/test_scale.py",
    "tests/browser/test_unknown.py",
    "tests/chaos",
    "tests/deploy/test_wheel.py",
    "tests/docs/test_quickstart.py",
    "tests/system/test_directory_faults.py",
    "tests/system/test_real_input.py",
    "tests/system/test_three_hosts.py",
)
ACCEPTANCE_SECONDS_MAX = 1800
ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the failed tests written to a file, for `tests.runner`."""
    parser.addoption(FAILED_OPTION, type=Path, default=None, help="write what failed to this file")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare this process, whatever started it."""
    # A script's background and nohup leave these ignored, and children inherit that: they would
    # not end when a test interrupts them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.option.loadscopereorder = False  # xdist's
    path = config.getoption(FAILED_OPTION)
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailureList(path))


def pytest_collection_finish() -> None:
    """Let the collector look no more at what is there until the end: modules and the tests."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, and give the marks that follow from where a test is."""
    ranks = {scope: rank for rank, scope in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(_scope_of(_place_of(item)), len(ranks)))
    for item in items:
        # Each worker collects by itself, and all must come to the same names.
        assert " at 0x" not in item.nodeid, f"name it without an address: {item.nodeid}"
        place = _place_of(item)
        if _is_within(place, ACCEPTANCE):
            item.add_marker("acceptance")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(ACCEPTANCE_SECONDS_MAX))
        is_golden = item.path.name.startswith("test_golden")
        if not is_golden and (_is_within(place, REAL_TIME) or _has_real_daemons(item)):
            item.add_marker("real_time")


def _place_of(item: pytest.Item) -> str:
    return item.path.relative_to(ROOT).as_posix()


def _has_real_daemons(item: pytest.Item) -> bool:
    return not REAL_DAEMONS.isdisjoint(getattr(item, "fixturenames", ()))


def _is_within(place: str, folders: Iterable[str]) -> bool:
    return any(place == each or place.startswith(f"{each}/") for each in folders)
