"""The segments of a log: found by number and by id, against a look at each."""

from hypothesis import given, strategies as st

from nsqx.nsqd.log.records import Header
from nsqx.nsqd.log.segment import Segment
from nsqx.nsqd.log.segments import Segments
from tests.support.simulated_disk import SimulatedDisk

DISK = SimulatedDisk()


def segment(first: int, end: int, id_base: int) -> Segment:
    it = Segment(DISK, "t", Header(first, id_base, 0))
    it.end, it.size = end, 10 * (end - first)
    return it


# Counts of messages, and whether the next segment has a base of its own.
PLANS = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=12)


@given(PLANS, st.lists(st.sampled_from([0, -1]), max_size=5))
def test_a_message_is_found_by_its_number_and_by_its_id(
    plan: list[tuple[int, int]], pops: list[int]
) -> None:
    bases = [7_000, 1_000, 5_000, 3_000]  # not in the order of the numbers
    segments, model, first = Segments(), list[Segment](), 0
    for count, base in plan:
        model.append(segment(first, first + count, bases[base]))
        segments.append(model[-1])
        first += count
    for index in pops[: len(plan) - 1]:
        assert segments.pop(index) is model.pop(index)
    assert segments.snapshot() == list(segments) == model
    assert segments.size == sum(each.size for each in model)
    for number in range(-1, first + 2):
        holds = [each for each in model if each.first <= number < each.end]
        if holds:
            assert segments[segments.index_of(number)] is holds[0]
        for base in bases:
            expected = number if any(each.id_base == base for each in holds) else None
            assert segments.sequence_of(base + number) == expected


def test_an_id_is_found_without_a_look_at_each_segment() -> None:
    segments = Segments([segment(10 * number, 10 * number + 10, 1 << 40) for number in range(64)])
    looks = 0

    class Counted(Segment):
        @property
        def end(self) -> int:
            nonlocal looks
            looks += 1
            return 1 << 41

        @end.setter
        def end(self, end: int) -> None: ...

    segments.append(Counted(DISK, "t", Header(640, 1 << 40, 0)))
    assert segments.sequence_of((1 << 40) + 5) == 5
    assert looks == 0
    assert segments.sequence_of((1 << 40) + 645) == 645
    assert looks == 1
