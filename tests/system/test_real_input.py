"""The main job on real input; see `real_input`, which runs by itself too."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.system.real_input import lines_of_standard_library, run


@pytest.mark.timeout(400)
async def test_every_line_of_the_standard_library_arrives(tmp_path: Path) -> None:
    lines = list(lines_of_standard_library())
    assert len(lines) > 100_000
    report = await run(tmp_path, lines)
    print(json.dumps(asdict(report), indent=2))  # noqa: T201 - kept with a failure, and by -s
    assert report.is_good, report
    for channel in report.channels.values():
        assert sum(channel.deliveries.values()) >= len(lines)
    assert report.channels["archive"].deliveries["pynsq"] > 0
