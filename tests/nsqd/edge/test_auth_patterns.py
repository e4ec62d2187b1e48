"""Patterns of auth servers: without RE2 the simple ones, with it all, and none that takes long."""

import re

import pytest
from hypothesis import given, strategies as st

from nsqx.nsqd.edge.auth_patterns import PatternError, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        (".*", "anything", None),
        ("", "anything", None),
        ("^orders$", "orders", "orders2"),
        ("oo", "foot", "fot"),
        ("^ta_", "ta_x", "a_ta_"),
        ("_x$", "a_x", "a_xb"),
        (r"^orders\..+$", "orders.eu", "orders."),
        ("^a.c$", "abc", "abbc"),
        ("^a.*b.*c$", "axbxc", "axcxb"),
        ("^ab.*ba$", "abba", "aba"),
        ("^x#ephemeral$", "x#ephemeral", "x"),
        ("^$", "", "b"),
    ],
)
def test_patterns_are_searched_for(pattern: str, matching: str, other: str | None) -> None:
    matches = compile_pattern(pattern)
    assert matches(matching)
    assert other is None or not matches(other)


@given(
    st.lists(st.sampled_from(["a", "b", ".", ".*", ".+", r"\."]), max_size=6),
    st.booleans(),
    st.booleans(),
    st.text("ab.", max_size=6),
)
def test_simple_patterns_mean_what_regular_expressions_mean(
    parts: list[str], begin: bool, end: bool, name: str
) -> None:
    pattern = "^" * begin + "".join(parts) + "$" * end
    assert compile_pattern(pattern)(name) == (re.search(pattern, name) is not None)


@pytest.mark.parametrize(
    "pattern",
    ["^(a|a){1,40}$", "(a+)+", "a*", "[ab]", "a?", "(", "a{2}", r"\d", r"\pL", "a^b", "a$b"],
)
def test_what_is_not_simple_needs_re2_and_says_so(pattern: str) -> None:
    with pytest.raises(PatternError, match=r"needs RE2: pip install 'nsqx\[re2\]'"):
        compile_pattern(pattern)


def test_a_pattern_has_a_length() -> None:
    with pytest.raises(PatternError, match="longer than 1024 characters"):
        compile_pattern("a" * 1025)


def test_no_simple_pattern_takes_long() -> None:
    # Going back to each gap, a regular expression needs more steps here than there are atoms.
    matches = compile_pattern("^" + ".*a" * 340 + "b$")
    assert not matches("a" * 1000)


def test_with_re2_all_its_patterns_are_taken() -> None:
    re2 = pytest.importorskip("re2")
    assert compile_pattern("^(orders|mail)_[[:digit:]]+$", re2)("mail_12")
    assert not compile_pattern("^(a|a){1,40}$", re2)("a" * 40 + "b")
    with pytest.raises(PatternError):
        compile_pattern("(", re2)
