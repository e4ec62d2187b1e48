"""
Bits that flip on a node's disk, and what they may cost.

A flipped bit in a segment may cost the batch it is in, one in an index the batch of its record. In
a journal or checkpoint it may bring finished messages back, and never loses one.
"""

import random
from itertools import pairwise

from nsqx.nsqd.log.records import RECORD_BYTES, decode_commit
from nsqx.protocol.messages import frame_offsets, id_of
from tests.simulation.auditor import Auditor
from tests.simulation.node import Node
from tests.simulation.records import TopicRecord

__all__ = ["flip_channel_file", "flip_index", "flip_log"]

_TOPIC_SUFFIX = ".topic/"
BYTE_PART = 0.3  # of flips that change up to a whole byte instead of one bit


def flip_log(auditor: Auditor, node: Node, value: int) -> None:
    """Flip a bit of the frames of a topic."""
    chance = random.Random(value)
    path = _choose(node, ".log", chance)
    if path is None:
        return
    content = _undamaged(node, path)
    offset = chance.randrange(len(content))
    record = _record_of(auditor, node, path)
    message_id = _id_at(content, offset)
    if record is not None and message_id is not None:
        _allow(auditor, record, message_id)
    _flip(node, path, offset, chance)


def flip_index(auditor: Auditor, node: Node, value: int) -> None:
    """Flip a bit of a segment's index."""
    chance = random.Random(value)
    path = _choose(node, ".idx", chance)
    if path is None:
        return
    content = _undamaged(node, path)
    offset = chance.randrange(len(content))
    record = _record_of(auditor, node, path)
    if record is not None:
        start = offset // RECORD_BYTES * RECORD_BYTES
        commit = decode_commit(content[start : start + RECORD_BYTES]) if start else None
        if commit is not None:
            record.damaged.update(range(commit.first, commit.first + commit.messages))
    _flip(node, path, offset, chance)


def flip_channel_file(auditor: Auditor, node: Node, suffix: str, value: int) -> None:
    """Flip a bit of a journal or checkpoint."""
    chance = random.Random(value)
    path = _choose(node, suffix, chance)
    if path is None:
        return
    record = _record_of(auditor, node, path)
    if record is not None:
        name = path.rpartition("/")[2].split(".channel")[0]
        channel = record.channels.get(name)
        if channel is not None:
            channel.is_damaged = True
    _flip(node, path, chance.randrange(len(node.disk.content(path))), chance)


def _choose(node: Node, suffix: str, chance: random.Random) -> str | None:
    paths = [path for path in node.disk.paths(suffix) if node.disk.content(path)]
    return chance.choice(paths) if paths else None


def _undamaged(node: Node, path: str) -> bytes:
    """Return a file as it would be if nothing in it had been flipped."""
    content = node.disk.content(path)[:]
    for (damaged, offset), (before, after) in node.flips.items():
        # Another value means that the file has been written anew since.
        if damaged == path and offset < len(content) and content[offset] == after:
            content[offset] = before
    return bytes(content)


def _id_at(content: bytes, offset: int) -> int | None:
    """
    Return the id of the message that has a byte of a log, None if no whole message has it.

    Besides flipped bits, pages that a loss of power took make bytes unreadable. They were not
    synced, nor was what follows them, so nothing more is allowed to be lost there.
    """
    for start, end in pairwise(frame_offsets(content)):
        if start <= offset < end:
            try:
                return id_of(content, start)
            except ValueError:
                return None
    return None


def _flip(node: Node, path: str, offset: int, chance: random.Random) -> None:
    node.was_damaged = True
    content = node.disk.content(path)
    before = _undamaged(node, path)[offset]
    if chance.random() < BYTE_PART:
        content[offset] ^= chance.randrange(1, 256)
    else:
        node.disk.flip_bit(path, offset, chance.randrange(8))
    node.flips[path, offset] = before, content[offset]
    node.note(f"has byte {offset} of {path} damaged")


def _record_of(auditor: Auditor, node: Node, path: str) -> TopicRecord | None:
    name = path.removeprefix("topics/").partition(_TOPIC_SUFFIX)[0]
    return auditor.topics.get((node.name, name))


def _allow(auditor: Auditor, record: TopicRecord, message_id: int) -> None:
    entry = auditor.entry_of_id(message_id)
    if entry is not None:
        record.damaged.update(range(entry.first, entry.end))
