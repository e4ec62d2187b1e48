"""What lies at the top of the tree is meant to: a program run by hand there leaves files behind."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
}


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a copy without git has no list of files")
def test_no_file_lies_at_the_top_that_nobody_put_there() -> None:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    at_the_top = {name for name in listed.split("\0") if name and "/" not in name}
    assert at_the_top - FILES == set()
