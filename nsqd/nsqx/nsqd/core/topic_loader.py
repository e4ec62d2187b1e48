"""
Takes up a topic where the process before this one left it.

The log has recovered itself by then (`log.recovery`), so what counts is what the channels remember
of it: which messages they finished, hold back and defer. Each may know less or more than the log
has after a crash, a loss of power or damage; what is in doubt is delivered again.
"""

from collections.abc import Callable

from nsqx.nsqd.core.channel import Channel, ChannelSettings
from nsqx.nsqd.core.metadata import ChannelEntry, TopicEntry
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.core.topic_files import TopicFiles
from nsqx.nsqd.log.channel_store import ChannelStore, Position
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.segment import Damage
from nsqx.protocol.names import is_ephemeral, is_valid_name

__all__ = ["TopicLoader"]


class TopicLoader:
    """Restores one topic, whose log is open, and its channels."""

    def __init__(
        self,
        topic: Topic,
        files: TopicFiles,
        channel_settings: ChannelSettings,
        *,
        warn: Callable[[str], None],
        damaged: Callable[[Damage], None],
    ) -> None:
        self._topic = topic
        self._files = files
        self._channel_settings = channel_settings
        self._warn = warn
        self._damaged = damaged

    def load(self, entry: TopicEntry) -> None:
        """
        Restore what the topic's folder knows, and ``nsqd.dat`` of it.

        Raises:
            OSError: it can't be read.
        """
        topic = self._topic
        for start, end, due_ns in topic.log.deferred_batches(topic.log.first):
            if due_ns:  # what is not known to be deferred is the cursor's
                topic.skips.add(start, end)
        passed = self._files.load_state(entry, self._warn)
        topic.is_paused = entry.is_paused
        found = self._positions(entry)
        ends = (position.end for _, _, position in found)
        topic.begin_at(max([passed, topic.emptied.end, *ends]))
        if topic.is_paused or not found:
            # A cursor tells of a pause that had ended when `nsqd.dat` could not be written.
            known = (max(position.passed, position.cursor) for _, _, position in found)
            topic.passed = max([passed, *known, topic.log.first])
        for channel_entry, store, position in found:
            channel = self._restore_channel(channel_entry.name, store, position)
            channel.is_paused = channel_entry.is_paused
        topic.settle()

    def _positions(self, entry: TopicEntry) -> list[tuple[ChannelEntry, ChannelStore, Position]]:
        topic, journals = self._topic, self._files.journals()
        found = []
        for channel_entry in entry.channels:
            name = channel_entry.name
            if not is_valid_name(name):
                self._warn(f"skipping creation of invalid channel {name}")
            elif not is_ephemeral(name):
                store = self._files.stores[name] = self._files.open_store(name)
                position = store.load(topic.log.first, topic.skips, journals.pop(name, ()))
                store.on_written()  # maybe just before a kill
                found.append((channel_entry, store, position))
        self._files.sweep(journals)
        return found

    def _restore_channel(self, name: str, store: ChannelStore, position: Position) -> Channel:
        topic = self._topic
        for problem in position.problems:
            self._warn(f"channel {topic.name}/{name}: {problem}")
        channel = Channel(name, topic, self._channel_settings, store)
        stragglers = self._load_stragglers(name, store, position)
        aside = position.aside()
        deferred = [
            message
            for message in topic.deferred_in(position.passed)
            if message[0] not in position.finished and message[0] not in aside
        ]
        cursor = max(position.cursor, topic.log.first)

        def is_aside(sequence: int) -> bool:
            # What was published deferred is aside beyond the cursor. If a damaged index forgot
            # that, the cursor comes to it.
            is_new = sequence >= cursor and sequence not in topic.skips
            return not is_new and _is_there(topic, sequence, stragglers)

        channel.backlog.restore(
            cursor,
            [message for message in position.waiting if is_aside(message[0])],
            [message for message in position.deferred if is_aside(message[0])],
            stragglers,
        )
        channel.backlog.defer(deferred)
        topic.channels[name] = channel
        return channel

    def _load_stragglers(
        self, name: str, store: ChannelStore, position: Position
    ) -> dict[int, bytes]:
        topic = self._topic
        has_some = self._files.has_stragglers(name)
        copies = store.load_stragglers() if has_some else {}
        if copies is None:
            self._warn(f"topic {topic.name}: a file of stragglers is damaged")
            copies = {}
        aside = position.aside()
        if position.problems:  # what was noted of them may be gone: rather once more than never
            again = [s for s in copies if s not in aside and s not in position.finished]
            position.waiting += [(sequence, 1) for sequence in again]
            aside.update(again)
        lost = Ranges((s, s + 1) for s in aside if s < topic.log.first and s not in copies)
        for start, end in lost:
            self._damaged(Damage(start, end, self._files.folder, "missing stragglers"))
        return {sequence: frame for sequence, frame in copies.items() if sequence in aside}


def _is_there(topic: Topic, sequence: int, stragglers: dict[int, bytes]) -> bool:
    if sequence in stragglers:
        return True
    is_gone = sequence in topic.emptied or topic.is_lost(sequence)
    return sequence >= topic.log.first and not is_gone
