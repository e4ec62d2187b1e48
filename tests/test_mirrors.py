"""Every module has its test at the same place below tests/, or is named in mirrors.toml."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ELSEWHERE: dict[str, str] = {
    module: test
    for table in tomllib.loads((ROOT / "tests" / "mirrors.toml").read_text()).values()
    for module, test in table.items()
}
MODULES = sorted(
    path.relative_to(ROOT).as_posix().split("/nsqx/", 1)[1]
    for path in ROOT.glob("*/nsqx/**/*.py")
    if not path.name.startswith("__") and "node_modules" not in path.parts
)


def mirror_of(module: str) -> Path:
    folder, _, name = module.rpartition("/")
    return ROOT / "tests" / folder / f"test_{name}"


def test_modules_are_found() -> None:
    assert "nsqd/core/channel.py" in MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_test(module: str) -> None:
    if module in ELSEWHERE:
        assert not mirror_of(module).exists(), "it has its mirror: no need to list it"
        assert (ROOT / ELSEWHERE[module]).is_file(), ELSEWHERE[module]
    else:
        assert mirror_of(module).is_file(), f"{mirror_of(module)}, or an entry in mirrors.toml"


def test_the_list_names_modules() -> None:
    assert set(ELSEWHERE) <= set(MODULES)
