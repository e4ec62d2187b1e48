"""The tour of the code leads to files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR, _, _ = (ROOT / "docs" / "architecture.md").read_text().partition("\n## Glossary\n")
SOURCES = [
    path.relative_to(ROOT).as_posix()
    for path in ROOT.glob("*/nsqx/**/*.py")
    if not path.is_relative_to(ROOT / ".venv")
]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"[\w/]+\.py\b", TOUR))))
def test_every_module_on_the_tour_exists(name: str) -> None:
    assert [source for source in SOURCES if f"/{source}".endswith(f"/{name}")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`[A-Z]\w*\.(\w+)`", TOUR))))
def test_every_function_on_the_tour_exists(name: str) -> None:
    definition = re.compile(rf"^ *(?:async )?def {name}\(", re.MULTILINE)
    sources = [source for source in SOURCES if definition.search((ROOT / source).read_text())]
    assert sources
