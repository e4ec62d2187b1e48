"""
Lets strangers loose: ``python -m tests.strangers --seconds 60 nsqd=PORT nsqd-http=PORT ...``.

Each has an address of its own (127.1.0.N). ``--only TEXT`` picks those whose names have it.
``--idle``: they get the processor time that nobody else wants, as those do that have another host.
"""

import argparse
import asyncio
import os
import resource

from tests.strangers.behaviours import BEHAVIOURS
from tests.strangers.stranger import Stranger


async def run(ports: dict[str, int], seconds: float, only: str) -> None:
    strangers: dict[str, Stranger] = {}

    async def behave(name: str, number: int) -> None:
        stranger = strangers[name] = Stranger(f"127.1.0.{number}", ports)
        try:
            async with asyncio.timeout(seconds):
                await BEHAVIOURS[name](stranger)
        except TimeoutError:
            pass

    names = [name for name in BEHAVIOURS if only in name]
    await asyncio.gather(*(behave(name, number) for number, name in enumerate(names, 1)))
    for name, stranger in strangers.items():
        print(f"{stranger.opened:7} {name}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("ports", nargs="+", metavar="NAME=PORT")
    arguments = parser.parse_args()
    ports = {name: int(port) for name, _, port in (each.partition("=") for each in arguments.ports)}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if arguments.idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(run(ports, arguments.seconds, arguments.only))


if __name__ == "__main__":
    main()
