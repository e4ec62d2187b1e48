"""Runs of a cell by turns: each peer, and ours right after it: both meet the same machine."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from benchmarks.peers.cells import FILL, FILL_SECONDS, Cell, Durability
from benchmarks.peers.generator import PublishLoad, TakeLoad, publish, take
from benchmarks.peers.peer import OURS, Peer
from benchmarks.peers.server import running
from benchmarks.peers.speech import Speech
from benchmarks.wire import BrokerError
from benchmarks.worker import Job, LoadError, Outcome, Pipe, Worker

_SETTLE_SECONDS = 0.05  # until writes that were put off are written, and counted
BUSY = 0.9  # of the time: who is busy for longer may be the bottleneck


@dataclass(frozen=True, slots=True)
class Run:
    """``load_share`` is how much of the time the generator's process was on a processor."""

    messages: int
    rate: float
    cpu_us: float
    rss_peak_mb: float
    load_share: float

    @property
    def broker_share(self) -> float:
        """How many processors the broker kept busy."""
        return self.rate * self.cpu_us / 1e6

    @property
    def load_limit(self) -> float:
        """Messages/s that the generator could do, by its own CPU time for one."""
        return self.rate / self.load_share

    @property
    def doubtful(self) -> bool:
        """Whether the generator may be what was measured: it had no time left, the broker had."""
        return self.load_share > BUSY > self.broker_share


@dataclass(slots=True)
class Pairing:
    """A peer and ours in one cell: the n-th run of each belong together."""

    peer: str
    cell: str
    durability: str
    theirs: list[Run] = field(default_factory=list)
    ours: list[Run] = field(default_factory=list)
    error: str = ""

    def ratios(self) -> list[float]:
        """Ours through theirs, of each pair, in order of size."""
        return sorted(
            own.rate / their.rate for own, their in zip(self.ours, self.theirs, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Bench:
    """Who takes part, and how long."""

    programs: dict[str, str]  # of each peer's key, and of ours
    directory: str
    seconds: float
    runs: int
    scale: float

    def pairings(
        self,
        peers: Sequence[Peer],
        cell: Cell,
        durability: Durability,
        progress: Callable[[str], None],
    ) -> list[Pairing]:
        """Run a cell. What fails leaves its pairing out of it, with the reason in ``error``."""
        pairings = {peer.key: Pairing(peer.key, cell.name, durability.value) for peer in peers}
        for turn in range(self.runs):
            for peer in peers:
                pairing = pairings[peer.key]
                if pairing.error:
                    continue
                progress(f"{durability} {cell.name} turn {turn + 1} of {self.runs}: {peer.title}")
                try:
                    theirs = self.run(peer, cell, durability)
                    ours = self.run(OURS, cell, durability)
                except (LoadError, BrokerError) as exc:
                    pairing.error = str(exc).strip().splitlines()[-1]
                else:
                    pairing.theirs.append(theirs)
                    pairing.ours.append(ours)
        return list(pairings.values())

    def run(self, peer: Peer, cell: Cell, durability: Durability) -> Run:
        """Measure a cell once, with a broker that is started for it."""
        program = self.programs.get(peer.key, peer.program)
        speech = peer.speech(durability)
        messages = max(1, int(cell.messages * self.scale))
        with running(peer, program, durability, self.directory) as (port, process):
            if cell.takes:
                messages = self._fill(port, speech)
                load = _ready(take, TakeLoad(port, speech, cell.connections, messages))
            else:
                load = _ready(publish, _publish_load(port, speech, cell, messages, self.seconds))
            with load as worker:
                process.forget_rss_peak()
                before = process.cpu_time()
                worker.go()
                outcome = worker.outcome()
                time.sleep(_SETTLE_SECONDS)
                used = process.cpu_time().since(before)
                peak = process.rss_peak_bytes()
        seconds = (outcome.ended_ns - outcome.started_ns) / 1e9
        return Run(
            outcome.messages,
            outcome.messages / seconds,
            used.total_ns / 1e3 / outcome.messages,
            peak / 1e6,
            outcome.cpu_ns / 1e9 / seconds,
        )

    def _fill(self, port: int, speech: Speech) -> int:
        messages = max(1, int(FILL.messages * self.scale))
        with _ready(publish, _publish_load(port, speech, FILL, messages, FILL_SECONDS)) as worker:
            worker.go()
            return worker.outcome().messages


@contextmanager
def _ready(work: Callable[[Job, Pipe], Outcome], job: Job) -> Iterator[Worker]:
    """A load process that is connected, and gone at the end whatever happens."""
    worker = Worker(work, job)
    try:
        worker.wait_ready()
        yield worker
    finally:
        worker.stop()


def _publish_load(
    port: int, speech: Speech, cell: Cell, messages: int, seconds: float
) -> PublishLoad:
    return PublishLoad(port, speech, cell.batch, cell.connections, cell.window, messages, seconds)


def middle(runs: Iterable[Run]) -> Run:
    """Each figure's own median; of the generator's share the largest."""
    runs = list(runs)
    return Run(
        int(median(run.messages for run in runs)),
        median(run.rate for run in runs),
        median(run.cpu_us for run in runs),
        median(run.rss_peak_mb for run in runs),
        max(run.load_share for run in runs),
    )
