"""Ranges, by example and against a set of whole numbers."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nsqx.nsqd.log.ranges import Ranges

NUMBERS = st.integers(0, 30)


def test_ranges_that_touch_become_one() -> None:
    ranges = Ranges([(1, 3), (5, 7), (3, 5)])
    assert list(ranges) == [(1, 7)]


def test_an_empty_range_changes_nothing() -> None:
    ranges = Ranges([(4, 4), (6, 2)])
    assert len(ranges) == 0
    assert ranges.range_at_or_after(0) is None


def test_adding_in_the_middle_keeps_the_counts_right() -> None:
    ranges = Ranges([(0, 2), (10, 12), (20, 22)])
    assert ranges.count(0, 30) == 6
    ranges.add(5, 6)
    assert ranges.count(0, 30) == 7
    assert ranges.count(5, 21) == 4


def test_counts_stay_right_when_the_beginning_is_forgotten() -> None:
    ranges = Ranges([(0, 4), (8, 12)])
    assert ranges.count(0, 20) == 8
    ranges.remove_below(2)
    assert ranges.count(0, 20) == 6
    ranges.remove_below(9)
    assert list(ranges) == [(9, 12)]
    assert ranges.count(0, 20) == 3


class RangesMachine(RuleBasedStateMachine):
    """Whatever was added and forgotten, every question has the answer that a set gives."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges = Ranges()
        self.numbers: set[int] = set()

    @rule(start=NUMBERS, end=NUMBERS)
    def add(self, start: int, end: int) -> None:
        self.ranges.add(start, end)
        self.numbers.update(range(start, end))

    @rule(number=NUMBERS)
    def remove_below(self, number: int) -> None:
        self.ranges.remove_below(number)
        self.numbers = {held for held in self.numbers if held >= number}

    @rule(start=NUMBERS, end=NUMBERS)
    def count(self, start: int, end: int) -> None:
        assert self.ranges.count(start, end) == len(self.numbers & set(range(start, end)))

    @rule(start=NUMBERS, end=NUMBERS)
    def gaps(self, start: int, end: int) -> None:
        gaps = [number for low, high in self.ranges.gaps(start, end) for number in range(low, high)]
        assert gaps == sorted(set(range(start, end)) - self.numbers)

    @rule(number=NUMBERS)
    def range_at_or_after(self, number: int) -> None:
        found = self.ranges.range_at_or_after(number)
        beyond = [held for held in self.numbers if held >= number]
        if not beyond:
            assert found is None
            return
        assert found is not None
        assert found[1] > number
        assert max(found[0], number) == min(beyond)

    @invariant()
    def holds_the_same_numbers_in_ranges_that_do_not_touch(self) -> None:
        held = [number for start, end in self.ranges for number in range(start, end)]
        assert held == sorted(self.numbers)
        assert [number in self.ranges for number in range(32)] == [
            number in self.numbers for number in range(32)
        ]
        starts_and_ends = [edge for pair in self.ranges for edge in pair]
        assert starts_and_ends == sorted(set(starts_and_ends))
        assert self.ranges.end > max(self.numbers, default=-1)


TestRanges = RangesMachine.TestCase
