"""How many daemons a name stands for, and what is a name."""

import pytest

from nsqx.net.names import addresses_of, is_name, of_one_family


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0", ""])
def test_what_is_no_name(host: str) -> None:
    assert not is_name(host)


@pytest.mark.parametrize("host", ["localhost", "nsqd.service", "1.2.3", "a%b"])
def test_what_is_a_name(host: str) -> None:
    assert is_name(host)


@pytest.mark.parametrize(
    ("found", "used"),
    [
        ([], []),
        (["::1", "10.0.0.1"], ["10.0.0.1"]),
        (["10.0.0.2", "::1", "10.0.0.1"], ["10.0.0.2", "10.0.0.1"]),
        (["10.0.0.1", "::2", "::1"], ["::2", "::1"]),
        (["::1"], ["::1"]),
    ],
)
def test_one_family_is_used(found: list[str], used: list[str]) -> None:
    assert of_one_family(found) == used


async def test_the_systems_resolver_knows_this_machine() -> None:
    found = await addresses_of("localhost", 80)
    assert set(found) & {"127.0.0.1", "::1"}
    assert len(found) == len(set(found))
    with pytest.raises(OSError, match=r"."):
        await addresses_of("nowhere.invalid", 80)
