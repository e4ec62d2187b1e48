"""Command line: which scenarios, against which broker."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import report
from benchmarks.broker import Broker, OwnBroker, write_certificate
from benchmarks.machine import Machine
from benchmarks.result import Result, median_of
from benchmarks.runner import Runner
from benchmarks.scenarios import BUDGETED, DURABILITY, EXTRA, Kind, Scenario, matrix
from benchmarks.usage import BrokerProcess, find_listener
from benchmarks.worker import LoadError

RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and report. Returns 1 when a scenario could not be run, whatever the figures are."""
    options = _parser().parse_args(arguments)
    scenarios = [scenario.scaled(options.scale) for scenario in _chosen(options)]
    if options.list:
        print(report.scenario_table(scenarios))
        return 0
    machine = Machine.read()
    print(f"{machine}\n\n{report.HEADING}", flush=True)
    measured: list[tuple[Scenario, Result]] = []
    failed = False
    for scenario in scenarios:
        try:
            result = _measure(options, scenario)
        except LoadError as exc:
            failed = True
            print(f"{scenario.name}: {str(exc).strip().splitlines()[-1]}", flush=True)
        else:
            measured.append((scenario, result))
            print(report.line(scenario, result), flush=True)
    print(report.budget_table(measured))
    _write(options, machine, measured)
    return int(failed)


def _measure(options: argparse.Namespace, scenario: Scenario) -> Result:
    with _broker(options, scenario) as broker:
        runner = Runner(broker, (1,) if options.pin else ())
        runs = 1 if scenario.kind is Kind.BACKLOG else options.runs
        return median_of([runner.run(scenario) for _ in range(runs)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--broker", metavar="HOST:PORT", help="aim at this broker instead of starting our nsqd")
    add("--http", metavar="HOST:PORT", help="its HTTP API, to delete topics after each run")
    add("--broker-pid", type=int, help="its pid; otherwise found by its port, if it is local")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--short", action="store_true", help="scenarios with a budget (default)")
    which.add_argument("--full", action="store_true", help="all scenarios")
    add("--only", metavar="PATTERN", help="of all, those whose name matches, e.g. 'publish-1-*'")
    add("--list", action="store_true", help="list the scenarios and end")
    add("--runs", type=int, default=5, help="runs per scenario; medians are shown (default 5)")
    add("--scale", type=float, default=1.0, help="multiply the number of messages")
    add("--pin", action="store_true", help="broker on CPU 0, load on CPU 1")
    add("--json", metavar="FILE", help="write the results there too")
    add(
        "--directory",
        default="/var/tmp",
        help="where our nsqd keeps its data: a disk, not memory (default /var/tmp)",
    )
    add("--nsqd-option", action="append", default=[], help="pass on to our nsqd; may be repeated")
    custom = parser.add_argument_group("a scenario of your own (instead of the table's)")
    add = custom.add_argument
    add("--kind", choices=[kind.value for kind in Kind])
    add("--messages", type=int, default=200_000)
    add("--batch", type=int, default=200)
    add("--body", type=int, default=200, help="bytes")
    add("--publishers", type=int, default=8, help="connections")
    add("--consumers", type=int, default=2, help="connections per channel")
    add("--channels", type=int, default=1)
    add("--window", type=int, default=0, help="unconfirmed commands per connection")
    add("--rate", type=int, default=1_000, help="messages/s, for latency")
    add("--tls", action="store_true")
    add("--snappy", action="store_true")
    add("--durability", default=DURABILITY, choices=("os", "fsync"))
    return parser


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.kind:
        return [_custom(options)]
    scenarios = list(BUDGETED)
    if options.full or options.only:
        scenarios += [*EXTRA, *matrix()]
    if options.only:
        scenarios = [item for item in scenarios if fnmatch(item.name, options.only)]
    if options.broker:
        # The others kill their broker, or need it started in a certain way.
        scenarios = [
            item
            for item in scenarios
            if item.kind is not Kind.BACKLOG and item.durability == DURABILITY
        ]
    return scenarios


def _custom(options: argparse.Namespace) -> Scenario:
    return Scenario(
        f"custom-{options.kind}",
        Kind(options.kind),
        options.messages,
        batch=options.batch,
        body_bytes=options.body,
        publishers=options.publishers,
        consumers=options.consumers,
        channels=options.channels,
        window=options.window,
        rate=options.rate,
        tls=options.tls,
        snappy=options.snappy,
        durability=options.durability,
    )


@contextmanager
def _broker(options: argparse.Namespace, scenario: Scenario) -> Iterator[Broker]:
    """A fresh nsqd for each scenario, so that none pays for the one before."""
    if options.broker:
        yield _running_broker(options)
        return
    with TemporaryDirectory(prefix="nsqx-benchmark-", dir=options.directory) as directory:
        flags = [f"--durability={scenario.durability}", *options.nsqd_option]
        if scenario.tls:
            certificate, key = write_certificate(Path(directory))
            flags += [f"--tls-cert={certificate}", f"--tls-key={key}"]
        broker = OwnBroker(Path(directory), flags, (0,) if options.pin else ())
        try:
            yield broker
        finally:
            broker.stop()


def _running_broker(options: argparse.Namespace) -> Broker:
    host, _, port = options.broker.rpartition(":")
    try:
        process = BrokerProcess(options.broker_pid or find_listener(int(port)))
    except LookupError as exc:
        print(f"no CPU and memory figures: {exc}", file=sys.stderr)
        return Broker(host, int(port), options.http, None)
    if options.pin:
        process.pin((0,))
    return Broker(host, int(port), options.http, process)


def _write(
    options: argparse.Namespace, machine: Machine, measured: list[tuple[Scenario, Result]]
) -> None:
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": asdict(machine),
        "arguments": sys.argv[1:],
        "results": [{"scenario": item.name, **result.as_dict()} for item, result in measured],
    }
    text = json.dumps(document, indent=1) + "\n"
    table = [str(machine), "", report.HEADING, *(report.line(*item) for item in measured)]
    RESULTS.mkdir(exist_ok=True)
    stem = RESULTS / time.strftime("%Y%m%d-%H%M%S")
    stem.with_suffix(".json").write_text(text)
    stem.with_suffix(".txt").write_text("\n".join([*table, report.budget_table(measured)]) + "\n")
    if options.json:
        Path(options.json).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
