"""30 strangers, each doing its worst for a minute beside real clients."""

from pathlib import Path

import pytest

from tests.strangers.behaviours import BEHAVIOURS
from tests.strangers.proof import GROWN_KIB_MAX, running_guarded

pytestmark = pytest.mark.acceptance

SECONDS = 60.0
# Nobody's business on a full machine: below this, the scheduler decides.
NOTICED_S = 0.02


async def test_thirty_strangers_for_a_minute(tmp_path: Path) -> None:
    assert len(BEHAVIOURS) == 30
    async with running_guarded(tmp_path) as guarded:
        clients = guarded.clients
        await clients.until(len(clients.took_s) + 2000)
        quiet_s, begin = clients.p99_s(), len(clients.took_s)
        grown = await guarded.attack(SECONDS)
        attacked_s = clients.p99_s(begin)
        seen = f"p99 {quiet_s * 1000:.1f} ms, then {attacked_s * 1000:.1f} ms; grown KiB: {grown}"
        await guarded.nothing_is_lost_or_locked_out()
        assert max(grown.values()) <= GROWN_KIB_MAX, seen
        assert attacked_s <= max(2 * quiet_s, NOTICED_S), seen
