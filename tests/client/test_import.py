"""What importing the client costs."""

import subprocess
import sys

HEAVY = (
    "aiohttp msgspec prometheus_client structlog zeroconf cramjam google_crc32c uvloop click rich"
)


def test_the_import_loads_nothing_heavy() -> None:
    code = f"import sys, nsqx.client; print(*set('{HEAVY}'.split()) & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout.split() == []
