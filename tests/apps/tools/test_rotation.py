"""When the next file begins, and with which revision."""

from datetime import datetime, timedelta

from nsqx.apps.tools.rotation import Rotation, RotationPolicy

START = datetime(2026, 1, 1)
NO_TIME = timedelta(0)


def begun(policy: RotationPolicy, *, size_bytes: int = 0, revision: int = 0) -> Rotation:
    rotation = Rotation(policy)
    rotation.begin("a", revision, size_bytes, START)
    return rotation


def test_the_first_message_needs_a_file() -> None:
    assert Rotation(RotationPolicy()).is_due("a", START)


def test_a_file_goes_on_while_nothing_changes() -> None:
    rotation = begun(RotationPolicy(), size_bytes=10**12)
    assert not rotation.is_due("a", START + timedelta(days=10_000))


def test_another_name_needs_another_file() -> None:
    assert begun(RotationPolicy()).is_due("b", START)


def test_a_file_is_full_when_it_is_larger_than_the_limit_and_not_before() -> None:
    rotation = begun(RotationPolicy(size_bytes=10), size_bytes=4)
    rotation.wrote(6)
    assert not rotation.is_due("a", START)
    rotation.wrote(1)
    assert rotation.is_due("a", START)


def test_a_file_is_too_old_when_it_is_older_than_the_interval() -> None:
    rotation = begun(RotationPolicy(interval=timedelta(seconds=5)))
    assert not rotation.is_due("a", START + timedelta(seconds=5))
    assert rotation.is_due("a", START + timedelta(seconds=5, microseconds=1))


def test_revisions_count_up_and_begin_anew_with_another_name() -> None:
    rotation = begun(RotationPolicy(), revision=3)
    assert rotation.next_revision("a") == 4
    assert rotation.next_revision("b") == 0


def test_after_it_was_closed_a_file_is_due() -> None:
    rotation = begun(RotationPolicy())
    rotation.end()
    assert rotation.is_due("a", START)
    assert rotation.next_revision("a") == 1
