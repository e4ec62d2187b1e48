"""What must hold for every entry of the table of settings."""

import pytest

from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options.flags import list_flags
from nsqx.runtime.settings import SETTINGS, Setting, setting

FLAGS = {flag.attribute: flag for flag in list_flags(NsqdOptions)}


@pytest.mark.parametrize("entry", SETTINGS, ids=lambda entry: entry.name)
def test_the_node_has_an_option_that_is_the_default(entry: Setting) -> None:
    option = FLAGS[entry.name]
    assert option.kind is entry.kind
    assert option.help == entry.option_help
    assert option.group == entry.group
    assert not entry.choices or option.default in entry.choices
    assert not entry.most_option or FLAGS[entry.most_option].kind is entry.kind


def test_no_two_settings_share_a_name() -> None:
    assert len({entry.name for entry in SETTINGS}) == len(SETTINGS)
    assert len({(entry.scope, entry.key) for entry in SETTINGS}) == len(SETTINGS)


def test_a_value_is_read_by_its_kind_and_range() -> None:
    options = {"max_msg_timeout": 900 * 10**9}
    timeout = setting("msg_timeout")
    assert timeout.parse("1.5s", options) == 1_500_000_000
    assert timeout.parse("default", options) is None
    for text in ("15m1ns", "999us", "7", ""):
        with pytest.raises(ValueError, match=r"."):
            timeout.parse(text, options)
    with pytest.raises(ValueError, match="os, fsync"):
        setting("durability").parse("memory", options)


def test_who_does_not_know_a_node_can_check_all_but_what_is_too_much_there() -> None:
    timeout = setting("msg_timeout")
    assert timeout.parse("1000h") == 1000 * 3600 * 10**9
    with pytest.raises(ValueError, match="too small"):
        timeout.parse("1ns")


@pytest.mark.parametrize("entry", SETTINGS, ids=lambda entry: entry.name)
def test_a_value_is_shown_as_it_is_read(entry: Setting) -> None:
    value = FLAGS[entry.name].default
    assert entry.parse(entry.show(value)) == value
