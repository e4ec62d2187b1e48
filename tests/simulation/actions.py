"""What each kind of `Action` does to a cluster."""

import errno
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from nsqx.nsqd.core.channel import Channel
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.page import Page, read_page, read_page_before
from tests.simulation.auditor import Violation, number_of
from tests.simulation.damage import flip_channel_file, flip_index, flip_log
from tests.simulation.node import Node
from tests.simulation.plan import Action
from tests.simulation.scheduler import MILLISECOND_NS, SECOND_NS

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster

__all__ = ["apply"]

STEPS_MAX = 60
FREE_BYTES_MAX = 6_000
RESTARTS = 5
NODES_MAX = 5
JUMPS_S = (-7200, -600, -60, -5, 1, 5, 60, 600, 7200)


def apply(cluster: "Cluster", action: Action) -> None:
    """Do what an action says."""
    node = cluster.nodes[action.node]
    cluster.trace.note("fault", f"#{action.number} {action.kind} at {node.name}")
    cluster.fault_counts[action.kind] = cluster.fault_counts.get(action.kind, 0) + 1
    _ACTIONS[action.kind](cluster, node, action)


def _later(cluster: "Cluster", action: Action, call: Callable[[], None]) -> None:
    cluster.scheduler.after(action.for_ms * MILLISECOND_NS, call)


# Processes


def _kill(cluster: "Cluster", node: Node, action: Action) -> None:
    node.kill()


def _kill_in_step(cluster: "Cluster", node: Node, action: Action) -> None:
    node.crash_is_power_loss = False
    node.disk.steps_left = 1 + action.value % STEPS_MAX


def _power(cluster: "Cluster", node: Node, action: Action) -> None:
    node.lose_power()


def _power_in_step(cluster: "Cluster", node: Node, action: Action) -> None:
    node.crash_is_power_loss = True
    node.disk.steps_left = 1 + action.value % STEPS_MAX


def _power_all(cluster: "Cluster", node: Node, action: Action) -> None:
    for each in cluster.nodes:
        each.lose_power()


def _stop(cluster: "Cluster", node: Node, action: Action) -> None:
    node.stop()


def _freeze(cluster: "Cluster", node: Node, action: Action) -> None:
    node.freeze()
    _later(cluster, action, node.thaw)


def _restarts(cluster: "Cluster", node: Node, action: Action) -> None:
    def again(left: int) -> None:
        node.kill()
        if left:
            cluster.scheduler.after(action.value % SECOND_NS, partial(again, left - 1))

    again(RESTARTS)


def _clock(cluster: "Cluster", node: Node, action: Action) -> None:
    jump_s = JUMPS_S[action.value % len(JUMPS_S)]
    if jump_s < 0:
        cluster.auditor.clock_set_back(node, node.clock.wall())
    node.clock_offset_ns += jump_s * SECOND_NS
    node.clock_offset_max_ns = max(node.clock_offset_max_ns, node.clock_offset_ns)


# Disks


def _disk_full(cluster: "Cluster", node: Node, action: Action) -> None:
    node.disk.free_bytes = action.value % FREE_BYTES_MAX
    node.had_failed_write = True
    _later(cluster, action, node.disk_is_well)


def _disk_refuses(cluster: "Cluster", node: Node, action: Action) -> None:
    node.disk.fail_writes = (errno.EIO, errno.EROFS)[action.value % 2]
    node.had_failed_write = True
    _later(cluster, action, node.disk_is_well)


def _sync_fails(cluster: "Cluster", node: Node, action: Action) -> None:
    node.disk.fail_syncs = errno.EIO
    node.had_failed_write = True
    _later(cluster, action, node.disk_is_well)


def _read_fails(cluster: "Cluster", node: Node, action: Action) -> None:
    node.disk.fail_reads = errno.EIO
    node.may_give_up_reads = True
    _later(cluster, action, node.disk_is_well)


def _disk_slow(cluster: "Cluster", node: Node, action: Action) -> None:
    node.is_disk_slow = True
    _later(cluster, action, node.disk_is_well)


# Networks


def _cut(cluster: "Cluster", node: Node, action: Action) -> None:
    hosts = [host for host in cluster.hosts if host != node.name]
    other = hosts[action.other % len(hosts)]
    cluster.network.cut(node.name, other)
    _later(cluster, action, partial(cluster.network.heal, node.name, other))


def _slow(cluster: "Cluster", node: Node, action: Action) -> None:
    cluster.network.slow(node.name, True)
    _later(cluster, action, partial(cluster.network.slow, node.name, False))


def _reset(cluster: "Cluster", node: Node, action: Action) -> None:
    cluster.network.reset_some(node.name, 0.5)


def _forget(cluster: "Cluster", node: Node, action: Action) -> None:
    cluster.network.forget_some(node.name, 0.5)


def _freeze_client(cluster: "Cluster", node: Node, action: Action) -> None:
    host = cluster.client_hosts[action.other % len(cluster.client_hosts)]
    cluster.network.stop(host)
    _later(cluster, action, partial(cluster.network.resume, host))


def _pause_consumer(cluster: "Cluster", node: Node, action: Action) -> None:
    if cluster.consumers:
        consumer = cluster.consumers[action.other % len(cluster.consumers)]
        consumer.pause(True)
        _later(cluster, action, partial(consumer.pause, False))


def _kill_directory(cluster: "Cluster", node: Node, action: Action) -> None:
    cluster.directories[action.other % len(cluster.directories)].kill()


def _freeze_directory(cluster: "Cluster", node: Node, action: Action) -> None:
    host = cluster.directories[action.other % len(cluster.directories)].name
    cluster.network.stop(host)
    _later(cluster, action, partial(cluster.network.resume, host))


def _cut_others(cluster: "Cluster", node: Node, action: Action) -> None:
    """Part any two hosts, such as a client and a directory."""
    one = cluster.hosts[action.other % len(cluster.hosts)]
    other = cluster.hosts[action.value % len(cluster.hosts)]
    cluster.network.cut(one, other)
    _later(cluster, action, partial(cluster.network.heal, one, other))


# Nodes come and go


def _add_node(cluster: "Cluster", node: Node, action: Action) -> None:
    if len(cluster.nodes) < NODES_MAX:
        cluster.add_node()


def _remove_node(cluster: "Cluster", node: Node, action: Action) -> None:
    there = [each for each in cluster.nodes if not each.is_removed]
    if len(there) > 1:
        cluster.remove_node(there[action.other % len(there)])


# Damage


def _flip_log(cluster: "Cluster", node: Node, action: Action) -> None:
    flip_log(cluster.auditor, node, action.value)


def _flip_index(cluster: "Cluster", node: Node, action: Action) -> None:
    flip_index(cluster.auditor, node, action.value)


def _flip_journal(cluster: "Cluster", node: Node, action: Action) -> None:
    flip_channel_file(cluster.auditor, node, ".journal", action.value)


def _flip_checkpoint(cluster: "Cluster", node: Node, action: Action) -> None:
    flip_channel_file(cluster.auditor, node, ".channel", action.value)


# Operations


def _topic_of(node: Node, action: Action) -> Topic | None:
    if not node.is_running:
        return None
    topics = [node.broker.topics[name] for name in sorted(node.broker.topics)]
    return topics[action.other % len(topics)] if topics else None


def _channel_of(topic: Topic, action: Action) -> Channel | None:
    channels = [topic.channels[name] for name in sorted(topic.channels)]
    return channels[action.value % len(channels)] if channels else None


def _pause_topic(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    if topic is not None:
        node.operate(partial(node.broker.pause_topic, topic, True))
        _later(cluster, action, partial(cluster.resume_topic, node, topic.name))


def _pause_channel(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    channel = _channel_of(topic, action) if topic is not None else None
    if topic is not None and channel is not None:
        node.operate(partial(node.broker.pause_channel, topic, channel, True))
        _later(cluster, action, partial(cluster.resume_channel, node, topic.name, channel.name))


def _create_channel(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    if topic is not None:
        name = f"late{action.value % 3}"

        def create() -> None:
            node.broker.get_channel(topic, name)

        node.operate(create)


def _delete_channel(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    channel = _channel_of(topic, action) if topic is not None else None
    if topic is not None and channel is not None:
        cluster.auditor.will_delete(node, topic, channel)
        with cluster.auditor.deleting(node, topic.name, channel.name):
            node.operate(partial(node.broker.delete_channel, topic, channel))


def _delete_topic(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    if topic is not None:
        for channel in topic.channels.values():
            cluster.auditor.will_delete(node, topic, channel)
        with cluster.auditor.deleting(node, topic.name):
            node.operate(partial(node.broker.delete_topic, topic))


def _empty_topic(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    if topic is not None:
        cluster.auditor.will_empty(node, topic)
        node.operate(partial(node.broker.empty_topic, topic))


def _empty_channel(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    channel = _channel_of(topic, action) if topic is not None else None
    if topic is not None and channel is not None:
        with cluster.auditor.moving(node, topic, channel, topic.passed):
            node.operate(partial(node.broker.empty_channel, topic, channel))


def _seek(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    channel = _channel_of(topic, action) if topic is not None else None
    if topic is None or channel is None or channel.is_ephemeral or topic.is_ephemeral:
        return
    first, end = topic.log.first, topic.passed
    sequence = first + action.value % max(1, end - first)
    with cluster.auditor.moving(node, topic, channel, sequence):
        node.operate(partial(node.broker.seek, topic, channel, sequence))


def _peek(cluster: "Cluster", node: Node, action: Action) -> None:
    topic = _topic_of(node, action)
    if topic is None:
        return
    view = topic.log.view()
    place = view.first + action.value % max(1, view.end - view.first)
    look = read_page if action.value % 2 else read_page_before
    read = partial(look, view, place, 20, 5_000)

    def done(page: Page | None, error: BaseException | None) -> None:
        if page is None:
            return
        seen = [sequence for sequence, _ in page.frames]
        seen += [number for gap in page.gaps for number in range(gap.first, gap.end)]
        if sorted(seen) != list(range(page.first, page.end)):
            raise Violation("only_what_was_published", f"a look at {topic.name} has holes")
        for sequence, frame in page.frames:
            number = number_of(frame[34:])
            if number < 0 or cluster.auditor.bodies[number] != frame[34:]:
                raise Violation(
                    "only_what_was_published", f"a look at {topic.name} shows a wrong {sequence}"
                )

    node.run(partial(node.disk.submit, read, done))


_ACTIONS: dict[str, Callable[["Cluster", Node, Action], None]] = {
    "kill": _kill,
    "kill_in_step": _kill_in_step,
    "power": _power,
    "power_in_step": _power_in_step,
    "power_all": _power_all,
    "stop": _stop,
    "freeze": _freeze,
    "restarts": _restarts,
    "clock": _clock,
    "disk_full": _disk_full,
    "disk_refuses": _disk_refuses,
    "sync_fails": _sync_fails,
    "read_fails": _read_fails,
    "disk_slow": _disk_slow,
    "cut": _cut,
    "cut_others": _cut_others,
    "add_node": _add_node,
    "remove_node": _remove_node,
    "slow": _slow,
    "reset": _reset,
    "forget": _forget,
    "freeze_client": _freeze_client,
    "pause_consumer": _pause_consumer,
    "kill_directory": _kill_directory,
    "freeze_directory": _freeze_directory,
    "flip_log": _flip_log,
    "flip_index": _flip_index,
    "flip_journal": _flip_journal,
    "flip_checkpoint": _flip_checkpoint,
    "pause_topic": _pause_topic,
    "pause_channel": _pause_channel,
    "create_channel": _create_channel,
    "delete_channel": _delete_channel,
    "delete_topic": _delete_topic,
    "empty_topic": _empty_topic,
    "empty_channel": _empty_channel,
    "seek": _seek,
    "peek": _peek,
}
