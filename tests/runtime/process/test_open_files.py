"""Open files: the limit is raised, and counted as it is."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsqx.runtime import metrics
from nsqx.runtime.process import open_files


@pytest.fixture
def low_limit() -> Iterator[int]:
    """A soft limit below the hard one, as systems have it; returns the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def values() -> dict[str, int]:
    lines = metrics.render(open_files.families()).decode().splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#")]
    return {name: int(float(value)) for name, value in pairs}


def test_limit_is_raised_to_what_the_system_allows(low_limit: int) -> None:
    assert values()["process_max_fds"] == 512
    open_files.raise_limit()
    assert values()["process_max_fds"] == low_limit


def test_the_last_ones_are_scarce(low_limit: int) -> None:
    scarce = [fd for fd in range(512) if open_files.is_scarce(fd)]
    assert scarce == list(range(512 - 51, 512))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, low_limit))
    assert not open_files.is_scarce(47)
    assert open_files.is_scarce(48)


def test_open_files_are_counted(tmp_path: Path) -> None:
    before = values()["process_open_fds"]
    with (tmp_path / "one").open("w"), (tmp_path / "two").open("w"):
        assert values()["process_open_fds"] == before + 2
