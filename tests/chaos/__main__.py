"""
Prints what faults cost, on real processes.

    python -m tests.chaos --seconds 180
    python -m tests.chaos --fault 'kill -9' --seconds 20
    python -m tests.chaos --broker '/usr/bin/nsqd --tcp-address=127.0.0.1:{tcp}
        --http-address=127.0.0.1:{http} --data-path={data}'

In the command of a broker, {tcp}, {http} and {data} stand for its ports and its folder. If it
holds {lookupd} and {proxy}, clients find it by nsqlookupds of ours, through the proxy that cuts
their connections; otherwise they know the proxy. An argument with {lookupd} is given once for each
nsqlookupd. Every fault hurts one of the brokers or nsqlookupds. Fails if a message that was
answered OK is lost, or one comes that nobody published, or a deferred one comes early.
"""

import argparse
import asyncio
import logging
import random
import re
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS, PAUSE_SECONDS, Target
from tests.chaos.processes import OUR_BROKER, BrokerProcess, Process, free_port
from tests.chaos.workload import Tally, Workload

LOOKUPD = (
    f"{sys.executable} -m nsqx.lookupd --tcp-address=127.0.0.1:{{tcp}} "
    "--http-address=127.0.0.1:{http} --broadcast-address=127.0.0.1"
)


def main() -> int:
    """Run what was asked for; return 1 if an acknowledged message was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seconds", type=float, default=180.0, help="of all faults together")
    parser.add_argument("--fault", action="append", choices=list(FAULTS))
    parser.add_argument("--broker", default=OUR_BROKER, help="its command line")
    parser.add_argument("--brokers", type=int, default=2)
    parser.add_argument("--lookupds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    logging.getLogger("nsqx.client").setLevel(logging.CRITICAL)  # what it tells is on purpose
    return asyncio.run(_main(parser.parse_args()))


async def _main(arguments: argparse.Namespace) -> int:
    has_lookupd = "{lookupd}" in arguments.broker
    names = arguments.fault or [name for name in FAULTS if has_lookupd or "lookupd" not in name]
    print("| fault | times | published | acknowledged | delivered | duplicates | lost |")
    print("|---|---|---|---|---|---|---|")
    is_good = True
    for name in names:
        with tempfile.TemporaryDirectory(prefix="nsqx-chaos-") as folder:
            run = _Run(name, arguments, Path(folder), has_lookupd)
            tally = await run.run(arguments.seconds / len(names))
        print(
            f"| {name} | {run.times} | {len(tally.published)} | {len(tally.acknowledged)} "
            f"| {len(tally.deliveries)} | {tally.duplicates} | {len(tally.lost)} |",
            flush=True,
        )
        if tally.unknown:
            print(f"{len(tally.unknown)} messages came that nobody published", file=sys.stderr)
        if tally.early:
            print(f"{len(tally.early)} deferred messages came early", file=sys.stderr)
        is_good = is_good and not tally.lost and not tally.unknown and not tally.early
    return 0 if is_good else 1


class _Run:
    """One fault, on processes of its own."""

    def __init__(
        self, name: str, arguments: argparse.Namespace, folder: Path, has_lookupd: bool
    ) -> None:
        self.times = 0
        self._hurt_once = FAULTS[name]
        self._topic = "chaos_" + re.sub(r"\W+", "_", name)
        self._chance = random.Random(f"{arguments.seed} {name}")
        self._lookupds = [_lookupd() for _ in range(arguments.lookupds if has_lookupd else 0)]
        ports = [process.port for process, _ in self._lookupds]
        self._brokers = [
            BrokerProcess(arguments.broker, folder / f"data{number}", ports)
            for number in range(arguments.brokers)
        ]

    async def run(self, seconds: float) -> Tally:
        """Let clients work while the fault happens; return what came of it."""
        try:
            for lookupd, _ in self._lookupds:
                await lookupd.start()
            for broker in self._brokers:
                await broker.start()
            workload = Workload(
                self._topic,
                [f"127.0.0.1:{broker.proxy.port}" for broker in self._brokers],
                [http_address for _, http_address in self._lookupds],
                self._chance,
            )
            await workload.run(asyncio.create_task(self._hurt(seconds)))
        finally:
            for process in (*self._brokers, *(lookupd for lookupd, _ in self._lookupds)):
                await process.end(signal.SIGKILL)
            for broker in self._brokers:
                await broker.proxy.stop()
        return workload.tally

    async def _hurt(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            await asyncio.sleep(PAUSE_SECONDS * self._chance.uniform(0.5, 1.5))
            lookupd = self._chance.choice(self._lookupds)[0] if self._lookupds else None
            target = Target(self._chance.choice(self._brokers), lookupd)
            await self._hurt_once(target)
            self.times += 1


def _lookupd() -> tuple[Process, str]:
    """Return an nsqlookupd, and where it answers HTTP."""
    port, http_port = free_port(), free_port()
    return Process(LOOKUPD.format(tcp=port, http=http_port), port), f"127.0.0.1:{http_port}"


if __name__ == "__main__":
    sys.exit(main())
