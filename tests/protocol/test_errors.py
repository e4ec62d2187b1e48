"""Lines of error frames, and quoting."""

import pytest
from hypothesis import given, strategies as st

from nsqx.protocol.errors import FatalProtocolError, NsqError, ProtocolError, quote


def test_a_line_is_code_and_detail() -> None:
    assert ProtocolError("E_FIN_FAILED", "FIN x failed").line == b"E_FIN_FAILED FIN x failed"


def test_a_line_without_detail_has_no_blank_at_the_end() -> None:
    assert FatalProtocolError("E_BAD_PROTOCOL").line == b"E_BAD_PROTOCOL"


def test_bytes_that_are_not_text_are_echoed_as_they_are() -> None:
    error = FatalProtocolError("E_INVALID", b"invalid command \xff\x00")
    assert error.line == b"E_INVALID invalid command \xff\x00"
    assert str(error) == "E_INVALID invalid command \\xff\x00"


def test_the_class_tells_whether_the_connection_goes_on() -> None:
    assert issubclass(FatalProtocolError, ProtocolError)
    assert issubclass(ProtocolError, NsqError)


@pytest.mark.parametrize(
    ("raw", "quoted"),
    [
        (b"", '""'),
        (b"bad!", '"bad!"'),
        (b'say "hi" \\', r'"say \"hi\" \\"'),
        (b"\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        (b"\x00\x1b\x7f", r'"\x00\x1b\x7f"'),
        ("é日🎉".encode(), '"é日🎉"'),
        (b"\xff\xc3", r'"\xff\xc3"'),
        (b"\xe2\x82A", r'"\xe2\x82A"'),
        ("\u200b\u00a0\u2028".encode(), r'"\u200b\u00a0\u2028"'),
        ("\u0085".encode(), r'"\u0085"'),
        ("\U000e0001".encode(), r'"\U000e0001"'),
        ("\ufffd".encode(), '"\ufffd"'),
    ],
)
def test_quote_writes_as_go_does(raw: bytes, quoted: str) -> None:
    assert quote(raw) == quoted


@given(st.binary())
def test_quoted_text_is_one_printable_line(raw: bytes) -> None:
    assert quote(raw).isprintable()
