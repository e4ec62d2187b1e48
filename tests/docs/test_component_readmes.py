"""A component's README leads a newcomer through its files: each that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READMES = sorted(ROOT.glob("*/README.md"))
NAMED = re.compile(r"`([\w/]+\.(?:py|mjs))`")


def ends_of_paths(folder: Path) -> set[str]:
    """All that the files of a folder may be called: ``c.py``, ``b/c.py``, ``a/b/c.py``."""
    parts = (
        path.relative_to(folder).parts for end in ("py", "mjs") for path in folder.rglob(f"*.{end}")
    )
    return {"/".join(each[start:]) for each in parts for start in range(len(each))}


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_each_file_that_is_named_is_there(readme: Path) -> None:
    here = ends_of_paths(readme.parent) | ends_of_paths(ROOT / "tests")
    named = set(NAMED.findall(readme.read_text()))
    assert {name for name in named - here if not (ROOT / name).is_file()} == set()
