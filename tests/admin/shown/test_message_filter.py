"""Which messages a filter lets pass, and which expressions it refuses to run."""

import sys
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from nsqx.admin.shown.message_filter import BadFilterError, Candidate, MessageFilter


def message(body: bytes = b"", attempts: int | None = 1) -> Candidate:
    return Candidate("orders", "0123456789abcdef", "n1:4151", 7, 1_500_000_000, attempts, body)


def passes(expression: str, body: bytes = b"", text: str = "") -> bool:
    return MessageFilter.parse(text, expression).lets_pass(message(body))


@pytest.mark.parametrize(
    ("expression", "body"),
    [
        ("body.user.id == `7`", b'{"user":{"id":7}}'),
        ("body.items[?price > `100`]", b'{"items":[{"price":3},{"price":101}]}'),
        ("contains(body.items[].sku, 'A')", b'{"items":[{"sku":"A"}]}'),
        ("contains(text, 'timeout')", b"a timeout, no JSON"),
        ("body == `0`", b"0"),
        ("body", b"0"),  # zero is something
        ("topic == 'orders' && attempts == `1` && size == `3` && t == `1.5`", b"abc"),
        ("node == 'n1:4151' && sequence == `7` && id == '0123456789abcdef'", b""),
        ("!body", b"\xff"),
        ("!text", b"\xff"),
        ("body[0:2] == `[1, 2]`", b"[1,2,3]"),
        ("body | a", b'{"a":true}'),
        ("values(body)[?@ == 'x']", b'{"a":"x"}'),
    ],
)
def test_what_holds(expression: str, body: bytes) -> None:
    assert passes(expression, body)


@pytest.mark.parametrize(
    ("expression", "body"),
    [
        ("body.user.id == `7`", b'{"user":{"id":8}}'),
        ("body.user.id == '7'", b'{"user":{"id":7}}'),
        ("body.items[?price > `100`]", b'{"items":[{"price":3}]}'),
        ("body.missing", b"{}"),
        ("body", b"no JSON"),
        ("body", b'""'),
        ("body", b"{}"),
        ("body", b"false"),
    ],
)
def test_what_does_not_hold(expression: str, body: bytes) -> None:
    assert not passes(expression, body)


def test_a_text_and_an_expression_must_both_be_right() -> None:
    body = b'{"a":1,"b":"x"}'
    assert passes("body.a == `1`", body, text='"x"')
    assert not passes("body.a == `1`", body, text='"y"')
    assert not passes("body.a == `2`", body, text='"x"')
    assert MessageFilter.parse("", "").is_empty
    assert not MessageFilter.parse("x", "").is_empty


def test_what_cannot_be_evaluated_is_counted() -> None:
    wanted = MessageFilter.parse("", "contains(body.name, 'x')")
    found = [wanted.lets_pass(message(body)) for body in (b"{}", b'{"name":"xy"}', b"7")]
    assert (found, wanted.failed) == ([False, True, False], 2)
    assert wanted.twin().failed == 0


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("body.", "column 5"),
        ("body ==", "Incomplete expression"),
        ("contains(", "Incomplete expression"),
        ("[@, @][]", r"\[a, b\] is not allowed"),
        ("body.{a: b}", r"\{a: b\} is not allowed"),
        ("sort_by(body, &a)", "not allowed"),
        ("join('', body)", "the function join is not allowed"),
        ("body[?map(&a, @)]", "not allowed"),
        ("nosuch(body)", "the function nosuch is not allowed"),
        ("a" * 1001, "at most 1000 characters"),
        ("(" * 900, "nested too deeply|Incomplete|Invalid"),
        ("!" * 900 + "a", "nested too deeply|Invalid"),
    ],
)
def test_what_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(BadFilterError, match=reason) as raised:
        passes(expression)
    assert "\n" not in str(raised.value)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(BadFilterError, match="at most 1000 bytes"):
        MessageFilter.parse("x" * 1001, "")


def calls_of(expression: str, body: bytes) -> int:
    """How many functions are called for an expression that a message does not pass."""
    count = 0

    def called(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(called)
    try:
        assert not passes(expression, body)
    finally:
        sys.setprofile(None)
    return count


def test_little_stays_little() -> None:
    """Doubling by pipes would be 2 to the power of 60 elements."""
    body = b'{"a":["' + b"x" * 1000 + b'"]}'
    for step in ("[@, @][]", "join('', [@, @])", "map(&[@, @], @)[]"):
        with pytest.raises(BadFilterError):
            passes("|".join([step] * 60), body)
    few, many = (calls_of("|".join(["values(@)[]"] * steps), body) for steps in (20, 80))
    assert many < 4**2 * few  # no more than the square of the steps


@given(st.text(max_size=40), st.binary(max_size=40))
def test_any_expression_is_refused_or_runs(expression: str, body: bytes) -> None:
    with suppress(BadFilterError):
        assert passes(expression, body) in (True, False)


TOKENS = ["body", "text", ".", "[]", "[*]", "[?", "]", "a", "`1`", "'x'", "&&", "||", "!", "(", ")"]
TOKENS += ["==", "<", "length(", "contains(", "to_string(", ",", "|", "@", "*", "[0]", "[::2]"]


@given(
    st.lists(st.sampled_from(TOKENS), max_size=12), st.sampled_from([b'{"a":[1,{"a":2}]}', b"x"])
)
def test_what_looks_like_one_is_refused_or_runs(tokens: list[str], body: bytes) -> None:
    with suppress(BadFilterError):
        assert passes("".join(tokens), body) in (True, False)


def test_what_would_take_long_is_not_begun() -> None:
    body = b'{"items":[' + b",".join([b"1"] * 400_000) + b"]}"  # some 800 kB
    often = " && ".join(["contains(to_string(body), 'x')"] * 20)
    wanted = MessageFilter.parse("", often)
    assert not wanted.lets_pass(message(body))
    assert wanted.failed == 1
    assert wanted.lets_pass(message(b'{"x":"x"}'))
    once = MessageFilter.parse("", "contains(to_string(body), '1')")
    assert once.lets_pass(message(body))
    assert once.failed == 0
