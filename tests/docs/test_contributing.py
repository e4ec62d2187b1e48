"""What docs/contributing.md says a change touches is there, and a commit of the kind touched it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing.md").read_text()
SECTIONS = PAGE.split("\n### ")[1:]


def files_of(section: str) -> list[str]:
    """Return the files of a section's table."""
    return [file for row in re.findall(r"^\| `.*", section, re.MULTILINE) for file in _paths(row)]


def _paths(row: str) -> list[str]:
    return re.findall(r"`([\w./-]+\.(?:py|md))`", row.split(" | ")[0])


def subject_of(section: str) -> str:
    """Return the subject of the commit that a section names."""
    found = re.search(r"^Commit: `(.*?)`", section, re.MULTILINE)
    assert found is not None
    return found[1]


def title_of(section: str) -> str:
    return section.partition("\n")[0]


def test_five_questions_are_answered() -> None:
    assert len(SECTIONS) == 5


@pytest.mark.parametrize("section", SECTIONS, ids=title_of)
def test_the_files_exist(section: str) -> None:
    assert files_of(section)
    for file in files_of(section):
        assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("section", SECTIONS, ids=title_of)
def test_a_commit_of_the_kind_touched_them(section: str) -> None:
    subjects = git("log", "--format=%H %s")
    if not subjects.strip():
        pytest.skip("the checkout has no history")
    named = [line for line in subjects.splitlines() if line.endswith(f" {subject_of(section)}")]
    assert named, "no such commit"
    touched = git("show", "--format=", "--name-only", named[0].partition(" ")[0]).split()
    first = files_of(section)[0]
    assert first in touched


def git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    return finished.stdout
