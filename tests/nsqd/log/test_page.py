"""
Pages of a log: what is on one, and that those that follow one another are the log, either way.

The model is a list of what was published. Whatever is damaged, emptied, appended or let go of while
somebody reads on, each number is on one page: as its message, or in a gap with the reason.
"""

import random

import pytest
from hypothesis import given, settings, strategies as st

from nsqx.nsqd.log.block import BlockMemory
from nsqx.nsqd.log.log import GONE, Gap, Log
from nsqx.nsqd.log.memory_log import MemoryLog
from nsqx.nsqd.log.page import EMPTIED, Page, read_page, read_page_before
from nsqx.nsqd.log.ranges import Ranges
from nsqx.nsqd.log.segment import data_path, index_path
from nsqx.protocol.messages import body_of
from tests.support.opened_log import FOLDER, ID_BASE, NOW_NS, open_log, written_log
from tests.support.simulated_disk import SimulatedDisk


def numbers(page: Page) -> list[int]:
    return [sequence for sequence, _ in page.frames]


def assert_is_whole(page: Page) -> None:
    """Each number that it has looked at is there once, in order."""
    covered = [(sequence, sequence + 1) for sequence in numbers(page)]
    covered += [(gap.first, gap.end) for gap in page.gaps]
    covered.sort()
    assert [first for first, _ in covered] == [
        page.first, *(end for _, end in covered[:-1]),
    ][: len(covered)]  # fmt: skip
    assert page.end == (covered[-1][1] if covered else page.first)
    assert page.gaps == sorted(page.gaps, key=lambda gap: gap.first)


# Examples


def test_a_page_has_what_fits_and_says_where_to_go_on() -> None:
    _, log = written_log([[b"a", b"b", b"c"], [b"d" * 50], [b"e"]], segment_bytes_max=200)
    page = read_page(log.view(), 0, 2, 1000)
    assert (numbers(page), page.first, page.end) == ([0, 1], 0, 2)
    page = read_page(log.view(), 2, 10, 35 + 84)
    assert (numbers(page), page.end) == ([2, 3], 4)
    page = read_page(log.view(), 3, 10, 0)
    assert (numbers(page), page.end) == ([3], 4)
    page = read_page_before(log.view(), 5, 2, 1000)
    assert (numbers(page), page.first, page.end) == ([3, 4], 3, 5)
    page = read_page_before(log.view(), 4, 10, 0)
    assert (numbers(page), page.first, page.end) == ([3], 3, 4)


def test_a_log_without_messages_has_pages_too() -> None:
    for log in (open_log(SimulatedDisk()), MemoryLog(lambda: ID_BASE)):
        for page in (read_page(log.view(), 0, 5, 100), read_page_before(log.view(), 0, 5, 100)):
            assert (page.frames, page.gaps, page.first, page.end) == ([], [], 0, 0)


def test_what_is_not_kept_any_more_is_a_gap() -> None:
    disk, log = written_log([[b"x" * 100]] * 7, segment_bytes_max=300)
    before = log.view()
    log.release(5, NOW_NS)
    page = read_page(log.view(), 1, 10, 10_000)
    assert page.gaps == [Gap(1, 4, GONE)]
    assert numbers(page) == [4, 5, 6]
    disk.run_pending()
    page = read_page(before, 1, 10, 10_000)  # of a moment at which it was there
    assert page.gaps == [Gap(1, 4, GONE)]
    page = read_page_before(before, 7, 10, 10_000)
    assert page.gaps == [Gap(0, 4, GONE)]
    assert numbers(page) == [4, 5, 6]


def test_damage_and_what_was_emptied_are_gaps_with_their_reasons() -> None:
    disk, log = written_log([[b"%d" % number] for number in range(9)])
    disk.flip_bit(data_path(FOLDER, 0), 35 * 3 + 34)
    disk.flip_bit(data_path(FOLDER, 0), 35 * 4 + 34)
    hidden = Ranges([(1, 2), (4, 6)])
    expected = [Gap(1, 2, EMPTIED), Gap(3, 4, "checksum mismatch"), Gap(4, 6, EMPTIED)]
    forward = read_page(log.view(), 0, 10, 10_000, hidden)
    backward = read_page_before(log.view(), 9, 10, 10_000, hidden)
    for page in (forward, backward):
        assert (numbers(page), page.gaps) == ([0, 2, 6, 7, 8], expected)
        assert_is_whole(page)


def test_bodies_are_cut_to_what_is_wanted() -> None:
    _, log = written_log([[b"abcdef", b"xy"]])
    for page in (
        read_page(log.view(), 0, 10, 1000, None, 3),
        read_page_before(log.view(), 2, 10, 1000, None, 3),
    ):
        assert [body_of(frame) for _, frame in page.frames] == [b"abc", b"xy"]


def test_a_page_passes_over_much_damage_but_not_without_end() -> None:
    disk, log = written_log([[b"x" * 70_000]] * 600, segment_bytes_max=1 << 30)
    for number in range(600):
        disk.content(data_path(FOLDER, 0))[70_034 * number + 40] ^= 1
    page = read_page(log.view(), 0, 10, 1000)
    assert 0 < page.end < 600
    assert page.gaps == [Gap(0, page.end, "checksum mismatch")]
    page = read_page_before(log.view(), 600, 10, 1000)
    assert 0 < page.first < 600
    assert page.gaps == [Gap(page.first, 600, "checksum mismatch")]


@pytest.mark.parametrize("bytes_wanted", [1, 200, 10_000])
def test_where_to_begin_a_read_that_is_to_end_at_a_message(bytes_wanted: int) -> None:
    """Not too far before it: a batch that holds much is read whole, all else is small."""
    _, log = written_log([[b"x" * 66] * 3] * 20, segment_bytes_max=3000)
    view = log.view()
    for end in range(1, 61):
        start = view.start_before(end, bytes_wanted)
        assert start < end
        assert start % 3 == 0
        assert (end - start) * 100 <= max(300, bytes_wanted + 200)


# Any log


class Reader:
    """Follows pages one way, and keeps what it has seen."""

    def __init__(self, log: Log, *, forwards: bool) -> None:
        self.place = log.first if forwards else log.end
        self.began = self.place
        self.forwards = forwards
        self.seen: dict[int, bytes | str] = {}

    def is_done(self, log: Log) -> bool:
        return self.place >= log.end if self.forwards else self.place <= log.first

    def read_on(self, log: Log, hidden: Ranges, limit: int, bytes_max: int) -> None:
        view = log.view()
        if self.forwards:
            page = read_page(view, self.place, limit, bytes_max, hidden)
            assert page.first == self.place
            self.place = page.end
        else:
            page = read_page_before(view, self.place, limit, bytes_max, hidden)
            assert page.end == self.place
            self.place = page.first
        assert_is_whole(page)
        assert len(page.frames) <= limit
        assert page.end > page.first or self.is_done(log)  # it makes progress
        for gap in page.gaps:
            for number in range(gap.first, gap.end):
                assert number not in self.seen
                self.seen[number] = gap.reason
        for number, frame in page.frames:
            assert number not in self.seen
            self.seen[number] = body_of(frame)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 300), min_size=1, max_size=8)),
        st.tuples(st.just("damage"), st.integers(0, 1 << 30)),
        st.tuples(st.just("damage index"), st.integers(0, 1 << 30)),
        st.tuples(st.just("empty"), st.integers(0, 1 << 30)),
        st.tuples(st.just("release"), st.integers(0, 1 << 30)),
        st.tuples(st.just("read"), st.integers(0, 1 << 30)),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(STEPS, st.booleans())
def test_the_union_of_all_pages_is_the_log(
    steps: list[tuple[str, int | list[int]]], is_on_disk: bool
) -> None:
    disk = SimulatedDisk()
    log: Log = open_log(disk, segment_bytes_max=900) if is_on_disk else MemoryLog(lambda: ID_BASE)
    published: list[bytes] = []
    hidden, damaged = Ranges(), False
    readers: list[Reader] = []
    for what, value in [("append", [1, 2, 3]), *steps]:
        if isinstance(value, list):
            bodies = [b"%d " % (len(published) + index) + b"x" * n for index, n in enumerate(value)]
            log.append(bodies, NOW_NS)
            published += bodies
        elif what == "release":
            log.release(value % (log.end + 1), NOW_NS)
            disk.run_pending()
        elif what == "empty":
            hidden.add(value % log.end, value % log.end + value % 5)
        elif what.startswith("damage"):
            paths = disk.paths(".log" if what == "damage" else ".idx")
            path = paths[value % len(paths)] if paths else ""
            if path and disk.content(path) and path != index_path(FOLDER, log.end):
                damaged = True
                disk.flip_bit(path, value % len(disk.content(path)))
        else:
            readers.append(Reader(log, forwards=bool(value % 2)))
            for reader in readers:
                reader.read_on(log, hidden, value % 7 + 1, value % 1000)
    readers += [Reader(log, forwards=True), Reader(log, forwards=False)]
    chance = random.Random(len(steps))
    for reader in readers:
        while not reader.is_done(log):
            reader.read_on(log, hidden, chance.randrange(1, 9), chance.randrange(600))
        for number, seen in reader.seen.items():
            if isinstance(seen, bytes):
                assert seen == published[number]
            else:
                assert seen in (EMPTIED, GONE) or damaged
        low, high = (reader.began, log.end) if reader.forwards else (log.first, reader.began)
        assert set(range(low, high)) <= reader.seen.keys()
        if not damaged:
            for number in range(max(low, log.first), high):
                assert reader.seen[number] == published[number] or number in hidden


def test_pages_do_not_fill_the_memory_of_messages() -> None:
    """A look has no effect on what consumers find in memory."""
    disk, memory = SimulatedDisk(), BlockMemory(1000)
    log = open_log(disk, memory=memory)
    for number in range(50):
        log.append([b"%0100d" % number], NOW_NS)
    before = memory.bytes_used
    read_page(log.view(), 0, 100, 1_000_000)
    read_page_before(log.view(), 50, 100, 1_000_000)
    assert memory.bytes_used == before
