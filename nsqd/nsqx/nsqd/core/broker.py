"""
The broker: all topics of a node, their files, and what happens when.

The edge calls `flush` at the end of a turn of the event loop in which something was published; the
`Clockwork` calls `tick`, `upkeep` and `sync`. Everything else comes from sessions and the HTTP API.
Nothing here waits, and nothing is looked at in vain: what is due is on the `Agenda`, and topics
that may have something for the upkeep are touched.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from nsqx.nsqd.core.acknowledgements import Acknowledgements
from nsqx.nsqd.core.agenda import Agenda
from nsqx.nsqd.core.channel import Channel, ChannelSettings
from nsqx.nsqd.core.clock import Clock
from nsqx.nsqd.core.consumer import Consumer, Place
from nsqx.nsqd.core.draining import Draining
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.group_commit import GroupCommit
from nsqx.nsqd.core.limits import CORE_LIMITS, CoreLimits
from nsqx.nsqd.core.metadata import TopicEntry
from nsqx.nsqd.core.node_files import NodeFiles, TopicNames
from nsqx.nsqd.core.settings import Settings
from nsqx.nsqd.core.time_counts import TimeCounts
from nsqx.nsqd.core.timers import Timers
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.core.topic_files import TopicFiles, topic_folder
from nsqx.nsqd.core.topic_loader import TopicLoader
from nsqx.nsqd.log.block import BlockMemory
from nsqx.nsqd.log.channel_store import ChannelStore
from nsqx.nsqd.log.commit_files import replay
from nsqx.nsqd.log.log import Log, LogEvents, Retention
from nsqx.nsqd.log.memory_log import MemoryLog
from nsqx.nsqd.log.recovery import add_damage
from nsqx.nsqd.log.replacement import replace_files, write_synced
from nsqx.nsqd.log.segment import Damage
from nsqx.nsqd.log.storage import Storage
from nsqx.nsqd.log.topic_log import TopicLog
from nsqx.protocol.errors import NsqxError
from nsqx.protocol.names import is_ephemeral, is_valid_name

__all__ = [
    "Broker",
    "BrokerEvents",
    "BrokerSettings",
    "ChannelNotFoundError",
    "DrainingError",
    "TooManyError",
    "TopicNotFoundError",
]

_PROBE_BYTES = 4096

# A log that has more than one segment is looked at again even if nothing happens: retention ends.
_REVISIT_NS = 10 * 10**9
# And all logs and channels after something failed.
_ALL_AGAIN_NS = 10**9


class TopicNotFoundError(NsqxError, LookupError):
    """There is no such topic."""


class ChannelNotFoundError(NsqxError, LookupError):
    """The topic has no such channel."""


class TooManyError(NsqxError, OSError):
    """There is no room for another topic or channel: the node has as many as it may have."""


class DrainingError(NsqxError, OSError):
    """The node is being emptied: it takes no messages."""


@dataclass(slots=True)
class BrokerSettings:
    """Options of nsqd that the core needs, in its units."""

    version: str
    mem_queue_size: int = 10_000
    segment_bytes_max: int = 100 * 1024 * 1024
    memory_bytes_max: int = 8 * 1024 * 1024  # of messages kept in memory, all topics together
    sync_every: int = 2500
    max_msg_timeout_ns: int = 900 * 10**9
    max_channel_consumers: int = 0
    max_topics: int = 0  # 0: no limit
    max_channels: int = 0  # of all topics together
    durability: Durability = Durability.OS
    retain_time_ns: int = 0
    retain_bytes: int = 0
    place: Place | None = None  # with topology-aware consumption only
    limits: CoreLimits = CORE_LIMITS


class BrokerEvents(Protocol):
    """What the broker tells the edge."""

    def wake(self) -> None:
        """Have `Broker.flush` called soon."""

    def sooner(self) -> None:
        """There is something to do earlier than `Broker.next_ns` has said."""

    def drain_changed(self) -> None:
        """The node is being emptied from now on, or no longer."""

    def topic_created(self, topic: Topic) -> None: ...

    def topic_deleted(self, topic: Topic) -> None: ...

    def channel_created(self, topic: Topic, channel: Channel) -> None: ...

    def channel_deleted(self, topic: Topic, channel: Channel) -> None: ...

    def warn(self, text: str) -> None:
        """Something that an operator should know."""

    def failed(self, what: str, exception: Exception) -> None:
        """A fault of ours, an exception nobody expects: what it hit was told, all else goes on."""


class Broker:
    """Topics by name, and everything that is done to them."""

    def __init__(
        self,
        storage: Storage,
        settings: BrokerSettings,
        events: BrokerEvents,
        *,
        clock: Clock,
        random_bits: Callable[[int], int],
    ) -> None:
        self.settings = settings
        self._limits = settings.limits
        self.topics: dict[str, Topic] = {}
        # Of the last write that failed; None again when it takes as much, or has room for it.
        self.write_error: OSError | None = None
        self._needed_bytes = 0  # of what was refused since then, the most
        self.damages: list[Damage] = []
        self.commit_times = TimeCounts()  # of all topics
        self.failure_count = 0  # exceptions that nobody expects
        self.is_closing = False

        self.draining = Draining(storage)

        self._storage = storage
        self._events = events
        self.clock = clock
        self._random_bits = random_bits
        self._memory = BlockMemory(settings.memory_bytes_max)
        self._agenda: Agenda[Channel] = Agenda(clock)
        self._agenda.on_sooner = events.sooner
        self._channel_settings = ChannelSettings(
            settings.max_msg_timeout_ns,
            settings.mem_queue_size,
            self._random_percent,
            self._agenda,
            settings.limits,
            settings.place,
        )
        self._files: dict[str, TopicFiles] = {}
        self._acknowledgements = Acknowledgements(self._failed)
        self._dirty: list[Topic] = []
        self._unwritten: dict[ChannelStore, Channel] = {}  # of the last tick, still to be written
        self._written: dict[ChannelStore, Channel] = {}  # which may want a checkpoint
        self._touched: dict[Topic, None] = {}  # whose log may let go of something
        self._revisits: Timers[Topic] = Timers()  # when they are touched
        self._unsynced: dict[Topic, None] = {}
        self._stalled: dict[Topic, None] = {}  # which could not pass on what they have
        self._stale: dict[Topic, None] = {}  # whose state could not be saved
        self._is_loading = False
        self._is_probing = False
        self._has_failed = False  # a write or a read, since all were looked at for that
        self._all_again_ns = 0  # not before this are they again
        self._node_files = NodeFiles(
            storage,
            settings.version,
            self._names,
            random_bits=random_bits,
            wrote=self._wrote,
            warn=events.warn,
        )
        self._group = GroupCommit(
            storage,
            clock,
            self._acknowledgements,
            self._failed,
            settings.limits,
            generation=random_bits(62),
            mark_folder=self._node_files.mark_commits,
            warn=events.warn,
        )

    @property
    def health(self) -> str:
        """Return ``OK``, or ``NOK - reason`` after a write that failed."""
        if self.write_error is None:
            return f"NOK - {self._storage.weakness}" if self._is_weakened else "OK"
        return f"NOK - {self.write_error.strerror or self.write_error}"

    @property
    def _is_weakened(self) -> bool:
        """Return whether somebody was promised what the disk can't keep."""
        return bool(self._storage.weakness) and any(
            topic.durability is Durability.FSYNC for topic in self.topics.values()
        )

    # Start and end

    def load(self) -> None:
        """
        Take up what the data folder holds.

        Raises:
            DataFormatError: the folder is of a newer format. It is left as it is.
            MetadataError: ``nsqd.dat`` is damaged. It is left as it is.
            OSError: the folder can not be read or written.
        """
        self._is_loading = True
        entries = self._node_files.load()
        self.draining.load()
        self._replay_commits()
        for entry in entries:
            self._load_topic(entry)
        self._is_loading = False
        self._node_files.save()

    def _replay_commits(self) -> None:
        """Put in its place what was safe in commit files only, before any log is opened."""
        written = replay(self._storage)
        if written:
            self._events.warn(
                f"put {written} bytes of messages in their place that were safe in commit files"
            )
        self._node_files.mark_commits(False)

    def _load_topic(self, entry: TopicEntry) -> None:
        topic = self.get_topic(entry.name)
        files = self._files[topic.name]
        loader = TopicLoader(
            topic,
            files,
            self._channel_settings,
            warn=self._events.warn,
            damaged=partial(self._damaged, topic),
        )
        loader.load(entry)
        self._apply(topic, files.settings)
        for name, channel in topic.channels.items():
            self._apply_to_channel(channel, files.channel_settings.get(name, {}))
        self._touched[topic] = self._unsynced[topic] = None
        self._may_want_checkpoints(topic)

    def save_topic_state(self, topic: Topic) -> None:
        """Keep what can't be told from the log. OSError if the disk refuses."""
        self._files[topic.name].save_state()

    def _save_stale_state(self, topic: Topic) -> None:
        """Write a topic's state if it has changed; again later if the disk refuses."""
        if topic.is_state_stale:
            self._try_write(self._files[topic.name].save_state)
        if topic.is_state_stale:
            self._stale[topic] = None
            self._events.sooner()

    def _names(self) -> list[TopicNames]:
        """Return all topics and channels that are not ephemeral, and what is paused."""
        return [
            (
                topic.name,
                topic.is_paused,
                [
                    (channel.name, channel.is_paused)
                    for channel in topic.channels.values()
                    if not channel.is_ephemeral
                ],
            )
            for topic in self.topics.values()
            if not topic.is_ephemeral
        ]

    def close(self) -> None:
        """
        Write down where everything stands. Nothing is published or delivered any more.

        Raises:
            OSError: the disk refused; the next start recovers as from a crash.
        """
        for topic in self.topics.values():
            self.commit(topic, is_whole=True)
        self.flush()
        for topic in self.topics.values():
            self._flush_journals(topic)  # of use even if what follows fails
        self.is_closing = True
        self._group.end()
        durable = [topic for topic in self.topics.values() if not topic.is_ephemeral]
        contents = self._node_files.close()
        for topic in self.topics.values():
            topic.is_closing = True
            topic.sync_now()
        for topic in durable:
            files = self._files[topic.name]
            contents.update([files.state()])
            for name, store in files.stores.items():
                contents.update(store.last_checkpoint(files.snapshot(topic.channels[name])))
        replace_files(self._storage, contents)
        for topic in durable:
            for store in self._files[topic.name].stores.values():
                store.close()
            topic.close()
        self._group.close()

    # Draining

    def drain(self) -> None:
        """
        Take no messages from now on, also after a restart; those that are here are delivered.

        Where the disk refuses to note it, it holds for this process.
        """
        if self.draining.is_on:
            return
        for topic in self.topics.values():
            self.commit(topic, is_whole=True)
        self._try_write(partial(self.draining.begin, self.clock.wall()))
        self._drain_changed()

    def end_drain(self) -> None:
        """
        Take messages again.

        Raises:
            OSError: the disk refused, and a restart would go on with it; nothing has changed.
        """
        if self.draining.is_on:
            self.draining.end()
            self._drain_changed()

    def _drain_changed(self) -> None:
        for topic in self.topics.values():
            topic.is_draining = self.draining.is_on
        self._events.drain_changed()

    # Topics and channels

    def topic_to_publish(self, name: str) -> Topic:
        """
        Return a topic; a new one if there is none.

        Raises:
            DrainingError: there is none, and none is made any more. It is an OSError.
            OSError: as `get_topic`.
        """
        if self.draining.is_on and name not in self.topics:
            raise DrainingError("draining")
        return self.get_topic(name)

    def get_topic(self, name: str) -> Topic:
        """
        Return a topic; a new one if there is none.

        Raises:
            TooManyError: there are as many as there may be. It is an OSError.
            OSError: the disk refused to begin one.
        """
        topic = self.topics.get(name)
        if topic is not None:
            return topic
        limit = self.settings.max_topics
        # What is there at the start stays, whatever the limit is by now.
        if limit and len(self.topics) >= limit and not self._is_loading:
            raise TooManyError(f"too many topics, limit {limit}")
        return self._create_topic(name)

    def topic(self, name: str) -> Topic:
        """Return a topic that exists; TopicNotFoundError otherwise."""
        try:
            return self.topics[name]
        except KeyError:
            raise TopicNotFoundError(name) from None

    def _create_topic(self, name: str) -> Topic:
        assert is_valid_name(name)
        log: Log
        if is_ephemeral(name):
            log = MemoryLog(self._new_id_base, self._limits.log)
        else:
            log = TopicLog(
                self._storage,
                topic_folder(name),
                self._memory,
                self._new_id_base,
                segment_bytes_max=self.settings.segment_bytes_max,
                limits=self._limits.log,
            )
        topic = Topic(
            name,
            log,
            self._storage,
            self._acknowledgements,
            self._failed,
            self._group,
            durability=self.settings.durability,
            mem_queue_size=self.settings.mem_queue_size,
            clock=self.clock,
            limits=self._limits,
        )
        topic.sync_every = self.settings.sync_every
        topic.is_draining = self.draining.is_on
        topic.on_error = partial(self._wrote_to, topic)
        topic.on_stalled = partial(self._stalls, topic)
        topic.commit_times = self.commit_times
        node_files = self._node_files
        files = TopicFiles(
            self._storage, topic, node_files.trash, node_files.written, self._limits.log
        )
        self._files[name] = files
        self._watch(topic)
        self.topics[name] = topic
        self._apply(topic, {})
        if not topic.is_ephemeral:
            self._node_files.made(files.folder)
        if not self._is_loading:
            self._events.topic_created(topic)
        return topic

    def _watch(self, topic: Topic) -> None:
        log = topic.log
        for damage in log.damages:
            self._damaged(topic, damage)
        if log.recovered_cut_bytes:
            self._events.warn(
                f"topic {topic.name}: cut {log.recovered_cut_bytes} bytes that a crash left "
                f"unfinished after message {log.end}"
            )
        log.events = LogEvents(
            lambda: self._readable(topic),
            lambda damage: self._damaged(topic, damage),
            self._log_failed,
            self._files[topic.name].begin_sync,
            self._node_files.trash.take,
        )

    def get_channel(self, topic: Topic, name: str) -> Channel:
        """
        Return a channel of a topic; a new one if there is none.

        Raises:
            TooManyError: there are as many as there may be. It is an OSError.
            OSError: the disk refused to begin one.
        """
        channel = topic.channels.get(name)
        if channel is not None:
            return channel
        limit = self.settings.max_channels
        if limit and sum(len(each.channels) for each in self.topics.values()) >= limit:
            raise TooManyError(f"too many channels, limit {limit}")
        return self._create_channel(topic, name)

    def channel(self, topic: Topic, name: str) -> Channel:
        """Return a channel that exists; ChannelNotFoundError otherwise."""
        try:
            return topic.channels[name]
        except KeyError:
            raise ChannelNotFoundError(name) from None

    def _create_channel(self, topic: Topic, name: str) -> Channel:
        assert is_valid_name(name)
        store = None
        if not topic.is_ephemeral and not is_ephemeral(name):
            store = self._files[topic.name].begin_store(name)
            self._node_files.made(store.path)
        channel = Channel(name, topic, self._channel_settings, store)
        topic.add_channel(channel, self.clock.monotonic())
        self._events.channel_created(topic, channel)
        return channel

    def delete_topic(self, topic: Topic) -> None:
        """
        Remove a topic with its channels and messages; their clients are cut off.

        Raises:
            OSError: the disk refused; the topic is still there, or a loss of power may bring it
                back.
        """
        self.commit(topic, is_whole=True)
        if not topic.is_ephemeral:
            self._node_files.delete_topic(topic.name)
        topic.is_closing = True
        for channel in list(topic.channels.values()):
            self._drop_channel(topic, channel)
        del self.topics[topic.name]
        files = self._files.pop(topic.name)
        for store in files.stores.values():
            store.abandon()
        self._node_files.forget(files)
        self._group.forget(topic)
        topic.log.abandon()
        self._events.topic_deleted(topic)
        if not topic.is_ephemeral:
            self._node_files.sync_deletion()

    def delete_channel(self, topic: Topic, channel: Channel) -> None:
        """
        Remove a channel; its clients are cut off.

        Raises:
            OSError: the disk refused; the channel is still there, or a loss of power may bring it
                back.
        """
        files = self._files[topic.name]
        store = files.bury(channel.name)
        had_settings = files.channel_settings.pop(channel.name, None) is not None
        self._drop_channel(topic, channel)
        if store is not None:
            self._node_files.changed()
        if not topic.channels and topic.is_ephemeral:
            self.delete_topic(topic)
            return
        if not topic.channels or channel.is_paused or had_settings:
            topic.is_state_stale = True
            self._save_stale_state(topic)
        if store is not None:
            files.remove(channel.name, store)

    def _drop_channel(self, topic: Topic, channel: Channel) -> None:
        del topic.channels[channel.name]
        for consumer in list(channel.consumers):
            consumer.sink.close()
        self._agenda.forget(channel)
        self._touched[topic] = None
        if channel.backlog.store is not None:
            self._unwritten.pop(channel.backlog.store, None)
            self._written.pop(channel.backlog.store, None)
        self._events.channel_deleted(topic, channel)

    def leave(self, topic: Topic, channel: Channel, consumer: Consumer) -> None:
        """A client is gone; an ephemeral channel goes with its last one."""
        channel.leave(consumer)
        is_current = topic.channels.get(channel.name) is channel
        if is_current and channel.is_ephemeral and not channel.consumers and not self.is_closing:
            self.delete_channel(topic, channel)

    def pause_topic(self, topic: Topic, is_paused: bool) -> None:
        """Keep messages at the topic, or pass them on again."""
        topic.pause(is_paused, self.clock.monotonic())
        self._save_pauses(topic)

    def pause_channel(self, topic: Topic, channel: Channel, is_paused: bool) -> None:
        """Stop or resume the delivery of a channel."""
        channel.pause(is_paused)
        channel.dispatch(self.clock.monotonic())
        self._save_pauses(topic)

    def _save_pauses(self, topic: Topic) -> None:
        topic.is_state_stale = True
        self._save_stale_state(topic)
        if not topic.is_ephemeral:
            self._node_files.changed()

    def empty_topic(self, topic: Topic) -> None:
        """Drop what waits at a topic."""
        self.flush()
        topic.empty()
        self._touched[topic] = None
        self._save_stale_state(topic)

    def empty_channel(self, topic: Topic, channel: Channel) -> None:
        """Drop what waits in a channel, is in flight or deferred."""
        channel.empty()
        self._flush_journal(topic, channel.name)

    def settings_of(self, topic: Topic) -> Settings:
        """Return what was set for a topic."""
        return self._files[topic.name].settings

    def configure(self, topic: Topic, settings: Settings) -> None:
        """
        Set what holds for a topic from now on, and after a restart.

        Raises:
            OSError: the disk refused; nothing has changed.
        """
        assert not topic.is_ephemeral
        before = self._files[topic.name].settings
        self._files[topic.name].settings = settings
        try:
            self.save_topic_state(topic)
        except OSError:
            self._files[topic.name].settings = before
            raise
        # What is gathered was published under the old ones.
        self.commit(topic, is_whole=True)
        self._apply(topic, settings)

    def _apply(self, topic: Topic, settings: Settings) -> None:
        self._files[topic.name].settings = settings
        self._touched[topic] = None
        if topic.is_ephemeral:
            return
        node = self.settings
        topic.log.retention = Retention(
            int(settings.get("retain_time_ns", node.retain_time_ns)),
            int(settings.get("retain_bytes", node.retain_bytes)),
        )
        topic.durability = Durability(settings.get("durability", node.durability.value))

    def channel_settings(self, topic: Topic, channel: Channel) -> Settings:
        """Return what was set for a channel."""
        return self._files[topic.name].channel_settings.get(channel.name, {})

    def configure_channel(self, topic: Topic, channel: Channel, settings: Settings) -> None:
        """
        Set what holds for a channel from now on, and after a restart.

        Raises:
            OSError: the disk refused; nothing has changed.
        """
        assert not topic.is_ephemeral
        assert not channel.is_ephemeral
        known = self._files[topic.name].channel_settings
        before = known.get(channel.name, {})
        known[channel.name] = settings
        try:
            self.save_topic_state(topic)
        except OSError:
            known[channel.name] = before
            raise
        self._apply_to_channel(channel, settings)

    def _apply_to_channel(self, channel: Channel, settings: Settings) -> None:
        timeout_ns = int(settings.get("msg_timeout_ns", 0))
        channel.msg_timeout_ns = min(timeout_ns, self.settings.max_msg_timeout_ns)

    def seek(self, topic: Topic, channel: Channel, sequence: int) -> None:
        """
        Go on at a message of the log: deliver it and what follows, again or at last.

        Raises:
            OSError: the disk failed; nothing has changed.
        """
        sequence = min(max(sequence, topic.log.first), topic.passed)
        deferred = list(topic.deferred_in(sequence, is_strict=True))
        channel.move_to(sequence)
        channel.backlog.defer(deferred)
        self._flush_journal(topic, channel.name)
        channel.dispatch(self.clock.monotonic())

    # Time

    def mark(self, topic: Topic) -> None:
        """Something was gathered at a topic: have it committed at the end of this turn."""
        self._dirty.append(topic)
        self._touched[topic] = self._unsynced[topic] = None
        if len(self._dirty) == 1:
            self._events.wake()

    def commit(self, topic: Topic, *, is_whole: bool = False) -> None:
        """
        Commit what was published to a topic without waiting for the end of this turn.

        A long batch goes on in the next turns, unless it ``is_whole``.
        """
        topic.commit(self.clock.monotonic(), is_whole=is_whole)
        self._group.begin()
        self._acknowledgements.give()

    def flush(self) -> None:
        """Commit what was published in this turn of the event loop."""
        dirty, self._dirty = self._dirty, []
        now_ns = self.clock.monotonic()
        for topic in dirty:
            topic.commit(now_ns)
            if topic.being_written is not None:
                self.mark(topic)
        self._group.begin()
        self._acknowledgements.give()
        if self._unwritten:
            self._write_journals()

    @property
    def next_ns(self) -> int:
        """Return when `tick` has something to do, in monotonic time."""
        if self._stalled or self._stale:
            return 0
        return self._agenda.next_ns

    def tick(self) -> bool:
        """
        Time out, take up what is due, write journals. Costs what is due.

        Returns:
            Whether there is more to do at once.
        """
        now_ns, wall_ns = self.clock.monotonic(), self.clock.wall()
        self._try_again(now_ns)
        is_all = self._take_up(now_ns, wall_ns)
        self._take_changed()
        self._write_journals()
        return not is_all

    def _try_again(self, now_ns: int) -> None:
        """Try what failed before."""
        stalled, self._stalled = self._stalled, {}
        for topic in stalled:
            topic.resume(now_ns)
        stale, self._stale = self._stale, {}
        for topic in stale:
            if self._is_there(topic):
                self._save_stale_state(topic)

    def _take_up(self, now_ns: int, wall_ns: int) -> bool:
        """Have channels take up what timed out and what is due; return whether that is all."""
        agenda = self._agenda
        due = dict.fromkeys(agenda.timers.take(now_ns, self._limits.channels_per_step))
        due |= dict.fromkeys(agenda.due.take(wall_ns, self._limits.channels_per_step))
        left = self._limits.messages_per_step
        for channel in due:
            if left > 0:
                left -= self._tick_channel(channel, now_ns, wall_ns, left)
            else:
                channel.look_at(now_ns)
        return agenda.timers.next_ns > now_ns and agenda.due.next_ns > wall_ns

    def _tick_channel(self, channel: Channel, now_ns: int, wall_ns: int, limit: int) -> int:
        try:
            return channel.tick(now_ns, wall_ns, limit)
        except Exception as error:  # a fault of ours here costs no other channel anything
            self._failed(f"deliver in channel {channel.topic_name}/{channel.name}", error)
            return 0

    def _take_changed(self) -> None:
        """Have journals written, and the upkeep look at the topics, where channels have changed."""
        for channel in self._agenda.take_changed():
            topic = self.topics.get(channel.topic_name)
            if topic is None or topic.channels.get(channel.name) is not channel:
                continue
            self._touched[topic] = None
            if channel.backlog.store is not None:
                self._unwritten[channel.backlog.store] = channel

    def sync(self) -> None:
        """Bound what a loss of power takes. To be called each ``sync_timeout``."""
        self._node_files.sync_journals()
        for topic in list(self._unsynced):
            if self._is_there(topic):
                topic.sync_in_background()
            if not self._is_there(topic) or not topic.has_unsynced:
                del self._unsynced[topic]

    def upkeep(self) -> bool:
        """
        Let go of finished segments, write checkpoints. To be called once a second.

        Returns:
            Whether there is more to do at once.
        """
        self._probe_disk()
        self._node_files.upkeep()
        now_ns, wall_ns = self.clock.monotonic(), self.clock.wall()
        for topic in self._topics_to_revisit(now_ns):
            self._touched[topic] = None
        is_more = len(self._touched) > self._limits.topics_per_step
        for topic in list(islice(self._touched, self._limits.topics_per_step)):
            del self._touched[topic]
            if self._is_there(topic):
                self._look_after(topic, now_ns, wall_ns)
        return self._write_checkpoints() or is_more

    def _look_after(self, topic: Topic, now_ns: int, wall_ns: int) -> None:
        may_release = topic.may_release
        if may_release:
            # Before segments go: what is not noted as finished would be missing after a crash.
            # When the disk is full they go all the same, for that is what makes room.
            self._flush_journals(topic)
        self._try_write(self._files[topic.name].save_passed)
        if may_release:
            topic.release(wall_ns)
        if topic.log.oldest_sealed() is not None:
            self._revisits.set(topic, now_ns + _REVISIT_NS)

    def _write_checkpoints(self) -> bool:
        """Return whether there are more to write."""
        is_more = len(self._written) > self._limits.stores_per_step
        left = self._limits.checkpoints_per_step
        for store, channel in list(islice(self._written.items(), self._limits.stores_per_step)):
            if not left:
                return True
            del self._written[store]
            if store.wants_checkpoint:
                left -= 1
                self._write_checkpoint(store, channel)
        return is_more

    def _write_checkpoint(self, store: ChannelStore, channel: Channel) -> None:
        # One that failed is tried again when all is, see `_topics_to_revisit`.
        snapshot = self._files[channel.topic_name].snapshot(channel)
        self._try_write(lambda: store.checkpoint(snapshot, self._wrote))

    def _topics_to_revisit(self, now_ns: int) -> list[Topic]:
        topics = self._revisits.take(now_ns)
        # Whatever failed is to be tried again, but not at each step: a disk that goes on refusing
        # would never let the last of them come.
        if self._has_failed and now_ns >= self._all_again_ns:
            self._has_failed = False
            self._all_again_ns = now_ns + _ALL_AGAIN_NS
            topics = list(self.topics.values())
            for topic in topics:
                self._may_want_checkpoints(topic)
        return topics

    def _may_want_checkpoints(self, topic: Topic) -> None:
        for channel in topic.channels.values():
            if channel.backlog.store is not None:
                self._written[channel.backlog.store] = channel

    def _is_there(self, topic: Topic) -> bool:
        """Return whether a topic was not deleted."""
        return self.topics.get(topic.name) is topic

    # Files

    def _write_journals(self) -> None:
        """Write as many journals as one step may; the next turns of the loop write the others."""
        for store, channel in list(islice(self._unwritten.items(), self._limits.journals_per_step)):
            del self._unwritten[store]
            self._try_write(store.flush)
            if store.journal.is_dirty:
                self._agenda.change(channel)
            self._written[store] = channel
        if self._unwritten:
            self._events.wake()

    def _flush_journals(self, topic: Topic) -> None:
        for store in self._files[topic.name].stores.values():
            if store.journal.is_dirty:
                self._try_write(store.flush)

    def _flush_journal(self, topic: Topic, channel_name: str) -> None:
        store = self._files[topic.name].stores.get(channel_name)
        if store is not None:
            self._try_write(store.flush)

    def _try_write(self, write: Callable[[], None]) -> None:
        """Write what will be tried again if the disk refuses now."""
        try:
            write()
        except OSError as error:
            self._wrote(error)

    def _wrote(self, error: OSError | None) -> None:
        if error is not None and self.write_error is None:
            self._events.warn(f"the disk refused a write - {error}")
        if error is not None:
            self._has_failed = True
            self.write_error = error

    def _recovered(self) -> None:
        """The disk takes as much again as it refused."""
        self.write_error = None
        self._needed_bytes = 0

    def _failed(self, what: str, exception: Exception) -> None:
        self.failure_count += 1
        self._events.failed(what, exception)

    def _wrote_to(self, topic: Topic, error: OSError | None) -> None:
        if error is not None:
            self._needed_bytes = max(self._needed_bytes, topic.refused_bytes)
            self._wrote(error)
        elif self.write_error is not None and topic.written_bytes >= self._needed_bytes:
            self._recovered()
        if topic.is_state_stale:
            self._stale[topic] = None
            self._events.sooner()

    def _log_failed(self, what: str, error: OSError) -> None:
        self._events.warn(f"failed to {what} - {error}")
        self._has_failed = True

    def _stalls(self, topic: Topic) -> None:
        self._stalled[topic] = None
        self._events.sooner()

    def _readable(self, topic: Topic) -> None:
        """Go on where a block was waited for."""
        self._touched[topic] = None
        topic.readable()

    def _probe_disk(self) -> None:
        """
        Find out whether a disk that refused a write takes one like that again.

        Producers that are told NOK stay away, so none of theirs would show it; and where some
        bytes still fit, so that small ones are taken, it is full all the same.
        """
        if self.write_error is None or self._is_probing:
            return
        self._is_probing = True

        probe = self._node_files.trash.new_path()
        needed_bytes = self._needed_bytes + _PROBE_BYTES

        def write() -> None:
            free_bytes = self._storage.free_bytes
            if free_bytes is not None and free_bytes < needed_bytes:
                raise OSError(errno.ENOSPC, "No space left on device")
            write_synced(self._storage, probe, bytes(_PROBE_BYTES))
            self._storage.remove(probe)

        def written(_: None, error: BaseException | None) -> None:
            self._is_probing = False
            if error is not None and not isinstance(error, OSError):
                raise error
            self._wrote(error)
            if error is None and self._needed_bytes + _PROBE_BYTES <= needed_bytes:
                self._recovered()

        self._storage.submit(write, written)

    def _damaged(self, topic: Topic, damage: Damage) -> None:
        add_damage(self.damages, damage)
        topic.damaged(damage.first, damage.end)
        self._events.warn(
            f"topic {topic.name}: lost messages {damage.first} to {damage.end - 1} "
            f"({damage.end - damage.first} in all), {damage.reason} in {damage.path}"
        )

    def _new_id_base(self) -> int:
        # 62 bits: a log that gave out 2^60 messages still has ids of 16 digits.
        return self._random_bits(62)

    def _random_percent(self) -> int:
        while (number := self._random_bits(7)) >= 100:
            pass
        return number
