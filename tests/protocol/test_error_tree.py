"""Whatever nsqx raises on purpose hangs in one tree."""

import ast
import builtins
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(file for folder in ROOT.glob("*/nsqx") for file in folder.rglob("*.py"))
BUILTIN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def classes() -> dict[tuple[str, str], list[str]]:
    """Return the bases of every class that others can see, by file and name."""
    found = {}
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases]
                found[str(file.relative_to(ROOT)), node.name] = bases
    return found


def test_all_errors_are_of_one_tree() -> None:
    known = classes()
    tree, grown = {"NsqxError"}, True
    while grown:
        new = {name for (_, name), bases in known.items() if tree.intersection(bases)}
        grown = not new <= tree
        tree |= new
    assert len(tree) > 40
    outside = {
        (file, name)
        for (file, name), bases in known.items()
        if BUILTIN.intersection(bases) and name not in tree and name != "NsqxError"
    }
    assert outside == set()
