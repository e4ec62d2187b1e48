"""The drawing of the layers in docs/architecture.md is what the imports say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def rows_of(section: str) -> list[list[str]]:
    """Return the words of each line of the first drawing after a heading, top to bottom."""
    _, _, text = PAGE.partition(f"\n{section}\n")
    drawing = re.search(r"```layers\n(.*?)```", text, re.DOTALL)
    assert drawing is not None, f"no drawing below {section!r}"
    return [re.findall(r"[a-z_]+", line) for line in drawing[1].splitlines() if line.strip()]


COMPONENTS = rows_of("### Components")
ROOMS = rows_of("### Inside nsqd")


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, also where only types need them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_component_is_drawn() -> None:
    drawn = {name for row in COMPONENTS for name in row}
    assert drawn == {path.parent.name for path in ROOT.glob("*/nsqx/*/__init__.py")}


@pytest.mark.parametrize("component", [name for row in COMPONENTS for name in row])
def test_a_component_imports_what_is_drawn_below_it(component: str) -> None:
    height = next(index for index, row in enumerate(COMPONENTS) if component in row)
    below = {name for row in COMPONENTS[height + 1 :] for name in row}
    imported = {
        module.split(".")[1]
        for path in (ROOT / component / "nsqx" / component).rglob("*.py")
        for module in imports_of(path)
        if module.startswith("nsqx.")
    }
    assert imported - {component} <= below


def test_every_room_of_nsqd_is_drawn() -> None:
    folder = ROOT / "nsqd" / "nsqx" / "nsqd"
    rooms = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {name for row in ROOMS for name in row} == rooms


@pytest.mark.parametrize("room", [name for row in ROOMS for name in row])
def test_a_room_of_nsqd_imports_what_is_drawn_below_it(room: str) -> None:
    height = next(index for index, row in enumerate(ROOMS) if room in row)
    below = {name for row in ROOMS[height + 1 :] for name in row}
    everything = {name for row in ROOMS for name in row}
    imported = {
        module.split(".")[2]
        for path in (ROOT / "nsqd" / "nsqx" / "nsqd" / room).rglob("*.py")
        for module in imports_of(path)
        if module.startswith("nsqx.nsqd.")
    }
    assert (imported & everything) - {room} <= below
