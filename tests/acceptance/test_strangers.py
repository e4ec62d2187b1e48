"""30 strangers, each doing its worst for a minute beside real clients."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.strangers.behaviours import BEHAVIOURS
from tests.strangers.proof import GROWN_KIB_MAX, running_guarded

pytestmark = pytest.mark.acceptance

SECONDS = 60.0


async def test_thirty_strangers_for_a_minute(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    assert len(BEHAVIOURS) == 30
    async with running_guarded(tmp_path) as guarded:
        clients = guarded.clients
        await clients.until(len(clients.took_s) + 2000)
        quiet_s, begin = clients.p99_s(), len(clients.took_s)
        grown = await guarded.attack(SECONDS)
        # Not judged: nothing limits how much processor time strangers take (docs/security.md).
        record_property("p99_ms", [round(1000 * each) for each in (quiet_s, clients.p99_s(begin))])
        await guarded.nothing_is_lost_or_locked_out()
        assert max(grown.values()) <= GROWN_KIB_MAX, grown
