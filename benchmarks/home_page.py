"""
The dashboard's home page in Chromium: how soon it is there, and what each update costs.

    python -m benchmarks.home_page
    python -m benchmarks.home_page --troubled --seconds 30

2,000 channels on ten nodes, whose every number changes each second. The nodes are imitated, the
dashboard and the browser are real. The cost is by the browser's own account: the processor time of
all that the page's main thread does in a second, drawing included, so that others on the machine
hardly make it longer. With ``--troubled`` a third of the channels has a problem that changes, too.
The budgets: a table within 500 ms, an update within 16 ms.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from playwright.async_api import Page, async_playwright

from benchmarks.dashboard import dashboard
from benchmarks.imitated_nodes import imitated_nodes

__all__ = ["HomePage", "main"]

NODES, TOPICS = 10, 500  # of four channels each
LOADS = 5
SETTLE_MS = 3000  # what a new page does once is over
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]

NOTE_FIRST_ROW = """
new MutationObserver((_, observer) => {
  if (document.querySelector("tr[data-key]") === null) return;
  observer.disconnect();
  requestAnimationFrame(() => {
    document.documentElement.dataset.firstRowMs = performance.now().toFixed(0);
  });
}).observe(document, { childList: true, subtree: true });
"""


@dataclass(frozen=True, slots=True)
class HomePage:
    """
    What was measured.

    Attributes:
        first_table_ms: from the start of loading until rows are drawn, the median.
        update_ms: of the main thread for each second, the median.
        update_ms_p95: the same, the 95th percentile.
    """

    first_table_ms: float
    update_ms: float
    update_ms_p95: float


async def measure(topics: int, seconds: int, *, are_troubled: bool) -> HomePage:
    """Open the page some times, then watch it for some seconds."""
    with TemporaryDirectory() as folder:
        async with (
            imitated_nodes(NODES, topics, are_troubled=are_troubled) as nodes,
            dashboard([f"--nsqd-http-address={each}" for each in nodes], Path(folder)) as (
                address,
                _,
            ),
            async_playwright() as playwright,
        ):
            browser = await playwright.chromium.launch(
                executable_path=shutil.which("chromium") or "/usr/bin/chromium", args=FLAGS
            )
            page = await browser.new_page(viewport={"width": 1360, "height": 900})
            await page.add_init_script(NOTE_FIRST_ROW)
            loads_ms = [await _load(page, f"http://{address}/") for _ in range(LOADS)]
            await page.wait_for_timeout(SETTLE_MS)
            busy_ms = await _main_thread_ms_by_second(page, seconds)
            await browser.close()
    p95 = sorted(busy_ms)[int(len(busy_ms) * 0.95)]
    return HomePage(statistics.median(loads_ms), statistics.median(busy_ms), p95)


async def _load(page: Page, url: str) -> int:
    await page.goto(url)
    drawn = page.locator("html[data-first-row-ms]")
    await drawn.wait_for(state="attached")
    return int(await drawn.get_attribute("data-first-row-ms") or 0)


async def _main_thread_ms_by_second(page: Page, seconds: int) -> list[float]:
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})
    totals_ms = []
    for _ in range(seconds + 1):
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        totals_ms += [each["value"] * 1e3 for each in metrics if each["name"] == "TaskDuration"]
        await page.wait_for_timeout(1000)
    return [after - before for before, after in pairwise(totals_ms)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure as the options say and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.home_page")
    parser.add_argument("--topics", type=int, default=TOPICS, help="of four channels each")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--troubled", action="store_true", help="a third has problems")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    figures = asyncio.run(measure(options.topics, options.seconds, are_troubled=options.troubled))
    if options.json:
        sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
    else:
        for name, value in asdict(figures).items():
            sys.stdout.write(f"{value:>12,.1f}  {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
