"""
Small defects all over the broker's core and log, by rule, and whether anything notices.

    python -m tests.simulation.mutants --count 100            a sample
    python -m tests.simulation.mutants --module log/journal   of one module

`mutations.py` has the defects that somebody thought of; these are of the kinds that mutation
testing has always made: a comparison turned round or widened, ``and`` for ``or``, a condition
negated, a number off by one, a statement left out. Each is tried in a copy of the sources: first by
the tests of its module, then by a few seeds, then by all tests of core and log. Who survives is
listed. That is no failure: some defects can't be seen (what they change is a matter of speed, or is
done again elsewhere), and a person has to say which.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.mutations import COMPONENTS, ROOT

NSQD = "nsqd/nsqx/nsqd"
PACKAGES = ("core", "log")
# Of processor time; what hangs without using any is ended after ten times as long.
TEST_SECONDS_MAX = 60
SEEDS_SECONDS_MAX = 60
ALL_TESTS_SECONDS_MAX = 120
WAITS = 10
SEED_OPTIONS = "--seeds 4 --minutes 2 --jobs 1 --shrink 0 --stop"

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SUMS: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}
# Who leaves out these changes what is told, not what happens.
_TOLD = ("_log.", "logger.", "logs.")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A place in a file, and what stands there instead."""

    path: str  # below the root
    line: int
    operator: str
    start: int  # in bytes
    end: int
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """Return the source with the defect."""
        return source[: self.start] + self.after.encode() + source[self.end :]

    def __str__(self) -> str:
        before, after = (" ".join(text.split())[:60] for text in (self.before, self.after))
        place = f"{self.path.removeprefix(f'{NSQD}/')}:{self.line}"
        return f"{place} {self.operator}: `{before}` -> `{after}`"


def mutants_of(path: str, source: bytes) -> list[Mutant]:
    """Return every mutant of a file, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, operator, after in _changes(ast.parse(source)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = source[start:end].decode()
        found.append(Mutant(path, node.lineno, operator, start, end, before, after))
    return sorted(found, key=lambda each: (each.start, each.operator, each.after))


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    """Yield what is replaced, by which rule, and by what; inside functions only."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for statement in function.body:
            for node in _nodes(statement):
                yield from _changes_of(node)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it, but for parts of strings: Python 3.11 misplaces those."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.JoinedStr):
            yield from _nodes(child)


def _changes_of(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str, str]]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _COMPARISONS:
            other = _COMPARISONS[type(operator)]()
            yield node, "comparison", _text(ast.Compare(node.left, [other], node.comparators))
        case ast.BoolOp(op=operator):
            other_one = ast.Or() if isinstance(operator, ast.And) else ast.And()
            yield node, "and/or", _text(ast.BoolOp(other_one, node.values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, "not", _text(operand)
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            if not isinstance(test, ast.Compare | ast.UnaryOp | ast.NamedExpr):
                yield test, "condition", f"(not {_text(test)})"
        case ast.BinOp(op=operator) if type(operator) in _SUMS:
            yield node, "+-", _text(ast.BinOp(node.left, _SUMS[type(operator)](), node.right))
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            yield node, "one more", f"{number + 1}"
        case ast.Constant(value=bool() as flag):
            yield node, "bool", f"{not flag}"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign():
            if not ast.unparse(node).startswith(_TOLD):
                yield node, "left out", "pass"
        case ast.Assign(targets=[ast.Attribute()]):
            yield node, "left out", "pass"
        case ast.Continue() | ast.Break():
            yield node, "left out", "pass"
        case _:
            pass


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


def all_mutants(module: str = "") -> list[Mutant]:
    """Return those of all modules, or of one (``log/journal``)."""
    return [
        mutant
        for package in PACKAGES
        for path in sorted((ROOT / NSQD / package).glob("*.py"))
        if module in ("", f"{package}/{path.stem}")
        for mutant in mutants_of(path.relative_to(ROOT).as_posix(), path.read_bytes())
    ]


def mirror_of(path: str) -> str:
    """Return the tests of a module, as `test_mirrors` knows them."""
    module = path.split("/nsqx/", 1)[1]
    tables = tomllib.loads((ROOT / "tests" / "mirrors.toml").read_text()).values()
    elsewhere: dict[str, str] = {name: test for each in tables for name, test in each.items()}
    folder, _, name = module.rpartition("/")
    return elsewhere.get(module, f"tests/{folder}/test_{name}")


class Workshop:
    """A copy of the sources in which one mutant after the other is tried."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        for component in COMPONENTS:
            shutil.copytree(ROOT / component, folder / component, ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", folder)
        sources = [str(folder / component) for component in COMPONENTS[:-1]]
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(folder), *sources]),
            "PYTHONDONTWRITEBYTECODE": "1",  # two mutants of one second look alike to its cache
        }

    def found_by(self, mutant: Mutant) -> str:
        """Return what finds a mutant; empty if nothing does."""
        path = self._folder / mutant.path
        sound = path.read_bytes()
        path.write_bytes(mutant.apply(sound))
        try:
            if not self._passes(_pytest(mirror_of(mutant.path)), TEST_SECONDS_MAX):
                return "its tests"
            if not self._passes(
                ["-m", "tests.simulation", *SEED_OPTIONS.split()], SEEDS_SECONDS_MAX
            ):
                return "seeds"
            folders = [f"tests/nsqd/{package}" for package in PACKAGES]
            if not self._passes(_pytest(*folders), ALL_TESTS_SECONDS_MAX):
                return "other tests"
        finally:
            path.write_bytes(sound)
        return ""

    def _passes(self, arguments: list[str], seconds: int) -> bool:
        """Whether a command ends well, in time: what hangs is found."""
        limited = ["prlimit", f"--cpu={seconds}", "--", sys.executable, *arguments]
        try:
            finished = subprocess.run(
                limited,
                cwd=self._folder,
                env=self._environment,
                capture_output=True,
                check=False,
                timeout=WAITS * seconds,
            )
        except subprocess.TimeoutExpired:
            return False
        return finished.returncode == 0


def _pytest(*tests: str) -> list[str]:
    return ["-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]


def main() -> int:
    """Try a sample; list who survives."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants")
    parser.add_argument("--count", type=int, default=50, help="how many, chosen by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", default="", help="as in log/journal")
    arguments = parser.parse_args()
    chosen = all_mutants(arguments.module)
    random.Random(arguments.seed).shuffle(chosen)
    survivors, tried = 0, 0
    with tempfile.TemporaryDirectory(prefix="nsqx-mutants-") as folder:
        workshop = Workshop(Path(folder))
        for mutant in chosen[: arguments.count]:
            found_by = workshop.found_by(mutant)
            tried += 1
            survivors += not found_by
            _tell(f"{found_by or 'SURVIVES'}: {mutant}")
    _tell(f"{tried} of {len(chosen)} mutants, {survivors} survive")
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
