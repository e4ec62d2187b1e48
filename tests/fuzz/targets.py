"""
One function per parser: it takes any bytes, and raises nothing but what a defect raises.

Each target has examples of what is right, for a fuzzer to begin with. `test_fuzz` feeds them by
hypothesis in `make test`; ``python -m tests.fuzz`` by atheris, guided by coverage.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from nsqx.client.message import Message
from nsqx.client.session import Failed, Session
from nsqx.client.settings import Settings
from nsqx.lookupd.registry import Registry
from nsqx.lookupd.session import Session as LookupSession
from nsqx.nsqd.core.metadata import MetadataError, decode_metadata, encode_metadata
from nsqx.nsqd.http.mpub import BadMultiPublishError, split_binary, split_lines
from nsqx.nsqd.log.block import BlockMemory
from nsqx.nsqd.log.channel_store import ChannelStore, Snapshot
from nsqx.nsqd.log.journal import decode_checkpoint, encode_checkpoint, encode_record, read_records
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.records import Commit, Header, crc32c, encode_commit
from nsqx.nsqd.log.segment import data_path, index_path
from nsqx.nsqd.log.topic_log import TopicLog
from nsqx.nsqd.log.trash import Trash
from nsqx.protocol import commands
from nsqx.protocol.command_parser import CommandParser, Limits
from nsqx.protocol.commands import Identify, LineTooLongError, Publish, Violation
from nsqx.protocol.compression import (
    Decompressor,
    DeflateCompressor,
    DeflateDecompressor,
    SnappyCompressor,
    SnappyDecompressor,
)
from nsqx.protocol.errors import CompressionError, FatalProtocolError, ProtocolError
from nsqx.protocol.frames import FrameParser, encode_error, encode_response
from nsqx.protocol.identify import IdentifyRequest, NegotiationOptions, negotiate
from nsqx.protocol.lookup import (
    MAGIC,
    PING,
    AnswerParser,
    DirectoryInfo,
    LookupLimits,
    PeerInfo,
    decode_directory_info,
    encode_answer,
    encode_identify,
    encode_register,
    encode_unregister,
)
from nsqx.protocol.messages import encode_messages
from tests.support.command_events import command_of
from tests.support.simulated_disk import SimulatedDisk

__all__ = ["TARGETS", "Target"]

FOLDER = "topics/orders.topic"
ID_BASE = 1000
_LIMITS = Limits(max_msg_size=1000, max_body_size=5000)
_FRAMES, _ = encode_messages([b"one", b"two", b"three"], ID_BASE, 5)
_OUTPUT_BYTES_MAX = 1 << 22  # no parser may make more of the few bytes that it gets here


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and bytes that are right for it."""

    feed: Callable[[bytes], None]
    examples: tuple[bytes, ...]


def _in_two_pieces(data: bytes) -> tuple[bytes, bytes]:
    """Cut where the first byte says, so that a fuzzer can choose."""
    if not data:
        return b"", b""
    rest = data[1:]
    cut = data[0] * len(rest) // 255
    return rest[:cut], rest[cut:]


# What clients send


def feed_commands(data: bytes) -> None:
    """Feed the server's parser; what it says must not depend on how the bytes are cut."""
    first, second = _in_two_pieces(data)
    pieces = _commands_of([first, second])
    whole = _commands_of([first + second])
    assert _finals(pieces) == _finals(whole)


def _commands_of(pieces: list[bytes]) -> list[object]:
    parser = CommandParser(_LIMITS)
    found: list[object] = []
    for piece in pieces:
        topic = next((event.topic for event in reversed(found) if type(event) is Publish), "")
        body = parser.lone_publish(piece, topic)
        if body is not None:
            found.append(Publish(topic, body, None))
            continue
        answer = parser.lone_answer(piece)
        if answer is not None:
            found.append(command_of(answer))
            continue
        events = parser.receive_data(piece)
        while events:
            found += events
            events = parser.resume() if isinstance(events[-1], Identify) else []
    found += parser.receive_eof()
    return found


def _finals(found: list[object]) -> list[object]:
    """Return how it ended: runs of FINs and the starts of MPUBs depend on the cut."""
    return [repr(each) for each in found if isinstance(each, Violation | LineTooLongError)]


def feed_identify(data: bytes) -> None:
    """Decode an IDENTIFY and negotiate."""
    try:
        negotiate(IdentifyRequest.decode(data), NegotiationOptions())
    except FatalProtocolError:
        return


def feed_multi_publish(data: bytes) -> None:
    """Split the bodies of the HTTP API."""
    _check_split(partial(split_lines, data, 100))
    _check_split(partial(split_binary, data, 100, 5000))


def _check_split(split: Callable[[], list[bytes]]) -> None:
    try:
        bodies = split()
    except BadMultiPublishError:
        return
    assert all(bodies)


# What brokers send


def feed_frames(data: bytes) -> None:
    """Feed the client's parser, in two pieces and whole."""
    first, second = _in_two_pieces(data)
    parser: FrameParser[object] = FrameParser(frame_bytes_max=10_000)
    pieces = [*parser.receive_data(first), *parser.receive_data(second)]
    other: FrameParser[object] = FrameParser(frame_bytes_max=10_000)
    assert repr(pieces) == repr(other.receive_data(first + second))
    assert (parser.error is None) == (other.error is None)


def feed_client_session(data: bytes) -> None:
    """Feed a client's session, from the answer to IDENTIFY on."""
    session = Session(Settings(hostname="fuzz"), "fuzz:1", _message)
    session.start()
    for piece in _in_two_pieces(data):
        events = session.receive_data(piece)
        if any(isinstance(event, Failed) for event in events):
            return
        session.data_to_send()


def _message(timestamp_ns: int, attempts: int, id: bytes, body: bytes) -> Message:
    return Message(None, timestamp_ns, attempts, id, body)  # type: ignore[arg-type]  # no answers


# Compression


def feed_snappy(data: bytes) -> None:
    """Decompress."""
    _decompress(SnappyDecompressor(), data)


def feed_deflate(data: bytes) -> None:
    """Decompress."""
    _decompress(DeflateDecompressor(), data)


def _decompress(decompressor: Decompressor, data: bytes) -> None:
    size = 0
    try:
        for piece in _in_two_pieces(data):
            size += len(decompressor.decompress(piece))
            while decompressor.pending and size < _OUTPUT_BYTES_MAX:
                size += len(decompressor.decompress(b""))
    except CompressionError:
        return


# Directories


def feed_lookup_requests(data: bytes) -> None:
    """Have a directory execute what comes."""
    registry = Registry()
    session = LookupSession(
        registry,
        remote_address="fuzz:1",
        identity=lambda peer: DirectoryInfo("here", "here", 4161, 4160, "1").encode(),
        limits=LookupLimits(),
    )
    for piece in _in_two_pieces(data):
        session.receive_data(piece, 0)
    session.receive_eof(0)
    session.close()
    assert not registry.producers
    assert not registry.registrations


def feed_lookup_answers(data: bytes) -> None:
    """Parse what a directory answers, and its answer to IDENTIFY."""
    parser = AnswerParser(10_000)
    for piece in _in_two_pieces(data):
        for answer in parser.receive_data(piece):
            try:
                decode_directory_info(answer)
            except ProtocolError:
                continue


# Files


def feed_segment(data: bytes) -> None:
    """Open a log whose segment has these bytes, read all that it claims, and append."""
    first, second = _in_two_pieces(data)
    _open_log({data_path(FOLDER, 0): first, index_path(FOLDER, 0): second})


def feed_index(data: bytes) -> None:
    """Open a log whose frames are right and whose index has these bytes."""
    _open_log({data_path(FOLDER, 0): _FRAMES, index_path(FOLDER, 0): data})


def feed_frames_without_index(data: bytes) -> None:
    """Open a log whose index is gone."""
    _open_log({data_path(FOLDER, 0): data})


def _open_log(contents: Mapping[str, bytes]) -> None:
    disk = SimulatedDisk()
    disk.make_folder(FOLDER)
    for path, content in contents.items():
        disk.replace_file(path, content)
    log = TopicLog(disk, FOLDER, BlockMemory(100_000), lambda: 7, segment_bytes_max=10_000)
    sequence = log.first
    # A damaged index can claim billions of messages: they are lost in one range, not one by one.
    while sequence < log.end:
        lost = log.lost.range_at_or_after(sequence)
        if lost is not None and lost[0] <= sequence:
            sequence = lost[1]
            continue
        block = log.block(sequence)
        assert block is not None or sequence in log.lost
        if block is not None:
            assert block.first <= sequence < block.end
            sequence = block.end
    end = log.end
    log.append([b"after"], 9)
    found = log.block(end)
    assert found is not None
    assert found.frame(end).endswith(b"after")
    log.close()


def feed_journal(data: bytes) -> None:
    """Read a journal on its own, and a channel whose journal it is."""
    records, size, damaged = read_records(data)
    assert size + damaged <= 2 * len(data)
    assert sum(len(payload) for _, payload in records) <= len(data)
    _load_channel({"0.journal": data})


def feed_checkpoint(data: bytes) -> None:
    """Decode a checkpoint, and load a channel that has it."""
    decode_checkpoint(data)
    _load_channel({"": data})


def _not_refused(error: OSError) -> None:
    raise AssertionError from error


def _load_channel(contents: Mapping[str, bytes]) -> None:
    disk = SimulatedDisk()
    disk.make_folder(FOLDER)
    path = f"{FOLDER}/billing.channel"
    disk.replace_file(path, Snapshot(0, 0, [], []).encode(0))
    for suffix, content in contents.items():
        disk.replace_file(f"{path}.{suffix}" if suffix else path, content)
    store = ChannelStore(disk, path, Trash(disk, _not_refused))
    store.load(0, Ranges())
    store.load_stragglers()


def feed_metadata(data: bytes) -> None:
    """Decode ``nsqd.dat``; what is right can be written again."""
    try:
        entries = decode_metadata(data)
    except MetadataError:
        return
    assert decode_metadata(encode_metadata(entries, "1")) == entries


def _example_index() -> bytes:
    commit = Commit(0, 0, len(_FRAMES), 3, 5, 0, crc32c(_FRAMES))
    seal = Commit(3, len(_FRAMES), 0, 0, 5, 0, 0)
    return Header(0, ID_BASE, 5).encode() + encode_commit(commit) + encode_commit(seal)


_PEER = PeerInfo("10.0.0.1", "host", 4151, 4150, version="1")

TARGETS: dict[str, Target] = {
    "commands": Target(
        feed_commands,
        (
            b"\x80" + commands.MAGIC_V2 + commands.identify(b'{"client_id":"x"}') + commands.nop(),
            b"\x40" + commands.MAGIC_V2 + commands.pub("orders", b"hello"),
            b"\xa0" + commands.MAGIC_V2 + commands.mpub("orders", [b"a", b"bc"]),
            b"\x10" + commands.MAGIC_V2 + commands.dpub("orders", 1000, b"later"),
            b"\xf0"
            + commands.MAGIC_V2
            + commands.sub("orders", "billing")
            + commands.rdy(10)
            + commands.fin_run([b"0123456789abcdef", b"0123456789abcdf0"])
            + commands.req(b"0123456789abcdef", 5)
            + commands.touch(b"0123456789abcdef")
            + commands.cls(),
        ),
    ),
    "identify": Target(
        feed_identify,
        (b'{"feature_negotiation":true,"msg_timeout":1000,"snappy":true}', b"null", b"{}"),
    ),
    "multi_publish": Target(
        feed_multi_publish, (b"a\nb\n\nc", struct.pack(">II1sI2s", 2, 1, b"a", 2, b"bc"))
    ),
    "frames": Target(
        feed_frames,
        (
            b"\x80" + encode_response(b"OK") + _FRAMES,
            b"\x20" + encode_error(b"E_FIN_FAILED") + _FRAMES,
        ),
    ),
    "client_session": Target(
        feed_client_session,
        (
            b"\x80" + encode_response(b"OK") + encode_response(b"_heartbeat_") + _FRAMES,
            b"\x80" + encode_response(b'{"max_rdy_count":5,"snappy":true}') + b"\xff\x06\x00\x00",
        ),
    ),
    "snappy": Target(feed_snappy, (b"\x80" + SnappyCompressor().compress(b"hello " * 9),)),
    "deflate": Target(feed_deflate, (b"\x80" + DeflateCompressor(6).compress(b"hello " * 9),)),
    "lookup_requests": Target(
        feed_lookup_requests,
        (
            b"\x80"
            + MAGIC
            + encode_identify(_PEER)
            + encode_register("orders", "billing")
            + PING
            + encode_unregister("orders"),
        ),
    ),
    "lookup_answers": Target(
        feed_lookup_answers,
        (
            b"\x80"
            + encode_answer(DirectoryInfo("a", "b", 1, 2, "3").encode())
            + encode_answer(b"OK"),
        ),
    ),
    "segment": Target(feed_segment, (b"\x80" + _FRAMES + _example_index(),)),
    "index": Target(feed_index, (_example_index(), _example_index()[:-48])),
    "frames_without_index": Target(feed_frames_without_index, (_FRAMES,)),
    "journal": Target(
        feed_journal,
        (
            encode_record(1, struct.pack(">QQ", 0, 5)) + encode_record(2, struct.pack(">Q", 9)),
            encode_record(3, struct.pack(">QqH", 7, 0, 2)) + encode_record(4, struct.pack(">Q", 3)),
        ),
    ),
    "checkpoint": Target(
        feed_checkpoint,
        (
            Snapshot(5, 9, [(3, 1)], [(4, 99, 2)]).encode(0),
            encode_checkpoint({"messages": [(3, _FRAMES[:37])]}),
        ),
    ),
    "metadata": Target(
        feed_metadata,
        (b'{"topics":[{"name":"a","paused":true,"channels":[{"name":"b"}]}],"version":"1"}',),
    ),
}
