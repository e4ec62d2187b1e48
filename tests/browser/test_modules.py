"""The pure modules of the front end, each by its own test file under Node, where there is one."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parent / "modules"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="no Node here; the dashboard itself needs none")
@pytest.mark.parametrize("path", sorted(MODULES.glob("*.test.mjs")), ids=lambda path: path.name)
def test_module(path: Path) -> None:
    assert NODE is not None
    done = subprocess.run([NODE, "--test", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
