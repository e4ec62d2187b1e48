"""Viewers that do not read: how much is held for them, and who makes room."""

from contextlib import AbstractContextManager

from nsqx.admin.shown.unsent import SMALL_BYTES, VERSIONS_MAX, Unsent


class Viewers:
    """Viewers that got stuck; who gave up, in order."""

    def __init__(self, bytes_max: int) -> None:
        self.unsent = Unsent(bytes_max)
        self.gave_up: list[str] = []
        self._sending: list[AbstractContextManager[None]] = []

    def stuck(self, name: str, frame: bytes) -> AbstractContextManager[None]:
        who = name.partition("-")[0]
        sending = self.unsent.sending(frame, who, lambda: self.gave_up.append(name))
        sending.__enter__()
        self._sending.append(sending)
        return sending


def version(number: int, size: int = 1_000_000) -> bytes:
    return bytes([number]) * size


def test_one_version_is_held_once_however_many_wait() -> None:
    viewers = Viewers(10_000_000)
    newest = version(1)
    for number in range(100):
        viewers.stuck(f"crowd-{number}", newest)
    assert viewers.unsent.held_bytes == len(newest)
    assert viewers.gave_up == []


def test_who_has_most_of_those_that_wait_loses_the_one_that_waits_longest() -> None:
    viewers = Viewers(10_000_000)
    viewers.stuck("alice-1", version(0))
    for number in range(1, 31):
        viewers.stuck(f"crowd-{number}", version(number))
    viewers.stuck("bob-1", version(99))
    assert viewers.unsent.held_bytes <= 10_000_000
    assert viewers.gave_up == [f"crowd-{number}" for number in range(1, 23)]


def test_who_has_taken_it_counts_no_more() -> None:
    viewers = Viewers(10_000_000)
    for number in range(100):
        viewers.stuck("alice", version(number)).__exit__(None, None, None)
    assert (viewers.unsent.held_bytes, viewers.gave_up) == (0, [])


def test_small_frames_and_some_versions_of_a_large_document_are_let_pass() -> None:
    viewers = Viewers(1)
    for number in range(VERSIONS_MAX):
        viewers.stuck(f"user{number}", version(number))
    viewers.stuck("tiny", version(9, SMALL_BYTES))
    assert viewers.gave_up == []
    viewers.stuck("more", version(10))
    assert viewers.gave_up == ["user0"]
