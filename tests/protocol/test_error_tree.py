"""Whatever nsqx raises on purpose hangs in one tree, and is called an error (decision 135)."""

import ast
import builtins
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ROOT.glob("*/nsqx") for file in folder.rglob("*.py"))
BUILTIN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}
# Where users read them, errors are named by what happened: those names are public.
PUBLIC = "client/nsqx/client/errors.py"
# Not errors: they end something that went as it should.
NO_ERRORS = {"Dropped", "Enough", "HelpRequested"}
# A caller's mistake, what the system said, the end of the program, and what a subclass has to do.
OF_PYTHON = {
    *("ValueError", "TypeError", "RuntimeError", "OSError", "TimeoutError"),
    *("SystemExit", "NotImplementedError", "StopAsyncIteration", "StopIteration"),
}
ALLOWED = {("testing/nsqx/testing/recorder.py", "AssertionError")}  # it fails a test


@cache
def nodes_of(file: Path) -> list[ast.ClassDef | ast.Raise]:
    """Return its classes, and where it raises."""
    found = ast.walk(ast.parse(file.read_text()))
    return [node for node in found if isinstance(node, ast.ClassDef | ast.Raise)]


@cache
def classes() -> dict[tuple[str, str], list[str]]:
    """Return the bases of every class, by file and name."""
    found = {}
    for file in FILES:
        for node in nodes_of(file):
            if isinstance(node, ast.ClassDef):
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                found[str(file.relative_to(ROOT)), node.name] = bases
    return found


def tree() -> set[str]:
    """Return the names of all classes below the root, and of the root."""
    known, names, grown = classes(), {"NsqxError"}, True
    while grown:
        new = {name for (_, name), bases in known.items() if names.intersection(bases)}
        grown = not new <= names
        names |= new
    return names


def test_all_errors_are_of_one_tree() -> None:
    names = tree()
    assert len(names) > 40
    outside = {
        (file, name)
        for (file, name), bases in classes().items()
        if BUILTIN.intersection(bases) and name not in names
    }
    assert outside == set()


def test_errors_are_called_errors() -> None:
    names = tree()
    others = {
        (file, name)
        for file, name in classes()
        if name in names and not name.endswith("Error") and file != PUBLIC
    }
    assert {name for _, name in others} == NO_ERRORS, others


def test_builtin_errors_are_raised_where_python_would_raise_them() -> None:
    wrong = [
        (str(file.relative_to(ROOT)), node.lineno, name)
        for file in FILES
        for node in nodes_of(file)
        if isinstance(node, ast.Raise) and node.exc is not None
        for name in [ast.unparse(node.exc).partition("(")[0]]
        if name in BUILTIN - OF_PYTHON and (str(file.relative_to(ROOT)), name) not in ALLOWED
    ]
    assert wrong == []
