"""Storage on real files, as far as the simulated disk is only a model of it."""

import asyncio
import errno
import os
import resource
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from nsqx.nsqd.edge.files import FileStorage
from nsqx.nsqd.edge.steps import in_background
from nsqx.nsqd.log.replacement import replace_file, replace_files


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[FileStorage]:
    storage = FileStorage(tmp_path, asyncio.get_running_loop())
    yield storage
    storage.close()


@pytest.fixture
def small_files() -> Iterator[None]:
    """Let no file grow beyond 10,000 bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


async def test_reads_and_writes_are_positioned(storage: FileStorage) -> None:
    file = storage.open("a", create=True)
    file.write_at(b"world", 5)
    file.write_at(b"hello", 0)
    assert file.read_at(100, 0) == b"helloworld"
    assert file.read_at(3, 9) == b"d"
    assert file.read_at(3, 9, may_block=False) == b"d"
    assert file.read_at(3, 10, may_block=False) == b""
    assert file.size() == 10
    file.truncate(4)
    file.sync()
    file.close()
    assert storage.read_file("a") == b"hell"


async def test_a_synced_write_is_one_call_where_there_is_one(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = storage.open("a", create=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", _must_not_be_called)
        file.write_synced(b"hello", 3)
    assert file.read_at(100, 0) == b"\0\0\0hello"


@pytest.mark.parametrize("written", [errno.EPERM, errno.EINVAL, 0, 2], ids=str)
async def test_a_synced_write_that_is_refused_or_short_is_done_in_two(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    synced: list[int] = []

    def pwritev(descriptor: int, buffers: list[bytes], offset: int, flags: int) -> int:
        if written > 2:
            raise OSError(written, os.strerror(written))
        return written

    monkeypatch.setattr(os, "pwritev", pwritev)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    file = storage.open("a", create=True)
    file.write_synced(b"hello", 0)
    assert (file.read_at(100, 0), len(synced)) == (b"hello", 1)


async def test_a_synced_write_that_fails_says_where(
    storage: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwritev(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwritev", pwritev)
    file = storage.open("a", create=True)
    with pytest.raises(OSError, match=r"a'$"):
        file.write_synced(b"hello", 0)


async def test_what_is_urgent_waits_for_nothing_else(storage: FileStorage) -> None:
    done = asyncio.Event()
    let_go = threading.Event()
    for _ in range(20):
        storage.submit(let_go.wait, lambda *_: None)
    storage.submit(lambda: None, lambda *_: done.set(), is_urgent=True)
    await asyncio.wait_for(done.wait(), 10)
    let_go.set()


def _must_not_be_called(descriptor: int) -> None:
    raise AssertionError


async def test_a_missing_file_is_an_error_unless_it_may_be_created(storage: FileStorage) -> None:
    for missing in (lambda: storage.open("none"), lambda: storage.read_file("none")):
        with pytest.raises(FileNotFoundError):
            missing()
    storage.remove("none")
    storage.remove_tree("none")
    assert storage.list("none") == []


async def test_replacing_leaves_only_the_new_content(storage: FileStorage, tmp_path: Path) -> None:
    replace_file(storage, "a", b"one")
    replace_file(storage, "a", b"two", sync=False)
    replace_files(storage, {"a": b"three", "b": b"four"})
    assert storage.list("") == ["a", "b"]
    assert storage.read_file("a") == b"three"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


async def test_a_write_that_does_not_fit_says_so(storage: FileStorage, small_files: None) -> None:
    file = storage.open("a", create=True)
    with pytest.raises(OSError, match="File too large"):
        file.write_at(b"x" * 20_000, 0)
    file.truncate(0)
    file.close()


async def test_a_replacement_that_does_not_fit_leaves_the_old_content(
    storage: FileStorage, small_files: None
) -> None:
    replace_file(storage, "a", b"old")
    with pytest.raises(OSError, match="File too large"):
        replace_file(storage, "a", b"x" * 20_000)
    assert storage.read_file("a") == b"old"
    assert storage.list("") == ["a"]


async def test_work_that_fails_is_reported_where_it_is_waited_for(storage: FileStorage) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        await in_background(storage, fail)
    assert await in_background(storage, lambda: 7) == 7


async def test_after_closing_nothing_new_is_begun(storage: FileStorage) -> None:
    storage.close()
    storage.submit(lambda: None, lambda result, error: pytest.fail("called"))


async def test_folders_are_made_renamed_and_removed(storage: FileStorage) -> None:
    storage.make_folder("topics/a.topic")
    storage.open("topics/a.topic/x", create=True).close()
    storage.sync_folder("topics/a.topic")
    storage.sync_folder("")
    storage.rename("topics/a.topic", "topics/b")
    assert storage.list("topics") == ["b"]
    storage.remove_tree("topics/b")
    assert storage.list("topics") == []


async def test_what_is_said_to_be_synced_is(
    storage: FileStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system is asked to, for just that file or folder, and before the name is taken."""
    calls: list[tuple[str, str]] = []

    def recorded(name: str) -> Callable[[int], None]:
        call = getattr(os, name)

        def record(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}")).relative_to(tmp_path)
            calls.append((name, str(path)))
            call(descriptor)

        return record

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, recorded(name))
    replace = os.replace

    def renamed(old: str, new: str) -> None:
        calls.append(("rename", str(Path(new).relative_to(tmp_path))))
        replace(old, new)

    monkeypatch.setattr(os, "replace", renamed)
    storage.make_folder("f")
    file = storage.open("f/a", create=True)
    file.sync()
    storage.sync_folder("f")
    assert calls == [("fdatasync", "f/a"), ("fsync", "f")]
    calls.clear()
    replace_file(storage, "f/b", b"x")
    assert calls == [("fdatasync", "f/b.tmp"), ("rename", "f/b"), ("fsync", "f")]
    calls.clear()
    replace_files(storage, {"f/c": b"x", "d": b"y"})
    assert calls == [
        ("fdatasync", "f/c.tmp"),
        ("fdatasync", "d.tmp"),
        ("rename", "f/c"),
        ("rename", "d"),
        ("fsync", "f"),
        ("fsync", "."),
    ]
    file.close()
