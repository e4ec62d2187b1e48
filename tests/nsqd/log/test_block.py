"""Runs of messages in memory: slices, and a cache whose blocks never overlap."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nsqx.nsqd.log.block import Block, BlockCache, BlockMemory
from nsqx.protocol.messages import body_of, encode_messages

ID_BASE = 0x1000


def block_of(first: int, end: int, *, body_bytes: int = 10) -> Block:
    bodies = [b"%0*d" % (body_bytes, number) for number in range(first, end)]
    frames, offsets = encode_messages(bodies, ID_BASE + first, 1)
    return Block(first, bytearray(frames), offsets, ID_BASE)


def number_in(block: Block, sequence: int) -> int:
    return int(body_of(block.frame(sequence)))


def test_a_slice_holds_at_most_what_was_asked_for() -> None:
    block = block_of(100, 110)
    frames, count = block.slice(103, 4, 10_000)
    assert count == 4
    assert frames == b"".join(block.frame(sequence) for sequence in range(103, 107))


def test_a_slice_ends_where_the_block_ends() -> None:
    assert block_of(100, 110).slice(108, 4, 10_000)[1] == 2


@pytest.mark.parametrize(("bytes_max", "count"), [(0, 1), (44, 1), (87, 1), (88, 2), (132, 3)])
def test_a_slice_keeps_to_its_bytes_but_holds_one_message(bytes_max: int, count: int) -> None:
    assert block_of(100, 110).slice(102, 5, bytes_max)[1] == count  # 44 bytes a message


def test_an_extended_block_continues() -> None:
    block = block_of(0, 2)
    frames, offsets = encode_messages([b"%010d" % 2], ID_BASE + 2, 1, len(block.data))
    block.extend(frames, offsets)
    assert block.end == 3
    assert [number_in(block, sequence) for sequence in range(3)] == [0, 1, 2]


def test_timestamps_are_those_of_the_batches() -> None:
    first, offsets = encode_messages([b"a", b"b"], ID_BASE, 5)
    block = Block(0, bytearray(first), offsets, ID_BASE)
    block.extend(*encode_messages([b"c"], ID_BASE + 2, 9, len(first)))
    assert list(block.timestamps(0, 3)) in ([(5, 2), (9, 1)], [(5, 1), (5, 1), (9, 1)])


def test_the_oldest_blocks_go_when_the_budget_is_used_up() -> None:
    memory = BlockMemory(3 * 500)
    cache = BlockCache(memory)
    for first in range(0, 50, 10):
        cache.add(block_of(first, first + 10), first)  # 440 bytes and 88 of offsets
    assert memory.bytes_used <= memory.bytes_max
    assert [cache.find(first) is not None for first in range(0, 50, 10)] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_one_block_larger_than_the_budget_is_kept() -> None:
    memory = BlockMemory(10)
    cache = BlockCache(memory)
    cache.add(block_of(0, 10), 0)
    assert cache.find(0) is not None
    cache.add(block_of(10, 20), 10)
    assert cache.find(0) is None
    assert cache.find(10) is not None


def test_logs_share_a_budget() -> None:
    memory = BlockMemory(1000)
    one, other = BlockCache(memory), BlockCache(memory)
    one.add(block_of(0, 10), 0)
    other.add(block_of(0, 10), 0)
    assert one.find(0) is None
    assert other.find(0) is not None


def test_a_block_that_is_there_already_is_not_kept_twice() -> None:
    memory = BlockMemory(100_000)
    cache = BlockCache(memory)
    cache.add(block_of(0, 10), 0)
    used = memory.bytes_used
    cache.add(block_of(0, 10), 5)
    assert memory.bytes_used == used
    cache.forget_below(10)
    assert memory.bytes_used == 0


def test_a_block_that_is_read_again_is_charged_again() -> None:
    memory = BlockMemory(1200)
    cache = BlockCache(memory)
    blocks = [block_of(first, first + 10) for first in (0, 10, 20)]
    size = 440 + 88
    for _ in range(2):
        for block in blocks:
            cache.add(block_of(block.first, block.end), block.first)
            assert memory.bytes_used in (size, 2 * size)
    cache.forget_below(20)
    assert memory.bytes_used == size
    cache.add(block_of(0, 10), 0)
    assert memory.bytes_used == 2 * size


class BlockCacheMachine(RuleBasedStateMachine):
    """Whatever is added, each message that is found is the right one, and nothing leaks."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = BlockMemory(2000)
        self.cache = BlockCache(self.memory)

    @rule(first=st.integers(0, 30), before=st.integers(0, 6), after=st.integers(1, 6))
    def add(self, first: int, before: int, after: int) -> None:
        """Add a block for the sake of a message within it, as after a read."""
        wanted = first + before
        self.cache.add(block_of(first, wanted + after), wanted)
        assert self.cache.find(wanted) is not None

    @rule(number=st.integers(0, 50), count=st.integers(1, 5))
    def grow(self, number: int, count: int) -> None:
        """Append to a block behind which there is room; none grows that was cut at its end."""
        block = self.cache.find(number)
        if block is None or block.offsets[-1] < len(block.data):
            return
        if any(map(self.cache.find, range(block.end, block.end + count))):
            return
        bodies = [b"%010d" % (block.end + index) for index in range(count)]
        block.extend(*encode_messages(bodies, ID_BASE + block.end, 1, len(block.data)))

    @rule(number=st.integers(0, 40))
    def forget_below(self, number: int) -> None:
        self.cache.forget_below(number)

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        assert self.memory.bytes_used == 0

    @invariant()
    def what_is_found_is_right(self) -> None:
        found = 0
        for sequence in range(50):
            block = self.cache.find(sequence)
            if block is not None:
                assert number_in(block, sequence) == sequence
                found += 1
        assert self.cache.count(0, 50) == found

    @invariant()
    def memory_is_accounted_for(self) -> None:
        blocks = {id(block): block for number in range(60) if (block := self.cache.find(number))}
        assert self.memory.bytes_used == sum(block.in_memory for block in blocks.values())
        for block in blocks.values():
            assert block.in_memory >= len(block.data) + 8 * len(block.offsets)
        assert self.memory.bytes_used <= self.memory.bytes_max or len(blocks) == 1


TestBlockCache = BlockCacheMachine.TestCase
