"""The bytes of a segment's index, and that a changed bit is noticed."""

from hypothesis import given, strategies as st

from nsqx.nsqd.log.records import (
    RECORD_BYTES,
    Commit,
    Header,
    decode_commit,
    encode_commit,
)

COMMIT = Commit(
    first=0, offset=0, length=70, messages=2, timestamp_ns=1, due_ns=0, data_crc=0x1234ABCD
)
COMMIT_BYTES = bytes.fromhex(
    "0000000000000000 0000000000000000 00000046 00000002"
    "0000000000000001 0000000000000000 1234abcd 02172483"
)
HEADER = Header(first=0x100, id_base=0x0123456789ABCDEF, created_ns=1)
HEADER_BYTES = bytes.fromhex(
    "6e7371782d696478 00000001 00000000 0000000000000100 0123456789abcdef"
    "0000000000000001 00000000 58f9c8e1"
)

UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
COMMITS = st.builds(Commit, UINT64, UINT64, UINT32, UINT32, INT64, INT64, UINT32)


def flipped(data: bytes, *bits: int) -> bytes:
    for bit in bits:
        data = (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(len(data), "big")
    return data


def test_a_commit_record_has_just_these_bytes() -> None:
    assert encode_commit(COMMIT) == COMMIT_BYTES
    assert decode_commit(COMMIT_BYTES) == COMMIT


def test_a_header_has_just_these_bytes() -> None:
    assert HEADER.encode() == HEADER_BYTES
    assert Header.decode(HEADER_BYTES) == HEADER


@given(COMMITS)
def test_every_record_comes_back(commit: Commit) -> None:
    assert decode_commit(encode_commit(commit)) == commit


@given(COMMITS, st.sets(st.integers(0, 8 * RECORD_BYTES - 1), min_size=1, max_size=3))
def test_flipped_bits_are_damage(commit: Commit, bits: set[int]) -> None:
    assert decode_commit(flipped(encode_commit(commit), *bits)) is None


def test_a_flipped_bit_in_a_header_is_damage() -> None:
    for bit in range(8 * RECORD_BYTES):
        assert Header.decode(flipped(HEADER_BYTES, bit)) is None


def test_an_incomplete_record_is_none() -> None:
    assert decode_commit(COMMIT_BYTES[:-1]) is None
    assert decode_commit(b"") is None
    assert Header.decode(HEADER_BYTES[:-1]) is None


def test_zeros_are_no_record() -> None:
    assert decode_commit(bytes(RECORD_BYTES)) is None
    assert Header.decode(bytes(RECORD_BYTES)) is None


def test_a_header_of_another_version_or_kind_is_none() -> None:
    assert Header.decode(COMMIT_BYTES) is None
