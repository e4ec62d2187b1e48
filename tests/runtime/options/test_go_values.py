"""What Go reads, and what it says of the rest."""

import pytest

from nsqx.runtime.options.go_values import INT64_MAX, INT64_MIN, read_bool, read_int64


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert read_bool(text) is True


@pytest.mark.parametrize("text", ["yes", "tRUE", "", "on"])
def test_what_is_no_bool(text: str) -> None:
    with pytest.raises(ValueError, match=f'strconv.ParseBool: parsing "{text}": invalid syntax'):
        read_bool(text)


def test_integers_are_decimal_and_have_64_bits() -> None:
    assert read_int64("+007") == 7
    assert read_int64(str(INT64_MIN)) == INT64_MIN
    assert read_int64("0" * 900 + "5") == 5
    for text in (str(INT64_MAX + 1), "9" * 5000):
        with pytest.raises(ValueError, match=r"strconv.ParseInt: parsing .*: value out of range"):
            read_int64(text)
    for text in ("0x1", "1_0", "", "-", "1.0", "\N{ARABIC-INDIC DIGIT ONE}"):
        with pytest.raises(ValueError, match=r"strconv.ParseInt: parsing .*: invalid syntax"):
            read_int64(text)
