"""Every parser, fed by hypothesis with what is almost right; and what fuzzers found before."""

import random

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.fuzz.corpus import FOUND
from tests.fuzz.targets import TARGETS

EXAMPLES = 150


def damaged(examples: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    """Return bytes that are nearly those of an example: changed, cut, doubled, or anything."""

    def damage(example: bytes, seed: int, changes: int) -> bytes:
        chance = random.Random(seed)
        data = bytearray(example)
        for _ in range(changes):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(5):
                case 0:
                    data[at : at + 1] = bytes((chance.randrange(256),))
                case 1:
                    del data[at : at + chance.randrange(9)]
                case 2:
                    data[at:at] = data[: chance.randrange(len(data) + 1)]
                case 3:
                    data[at : at + 4] = chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f"))
                case _:
                    data[at:at] = chance.randbytes(chance.randrange(5))
        return bytes(data)

    nearly = st.builds(damage, st.sampled_from(examples), st.integers(0, 2**32), st.integers(0, 6))
    return nearly | st.binary(max_size=200)


@pytest.mark.parametrize("name", TARGETS)
def test_what_nobody_should_send_is_parsed_or_refused(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(damaged(target.examples))
    def feed(data: bytes) -> None:
        target.feed(data)

    feed()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_right_is_taken(name: str) -> None:
    for example in TARGETS[name].examples:
        TARGETS[name].feed(example)


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_before(name: str, data: bytes) -> None:
    TARGETS[name].feed(data)
