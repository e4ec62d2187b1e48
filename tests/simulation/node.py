"""
A simulated nsqd: the real broker and its real sessions between a simulated network and disk.

What the daemon's edge does with asyncio is done here with the scheduler: flush at the end of a
turn, running the clockwork, connections, and the talk with nsqlookupds (`node_peers`).
"""

import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial

from nsqx.nsqd.core.broker import Broker, BrokerSettings
from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.clockwork import Clockwork
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.metadata import MetadataError
from nsqx.nsqd.core.node_files import METADATA_PATH
from nsqx.nsqd.core.session import Session, SessionSettings
from nsqx.nsqd.core.timers import NEVER_NS, Timers
from nsqx.nsqd.core.topic import Topic
from nsqx.protocol.command_parser import Limits
from nsqx.protocol.identify import NegotiationOptions
from tests.simulation.auditor import Auditor, Violation
from tests.simulation.disk import NodeDisk, ProcessEnded
from tests.simulation.limits import SMALL_LIMITS
from tests.simulation.network import End, Network
from tests.simulation.scheduler import MILLISECOND_NS, SECOND_NS, START_NS, Scheduler
from tests.simulation.trace import Trace

__all__ = ["Node", "NodePlan", "State"]

FROZEN_NS = 50 * MILLISECOND_NS  # how often a stopped process is looked at
SYNC_NS = 2 * SECOND_NS
TURN_NS = 20_000
UPTIME_NS = 86_400 * SECOND_NS  # of the hosts, when a simulation begins
DISK_NS = (50_000, 5 * MILLISECOND_NS)
SLOW_DISK_NS = (100 * MILLISECOND_NS, 3 * SECOND_NS)
RESTART_NS = (SECOND_NS // 5, SECOND_NS, 5 * SECOND_NS, 30 * SECOND_NS)
RETRY_START_NS = 5 * SECOND_NS
STEPS_MAX = 2000  # of the clockwork at one moment
CALM_NS = 15 * SECOND_NS  # after a fault of the disk, until nothing is excused by it


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What distinguishes a node."""

    name: str
    durability: Durability
    segment_bytes_max: int
    memory_bytes_max: int
    reads_block: bool


class State(Enum):
    """What a node's process does."""

    RUNNING = "running"
    STOPPED = "stopped"  # by SIGSTOP
    DOWN = "down"


class Node:
    """One nsqd, over its crashes. Is its broker's `BrokerEvents`."""

    def __init__(
        self,
        plan: NodePlan,
        scheduler: Scheduler,
        network: Network,
        auditor: Auditor,
        trace: Trace,
        chance: random.Random,
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.state = State.DOWN
        self.disk = NodeDisk()
        self._disks: list[NodeDisk] = []  # of earlier processes
        self.clock = Clock(self._wall_ns, self._monotonic_ns)
        self.clock_offset_ns = 0  # of its wall clock
        self.clock_offset_max_ns = 0  # of all that it ever had
        self.is_disk_slow = False
        self.is_removed = False  # from the cluster: nobody starts it any more
        self.has_lost_power = False
        self.was_damaged = False  # by flipped bits
        # By path and offset: the byte before anything was flipped, and what it became.
        self.flips: dict[tuple[str, int], tuple[int, int]] = {}
        self.has_refused = False  # what an operator asked for last
        self.was_well = True  # when it ended
        # A segment goes without its FINs being written, to make room. And what a failed sync was
        # to write is not there, which no later process knows.
        self.had_failed_write = False
        self.damages_seen = 0  # of those that its broker has reported
        self.may_give_up_reads = False  # after its disk refused reads
        self.ended_ns = scheduler.now_ns
        self.broker: Broker
        self.connections: dict[Connection, None] = {}
        self.crash_is_power_loss = False  # when the disk's steps have run out
        self.on_started: Callable[[], None] = _ignore_start
        self.on_topic_created: Callable[[Topic], None] = _ignore
        self.on_changed: Callable[[str, str | None, bool], None] = _ignore_change
        self.settings = BrokerSettings(
            version="simulated",
            mem_queue_size=20,
            segment_bytes_max=plan.segment_bytes_max,
            memory_bytes_max=plan.memory_bytes_max,
            sync_every=50,
            max_msg_timeout_ns=30 * SECOND_NS,
            durability=plan.durability,
            limits=SMALL_LIMITS,
        )
        self.session_settings = SessionSettings(
            Limits(max_req_timeout_ms=600_000), NegotiationOptions(max_msg_timeout_ms=30_000)
        )
        self._scheduler = scheduler
        self._network = network
        self._auditor = auditor
        self._trace = trace
        self._chance = chance
        self.life = 0  # counts processes, so that calls for a dead one are dropped
        self._how_ended = "stop"
        self._is_inside = False  # of a call that `run` guards
        self._clockwork: Clockwork
        self._next_run_ns = NEVER_NS  # of the clockwork, in monotonic time
        self._ran_ns = 0  # when it did last, and how often at that moment
        self._steps = 0
        self._timers: Timers[Connection]
        self._trouble_ns = 0

    def _wall_ns(self) -> int:
        return self._scheduler.now_ns + self.clock_offset_ns

    def _monotonic_ns(self) -> int:
        return self._scheduler.now_ns - START_NS + UPTIME_NS

    @property
    def is_running(self) -> bool:
        """Whether it does something."""
        return self.state is State.RUNNING

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, stopped or not."""
        return self.state is not State.DOWN

    @property
    def is_well(self) -> bool:
        """Whether nothing excuses it for being slow."""
        disk = self.disk
        if disk.fail_reads or disk.fail_writes or disk.fail_syncs or disk.free_bytes is not None:
            self._trouble_ns = self._scheduler.now_ns
        return self.is_running and self._scheduler.now_ns - self._trouble_ns > CALM_NS

    def note(self, what: str) -> None:
        """Write a line to the trace."""
        self._trace.note(self.name, what)

    # Start and end

    def start(self) -> None:
        """Start the process; when the disk does not let it, try again later."""
        if self.state is not State.DOWN or self.is_removed:
            return
        self.life += 1
        self._prepare_disk()
        self.broker = Broker(
            self.disk,
            self.settings,
            self,
            clock=self.clock,
            random_bits=self._chance.getrandbits,
        )
        self.damages_seen = 0
        self._timers = Timers(self.sooner)
        self._next_run_ns = 0  # nothing is planned before all is loaded
        self.state = State.RUNNING
        self.run(self._load)
        if self.state is not State.RUNNING:
            self._scheduler.after(RETRY_START_NS, self.start)

    def _load(self) -> None:
        try:
            self.broker.load()
        except (OSError, MetadataError) as error:
            self.note(f"does not start: {error}")
            self.state = State.DOWN
            self.life += 1
            if isinstance(error, MetadataError):  # as the message tells the operator
                self.disk.rename(METADATA_PATH, f"{METADATA_PATH}.bad")
            return
        self.note(f"starts after {self._how_ended}")
        self._auditor.restarted(self, self._how_ended)
        self._how_ended = "kill"
        self._trouble_ns = self._scheduler.now_ns
        self._network.listen(self.name, self._accept)
        self.on_started()
        self._clockwork = Clockwork(self.broker, self, sync_interval_ns=SYNC_NS)
        self._next_run_ns = NEVER_NS
        self.sooner()

    def _prepare_disk(self) -> None:
        disk = self.disk
        disk.chance = self._chance
        disk.reads_block = self.plan.reads_block
        disk.run_later = self._when_disk_is_free

    def stop(self) -> None:
        """End it as SIGTERM does."""
        if self.state is State.RUNNING:
            self.run(self._close)

    def _close(self) -> None:
        self.note("stops")
        self.broker.flush()
        for connection in list(self.connections):
            connection.close()
        try:
            self.broker.close()
            how = "stop"
        except OSError as error:
            self.note(f"can not write down where everything stands: {error}")
            how = "kill"
        self._ended(how)
        if how == "stop":
            for record in self._auditor._records_of(self):
                for channel in record.channels.values():
                    channel.journalled()
                    attempts = channel.attempts
                    channel.killed()
                    channel.attempts = attempts
        self._network.kill(self.name)

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        if self.state is not State.DOWN:
            self.note("is killed")
            self._ended("kill")
            self._network.kill(self.name)

    def lose_power(self) -> None:
        """The host goes dark: what was not synced is gone, in parts."""
        self.note("loses power")
        self.has_lost_power = True
        self._ended("power")
        self._network.lose_power(self.name)

    def let_go(self) -> None:
        """Nobody goes on with this node, nor with what its processes had begun."""
        for disk in (*self._disks, self.disk):
            disk.let_go()

    def _ended(self, how: str) -> None:
        """Leave the disk to the next process."""
        self.was_well = self.is_well
        self._auditor.take_damages(self)
        self.state = State.DOWN
        self.life += 1
        self.ended_ns = self._scheduler.now_ns
        self.disk.is_gone = True
        faults = self.disk
        self._disks.append(self.disk)
        if how == "power":
            self.disk = self.disk.power_loss(self._chance)
        else:
            self.disk = self.disk.kill()
        self.disk.free_bytes = faults.free_bytes
        self.disk.fail_writes = faults.fail_writes
        self.disk.fail_syncs = faults.fail_syncs
        self.disk.fail_reads = faults.fail_reads
        if how != "stop":
            self._auditor.killed(self)
        if self._how_ended != "power":
            self._how_ended = how
        self.connections.clear()
        self._scheduler.after(self._chance.choice(RESTART_NS), self.start)

    def remove(self) -> None:
        """Take it out of the cluster, as an operator does: with SIGTERM, and for good."""
        self.note("is removed")
        self.is_removed = True
        self.thaw()
        self.stop()

    def bring_back(self) -> None:
        """Have it again, with all that is still on its disk."""
        self.is_removed = False
        self.start()

    def disk_is_well(self) -> None:
        """Let the disk do what it is asked from now on."""
        self._trouble_ns = self._scheduler.now_ns
        self.is_disk_slow = False
        disk = self.disk
        disk.free_bytes = disk.fail_writes = disk.fail_syncs = disk.fail_reads = None

    def freeze(self) -> None:
        """Stop the process as SIGSTOP does."""
        if self.state is State.RUNNING:
            self.note("is stopped by a signal")
            self.state = State.STOPPED
            self._network.stop(self.name)

    def thaw(self) -> None:
        """Let it go on."""
        if self.state is State.STOPPED:
            self.note("goes on")
            self.state = State.RUNNING
            self._network.resume(self.name)

    # Running

    def run(self, call: Callable[[], None]) -> None:
        """Run something in the process; what the disk ends, ends it."""
        if self._is_inside:
            call()
            return
        self._is_inside = True
        try:
            call()
        except ProcessEnded:
            if self.crash_is_power_loss:
                self.lose_power()
            else:
                self.kill()
        except Violation:
            raise
        except Exception as error:
            raise Violation("no_exception", _describe(error)) from error
        finally:
            self._is_inside = False

    def operate(self, operation: Callable[[], None]) -> None:
        """Do what an operator asks for over HTTP; the disk may refuse."""

        def run() -> None:
            try:
                operation()
            except OSError as error:
                self.has_refused = True
                self.note(f"refuses: {error}")

        self.run(run)

    def later(self, delay_ns: int, call: Callable[[], None]) -> None:
        """Run something later, if the process is still there."""
        self._scheduler.after(delay_ns, partial(self._run_in_life, self.life, call))

    def _run_in_life(self, life: int, call: Callable[[], None]) -> None:
        if life != self.life:
            return
        if self.state is State.STOPPED:
            self._scheduler.after(FROZEN_NS, partial(self._run_in_life, life, call))
            return
        self.run(call)

    def _when_disk_is_free(self, call: Callable[[], None]) -> None:
        self.later(self._chance.randrange(*(SLOW_DISK_NS if self.is_disk_slow else DISK_NS)), call)

    def sooner(self) -> None:
        """See `BrokerEvents.sooner`."""
        next_ns = self._clockwork.next_ns if self._next_run_ns else NEVER_NS
        if next_ns < self._next_run_ns:
            self._next_run_ns = next_ns
            delay_ns = max(0, next_ns - self.clock.monotonic())
            self.later(delay_ns, partial(self._run_clockwork, next_ns))

    def _run_clockwork(self, planned_ns: int) -> None:
        if planned_ns != self._next_run_ns:
            return  # another run was planned instead
        self._next_run_ns = 0  # whatever is due sooner meanwhile is seen below
        self._clockwork.run()
        self._check_steps()
        self._auditor.ticked(self)
        self._next_run_ns = NEVER_NS
        self.sooner()

    def _check_steps(self) -> None:
        is_same_moment = self._ran_ns == self._scheduler.now_ns
        self._ran_ns = self._scheduler.now_ns
        self._steps = self._steps + 1 if is_same_moment else 0
        if self._steps > STEPS_MAX:
            raise Violation("steps_end", f"{self.name} has something to do at once, for ever")

    @property
    def next_ns(self) -> int:
        """See `Clients.next_ns`."""
        return self._timers.next_ns

    def tick(self) -> None:
        """See `Clients.tick`."""
        now_ns = self.clock.monotonic()
        for connection in self._timers.take(now_ns):
            connection.session.tick(now_ns)
            connection.schedule()

    def schedule(self, connection: "Connection", due_ns: int) -> None:
        """Have a connection looked at."""
        if connection in self.connections:
            self._timers.set(connection, due_ns)

    def forget(self, connection: "Connection") -> None:
        """A connection is gone."""
        self.connections.pop(connection, None)
        self._timers.forget(connection)

    def check(self) -> None:
        """Compare with the model."""
        if self.is_running:
            self._auditor.check(self)

    # Connections

    def _accept(self, end: End) -> "Connection":
        connection = Connection(self, end, self._auditor)
        self.connections[connection] = None
        connection.schedule()
        return connection

    # `BrokerEvents`

    def wake(self) -> None:
        self.later(TURN_NS, self.broker.flush)

    def drain_changed(self) -> None:
        """See `BrokerEvents.drain_changed`."""

    def topic_created(self, topic: Topic) -> None:
        self.note(f"creates topic {topic.name}")
        self._auditor.watch_topic(self, topic, is_new=True)
        self.on_changed(topic.name, None, True)
        self.on_topic_created(topic)

    def topic_deleted(self, topic: Topic) -> None:
        self.note(f"deletes topic {topic.name}")
        self._auditor.topic_deleted(self, topic.name)
        self.on_changed(topic.name, None, False)

    def channel_created(self, topic: Topic, channel: Channel) -> None:
        self.note(f"creates channel {topic.name}/{channel.name}")
        self._auditor.watch_channel(self, topic, channel)
        self.on_changed(topic.name, channel.name, True)

    def channel_deleted(self, topic: Topic, channel: Channel) -> None:
        self.note(f"deletes channel {topic.name}/{channel.name}")
        self._auditor.channel_deleted(self, topic.name, channel.name)
        self.on_changed(topic.name, channel.name, False)

    def warn(self, text: str) -> None:
        self.note(f"warns: {text}")
        self._auditor.warned(self, text)

    def failed(self, what: str, exception: Exception) -> None:
        if isinstance(exception, Violation):
            raise exception
        raise Violation("no_exception", f"failed to {what}: {_describe(exception)}") from exception


class Connection:
    """A client at a node. Is its session's `SessionSink`, and the `Handler` of its end."""

    def __init__(self, node: Node, end: End, auditor: Auditor) -> None:
        self._node = node
        self._end = end
        self._auditor = auditor
        self._is_closing = False
        self._is_full = False
        self._is_held = False
        address = f"{end.peer_host}:{end.number}"
        self.session = Session(node.broker, node.session_settings, self, address)

    # Handler

    def received(self, data: bytes) -> None:
        if not self._is_closing:
            self._node.run(partial(self.session.receive, data, self._node.clock.monotonic()))

    def ended(self) -> None:
        if not self._is_closing:
            self._node.run(self.session.receive_eof)

    def lost(self) -> None:
        self._node.forget(self)
        self._node.run(self.session.closed)

    def set_writable(self, is_writable: bool) -> None:
        self._is_full = not is_writable
        self._read_or_not()
        self._node.run(partial(self.session.set_writable, is_writable))

    # Sink

    def send(self, data: bytes | bytearray) -> None:
        if not self._is_closing:
            self._auditor.sent(self._node, self.session, data)
            self._end.send(bytes(data))

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._end.close()
            self._node.later(0, self.lost)

    def start_tls(self, received: bytes) -> None:
        raise AssertionError("not offered")

    def start_snappy(self, received: bytes) -> None:
        raise AssertionError("not asked for")

    def start_deflate(self, received: bytes, level: int) -> None:
        raise AssertionError("not asked for")

    def pause_reading(self, is_paused: bool) -> None:
        self._is_held = is_paused
        self._read_or_not()

    def unsent_bytes(self) -> int:
        return self._end.unsent_bytes

    def schedule(self) -> None:
        self._node.schedule(self, self.session.due_ns)

    def _read_or_not(self) -> None:
        self._end.set_reading(not self._is_full and not self._is_held)


def _describe(error: Exception) -> str:
    """Return what was raised, and where: the last lines of the core that led there."""
    calls = traceback.extract_tb(error.__traceback__)[-4:]
    where = " < ".join(
        f"{call.filename.rpartition('/')[2]}:{call.lineno} {call.name}" for call in reversed(calls)
    )
    return f"{type(error).__name__}: {error} in {where}"


def _ignore_start() -> None:
    """Nobody is to be told."""


def _ignore(topic: Topic) -> None:
    """Nobody is to be asked."""


def _ignore_change(topic: str, channel: str | None, is_there: bool) -> None:
    """Nobody is to be told."""
