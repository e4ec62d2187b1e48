"""
One way to get time (decision 136): two clocks that never mix.

What is measured or waited for goes by a clock that runs evenly; the one on the wall is for what is
stored, shown, or was said by another machine. Whoever computes with the wall's is listed here.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(ROOT.glob("*/nsqx/*"))
WALL = {"time.time", "time.time_ns", "datetime.now"}
# Others that run evenly are what these are on each system that we run on.
EVEN_MORE = {"time.perf_counter", "time.perf_counter_ns", "time.clock_gettime"}
# Who computes with the time on the wall, and why.
COMPUTING = {
    "admin/changed/marks": "until when somebody silenced a problem: shown, and outlives a restart",
    "apps/change/restart": "whether a node that another machine has dated is younger than a second",
    "client/message": "how old a message is that another machine has dated",
    "lookupd/clock": "the date at the start, which then runs evenly",
}


@cache
def modules() -> dict[str, ast.Module]:
    files = (file for folder in FOLDERS for file in folder.rglob("*.py"))
    return {
        file.relative_to(file.parents[len(file.parts) - len(ROOT.parts) - 3])
        .with_suffix("")
        .as_posix(): ast.parse(file.read_text())
        for file in files
    }


def uses(tree: ast.AST, names: set[str]) -> Iterator[ast.Attribute]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in names:
            yield node


def is_text(node: ast.AST) -> bool:
    """Whether it is put into a text, and not computed with."""
    return any(
        isinstance(part, ast.JoinedStr)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str | bytes))
        for part in ast.walk(node)
    )


def computes(tree: ast.Module) -> bool:
    """Whether it adds, subtracts or compares what the clock on the wall has said."""
    for scope in ast.walk(tree):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        times = {
            target.id
            for node in ast.walk(scope)
            if isinstance(node, ast.Assign)
            and any(uses(node.value, WALL))
            and not is_text(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(scope):
            if isinstance(node, ast.BinOp | ast.Compare) and not is_text(node):
                parts = list(ast.walk(node))
                if any(uses(node, WALL)) or any(
                    isinstance(part, ast.Name) and part.id in times for part in parts
                ):
                    return True
    return False


def test_only_these_compute_with_the_time_on_the_wall() -> None:
    assert {name for name, tree in modules().items() if computes(tree)} == COMPUTING.keys()


def test_there_is_one_clock_that_runs_evenly() -> None:
    assert {name for name, tree in modules().items() if any(uses(tree, EVEN_MORE))} == set()
