"""Names of topics and channels."""

import pytest

from nsqx.protocol.names import is_ephemeral, is_valid_name


@pytest.mark.parametrize(
    "name",
    ["a", "Z9", ".", "_-.", "orders.v2", "a" * 64, "a#ephemeral", "t" * 54 + "#ephemeral"],
)
def test_valid_names(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a" * 65,
        "t" * 55 + "#ephemeral",
        "#ephemeral",
        "a#ephemeral#ephemeral",
        "a#other",
        "a b",
        "a\n",
        "a\nb",
        "a/b",
        "ä",
        "٣",  # a digit, but not an ASCII one
        "a:b",
    ],
)
def test_invalid_names(name: str) -> None:
    assert not is_valid_name(name)


def test_ephemeral_is_told_by_the_suffix() -> None:
    assert is_ephemeral("a#ephemeral")
    assert not is_ephemeral("ephemeral")
