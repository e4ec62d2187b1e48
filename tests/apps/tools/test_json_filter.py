"""What nsq_to_nsq lets through, and what of it."""

import contextlib

import pytest
from hypothesis import given, strategies as st

from nsqx.apps.tools.json_filter import Dropped, JsonFilter, MissingFieldError


def passes(body: bytes, field: str, value: str = "") -> bool:
    try:
        return JsonFilter(field, value, []).apply(body) == body
    except Dropped:
        return False


def kept(body: bytes, *fields: str) -> bytes:
    return JsonFilter("", "", fields).apply(body)


@given(st.binary())
def test_without_a_filter_every_body_passes_as_it_is(body: bytes) -> None:
    assert JsonFilter("", "", []).apply(body) is body


@given(st.binary())
def test_no_body_breaks_a_filter(body: bytes) -> None:
    with contextlib.suppress(Dropped, MissingFieldError):
        JsonFilter("a", "1", ["a"]).apply(body)


@pytest.mark.parametrize("body", [b"not json", b"[1]", b"1", b"null", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_dropped_with_a_line(body: bytes) -> None:
    with pytest.raises(Dropped, match="ERROR: Unable to decode json: "):
        JsonFilter("a", "", []).apply(body)


def test_a_field_must_be_there() -> None:
    assert passes(b'{"a": null}', "a")
    assert not passes(b'{"b": 1}', "a")


def test_a_missing_field_whose_value_is_asked_for_is_an_error() -> None:
    with pytest.raises(MissingFieldError, match="'a'"):
        JsonFilter("a", "1", []).apply(b'{"b": 1}')


@pytest.mark.parametrize(
    ("body", "value", "result"),
    [
        (b'{"a": 1}', "1", True),
        (b'{"a": 1.0}', "1", True),
        (b'{"a": "1"}', "1", True),
        (b'{"a": 1}', "1e0", True),
        (b'{"a": "1e0"}', "1", False),
        (b'{"a": 2}', "1", False),
        (b'{"a": true}', "true", False),
        (b'{"a": true}', "1", False),
        (b'{"a": [1]}', "1", False),
        (b'{"a": "x"}', "x", True),
        (b'{"a": 1}', "x", False),
        (b'{"a": 1' + b"0" * 400 + b"}", "1", False),
    ],
)
def test_values(body: bytes, value: str, result: bool) -> None:
    assert passes(body, "a", value) is result


def test_the_whitelist_makes_a_new_object_sorted_and_as_go_writes_it() -> None:
    assert kept(b'{"c": 3, "b": 2.5, "a": 1.0}', "b", "a") == b'{"a":1,"b":2.5}'
    assert kept(b'{"a": "<&>"}', "a") == b'{"a":"\\u003c\\u0026\\u003e"}'
    assert kept(b'{"x": 1}', "a") == b"{}"


def test_large_whole_numbers_are_kept_to_the_digit() -> None:
    assert kept(b'{"id": 9007199254740993}', "id") == b'{"id":9007199254740993}'
