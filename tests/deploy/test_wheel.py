"""
What users install: a wheel, built from a clean checkout, in an environment that has nothing else.

Fetches what it needs as a user does; skipped where there is no package registry.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager

from deploy.generate import ROOT
from nsqx.protocol.version import VERSION

STATIC_FILES = ("app/main.mjs", "app.css", "vendor/preact.mjs", "vendor/uplot.css")


def test_the_distribution_has_the_version_that_programs_tell() -> None:
    assert ProjectMetadata(str(ROOT), PluginManager()).version == VERSION


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    if done.returncode and "No matching distribution found" in done.stdout:
        pytest.skip("no package registry can be reached from here")
    assert done.returncode == 0, done.stdout
    return done.stdout


def check_out(folder: Path) -> None:
    """What a clone has: the files that git knows, as they are now."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target, follow_symlinks=False)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and no trace of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    check_out(folder / "checkout")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
    build = (*pip, "wheel", "--no-deps", "-w", folder, folder / "checkout")
    run(*build, cwd=folder, NSQX_REQUIRE_DASHBOARD="1")
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(folder / "checkout")
    venv.create(folder / "venv", with_pip=True)
    run(folder / "venv" / "bin" / "pip", "-q", "install", wheel, cwd=folder)
    return folder / "venv"


@contextmanager
def running_cluster(environment: Path, folder: Path) -> Iterator[str]:
    """``nsqx up`` from there; yields what it prints when all is up."""
    process = subprocess.Popen(
        [environment / "bin" / "nsqx", "up", "--any-ports", "--nodes=1", "--quiet"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        printed = ""
        while "nsqx pub" not in printed:
            line = process.stdout.readline()
            assert line, f"it ended; printed: {printed}"
            printed += line
        yield printed
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


@pytest.mark.timeout(600)
def test_a_cluster_runs_from_a_wheel_with_its_dashboard(environment: Path, tmp_path: Path) -> None:
    script = "import nsqx.nsqd.daemon as it; print(it.__file__)"
    used = run(environment / "bin" / "python", "-P", "-c", script, cwd=tmp_path, PYTHONPATH="")
    assert used.startswith(str(environment))

    with running_cluster(environment, tmp_path) as printed:
        dashboard = re.search(r"nsqadmin +(http://\S+)", printed)
        nsqd = re.search(r"nsqd-1 .*HTTP ([\d.:]+)", printed)
        assert dashboard is not None, printed
        assert nsqd is not None, printed
        page = fetch(dashboard[1])
        static = re.search(r'data-static="([^"]+)"', page)
        assert static is not None, page
        for name in STATIC_FILES:
            assert f"{static[1]}{name}" in page
            assert fetch(f"{dashboard[1].rstrip('/')}{static[1]}{name}")
        url = f"http://{nsqd[1]}/pub?topic=t"
        with urllib.request.urlopen(url, data=b"hello", timeout=10) as answer:
            assert answer.read() == b"OK"


def test_every_program_starts(environment: Path, tmp_path: Path) -> None:
    programs = re.search(
        r"\[project\.scripts\]\n(.*?)\n\n", (ROOT / "pyproject.toml").read_text(), re.DOTALL
    )
    assert programs is not None
    for line in programs[1].splitlines():
        program = line.split(" = ")[0]
        run(environment / "bin" / program, "--help", cwd=tmp_path)


def test_it_brings_the_manual_pages(environment: Path) -> None:
    assert (environment / "share" / "man" / "man8" / "nsqd.8").exists()
    assert (environment / "share" / "man" / "man1" / "nsqx-peek.1").exists()
