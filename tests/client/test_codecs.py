"""Values to bodies and back."""

import contextlib
import math
import traceback
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from types import GenericAlias
from typing import Annotated, Any, Literal, NewType, TypeVar, Union

import msgspec
import pydantic
import pytest
from hypothesis import given, strategies as st

from nsqx.client import BYTES, JSON, MSGPACK, Codec, DecodeFailed
from nsqx.client.codecs import decode_body, encode_body
from nsqx.client.kinds import check_kind


@dataclass
class Order:
    id: int
    at: datetime


class Struct(msgspec.Struct):
    id: int


class Model(pydantic.BaseModel):
    id: int
    name: str = "x"


class Nested(msgspec.Struct):
    models: list[Model]


VALUES: list[tuple[Any, Any]] = [
    (Order(1, datetime(2026, 1, 2, tzinfo=UTC)), Order),
    (Struct(1), Struct),
    (Model(id=1), Model),
    (Nested([Model(id=1), Model(id=2)]), Nested),
    ([Model(id=1)], list[Model]),
    ({"id": [1, None, True, "ü"]}, Any),
    (uuid.UUID(int=5), uuid.UUID),
    (3, int | None),
    (None, int | None),
]


def named(value: object) -> str:
    """What a case is called: the same in every process, so no address of an object."""
    return type(value).__name__ if "0x" in str(value) else str(value)


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
@pytest.mark.parametrize(("value", "kind"), VALUES)
def test_there_and_back(codec: Codec, value: object, kind: object) -> None:
    assert decode_body(encode_body(value, codec), kind, codec) == value


@pytest.mark.parametrize("codec", [BYTES, JSON, MSGPACK])
def test_bytes_and_text_are_bodies_already(codec: Codec) -> None:
    for value in (b"\xff{", bytearray(b"\xff{"), memoryview(b"\xff{")):
        assert encode_body(value, codec) == b"\xff{"
    assert encode_body("ü", codec) == "ü".encode()
    assert decode_body(b"\xff{", bytes, codec) == b"\xff{"
    assert decode_body("ü".encode(), str, codec) == "ü"


def test_exact_bytes() -> None:
    assert encode_body({"id": 1}, JSON) == b'{"id":1}'
    assert encode_body({"id": 1}, MSGPACK) == b"\x81\xa2id\x01"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", dict),
        (b'{"id":"one"}', Struct),
        (b'{"id":"one"}', Model),
        (b"\xff", str),
        (b"5", uuid.UUID),
    ],
)
def test_what_a_body_is_not(body: bytes, kind: object) -> None:
    with pytest.raises(DecodeFailed) as caught:
        decode_body(body, kind, JSON)
    assert (caught.value.body, caught.value.kind) == (body, kind)


class Size(Enum):
    BIG = "big"


class Tagged(msgspec.Struct, tag="tagged", forbid_unknown_fields=True):
    size: Size


class OtherTag(msgspec.Struct, tag="other"):
    id: int


@dataclass
class Judged:
    name: str

    def __post_init__(self) -> None:
        raise ValueError(f"not a name: {self.name}")


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    id: int
    parts: dict[str, int] = {}


class Code(str):
    def __init__(self, text: str) -> None:
        raise ValueError(f"not a code: {text}")


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b'{"id":"secret"}', Strict, "id: int_parsing"),
        (b'{"id":1,"secret":2}', Strict, "*: extra_forbidden"),
        (b'{"id":1,"parts":{"secret":"x"}}', Strict, "parts.*: int_parsing"),
        (b'[{"id":"secret"}]', list[Strict], "id: int_parsing - at `$[0]`"),
        (b'{"type":"tagged","size":"secret"}', Tagged, "Invalid enum value - at `$.size`"),
        (b'{"type":"tagged","secret":1}', Tagged, "Object contains unknown field"),
        (b'{"type":"secret"}', Union[Tagged, OtherTag], "Invalid value - at `$.type`"),  # noqa: UP007
        (b'{"secret":"secret"}', dict[str, Size], "Invalid enum value - at `$[...]`"),
        (b'[{"name":"secret"}]', list[Judged], "ValueError - at `$[0]`"),
        (b"secret", Code, "ValueError"),
        (b"secret", int, "JSON is malformed: invalid character (byte 0)"),
    ],
)
def test_the_reason_quotes_nothing_of_the_body(body: bytes, kind: Any, reason: str) -> None:
    with pytest.raises(DecodeFailed) as caught:
        decode_body(body, kind, JSON)
    assert caught.value.reason == reason
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_the_codec_of_bytes_knows_nothing_else() -> None:
    with pytest.raises(TypeError, match="bytes or str can be sent, not dict"):
        encode_body({}, BYTES)
    with pytest.raises(DecodeFailed, match="set a codec"):
        decode_body(b"{}", dict, BYTES)


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_what_has_no_form(codec: Codec) -> None:
    with pytest.raises(TypeError, match="object cannot be a part of a message's body"):
        encode_body([object()], codec)


# What publish sends, a handler of that type reads


class Color(StrEnum):
    RED = "red"
    NULL = "null"


Name = NewType("Name", str)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1)


def values_with(integers: st.SearchStrategy[int]) -> st.SearchStrategy[object]:
    return st.recursive(
        st.none() | st.booleans() | integers | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner)
        ),
    )


# Texts that read as values: inside a dataclass they are told apart.
MIXED = st.sampled_from(["5", "null", "true", "1.5", "[]", ""]) | st.sampled_from(
    [5, None, True, 1.5]
)


def is_bool(value: object) -> bool:
    return isinstance(value, bool | float)


@dataclass
class Mixed:
    value: int | str | bool | float | None
    rest: dict[str, Any]


class Part(pydantic.BaseModel):
    id: int = pydantic.Field(alias="partId")


class Aliased(pydantic.BaseModel):
    id: int = pydantic.Field(alias="Id")
    parts: list[Part] = []


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (str, TEXT),
        (bytes, st.binary(min_size=1)),
        (bytearray, st.binary(min_size=1).map(bytearray)),
        (Literal["a", "null"], st.sampled_from(["a", "null"])),
        (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
        (Literal["a"] | int, st.integers() | st.just("a")),
        (Color, st.sampled_from(Color)),
        (Color | int, st.integers() | st.sampled_from(Color)),
        (Annotated[Literal["a"] | None, "a note"], st.sampled_from(["a", None])),
        (Size, st.sampled_from(Size)),
        (Name, TEXT),
        (NewType("Alias", Name), TEXT),
        (Annotated[str, msgspec.Meta(max_length=9)], st.text("abc", min_size=1, max_size=9)),
        (int, st.integers()),
        (float, st.floats(allow_nan=False, allow_infinity=False)),
        (bool | None, st.booleans() | st.none()),
        (datetime, st.datetimes()),
        (uuid.UUID, st.uuids()),
        (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
        (list[int], st.lists(st.integers())),
        (set[int], st.sets(st.integers())),
        (dict[str, int], st.dictionaries(TEXT, st.integers())),
        (tuple[int, str], st.tuples(st.integers(), TEXT)),
        (int | list[Any] | None, st.lists(MIXED) | st.none()),
        (Mixed, st.builds(Mixed, MIXED, st.dictionaries(st.just("5"), MIXED))),
        (list[int | str | None], st.lists(MIXED.filter(lambda value: not is_bool(value)))),
        (dict[int, str], st.dictionaries(st.integers(), TEXT)),
        (Aliased, st.builds(Aliased, Id=st.integers(), parts=st.just([]))),
    ],
    ids=named,
)
@given(data=st.data())
def test_what_is_published_is_read_as_it_was(
    data: st.DataObject, kind: Any, values: st.SearchStrategy[Any]
) -> None:
    check_kind(kind, JSON)
    value = data.draw(values)
    assert decode_body(encode_body(value, JSON), kind, JSON) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    for value in (number, [1, {"deep": number}], {"of": (None, number)}):
        with pytest.raises(TypeError, match="JSON has no number"):
            encode_body(value, JSON)
        assert encode_body(value, MSGPACK)


T = TypeVar("T")


class WrittenOtherwise(pydantic.BaseModel):
    id: int = pydantic.Field(serialization_alias="ID")


class Holder(pydantic.BaseModel):
    held: dict[str, WrittenOtherwise | None]


class Computed(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    id: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.id


@pytest.mark.parametrize(
    ("kind", "codec", "sentence"),
    [
        *(
            (str | other, JSON, "may be the same body; take one of")
            for other in (int, float, bool, None, list[int], dict, Struct, Literal[1], Size, Model)
        ),
        (int | str, JSON, r"int \| str: '5' and 5 may be the same body"),
        (str | None, JSON, "'null' and None may be"),
        (bytes | None, JSON, "b'null' and None may be"),
        (bytes | int, MSGPACK, "b'5' and 53 may be"),
        (str | Struct, MSGPACK, "a text and a value may be"),
        (Color | None, JSON, "'null' and None may be"),
        (Literal["1"] | int, JSON, "'1' and 1 may be"),
        (Literal["1", 1], JSON, "'1' and 1 may be"),
        (Literal["null", None], JSON, "'null' and None may be"),
        (Annotated[str | None, "a note"], JSON, "'null' and None may be"),
        (Annotated[str, msgspec.Meta(max_length=9)] | int, JSON, "'5' and 5 may be"),
        (Annotated[int | str, msgspec.Meta(gt=3)], JSON, "same body|decoded"),
        (Name | None, JSON, "'null' and None may be"),
        (Any, JSON, r"say what comes: str, bytes, or what values, such as dict\[str, Any\]"),
        (Any, BYTES, "say what comes"),
        (object, MSGPACK, "say what comes"),
        (uuid.UUID | Any, MSGPACK, "say what comes"),
        (T, JSON, "say what comes"),
        (bytes | str, JSON, "bytes and text are the same body"),
        (bytes | Literal["a"], JSON, "bytes and text are the same body"),
        (int, BYTES, "set a codec"),
        (str | None, BYTES, "set a codec"),
        (complex, JSON, "make it a dataclass"),
        (list[complex], JSON, "make it a dataclass"),
        (list[int] | dict[str, int] | set[str], JSON, "cannot be decoded"),
        (dict[int | str, int], JSON, "'5' and 5 are the same key"),
        (list[dict[int | Literal["5"], int]], JSON, "'5' and 5 are the same key"),
        (WrittenOtherwise, JSON, "'id' is not read by the name it is written by"),
        (list[Holder], JSON, "'id' is not read by the name it is written by"),
        (Computed, JSON, "'twice' is written, and then refused"),
    ],
    ids=named,
)
def test_what_cannot_be_told_apart_is_refused(kind: Any, codec: Codec, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        check_kind(kind, codec)


@pytest.mark.parametrize("kind", [str | None, str | bool, dict[int | str, int]])
def test_what_message_pack_tells_apart(kind: Any) -> None:
    check_kind(kind, MSGPACK)
    for value in ("null", "true", {5: 1, "5": 2}, None, True):
        with contextlib.suppress(DecodeFailed):
            assert decode_body(encode_body(value, MSGPACK), kind, MSGPACK) == value


def test_a_codec_of_ones_own_is_not_judged() -> None:
    class Own:
        def encode(self, value: object) -> bytes:
            return b"x"

        def decode(self, body: bytes, kind: object) -> object:
            return complex(1)

    check_kind(complex, Own())
    assert decode_body(b"x", complex, Own()) == 1


# Types that nobody has thought of: each is refused, or what it reads is what was published.

KINDS: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bytes: st.binary(min_size=1, max_size=8),
    int: st.integers(-9, 9),
    float: st.floats(-9, 9, allow_nan=False),
    bool: st.booleans(),
    None: st.none(),
    datetime: st.datetimes(),
    uuid.UUID: st.uuids(),
    Decimal: st.decimals(-9, 9, places=2),
    Literal["a", "null"]: st.sampled_from(["a", "null"]),
    Literal[1, 2]: st.sampled_from([1, 2]),
    Literal["1", None]: st.sampled_from(["1", None]),
    Color: st.sampled_from(Color),
    Size: st.sampled_from(Size),
    Name: TEXT,
    Order: st.builds(Order, st.integers(0, 9), st.datetimes()),
    Struct: st.builds(Struct, id=st.integers(0, 9)),
    Model: st.builds(Model, id=st.integers(0, 9)),
    Any: values_with(st.integers(-(1 << 63), (1 << 64) - 1)),  # MessagePack has no larger ones
}


def lists(inner: tuple[Any, st.SearchStrategy[Any]]) -> tuple[Any, st.SearchStrategy[Any]]:
    return GenericAlias(list, (inner[0],)), st.lists(inner[1], max_size=3)


def mappings(inner: tuple[Any, st.SearchStrategy[Any]]) -> tuple[Any, st.SearchStrategy[Any]]:
    kind = GenericAlias(dict, (str, inner[0]))
    return kind, st.dictionaries(TEXT, inner[1], max_size=3)


def unions(inner: list[tuple[Any, st.SearchStrategy[Any]]]) -> tuple[Any, st.SearchStrategy[Any]]:
    inner = [each for each in inner if each[0] is not Any] or inner[:1]  # it would be all of it
    return Union[tuple(kind for kind, _ in inner)], st.one_of([each for _, each in inner])  # noqa: UP007


TYPES: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]] = st.recursive(
    st.sampled_from([*KINDS.items()]),
    lambda inner: (
        inner.map(lists) | inner.map(mappings) | st.lists(inner, min_size=2, max_size=3).map(unions)
    ),
    max_leaves=4,
)


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=["json", "msgpack"])
@given(data=st.data())
def test_any_type_is_refused_or_reads_what_was_published(codec: Codec, data: st.DataObject) -> None:
    kind, values = data.draw(TYPES)
    try:
        check_kind(kind, codec)
    except TypeError:
        return
    value = data.draw(values)
    body = encode_body(value, codec)
    assert decode_body(body, kind, codec) == value
