"""
The tests mean the same however they were started.

A subset that runs processes, reads files, prints times and texts, and is interrupted runs again as
a script's background job, under another umask, language, time zone and user, without a home, and
from a path with a space.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOME_TESTS = (
    "tests/runtime",
    "tests/nsqd/test_startup.py",
    "tests/nsqd/test_daemon_cli.py",
    "tests/apps/run/test_up.py",
    "tests/apps/run/test_child.py",
    "tests/apps/tools/test_nsq_to_file.py",
    "tests/lookupd/test_startup.py",
    "tests/testing",
)
NOBODY = 65534


def run_tests(
    folder: Path, *, shell: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the subset in a checkout, from a shell that has done something first."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SOME_TESTS]
    return subprocess.run(
        ["sh", "-c", f'{shell}\nexec "$@"', "sh", *command],
        cwd=folder,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.parametrize(
    "shell",
    ["trap '' INT HUP", "umask 077", "umask 000"],
    ids=["interrupts_ignored", "private_umask", "open_umask"],
)
def test_by_the_shell(shell: str) -> None:
    finished = run_tests(ROOT, shell=shell)
    assert finished.returncode == 0, finished.stdout[-5000:]


@pytest.mark.parametrize(
    "environment",
    [
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
        {"TZ": "Asia/Kathmandu"},
        {"HOME": "/nonexistent", "TERM": "dumb"},
    ],
    ids=["language", "time_zone", "no_home"],
)
def test_by_the_environment(environment: dict[str, str]) -> None:
    finished = run_tests(ROOT, environment=environment)
    assert finished.returncode == 0, finished.stdout[-5000:]


def copy_of_the_checkout(folder: Path) -> dict[str, str]:
    """Copy the files that git knows; return the environment that imports them."""
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    roots = [path.parent.parent.parent for path in folder.glob("*/nsqx/*/__init__.py")]
    return {"PYTHONPATH": os.pathsep.join(map(str, [*roots, folder]))}


def test_from_a_path_with_a_space(tmp_path: Path) -> None:
    folder = tmp_path / "a check out"
    finished = run_tests(folder, environment=copy_of_the_checkout(folder))
    assert finished.returncode == 0, finished.stdout[-5000:]


@pytest.fixture
def reachable_folder() -> Iterator[Path]:
    """A folder that other users reach: each pytest that starts makes its own private again."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_as_another_user(reachable_folder: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    as_nobody = f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups " + '"$@"'
    # It starts itself again, as tests do: an interpreter below a private folder can't.
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    interpreter = ["sh", "-c", as_nobody, "sh", sys.executable, "-c", again]
    if subprocess.run(interpreter, check=False, capture_output=True).returncode != 0:
        pytest.skip(f"another user can't run {sys.executable}")
    folder = reachable_folder / "checkout"
    folder.mkdir()
    environment = copy_of_the_checkout(folder)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    temporary = folder / "tmp"
    temporary.mkdir()
    os.chown(temporary, NOBODY, NOBODY)
    environment |= {"HOME": str(temporary), "TMPDIR": str(temporary)}
    finished = run_tests(folder, shell=as_nobody, environment=environment)
    assert finished.returncode == 0, finished.stdout[-5000:]
