"""
Makes the data folders of format 1 that are kept beside this file.

They were made with the sources as of commit 591ef00, the last of that format:

    git worktree add --detach OLD 591ef00
    cd OLD && PYTHONPATH=protocol:runtime:nsqd:. python THIS_FILE FOLDER_OF_THIS_FILE

``killed.tar.gz`` is what a kill left behind, ``stopped.tar.gz`` the same node after SIGTERM. What
is in them is told by `tests/nsqd/test_formats.py`, which reads them.
"""

import io
import sys
import tarfile
from pathlib import Path

from tests.support.broker_bench import SECOND_NS, BrokerBench
from tests.support.simulated_disk import SimulatedDisk

HOUR_NS = 3600 * SECOND_NS


def main() -> int:
    """Write both into the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    bench = BrokerBench()
    orders(bench)
    waiting(bench)
    bench.broker.get_channel(bench.topic("empty"), "nothing")
    bench.broker.flush()
    bench.publish(b"gone", topic="passing#ephemeral")
    bench.broker.tick()
    write(bench.disk.kill(), folder / "killed.tar.gz")
    bench.broker.close()
    write(bench.disk.kill(), folder / "stopped.tar.gz")
    return 0


def orders(bench: BrokerBench) -> None:
    """A topic with stragglers, and messages that wait, are in flight, deferred and requeued."""
    second = bench.channel("second")
    for number in range(20):
        bench.publish(*(b"%d-%d " % (number, each) + b"x" * 100 for each in range(10)))
    bench.publish(b"in an hour", b"in an hour, too", delay_ns=HOUR_NS)
    bench.publish(b"last")
    client = bench.client("archive", ready=300)
    client = bench.client("second", ready=300)
    received = client.take()
    kept = {b"0-3": 0, b"0-4": HOUR_NS // 2, b"10-3": 0, b"10-4": HOUR_NS // 2}
    names = {message.body.split(b" ")[0]: message for message in received}
    client.ready(0)
    for name, delay_ns in kept.items():
        client.requeue(names[name], delay_ns)
    client.finish(*(m for name, m in names.items() if name not in {*kept, b"19-9", b"last"}))
    for _ in range(3):
        bench.upkeep()
    bench.broker.pause_channel(second, True)  # type: ignore[call-arg]  # as it was
    bench.broker.configure(bench.topic(), {"retain_bytes": 1000})


def waiting(bench: BrokerBench) -> None:
    """A paused topic without channels, of which some was emptied."""
    topic = bench.topic("waiting")
    bench.broker.pause_topic(topic, True)
    bench.publish(b"emptied 0", b"emptied 1", topic="waiting")
    bench.broker.empty_topic(topic)
    bench.publish(b"kept 0", b"kept 1", topic="waiting")
    bench.publish(b"kept, in an hour", topic="waiting", delay_ns=HOUR_NS)


def write(disk: SimulatedDisk, path: Path) -> None:
    """Write what a disk has, the same bytes each time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as archive:
        for name in disk.paths():
            content = bytes(disk.content(name))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    sys.exit(main())
