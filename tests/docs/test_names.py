"""One word for one thing: the glossary's names exist, and no class name stands for two things."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR = (ROOT / "docs" / "architecture.md").read_text()
COMPONENTS = sorted(
    folder for folder in ROOT.glob("*/nsqx/*") if folder.is_dir() and folder.name != "__pycache__"
)
# Public names: a blocking twin of each, and a broker for each framework.
TWINS = {
    "client": {"Consumer", "Message", "Nsq"},
    "integrations": {"NsqBroker"},
}


def classes_of(component: Path) -> dict[str, list[str]]:
    """Return in which modules a class that others can see is defined, by its name."""
    found = defaultdict(list)
    for file in sorted(component.rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(file.relative_to(component).as_posix())
    return found


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.name)
def test_no_class_name_occurs_twice_in_a_component(component: Path) -> None:
    twice = {name: files for name, files in classes_of(component).items() if len(files) > 1}
    assert twice.keys() == TWINS.get(component.name, set()), twice


def glossary() -> list[tuple[str, list[str]]]:
    """Return each word with the names in the code that carry it."""
    _, _, section = TOUR.partition("\n## Glossary\n")
    section, _, _ = section.partition("\n## ")
    rows = re.findall(r"^\| ([^|`]+) \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    return [(word, re.findall(r"`([^`]+)`", names)) for word, names in rows if word != "word"]


def test_the_glossary_says_each_word_once() -> None:
    words = [word for word, _ in glossary()]
    assert len(words) > 20
    assert len(words) == len(set(words))
    assert words == sorted(words, key=str.lower)


@pytest.mark.parametrize(("word", "names"), glossary())
def test_a_word_of_the_glossary_is_in_the_code(word: str, names: list[str]) -> None:
    assert names, word
    sources = [file.read_text() for folder in COMPONENTS for file in folder.rglob("*.py")]
    for name in names:
        owner, _, attribute = name.rpartition(".")
        assert any(
            re.search(rf"\b{attribute}\b", source)
            and (not owner or re.search(rf"^class {owner}\b", source, re.MULTILINE))
            for source in sources
        ), f"{word}: {name}"
