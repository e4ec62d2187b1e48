"""A second of what `tests/acceptance/test_strangers.py` does for a minute, without the clock."""

from pathlib import Path

from tests.strangers.proof import GROWN_KIB_MAX, running_guarded


async def test_strangers_cost_no_memory_lose_nothing_and_lock_nobody_out(tmp_path: Path) -> None:
    async with running_guarded(tmp_path) as guarded:
        grown = await guarded.attack(1.5)
        assert max(grown.values()) <= GROWN_KIB_MAX, grown
        await guarded.nothing_is_lost_or_locked_out()
