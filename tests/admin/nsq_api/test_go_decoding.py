"""What Go's JSON decoder says about bodies that are none."""

import pytest

from nsqx.admin.nsq_api.go_decoding import BadBodyError, decode_object, text_field


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "EOF"),
        (b" \n", "EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a"', "unexpected EOF"),
        (b'{"a":"b', "unexpected EOF"),
        (b"{no", "invalid character 'n' looking for beginning of object key string"),
        (b"no", "invalid character 'n' looking for beginning of value"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b"'", "invalid character '\\'' looking for beginning of value"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
        (b"[1]", "json: cannot unmarshal array into Go value of type struct"),
    ],
)
def test_messages(body: bytes, message: str) -> None:
    with pytest.raises(BadBodyError) as raised:
        decode_object(body)
    assert str(raised.value) == message


def test_what_follows_the_object_is_not_looked_at() -> None:
    assert decode_object(b'{"topic":"t"} nonsense') == {"topic": "t"}


def test_null_is_an_empty_object() -> None:
    assert decode_object(b"null") == {}


def test_fields_are_text_or_missing() -> None:
    assert text_field({"topic": "t"}, "topic") == "t"
    assert text_field({"topic": None}, "topic") == text_field({}, "topic") == ""
    with pytest.raises(BadBodyError, match="cannot unmarshal number"):
        text_field({"topic": 5}, "topic")
