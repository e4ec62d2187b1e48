"""
Pages of a log, both ways, over an imitated ``/topic/peek`` of either kind: one whose ``next`` is
the first message that had no room, and one whose ``next`` is beyond messages that had none.
"""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies as st

from nsqx.cluster.log_pages import LogPages, MessagePage, PeekAnswer, PeekedMessage

ANSWER_BYTES_MAX = 100  # of bodies, besides the first one


class FakeLog:
    """A log whose messages have these sizes; those of size 0 are damaged or emptied."""

    def __init__(self, sizes: list[int], *, first: int = 0, skips: bool = False) -> None:
        self.sizes = sizes
        self.first = first
        self.skips = skips
        self.asked = 0

    @property
    def kept(self) -> list[int]:
        return [number for number in range(self.first, len(self.sizes)) if self.sizes[number]]

    async def ask(self, place: str, limit: int) -> PeekAnswer:
        self.asked += 1
        end = len(self.sizes)
        kind, _, value = place.partition(":")
        number = {"start": self.first, "end": max(self.first, end - limit)}.get(kind)
        reached = min(max(int(value), self.first), end) if number is None else number
        found: list[PeekedMessage] = []
        room = ANSWER_BYTES_MAX
        while reached < end:
            size = self.sizes[reached]
            if len(found) >= limit or (found and size > room):
                reached = end if self.skips else reached
                break
            if size:
                found.append(PeekedMessage(reached, f"{reached:016x}", reached, "x" * size))
                room -= size
            reached += 1
        return PeekAnswer(self.first, end, reached, found)


def numbers(page: MessagePage) -> list[int]:
    return [each.sequence for each in page.messages]


sizes = st.lists(st.one_of(st.just(1), st.integers(0, 60), st.just(150), st.just(0)), max_size=60)


@settings(deadline=None)
@given(sizes=sizes, limit=st.integers(1, 40), first=st.integers(0, 5), skips=st.booleans())
async def test_all_pages_forwards_are_the_log(
    sizes: list[int], limit: int, first: int, *, skips: bool
) -> None:
    log = FakeLog(sizes, first=min(first, len(sizes)), skips=skips)
    pages = LogPages(log.ask)
    page = await pages.after("start", limit)
    assert page.start == log.first
    found = numbers(page)
    while not page.is_newest:
        before, page = page, await pages.after(f"seq:{page.end}", limit)
        assert (page.start, page.end > page.start) == (before.end, True)
        found += numbers(page)
    assert found == log.kept


@settings(deadline=None)
@given(sizes=sizes, limit=st.integers(1, 40), first=st.integers(0, 5), skips=st.booleans())
async def test_all_pages_backwards_are_the_log(
    sizes: list[int], limit: int, first: int, *, skips: bool
) -> None:
    log = FakeLog(sizes, first=min(first, len(sizes)), skips=skips)
    pages = LogPages(log.ask)
    page = await pages.before(None, limit)
    assert page.end == len(sizes)
    found = numbers(page)
    while not page.is_oldest:
        after, page = page, await pages.before(page.start, limit)
        assert (page.end, page.start < page.end) == (after.start, True)
        found = [*numbers(page), *found]
    assert found == log.kept


async def test_the_newest_of_long_bodies_are_the_newest() -> None:
    log = FakeLog([90] * 1000)
    page = await LogPages(log.ask).before(None, 20)
    assert page.end == 1000
    assert numbers(page)[-1] == 999


async def test_what_has_no_room_costs_few_questions() -> None:
    log = FakeLog([90] * 100)
    pages, end, found = LogPages(log.ask), 100, 0
    while end > 0:
        page = await pages.before(end, 100)
        found, end = found + len(page.messages), page.start
    assert found == 100
    assert log.asked < 400


@pytest.mark.parametrize("end", [5, 50])
async def test_before_what_is_kept_and_behind_the_newest(end: int) -> None:
    log = FakeLog([1] * 10, first=5)
    page = await LogPages(log.ask).before(end, 3)
    assert numbers(page) == ([] if end == 5 else [7, 8, 9])


def growing(log: FakeLog) -> Iterator[None]:
    while True:
        log.sizes.append(1)
        log.first += 1
        yield


async def test_what_comes_and_goes_meanwhile() -> None:
    """Retention takes the oldest and others publish, between any two questions."""
    log = FakeLog([40] * 100)
    step = growing(log)
    pages = LogPages(log.ask)
    page = await pages.before(None, 10)
    found = numbers(page)
    while not page.is_oldest:
        next(step)
        page = await pages.before(page.start, 10)
        found = [*numbers(page), *found]
    assert found == list(range(found[0], 100))
    assert found[0] <= log.first
