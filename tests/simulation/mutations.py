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
EDGE = "nsqd/nsqx/nsqd/edge"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A line, which must be there once, and what it becomes."""

    name: str
    path: str
    old: str
    new: str
    tests: str = ""  # that find it; empty: seeds do


_DISK_TESTS = (
    "tests/nsqd/core/test_node_files.py tests/nsqd/core/test_power_loss.py "
    "tests/nsqd/log/test_replacement.py tests/nsqd/log/test_deferral.py "
    "tests/nsqd/log/test_formats.py tests/nsqd/edge/test_files.py "
    "tests/nsqd/log/test_journal.py tests/nsqd/log/test_channel_store.py"
)


def _disk(name: str, path: str, old: str, new: str = "pass") -> Mutation:
    """Return a defect of what reaches the disk when, which tests of losses of power find."""
    return Mutation(name, path, old, new, _DISK_TESTS)


_COMMIT_TESTS = "tests/nsqd/core/test_group_commit.py tests/nsqd/log/test_commit_files.py"


def _commit(name: str, path: str, old: str, new: str = "pass") -> Mutation:
    """Return a defect of group commits, which needs more than chance to show."""
    return Mutation(name, path, old, new, _COMMIT_TESTS)


MUTATIONS = (
    Mutation(
        "commit files are not replayed",
        f"{LOG}/commit_files.py",
        "for part in _parts_in_order(storage):",
        "for part in ():",
    ),
    Mutation(
        "a commit is not synced",
        f"{LOG}/commit_files.py",
        "active.file.write_synced(",
        "active.file.write_at(",
    ),
    _commit(
        "a commit file is written over too early",
        f"{LOG}/commit_files.py",
        "if not each.is_failed and not each.behind:",
        "if not each.is_failed:",
    ),
    _commit(
        "a sync that began before a commit frees its file",
        f"{LOG}/commit_files.py",
        "if each.behind.get(owner) == mark:",
        "if owner in each.behind:",
    ),
    _commit(
        "a replay writes into a segment of another header",
        f"{LOG}/commit_files.py",
        "if index.read_at(RECORD_BYTES, 0) != part.header.encode():",
        "if False:",
    ),
    _commit(
        "a log whose sync failed catches up",
        f"{LOG}/commit_files.py",
        "self._spoiled.add(owner)",
    ),
    _commit(
        "a new segment is committed before its names are safe",
        f"{LOG}/topic_log.py",
        "self._forget_pending()  # nobody would find",
        "pass  # nobody would find",
    ),
    _commit(
        "a log is committed before what it begins with is safe",
        f"{LOG}/topic_log.py",
        "if part is None or active is None or not self._is_pending_safe:",
        "if part is None or active is None:",
    ),
    _commit(
        "what a sync under way waits for is answered twice",
        f"{CORE}/topic.py",
        "self._syncing.clear()",
    ),
    _commit(
        "what was refused meanwhile is passed on at once",
        f"{CORE}/topic.py",
        "if batches and self._is_committing:",
        "if False:",
    ),
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
        "        if self.durability is _FSYNC:\n",
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
        "self._acknowledgements.add(acknowledges, refusal)",
        "self._acknowledgements.add(acknowledges, None)",
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
        "what a disk refused is tried again at each step",
        f"{CORE}/broker.py",
        "if self._has_failed and now_ns >= self._all_again_ns:",
        "if self._has_failed:",
        "tests/nsqd/core/test_clockwork.py",
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
        "attempts = attempts + 1 if attempts < ATTEMPTS_MAX else ATTEMPTS_MAX",
        "attempts = max(attempts, 1)",
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
    _disk(
        "a replaced file is not synced",
        f"{LOG}/replacement.py",
        "    if sync:\n        sync_file(storage, temporary)\n",
        "",
    ),
    _disk(
        "the folder of a replaced file is not synced",
        f"{LOG}/replacement.py",
        "    if sync:\n        storage.sync_folder(folder_of(path))\n",
        "",
    ),
    _disk(
        "several replaced files are not synced",
        f"{LOG}/replacement.py",
        "    for temporary in temporaries.values():\n        sync_file(storage, temporary)\n",
        "",
    ),
    _disk(
        "the folders of several replaced files are not synced",
        f"{LOG}/replacement.py",
        "    for folder in dict.fromkeys(map(folder_of, contents)):\n"
        "        storage.sync_folder(folder)\n",
        "",
    ),
    _disk(
        "a temporary file is not synced",
        f"{LOG}/replacement.py",
        "    _write_or_remove(storage, path, data)\n    sync_file(storage, path)\n",
        "    _write_or_remove(storage, path, data)\n",
    ),
    _disk("File.sync does nothing", f"{EDGE}/files.py", "os.fdatasync(self._descriptor)"),
    _disk(
        "sync_folder does nothing",
        f"{EDGE}/files.py",
        "            _sync_folder(self.root / path)\n",
        "            pass\n",
    ),
    _disk(
        "journals go before the checkpoint's name is synced",
        f"{LOG}/channel_store.py",
        "self._storage.sync_folder(folder_of(self.path))\n            self._trash.sync()",
        "pass",
    ),
    _disk(
        "of a checkpoint's move only one folder is synced",
        f"{LOG}/channel_store.py",
        "self._trash.sync()  # a name that moved is in both folders",
    ),
    _disk(
        "the journal is not synced before stragglers are dropped",
        f"{CORE}/backlog.py",
        "self.store.journal.sync()",
    ),
    _disk(
        "the journal before the last is not synced",
        f"{LOG}/journal.py",
        "range(max(self._oldest, self._synced[0]), self.number + 1)",
        "range(self.number, self.number + 1)",
    ),
    _disk(
        "a journal counts as synced before it is",
        f"{LOG}/journal.py",
        "            for number in numbers:\n                self._sync(number)\n",
        "",
    ),
    _disk(
        "the fraction of a delay is lost",
        f"{LOG}/records.py",
        "    fields = _COMMIT.pack(*commit)\n",
        "    fields = _COMMIT.pack(*commit[:5], commit[5] // 10**9 * 10**9, commit[6])\n",
    ),
    _disk(
        "frames do not say that they are deferred",
        f"{LOG}/topic_log.py",
        "mark_of(now_ns, due_ns)",
        "1",
    ),
    _disk(
        "a delay in a frame is rounded down",
        f"{LOG}/deferral.py",
        "-(-units >> (exponent - 1))\n    if mantissa",
        "units >> (exponent - 1)\n    if mantissa",
    ),
    _disk(
        "a deleted topic's folders are not synced",
        f"{CORE}/node_files.py",
        "        self._storage.sync_folder(TOPICS_FOLDER)\n        self.trash.sync()",
        "        pass",
    ),
    _disk(
        "a deleted channel's folders are not synced",
        f"{CORE}/topic_files.py",
        "        self._storage.sync_folder(self.folder)\n        self._trash.sync()\n\n",
        "",
    ),
    _disk("tombstones are not looked at", f"{LOG}/trash.py", "if names[0]:", "if False:"),
    _disk(
        "tombstones go before nsqd.dat is synced",
        f"{CORE}/node_files.py",
        'self._storage.sync_folder("")\n            self.trash.sync()',
        "pass",
    ),
    _disk(
        "a segment goes though its topic was deleted",
        f"{LOG}/topic_log.py",
        "            if self._is_abandoned:\n                return\n",
        "",
    ),
    _disk(
        "new names are not synced",
        f"{CORE}/node_files.py",
        "self._sync_names(new_names)",
    ),
    _disk("a newer format is taken", f"{LOG}/formats.py", "if number > FORMAT:", "if False:"),
    _disk("unknown kinds are skipped", f"{LOG}/journal.py", "if kind not in _KINDS:", "if False:"),
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
        if mutation.tests:
            return _run_tests(copy, mutation.tests, seconds), "-"
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


def _run_tests(copy: Path, tests: str, seconds: int) -> str | None:
    """Return the name of the first test that fails, if one does in time."""
    shutil.copy(ROOT / "pyproject.toml", copy)
    sources = [str(copy / component) for component in COMPONENTS[:-1]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(copy), *sources])}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    try:
        finished = subprocess.run(
            command,
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) \S+::(\w+)", finished.stdout, re.MULTILINE)
    return failed[1] if failed else None


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
