"""The tables, in Markdown: they are read as they are, and stand in docs/comparison.md."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from benchmarks.peers.cells import Durability
from benchmarks.peers.comparison import Pairing, Run, middle
from benchmarks.peers.peer import OURS, Peer

HOW_TO_READ = (
    "Messages/s (CPU of the broker in us a message); below, ours through theirs: the median of the"
    " pairs and, in brackets, the least and the largest."
)
LOAD_HOW_TO_READ = (
    "How busy it was (the most of all runs) / how busy the broker was, in parts of one processor;"
    " and the rate that its own CPU time of a message would allow."
)


def tables(pairings: Sequence[Pairing], peers: Sequence[Peer]) -> str:
    """One table a class of durability, then memory, then what the generators had to do."""
    parts = [HOW_TO_READ]
    for durability in Durability:
        of_class = [pairing for pairing in pairings if pairing.durability == durability]
        if of_class:
            parts += [f"**{durability}**", "\n".join(_class_rows(of_class, peers))]
    parts += ["**Peak memory of the broker, MB**", "\n".join(_memory_rows(pairings, peers))]
    parts += ["**The generator**", LOAD_HOW_TO_READ, "\n".join(_load_rows(pairings, peers))]
    return "\n\n".join(parts)


def _class_rows(pairings: Sequence[Pairing], peers: Sequence[Peer]) -> Iterator[str]:
    yield from _head(["cell", OURS.title, *(peer.title for peer in peers)])
    for cell, row in _by_cell(pairings):
        yield _row([cell, _figures(_own_runs(row)), *(_theirs(row, peer) for peer in peers)])


def _memory_rows(pairings: Sequence[Pairing], peers: Sequence[Peer]) -> Iterator[str]:
    yield from _head(["class, cell", OURS.title, *(peer.title for peer in peers)])
    for durability in Durability:
        of_class = [pairing for pairing in pairings if pairing.durability == durability]
        for cell, row in _by_cell(of_class):
            runs = [_own_runs(row), *(_runs_of(row, peer) for peer in peers)]
            yield _row([f"{durability}, {cell}", *(_memory(of_peer) for of_peer in runs)])


def _load_rows(pairings: Sequence[Pairing], peers: Sequence[Peer]) -> Iterator[str]:
    yield from _head(["class, cell", OURS.title, *(peer.title for peer in peers)])
    for durability in Durability:
        of_class = [pairing for pairing in pairings if pairing.durability == durability]
        for cell, row in _by_cell(of_class):
            runs = [_own_runs(row), *(_runs_of(row, peer) for peer in peers)]
            yield _row([f"{durability}, {cell}", *(_load(of_peer) for of_peer in runs)])


def doubtful(pairings: Iterable[Pairing]) -> list[str]:
    """Return where the generator itself may be what was measured."""
    return sorted(
        {
            f"{title} {pairing.cell} ({pairing.durability})"
            for pairing in pairings
            for title, runs in ((OURS.title, pairing.ours), (pairing.peer, pairing.theirs))
            if any(run.doubtful for run in runs)
        }
    )


def _theirs(row: Sequence[Pairing], peer: Peer) -> str:
    for pairing in row:
        if pairing.peer == peer.key:
            if pairing.error or not pairing.theirs:
                return f"failed: {pairing.error.replace('|', '/')}"
            ratios = pairing.ratios()
            spread = f"{median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            return f"{_figures(pairing.theirs)}<br>{spread}"
    return ""


def _own_runs(row: Iterable[Pairing]) -> list[Run]:
    return [run for pairing in row for run in pairing.ours]


def _runs_of(row: Iterable[Pairing], peer: Peer) -> list[Run]:
    return [run for pairing in row if pairing.peer == peer.key for run in pairing.theirs]


def _figures(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    figures = middle(runs)
    return f"{figures.rate:,.0f} ({figures.cpu_us:.1f})"


def _memory(runs: Sequence[Run]) -> str:
    return f"{middle(runs).rss_peak_mb:,.0f}" if runs else ""


def _load(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    limit = median(run.load_limit for run in runs)
    figures = middle(runs)
    return f"{figures.load_share:.0%} / {figures.broker_share:.0%}, {limit:,.0f}/s"


def _by_cell(pairings: Sequence[Pairing]) -> Iterator[tuple[str, list[Pairing]]]:
    for cell in dict.fromkeys(pairing.cell for pairing in pairings):
        yield cell, [pairing for pairing in pairings if pairing.cell == cell]


def _head(titles: Sequence[str]) -> Iterator[str]:
    yield _row(titles)
    yield "|" + "---|" * len(titles)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
