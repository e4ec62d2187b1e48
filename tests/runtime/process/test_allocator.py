"""Memory of large blocks, in processes of their own: the threshold is of the whole process."""

import platform
import subprocess
import sys

import pytest

# What a dashboard does: once there was a large document; then others, with small things between.
PROGRAM = """
from pathlib import Path
from nsqx.runtime.process.allocator import return_large_blocks

def resident_kib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4

if {returns}:
    assert return_large_blocks()
del (document := [bytes(16 << 20)])[:]
before = resident_kib()
documents, small = [], []
for _ in range(64):
    documents.append(b"x" * (1 << 20))
    small.append(b"y" * 50_000)
del documents
print(resident_kib() - before)
"""


def grown_kib(*, returns: bool) -> int:
    program = PROGRAM.format(returns=returns)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others do it as they like")
def test_large_blocks_that_were_freed_are_given_back() -> None:
    assert grown_kib(returns=False) > 32 * 1024
    assert grown_kib(returns=True) < 8 * 1024
