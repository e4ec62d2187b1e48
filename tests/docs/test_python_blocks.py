"""
Every Python block in the documentation runs, against a real cluster.

The blocks of a document are run in its order and share their names. NSQ's standard addresses
stand for the cluster's. ``# prints X`` is what a block prints, and in this order. A block whose
first line is a file's name, such as ``# app.py``, is also saved as that file, which later blocks
may import; if it is a test, pytest runs it. ``__name__`` is not ``__main__``.
"""

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import ModuleType

import pytest

from nsqx.testing.cluster import Cluster

ROOT = Path(__file__).parents[2]
# READMEs of components for users; those of the others show fragments.
COMPONENTS = ("client", "integrations", "lookupd", "testing")
READMES = [ROOT / component / "README.md" for component in COMPONENTS]
DOCUMENTS = sorted(
    path for path in [*ROOT.glob("docs/**/*.md"), *READMES] if "```python\n" in path.read_text()
)


@dataclass(frozen=True)
class Block:
    """``line`` is where it begins in its document."""

    source: str
    line: int

    @property
    def file_name(self) -> str | None:
        match = re.match(r"# (\w+\.py)\n", self.source)
        return match[1] if match else None

    @property
    def promises(self) -> list[str]:
        return re.findall(r"# prints (.*)", self.source)


def blocks_of(text: str) -> list[Block]:
    found = re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [Block(match[1], text.count("\n", 0, match.start(1)) + 1) for match in found]


class Document:
    """Runs the blocks of one document."""

    def __init__(self, path: Path, folder: Path, module: ModuleType, cluster: Cluster) -> None:
        self._path = path
        self._folder = folder
        self._names = vars(module)
        self._standard = {
            "127.0.0.1:4150": cluster.node.tcp_address,
            "127.0.0.1:4151": cluster.node.http_address,
            "127.0.0.1:4160": cluster.lookupd.tcp_address,
            "127.0.0.1:4161": cluster.lookupd.http_address,
        }

    def run(self, block: Block) -> None:
        source = block.source
        for standard, real in self._standard.items():
            source = source.replace(standard, real)
        if block.file_name is not None:
            (self._folder / block.file_name).write_text(source)
            if block.file_name.startswith("test_"):
                self._test(block.file_name)
                return
        output = StringIO()
        with redirect_stdout(output):
            self._execute("\n" * (block.line - 1) + source)
        lines = iter(output.getvalue().splitlines())
        assert all(promise in lines for promise in block.promises), output.getvalue()

    def _execute(self, source: str) -> None:
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, str(self._path), "exec", flags, dont_inherit=True)
        result = eval(code, self._names)
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(result)

    def _test(self, file_name: str) -> None:
        arguments = ["-W", "error", "-p", "no:cacheprovider", "-o", "asyncio_mode=strict"]
        arguments += ["-o", "asyncio_default_fixture_loop_scope=function", "--rootdir=."]
        result = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments, file_name],
            cwd=self._folder,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Where the names are: a module that can be looked up, as decorators of others do."""
    made = ModuleType("documentation")
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_runs(
    path: Path, tmp_path: Path, module: ModuleType, nsq_cluster: Callable[[int], Cluster]
) -> None:
    document = Document(path, tmp_path, module, nsq_cluster(1))
    for block in blocks_of(path.read_text()):
        document.run(block)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_is_formatted(path: Path) -> None:
    for block in blocks_of(path.read_text()):
        arguments = [sys.executable, "-m", "ruff", "format", "--check", "--diff", "-"]
        result = subprocess.run(
            arguments, input=block.source, capture_output=True, text=True, cwd=ROOT
        )
        assert result.returncode == 0, f"line {block.line}\n{result.stdout}"
