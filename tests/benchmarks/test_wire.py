"""The generators' shortcuts give the same bytes as the long way."""

from benchmarks.wire import FinRun, complete_frames, fin, message_header, mpub


def test_fin_run_takes_the_id_out_of_every_frame() -> None:
    ids = [b"%016x" % (number * 0x1234_5678_9ABC) for number in range(5)]
    frames = bytearray(
        b"".join(message_header(3) + b"timestamp!" + message_id + b"abc" for message_id in ids)
    )
    assert bytes(FinRun(37, 8).build(frames, 5)) == b"".join(fin(message_id) for message_id in ids)


def test_fin_run_forgets_the_run_before() -> None:
    frame = bytearray(message_header(0) + bytes(10) + b"f" * 16)
    run = FinRun(34, 8)
    run.build(frame * 8, 8)
    assert bytes(run.build(bytearray(message_header(0) + bytes(10) + b"0" * 16), 1)) == fin(
        b"0" * 16
    )


def test_mpub_lays_out_sizes_count_and_bodies() -> None:
    assert mpub("t", [b"ab", b"c"]) == bytes.fromhex(
        "4d5055422074 0a 0000000f 00000002 00000002 6162 00000001 63"
    )


def test_frames_are_split_and_the_rest_is_kept() -> None:
    ok = bytes.fromhex("00000006 00000000 4f4b")
    assert complete_frames(ok + ok + ok[:5]) == ([(0, b"OK"), (0, b"OK")], ok[:5])
    assert complete_frames(b"") == ([], b"")
