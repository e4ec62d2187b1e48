"""What the tool that makes defects by rule makes of a few lines, and of the broker's own."""

import random

import pytest

from tests.simulation.mutants import Mutant, all_mutants, mirror_of, mutants_of
from tests.simulation.mutations import ROOT

SOURCE = b'''
LIMIT = 5


def f(a, b):
    """Not 1 + 1."""
    if a < b and not a:
        g(f"{a + b}")
    return 7 - b
'''


def changes(found: list[Mutant]) -> list[tuple[str, str]]:
    return [(each.operator, each.after) for each in found]


def test_each_rule_changes_one_place() -> None:
    assert changes(mutants_of("x.py", SOURCE)) == [
        ("and/or", "(a < b or not a)"),
        ("comparison", "(a <= b)"),
        ("condition", "(not (a < b and (not a)))"),
        ("not", "(a)"),
        ("left out", "pass"),
        ("+-", "(7 + b)"),
        ("one more", "8"),
    ]


def test_a_mutant_is_the_source_but_for_its_place() -> None:
    comparison = mutants_of("x.py", SOURCE)[1]
    assert comparison.apply(SOURCE) == SOURCE.replace(b"a < b", b"(a <= b)")


def test_mutants_of_the_broker_can_be_compiled_and_have_tests() -> None:
    found = all_mutants()
    assert len(found) > 1000
    for mutant in random.Random(1).sample(found, 30):
        compile(mutant.apply((ROOT / mutant.path).read_bytes()), mutant.path, "exec")
    for path in {mutant.path for mutant in found}:
        assert (ROOT / mirror_of(path)).is_file()


@pytest.mark.parametrize("module", ["log/journal", "core/topic"])
def test_those_of_one_module_can_be_chosen(module: str) -> None:
    found = all_mutants(module)
    assert {each.path for each in found} == {f"nsqd/nsqx/nsqd/{module}.py"}
