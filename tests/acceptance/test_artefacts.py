"""
What is in deploy/ runs: units are booted, the image is built and started.

Skipped, with the reason, where the tools for that can't be had.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.generate import ROOT

pytestmark = pytest.mark.acceptance

NOT_TRIED = 77  # the exit code of the scripts, with a line that says why
SECONDS_MAX = 900


def run(script: str, folder: Path) -> str:
    done = subprocess.run(
        ["sh", ROOT / "deploy" / script, folder],
        env={**os.environ, "PYTHON": sys.executable},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_MAX,
    )
    if done.returncode == NOT_TRIED:
        pytest.skip(done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_units_are_a_cluster_when_a_machine_has_booted(tmp_path: Path) -> None:
    assert "the units are a cluster" in run("systemd/boot.sh", tmp_path)


def test_the_image_is_built_and_runs_as_the_cluster_of_the_compose_file(tmp_path: Path) -> None:
    assert "the image runs as a cluster" in run("docker/run.sh", tmp_path)
