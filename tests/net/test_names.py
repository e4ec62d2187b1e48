"""How many daemons a name stands for, and what is a name."""

import asyncio
import time

import pytest

from nsqx.net.names import addresses_of, is_name, of_one_family
from tests.support.dns import hanging_dns


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


@pytest.mark.parametrize("host", ["..", "a..b", "x" * 64, "xn--" + "b" * 80])
async def test_what_no_resolver_would_be_asked_has_no_address(host: str) -> None:
    with pytest.raises(OSError, match="no name of a host"):
        await addresses_of(host, 80)


async def test_a_resolver_that_hangs_is_asked_once_and_waited_for_as_long_as_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with hanging_dns(monkeypatch) as look_ups:
        for _ in range(2):
            with pytest.raises(TimeoutError, match=r"no answer from DNS within 0.01 s"):
                await addresses_of("hangs", 80, 0.01)
        assert look_ups == ["hangs"]
        waiting = asyncio.create_task(addresses_of("hangs", 80))
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="Temporary failure"):
        await waiting


def test_a_resolver_that_hangs_keeps_no_program_from_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        # More than an event loop has threads; the end cuts them off.
        waiting = [asyncio.create_task(addresses_of("hangs", 80)) for _ in range(40)]
        await asyncio.to_thread(time.sleep, 0)
        assert not any(task.done() for task in waiting)

    with hanging_dns(monkeypatch):
        asyncio.run(main())  # waits for the threads that are the event loop's
