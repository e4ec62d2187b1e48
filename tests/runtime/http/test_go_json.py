import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, strategies as st

from nsqx.runtime.http.go_json import encode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [None, True]}, b'{"b":1,"a":[null,true]}'),
        ("<a href='x'>&", rb'"\u003ca href=' + b"'x'" + rb'\u003e\u0026"'),
        ("\u2028\u2029\u00e9", rb'"\u2028\u2029' + "\u00e9".encode() + b'"'),
        ({"<": "\n\x01"}, rb'{"\u003c":"\n\u0001"}'),
        (1.0, b"1"),
        (-2.0, b"-2"),
        ([0.5, 3.0, {"x": 7.0}], b'[0.5,3,{"x":7}]'),
        (1e-5, b"0.00001"),
        (-1.25e-6, b"-0.00000125"),
        (1e-7, b"1e-7"),
        (1e20, b"100000000000000000000"),
        (1e21, b"1e21"),
        ("1.0", b'"1.0"'),
        ("bad \udcff", b'"bad ?"'),
    ],
)
def test_json_is_that_of_go(value: Any, text: bytes) -> None:
    assert encode(value) == text


def test_dataclasses_keep_their_order() -> None:
    @dataclass
    class Point:
        y: float
        x: float

    assert encode([Point(1.0, 2.5)]) == b'[{"y":1,"x":2.5}]'


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@given(_values)
def test_any_value_reads_back_the_same(value: Any) -> None:
    assert json.loads(encode(value)) == value
