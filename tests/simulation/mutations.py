"""
Deliberate defects, one line each, and how soon the simulator finds them.

    python -m tests.simulation.mutations                  all of them; fails if one is not found
    python -m tests.simulation.mutations 'skip the CRC'   one

Each is applied to a copy of the sources in a temporary folder, never to the sources themselves, and
then seeds are tried until a promise is broken.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPONENTS = ("protocol", "net", "runtime", "nsqd", "lookupd", "client", "tests")
SECONDS_MAX = 60
MINUTES = 4  # simulated, of each seed
SEEDS = 10_000
CORE = "nsqd/nsqx/nsqd/core"
LOG = "nsqd/nsqx/nsqd/log"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A line, which must be there once, and what it becomes."""

    name: str
    path: str
    old: str
    new: str


MUTATIONS = (
    Mutation(
        "a run of FINs is not journalled",
        f"{CORE}/backlog.py",
        "self.journal.finished_range(first, count)",
        "pass",
    ),
    Mutation(
        "skip the CRC of a batch",
        f"{LOG}/segment.py",
        "crc32c(batch) == commit.data_crc",
        "len(batch) == commit.length",
    ),
    Mutation(
        "forget the deferred heap at a checkpoint",
        f"{CORE}/topic_files.py",
        "backlog.undelivered(), backlog.deferred_messages()\n",
        "backlog.undelivered(), []\n",
    ),
    Mutation(
        "forget what is in flight at a checkpoint",
        f"{CORE}/backlog.py",
        "return [*self.in_flight, *retries]",
        "return retries",
    ),
    Mutation(
        "reuse sequence numbers after a loss of power",
        f"{LOG}/topic_log.py",
        "            self.end = sequence\n",
        "            pass\n",
    ),
    Mutation(
        "reuse ids",
        f"{LOG}/topic_log.py",
        "self._id_base = new_id_base()",
        "self._id_base = 4096",
    ),
    Mutation(
        "off by one at a segment's edge",
        f"{LOG}/topic_log.py",
        "self._segments[0].end <= below:",
        "self._segments[0].end <= below + 1:",
    ),
    Mutation(
        "waiting messages do not keep their segment",
        f"{CORE}/backlog.py",
        "lowest = min(lowest, min(self._aside) << _BUCKET_BITS)",
        "pass",
    ),
    Mutation(
        "a move of the channel is not journalled",
        f"{CORE}/backlog.py",
        "self.journal.positioned(sequence)",
        "pass",
    ),
    Mutation(
        "messages time out a second early",
        f"{CORE}/in_flight.py",
        "self._slice_ns[index] + timeout_ns > now_ns:",
        "self._slice_ns[index] + timeout_ns > now_ns + 10**9:",
    ),
    Mutation(
        "messages time out by the clock on the wall",
        f"{CORE}/broker.py",
        "now_ns, wall_ns = self.clock.monotonic(), self.clock.wall()\n        self._try_again",
        "now_ns, wall_ns = self.clock.wall(), self.clock.wall()\n        self._try_again",
    ),
    Mutation(
        "deferred messages come a second early",
        f"{CORE}/deferred.py",
        "beyond = (wall_ns + 1) << _DUE_SHIFT",
        "beyond = (wall_ns + 10**9) << _DUE_SHIFT",
    ),
    Mutation(
        "answer OK before the sync",
        f"{CORE}/topic.py",
        "        if self.durability is Durability.FSYNC:\n",
        "        if False:\n",
    ),
    Mutation(
        "do not sync the names in a folder",
        f"{LOG}/topic_log.py",
        "self._storage.sync_folder(folder)",
        "pass",
    ),
    Mutation(
        "a publish that the disk refused is answered OK",
        f"{CORE}/topic.py",
        "acknowledge(refusal)",
        "acknowledge(None)",
    ),
    Mutation(
        "deliver one more than RDY",
        f"{CORE}/consumer.py",
        "return self.ready_count - self.in_flight",
        "return self.ready_count + 1 - self.in_flight",
    ),
    Mutation(
        "what comes again goes before all that is new",
        f"{CORE}/channel.py",
        "        return min(max(0, count + 1 - self._lead) // 2, retries, count)\n",
        "        return min(count, retries)\n",
    ),
    Mutation(
        "stragglers are not written",
        f"{CORE}/backlog.py",
        "self.store.save_stragglers(copies)",
        "pass",
    ),
    Mutation(
        "attempts stand still",
        f"{CORE}/backlog.py",
        "attempts = min(attempts + 1, ATTEMPTS_MAX)",
        "attempts = min(max(attempts, 1), ATTEMPTS_MAX)",
    ),
    Mutation(
        "the torn tail of a segment stays",
        f"{LOG}/recovery.py",
        "index.truncate(segment.index_size)",
        "pass",
    ),
    Mutation(
        "changes are not told to nsqlookupds",
        "nsqd/nsqx/nsqd/directory/lookup_peer.py",
        "self._queue.append(command)",
        "pass",
    ),
    Mutation(
        "a consumer that has room again is forgotten",
        f"{CORE}/channel.py",
        "            failures = self._finish_each(consumer, ids)\n        self.refresh(consumer)\n",
        "            failures = self._finish_each(consumer, ids)\n",
    ),
)


def main() -> int:
    """Try mutations; return 1 if one was not found in time."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations")
    parser.add_argument("names", nargs="*", help="all if there are none")
    parser.add_argument("--seconds", type=int, default=SECONDS_MAX)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    chosen = [each for each in MUTATIONS if not arguments.names or each.name in arguments.names]
    missed = 0
    _tell("| defect | found by | seconds | seeds |\n|---|---|---|---|")
    for mutation in chosen:
        began = time.monotonic()
        promise, seeds = find(mutation, arguments.seconds, arguments.jobs)
        took_s = time.monotonic() - began
        missed += promise is None
        _tell(f"| {mutation.name} | {promise or 'NOTHING'} | {took_s:.0f} | {seeds} |")
    return 1 if missed else 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def find(mutation: Mutation, seconds: int, jobs: int) -> tuple[str | None, str]:
    """Return which promise a mutation breaks, and how many seeds it took."""
    with tempfile.TemporaryDirectory(prefix="nsqx-mutation-") as folder:
        copy = Path(folder)
        for component in COMPONENTS:
            shutil.copytree(
                ROOT / component, copy / component, ignore=shutil.ignore_patterns("__pycache__")
            )
        _apply(mutation, copy)
        output = _simulate(copy, seconds, jobs)
    found = re.search(r"VIOLATION (\w+)", output)
    tried = re.search(r"^(\d+) seeds", output, re.MULTILINE)
    return found[1] if found else None, tried[1] if tried else "?"


def _apply(mutation: Mutation, copy: Path) -> None:
    path = copy / mutation.path
    text = path.read_text()
    count = text.count(mutation.old)
    if count != 1:
        raise SystemExit(f"{mutation.name}: {mutation.old!r} is {count} times in {mutation.path}")
    path.write_text(text.replace(mutation.old, mutation.new))


def _simulate(copy: Path, seconds: int, jobs: int) -> str:
    sources = [str(copy / component) for component in COMPONENTS[:-1]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(copy), *sources])}
    options = f"--seeds {SEEDS} --minutes {MINUTES} --seconds {seconds} --jobs {jobs} --shrink 0"
    finished = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options.split(), "--stop"],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if " seeds, " not in finished.stdout:
        raise SystemExit(finished.stdout + finished.stderr)
    return finished.stdout


if __name__ == "__main__":
    sys.exit(main())
