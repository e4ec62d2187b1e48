"""
Files as they come to lie on a disk: a real one, in a folder of the test.

Crashes are shown by files left as a crash leaves them; what is lost when the power fails is a
matter of which calls are synced, seen here by counting them.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from nsqx.apps.tools.file_names import FileNames
from nsqx.apps.tools.rolling_file import FilePlaces, RollingFile
from nsqx.apps.tools.rotation import Rotation, RotationPolicy

START = datetime(2026, 1, 1)


def rolling_file(
    folder: Path,
    *,
    filename_format: str = "<TOPIC><REV>.log",
    work: Path | None = None,
    size_bytes: int = 0,
    interval: timedelta = timedelta(0),
    gzip_level: int | None = None,
    revisions: bool = True,
) -> RollingFile:
    is_gzip = gzip_level is not None
    names = FileNames(
        filename_format,
        "%H%M%S",
        topic="t",
        host="h",
        pid=1,
        gzip=is_gzip,
        revisions=revisions,
    )
    places = FilePlaces(
        folder, work or folder, gzip_level=gzip_level, always_new=is_gzip or bool(interval)
    )
    return RollingFile(names, Rotation(RotationPolicy(size_bytes, interval)), places)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_messages_become_lines(tmp_path: Path) -> None:
    file = rolling_file(tmp_path, revisions=False)
    file.append([b"one", b"two"], START)
    assert contents(tmp_path) == {"t.log": b"one\ntwo\n"}


def test_an_existing_file_is_appended_to(tmp_path: Path) -> None:
    (tmp_path / "t.log").write_bytes(b"before\n")
    rolling_file(tmp_path, revisions=False).append([b"after"], START)
    assert contents(tmp_path) == {"t.log": b"before\nafter\n"}


def test_a_line_torn_by_a_crash_is_not_joined_to_the_next_message(tmp_path: Path) -> None:
    (tmp_path / "t.log").write_bytes(b"whole\nto")
    rolling_file(tmp_path, revisions=False).append([b"next"], START)
    assert contents(tmp_path) == {"t.log": b"whole\nto\nnext\n"}


def test_a_full_file_ends_before_the_next_message(tmp_path: Path) -> None:
    file = rolling_file(tmp_path, size_bytes=5)
    assert file.append([b"12345678", b"2nd", b"3rd"], START)
    assert contents(tmp_path) == {"t-000000.log": b"12345678\n", "t-000001.log": b"2nd\n3rd\n"}


def test_existing_full_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t-000000.log").write_bytes(b"123456\n")
    (tmp_path / "t-000001.log").write_bytes(b"1\n")
    rolling_file(tmp_path, size_bytes=5).append([b"x"], START)
    assert contents(tmp_path)["t-000001.log"] == b"1\nx\n"


def test_with_an_interval_existing_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "t-000000.log").write_bytes(b"")
    file = rolling_file(tmp_path, interval=timedelta(seconds=10))
    file.append([b"a"], START)
    file.append([b"b"], START + timedelta(seconds=11))
    assert contents(tmp_path) == {
        "t-000000.log": b"",
        "t-000001.log": b"a\n",
        "t-000002.log": b"b\n",
    }


def test_the_name_follows_the_time(tmp_path: Path) -> None:
    file = rolling_file(tmp_path, filename_format="<DATETIME>/<TOPIC><REV>.log")
    file.append([b"a"], START)
    file.append([b"b"], START + timedelta(seconds=1))
    assert contents(tmp_path) == {"000000/t-000000.log": b"a\n", "000001/t-000000.log": b"b\n"}


def test_a_file_closed_by_hand_is_followed_by_the_next_revision(tmp_path: Path) -> None:
    file = rolling_file(tmp_path, size_bytes=1000)
    file.append([b"a"], START)
    file.close()
    file.append([b"b"], START)
    assert contents(tmp_path) == {"t-000000.log": b"a\n", "t-000001.log": b"b\n"}


@pytest.mark.parametrize(("skip_empty", "files"), [(True, {}), (False, {"t.log": b""})])
def test_an_idle_topic_has_an_empty_file_unless_that_is_not_wanted(
    tmp_path: Path, skip_empty: bool, files: dict[str, bytes]
) -> None:
    rolling_file(tmp_path, revisions=False).roll_if_due(START, skip_empty=skip_empty)
    assert contents(tmp_path) == files


def test_a_sync_ends_a_gzip_member_so_that_what_is_before_can_be_read(tmp_path: Path) -> None:
    file = rolling_file(tmp_path, gzip_level=6)
    file.append([b"one"], START, sync=True)
    file.append([b"two"], START, sync=True)
    path = tmp_path / "t-000000.log.gz"
    assert gzip.decompress(path.read_bytes()) == b"one\ntwo\n"
    file.append([os.urandom(100_000)], START)
    # As if the process were killed now: the last member has no end.
    assert b"".join(members(path.read_bytes()))[:8] == b"one\ntwo\n"


def test_a_gzip_file_without_messages_is_a_gzip_file(tmp_path: Path) -> None:
    file = rolling_file(tmp_path, gzip_level=6)
    file.roll_if_due(START, skip_empty=False)
    file.close()
    assert gzip.decompress((tmp_path / "t-000000.log.gz").read_bytes()) == b""


def test_files_move_when_they_are_closed(tmp_path: Path) -> None:
    output, work = tmp_path / "out", tmp_path / "work"
    file = rolling_file(output, work=work, filename_format="sub/<TOPIC><REV>.log")
    file.append([b"a"], START)
    assert (contents(output), contents(work)) == ({}, {"sub/t-000000.log": b"a\n"})
    file.close()
    assert (contents(output), contents(work)) == ({"sub/t-000000.log": b"a\n"}, {})


def test_moving_never_overwrites(tmp_path: Path) -> None:
    output, work = tmp_path / "out", tmp_path / "work"
    output.mkdir()
    (output / "t-000000.log").write_bytes(b"mine")
    file = rolling_file(output, work=work)
    file.append([b"a"], START)
    (output / "t-000001.log").write_bytes(b"came meanwhile")
    file.close()
    assert contents(output) == {
        "t-000000.log": b"mine",
        "t-000001.log": b"came meanwhile",
        "t-000002.log": b"a\n",
    }
    file.append([b"b"], START)
    file.close()
    assert contents(output)["t-000003.log"] == b"b\n"


def test_a_new_name_is_synced_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", fsync)
    rolling_file(tmp_path / "new", revisions=False).append([b"a"], START, sync=True)
    assert synced == [str(tmp_path), str(tmp_path / "new"), str(tmp_path / "new" / "t.log")]


def test_a_failing_disk_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_bytes(b"in the way")
    with pytest.raises(OSError, match="file"):
        rolling_file(folder).append([b"a"], START)


STEPS = st.lists(
    st.one_of(
        st.lists(st.binary(max_size=12).filter(lambda body: b"\n" not in body), max_size=5),
        st.sampled_from(["close", "tick", "wait", "restart"]),
    ),
    max_size=20,
)


@given(
    steps=STEPS,
    size_bytes=st.sampled_from([0, 1, 20]),
    seconds=st.sampled_from([0, 2]),
    gzip_level=st.sampled_from([None, 1]),
    moves=st.booleans(),
)
@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_message_is_in_the_files_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[list[bytes] | str],
    size_bytes: int,
    seconds: int,
    gzip_level: int | None,
    moves: bool,
) -> None:
    folder = tmp_path_factory.mktemp("files")
    output, work = folder / "out", folder / "work"

    def new() -> RollingFile:
        return rolling_file(
            output,
            work=work if moves else None,
            size_bytes=size_bytes,
            interval=timedelta(seconds=seconds),
            gzip_level=gzip_level,
        )

    file, when, bodies = new(), START, list[bytes]()
    for step in steps:
        if isinstance(step, list):
            file.append(step, when)
            bodies += step
        elif step == "wait":
            when += timedelta(seconds=3)
        elif step == "tick":
            file.roll_if_due(when, skip_empty=False)
        else:
            file.close()
            file = new() if step == "restart" else file
    file.close()
    data = b"".join(map(decoded, contents(output).values())) if output.exists() else b""
    assert data == b"".join(body + b"\n" for body in bodies)
    assert not work.exists() or contents(work) == {}


def decoded(data: bytes) -> bytes:
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def members(data: bytes) -> Iterator[bytes]:
    """Decompress one gzip member after another, as far as they go."""
    while data:
        decompressor = zlib.decompressobj(31)
        yield decompressor.decompress(data)
        data = decompressor.unused_data
