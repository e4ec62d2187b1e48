import pytest

from nsqx.runtime.http.queries import BadQueryError, parse_query


@pytest.mark.parametrize(
    ("raw", "values"),
    [
        ("", {}),
        ("topic=t", {"topic": "t"}),
        ("topic=a&topic=b", {"topic": "a"}),
        ("topic=t%23ephemeral", {"topic": "t#ephemeral"}),
        ("a=b+c%2B", {"a": "b c+"}),
        ("binary", {"binary": ""}),
        ("a=b=c&&d=", {"a": "b=c", "d": ""}),
        ("%74opic=t", {"topic": "t"}),
        ("a=%ff", {"a": "\ufffd"}),
    ],
)
def test_the_first_value_of_a_key_counts(raw: str, values: dict[str, str]) -> None:
    assert parse_query(raw) == values


@pytest.mark.parametrize(
    "raw", ["a=%zz", "%zz", "a=%", "a=%4", "topic=t&a;b=c", "a=1;2", "ok=1&x=%G0"]
)
def test_a_bad_part_spoils_the_whole_query(raw: str) -> None:
    with pytest.raises(BadQueryError):
        parse_query(raw)


def test_the_text_is_that_of_go() -> None:
    with pytest.raises(BadQueryError, match=r'^invalid URL escape "%zz"$'):
        parse_query("inactive=%zz1")
