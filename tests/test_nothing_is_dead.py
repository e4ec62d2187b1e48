"""Every function, method and class is used by some other code than its tests."""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(file for folder in ROOT.glob("*/nsqx") for file in folder.rglob("*.py"))
# Who else uses the code, or tells users of it.
USERS = [
    *(file for name in ("benchmarks", "deploy") for file in (ROOT / name).rglob("*.py")),
    *(ROOT / "docs").rglob("*.md"),
    ROOT / "pyproject.toml",
]
# What frameworks call by name.
CALLED_BY_OTHERS = (
    "integrations/nsqx/integrations/",
    "apps/nsqx/apps/cli.py",
    "net/nsqx/net/tls_transport.py",  # asyncio
)


def words_of(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", re.sub(r"(?s)^__all__ = \[.*?\]", "", text, flags=re.M)))


def test_every_name_is_used() -> None:
    texts = {file: file.read_text() for file in FILES}
    words = sum(map(words_of, texts.values()), Counter[str]())
    told = set().union(*(words_of(file.read_text()) for file in USERS))
    unused = {
        (file.relative_to(ROOT).as_posix(), node.name)
        for file, text in texts.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if words[node.name] == 1 and node.name not in told and not node.name.startswith("__")
    }
    assert {each for each in unused if not each[0].startswith(CALLED_BY_OTHERS)} == set()
