"""Go's regular expressions (RE2) as far as names need them, and what is refused."""

import time

import pytest

from nsqx.nsqd.edge.auth_patterns import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (".*", "anything", None),
        ("", "anything", None),
        ("^orders$", "orders", "orders2"),
        ("oo", "foot", "fot"),
        ("^(a|b)_", "b_x", "c_x"),
        (r"^orders\..+$", "orders.eu", "orders"),
        (r"\Aab\z", "ab", "abc"),
        (r"^\Qa.b\E$", "a.b", "axb"),
        ("^[[:alpha:]]+$", "abc", "ab1"),
        ("^[[:digit:]_-]{2,4}$", "1_2-", "1"),
        ("^[^[:upper:]]+$", "abc", "aBc"),
        ("(?i)^ORDERS$", "orders", "order"),
        ("^(?i:ORDERS)_x$", "orders_x", "orders_X"),
        ("^(?P<kind>a)$", "a", "b"),
        ("^(?<kind>a)$", "a", "b"),
        ("^(?:ab)+$", "abab", "aba"),
        (r"^\w+#ephemeral$", "x#ephemeral", "x"),
        ("^a{2}b*?$", "aabb", "ab"),
        ("^[]a]+$", "a]", "b"),
        ("a|^$", "", "b"),
    ],
)
def test_patterns_are_searched_for(pattern: str, matching: str, other: str | None) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.search(matching)
    assert other is None or not compiled.search(other)


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "a)b",
        "[a",
        "*a",
        "a**",
        "a++",
        "(?=a)",
        "(?!a)",
        "(?<=a)b",
        "(?<!a)b",
        "(?>a)b",
        "(?#a)b",
        "(?P=kind)",
        "(?(1)a|b)",
        r"(a)\1",
        r"\pL",
        r"\C",
        "(?U)a+",
        "[[:nothing:]]",
        "a{2,1}",
        "a" * 2000,
    ],
)
def test_what_is_no_pattern_of_re2_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a*)*b", "((a|b)*c?)*d", "(?:a+){2,}b", "(a{1,})*b", "(x(a+))*b"]
)
def test_what_could_take_for_ever_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError, match="takes too long"):
        compile_pattern(pattern)


@pytest.mark.parametrize("pattern", ["(ab)+", "(a?)+b", "(a|b)*c", "a*b*c*", "(a+)?(b+)?c"])
def test_repetitions_side_by_side_are_taken_and_quick(pattern: str) -> None:
    compiled = compile_pattern(pattern)
    started = time.perf_counter()
    compiled.search("ab" * 32)
    compiled.search("a" * 64)
    assert time.perf_counter() - started < 0.5
