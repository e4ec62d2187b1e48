import pytest

from nsqx.runtime.statsd_prefix import is_statsd_prefix


@pytest.mark.parametrize("text", ["", "nsq.%s", "nsq", "x.%s.y", "a-b_c.%s.", "%s.%s"])
def test_prefixes(text: str) -> None:
    assert is_statsd_prefix(text)


@pytest.mark.parametrize(
    "text", ["nsq.%d", "%", "%%s", "100%", "a b", "a:b", "a|c", "a\n", "a\x00"]
)
def test_what_ends_a_key_or_is_a_format_is_none(text: str) -> None:
    assert not is_statsd_prefix(text)
