"""What the README shows is true: its Python example runs, its links and make targets exist."""

import asyncio
import re
import sys
from pathlib import Path

from tests.support.processes import Cluster

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def python_example() -> str:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert isinstance(example, str)
    return example


async def test_the_python_example_runs_and_prints_what_it_says(
    cluster: Cluster, tmp_path: Path
) -> None:
    lookupd = await cluster.lookupd()
    nsqd = await cluster.nsqd(lookupds=[lookupd])
    example = python_example()
    for standard, real in {
        "127.0.0.1:4150": nsqd.tcp_address,
        "127.0.0.1:4161": lookupd.http_address,
    }.items():
        assert standard in example
        example = example.replace(standard, real)
    script = tmp_path / "example.py"
    script.write_text(example)

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", script, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()

    (promised,) = re.findall(r"# prints (.*)", example)
    assert (process.returncode, output.decode().strip()) == (0, promised)


def test_the_python_example_has_ten_lines_or_fewer() -> None:
    assert len([line for line in python_example().splitlines() if line.strip()]) <= 10


def test_every_link_to_a_file_leads_somewhere() -> None:
    targets = [target for target in re.findall(r"\]\((.*?)\)", README) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_make_target_shown_exists() -> None:
    shown = set(re.findall(r"^    make (\w+)", README, re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert shown
    assert shown <= targets
