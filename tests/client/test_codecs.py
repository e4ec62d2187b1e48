"""Values to bodies and back."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pydantic
import pytest

from nsqx.client import BYTES, JSON, MSGPACK, Codec, DecodeFailed
from nsqx.client.codecs import decode_body, encode_body


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
        (b"{", Any),
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


def test_the_codec_of_bytes_knows_nothing_else() -> None:
    with pytest.raises(TypeError, match="bytes or str can be sent, not dict"):
        encode_body({}, BYTES)
    with pytest.raises(DecodeFailed, match="set a codec"):
        decode_body(b"{}", dict, BYTES)


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
def test_what_has_no_form(codec: Codec) -> None:
    with pytest.raises(TypeError, match="object cannot be a part of a message's body"):
        encode_body([object()], codec)
