"""Runs the same work against what is installed, by turns with our nsqd."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.machine import Machine
from benchmarks.peers.cells import CELLS, Cell, Durability
from benchmarks.peers.comparison import Bench, Pairing
from benchmarks.peers.peer import NOT_MEASURED, OURS, PEERS, Peer
from benchmarks.peers.table import doubtful, tables


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 when something that was asked for failed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    programs = _programs(parser, options)
    peers = [peer for peer in PEERS if peer.key in programs]
    cells = [
        replace(cell, window=options.window) if cell.batch > 1 else cell
        for cell in CELLS
        if fnmatch(cell.name, options.only)
    ]
    if not cells:
        parser.error(f"--only {options.only}: of {', '.join(cell.name for cell in CELLS)}, none")
    for peer in PEERS:
        print(f"{peer.title}: {programs.get(peer.key) or _why_not(peer)}")
    print(NOT_MEASURED)
    if not peers:
        print("Nothing to compare with.", file=sys.stderr)
        return 1
    machine = Machine.read()
    print(f"{machine}\n", flush=True)
    bench = Bench(programs, options.directory, options.seconds, options.runs, options.scale)
    progress = _progress()
    pairings = _measure(bench, peers, cells, options.classes, progress)
    progress("")
    print(tables(pairings, peers))
    _print_notes(pairings, peers)
    if options.json:
        _write(options.json, machine, pairings)
    return int(any(pairing.error for pairing in pairings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    add = parser.add_argument
    for peer in PEERS:
        add(f"--{peer.key}", metavar="PATH", help=f"its server{_otherwise(peer)}")
    add("--peers", metavar="NAMES", help="of those installed, only these, separated by commas")
    add("--only", default="*", metavar="PATTERN", help="cells whose name matches, e.g. 'publish-*'")
    add(
        "--classes",
        type=_classes,
        default=tuple(Durability),
        metavar="NAMES",
        help="of memory, os and fsync, separated by commas (default all)",
    )
    add("--runs", type=_positive, default=3, help="turns of each cell (default 3)")
    add("--seconds", type=float, default=0.4, help="time of each publishing run (default 0.4)")
    add(
        "--window",
        type=_positive,
        default=1,
        help="unconfirmed batches of a connection (default 1)",
    )
    add("--scale", type=float, default=1.0, help="multiply the number of messages")
    add("--json", metavar="FILE", help="write every run there")
    add(
        "--directory",
        default="/var/tmp",
        help="where the brokers keep their data: a disk, not memory (default /var/tmp)",
    )
    return parser


def _why_not(peer: Peer) -> str:
    return "left out" if peer.find() else f"not installed: {peer.install}"


def _otherwise(peer: Peer) -> str:
    return f"; otherwise {peer.program} of $PATH" if peer.searched else ""


def _classes(text: str) -> tuple[Durability, ...]:
    try:
        return tuple(Durability(name.strip()) for name in text.split(","))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{exc}; there are {', '.join(Durability)}") from None


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _programs(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, str]:
    """Return the path of each peer that takes part."""
    chosen = options.peers.split(",") if options.peers else [peer.key for peer in PEERS]
    if unknown := set(chosen) - {peer.key for peer in PEERS}:
        known = ", ".join(peer.key for peer in PEERS)
        parser.error(f"--peers {', '.join(sorted(unknown))}: there are {known}")
    if not Path(options.directory).is_dir():
        parser.error(f"--directory {options.directory}: no such folder")
    programs = {}
    for peer in PEERS:
        named = getattr(options, peer.key.replace("-", "_"))
        if named and not shutil.which(named):
            parser.error(f"--{peer.key} {named}: no such program, or it may not be run")
        if peer.key in chosen and (program := named or peer.find()):
            programs[peer.key] = program
    return programs


def _measure(
    bench: Bench,
    peers: Sequence[Peer],
    cells: Sequence[Cell],
    classes: Sequence[Durability],
    progress: Callable[[str], None],
) -> list[Pairing]:
    return [
        pairing
        for durability in classes
        for cell in cells
        for pairing in bench.pairings(peers, cell, durability, progress)
    ]


def _print_notes(pairings: Sequence[Pairing], peers: Sequence[Peer]) -> None:
    print("\nThe classes memory, os and fsync are")
    for peer in (OURS, *peers):
        print(f"- {peer.title}: {peer.means}")
    if names := doubtful(pairings):
        print(f"\nThe generator, not the broker, may be what was measured: {', '.join(names)}")
    else:
        print("\nIn every run the generator had time left, or the broker had none.")


def _progress() -> Callable[[str], None]:
    """A line that is written over, where somebody looks at it."""
    if not sys.stderr.isatty():
        return lambda text: None
    return lambda text: print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _write(path: str, machine: Machine, pairings: Sequence[Pairing]) -> None:
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": asdict(machine),
        "arguments": sys.argv[1:],
        "pairings": [asdict(pairing) for pairing in pairings],
    }
    Path(path).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
