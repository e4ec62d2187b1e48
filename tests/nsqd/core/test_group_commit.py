"""What topics of the class fsync commit together, on a disk that loses what was not synced."""

import errno
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from nsqx.nsqd.core.acknowledgements import PublishError
from nsqx.nsqd.core.durability import Durability
from nsqx.nsqd.core.topic import Topic
from nsqx.nsqd.log.formats import FORMAT_PATH
from nsqx.nsqd.log.log import PIECE_MESSAGES
from tests.support.broker_bench import SECOND_NS, SETTINGS, BrokerBench
from tests.support.simulated_disk import NothingSurvives, SimulatedDisk

MILLISECOND_NS = 1_000_000


class Bench(BrokerBench):
    """Keeps the answers of publishes; ``loop_sync_ns``: 0 has all syncs done in a thread."""

    def __init__(self, disk: SimulatedDisk | None = None, loop_sync_ns: int = 0) -> None:
        limits = replace(SETTINGS.limits, loop_sync_ns=loop_sync_ns)
        settings = replace(SETTINGS, durability=Durability.FSYNC, limits=limits)
        super().__init__(disk=disk, settings=settings)
        self.answers: list[str] = []

    def send(self, body: bytes, topic: str = "orders") -> None:
        """Publish without an end of the turn."""

        def answer(error: PublishError | None) -> None:
            self.answers.append(f"{body.decode()} {error or 'OK'}")

        target = self.topic(topic)
        if target.publish([body], 0, answer, self.now_ns):
            self.broker.mark(target)

    def warm_up(self, *topics: str) -> None:
        """Have commit files made, and logs whose names are safe."""
        for _ in range(2):
            for name in topics or ("orders",):
                self.channel(topic=name)
                assert self.publish(b"warm", topic=name) == "OK"
        assert self.has_files

    @property
    def has_files(self) -> bool:
        return self.broker._group._files.is_ready

    def after_power_loss(self, topic: str = "orders") -> list[bytes]:
        """Return what is delivered after a loss of power now, sorted and without the warming up."""
        after = Bench(self.disk.power_loss(NothingSurvives()))
        assert after.lost() == []
        return sorted(body for body in after.drained(topic=topic) if body != b"warm")

    def advance(self, duration_ns: int) -> None:
        self.now_ns += duration_ns

    def now_synced(self, path: str) -> bool:
        content = self.disk._files[path]
        return content.durable == bytes(content.written)


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.warm_up()
    return bench


def syncs_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    syncs: list[None] = []
    monkeypatch.setattr(bench.disk, "check_sync", lambda: syncs.append(None))
    return syncs


def log_paths(bench: Bench) -> list[str]:
    return [path for path in bench.disk.paths() if path.endswith((".log", ".idx"))]


def test_a_hundred_topics_share_a_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"t{number}" for number in range(100)]
    bench = Bench()
    bench.warm_up(*names)
    syncs = syncs_of(bench, monkeypatch)
    for name in names:
        bench.send(b"shared", name)
    bench.broker.flush()
    assert bench.answers == []
    bench.run()
    assert len(syncs) == 1
    assert bench.answers == ["shared OK"] * 100
    assert bench.drained(topic="t99") == [b"warm", b"warm", b"shared"]
    for name in ("t0", "t99"):
        assert bench.after_power_loss(name) == [b"shared"]


def test_ok_is_kept_though_the_log_was_not_synced(bench: Bench) -> None:
    assert bench.publish(b"kept") == "OK"
    assert not all(map(bench.now_synced, log_paths(bench)))
    assert bench.after_power_loss() == [b"kept"]


def test_who_comes_while_a_commit_is_under_way_is_in_the_next(bench: Bench) -> None:
    for name in (b"a", b"b", b"c"):
        bench.send(name)
        bench.broker.flush()
    assert len(bench.disk.pending) == 1
    bench.disk.pending.popleft()()
    assert bench.answers == ["a OK"]
    bench.disk.pending.popleft()()
    assert bench.answers == ["a OK", "b OK", "c OK"]


def test_what_a_log_began_with_is_waited_for(bench: Bench) -> None:
    """Nothing of a new log is committed before its names and what is before it are safe."""
    bench.channel(topic="new")
    bench.send(b"a", "new")
    bench.broker.flush()
    bench.send(b"b", "new")
    bench.broker.flush()
    while len(bench.disk.pending) > 1:
        bench.disk.pending.pop()()  # what was submitted last is done first
    assert bench.answers == []
    bench.run()
    assert bench.answers == ["a OK", "b OK"]
    assert bench.after_power_loss("new") == [b"a", b"b"]


def test_what_a_sync_in_its_place_was_to_make_safe_is_answered_once(bench: Bench) -> None:
    bench.send(b"a")
    bench.broker.flush()
    bench.send(b"b")
    bench.broker.flush()
    bench.topic().sync_in_background()
    first, in_place = bench.disk.pending.popleft(), bench.disk.pending.popleft()
    first()
    bench.run()  # the commit of b, sooner than the sync
    assert bench.answers == ["a OK", "b OK"]
    in_place()
    bench.run()
    assert bench.answers == ["a OK", "b OK"]


def test_what_follows_a_batch_in_pieces() -> None:
    bench = Bench()
    bench.settings.segment_bytes_max = 10**6
    bench.warm_up()
    many = [b"many"] * (PIECE_MESSAGES + 1)
    target = bench.topic()
    target.publish(list(many), 0, lambda error: None, bench.now_ns)
    bench.broker.mark(target)
    while target.being_written is not None:
        bench.broker.flush()
    bench.run()
    assert bench.publish(b"more") == "OK"
    assert bench.publish(b"still more") == "OK"
    after = Bench(bench.disk.power_loss(NothingSurvives()))
    assert after.lost() == []
    assert after.channel().depth == 2 + len(many) + 2


def test_a_deleted_topic_keeps_no_file(bench: Bench) -> None:
    bench.warm_up("other")
    assert bench.publish(b"x", topic="other") == "OK"
    bench.broker.delete_topic(bench.topic("other"))
    files = bench.broker._group._files._files
    assert [member for each in files for member in each.behind] == [bench.topic()]


def test_a_new_segment_is_synced_in_its_place_first(bench: Bench) -> None:
    bodies = [b"%02d" % number + b"x" * 2000 for number in range(20)]  # some four segments
    for body in bodies:
        assert bench.publish(body) == "OK"
        assert bench.after_power_loss()[-1] == body
    assert bench.after_power_loss() == bodies


def test_a_topic_of_the_same_name_gets_nothing_of_the_old_one(bench: Bench) -> None:
    bench.publish(b"old")
    bench.broker.delete_topic(bench.topic())
    bench.channel()
    assert bench.publish(b"new") == "OK"
    assert bench.publish(b"newer") == "OK"
    assert bench.after_power_loss() == [b"new", b"newer"]


def test_what_came_under_os_before_is_kept_with_it(bench: Bench) -> None:
    bench.topic().durability = Durability.OS
    bench.publish(b"os")
    assert bench.after_power_loss() == []
    bench.topic().durability = Durability.FSYNC
    assert bench.publish(b"fsync") == "OK"
    assert bench.after_power_loss() == [b"fsync", b"os"]


def test_a_long_batch_is_synced_in_its_place(bench: Bench) -> None:
    bodies = [b"x" * 3000] * 40  # more than a commit file takes
    assert bench.publish(*bodies) == "OK"
    assert bench.after_power_loss() == bodies
    assert bench.publish(b"short") == "OK"
    assert bench.after_power_loss() == sorted([*bodies, b"short"])


def test_files_are_written_over_for_ever(bench: Bench) -> None:
    """They have room for 32 commits; syncs each two seconds let the logs catch up."""
    bodies = []
    for number in range(200):
        bodies.append(b"%03d" % number)
        assert bench.publish(bodies[-1]) == "OK"
        if number % 20 == 0:
            bench.broker.sync()
            bench.run()
    assert bench.after_power_loss() == bodies


def test_a_full_file_has_its_logs_catch_up_at_once(bench: Bench) -> None:
    for number in range(200):
        assert bench.publish(b"%03d" % number) == "OK"
    assert len(bench.after_power_loss()) == 200
    assert bench.broker._group._files.begin([]) is not None  # there is room again


def test_syncs_alone_end_the_gathering(bench: Bench) -> None:
    bench.topic().durability = Durability.OS
    for _ in range(2):
        bench.publish(b"x")
        bench.broker.sync()
        bench.run()
    assert bench.log()._pending is None
    bench.topic().durability = Durability.FSYNC
    assert bench.publish(b"y") == "OK"
    assert bench.publish(b"z") == "OK"
    assert bench.after_power_loss() == [b"x", b"x", b"y", b"z"]


def test_a_publisher_that_comes_seldom_is_committed(bench: Bench) -> None:
    """Less often than logs are synced in their place."""
    for _ in range(3):
        bench.broker.sync()
        bench.run()
        bench.send(b"x")
        bench.broker.flush()
        assert bench.log()._pending is not None
        bench.run()


# On the event loop


@pytest.fixture
def fast_bench() -> Bench:
    """Return one that has learned that syncs take no time here."""
    bench = Bench(loop_sync_ns=MILLISECOND_NS)
    bench.warm_up()
    for _ in range(30):
        bench.publish(b"x")
    return bench


def test_a_lone_publisher_is_answered_at_once_while_the_disk_is_fast(fast_bench: Bench) -> None:
    bench = fast_bench
    bench.send(b"alone")
    bench.broker.flush()
    assert bench.answers == ["alone OK"]
    assert not bench.disk.pending
    assert b"alone" in bench.after_power_loss()
    bench.send(b"a")
    bench.send(b"b")  # several go by a thread
    bench.broker.flush()
    assert bench.answers == ["alone OK"]


def test_a_slow_disk_is_left_to_a_thread(
    fast_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = fast_bench
    monkeypatch.setattr(bench.disk, "check_sync", lambda: bench.advance(20 * MILLISECOND_NS))
    for _ in range(2):
        bench.publish(b"slow")
    bench.answers.clear()
    bench.send(b"alone")
    bench.broker.flush()
    assert bench.answers == []


def test_a_refusal_on_the_event_loop_is_made_good_in_the_log(fast_bench: Bench) -> None:
    bench = fast_bench
    bench.disk.fail_syncs = errno.EIO
    bench.send(b"alone")
    bench.broker.flush()
    bench.disk.fail_syncs = None
    bench.run()
    assert bench.answers == ["alone OK"]
    assert b"alone" in bench.after_power_loss()


# When the disk refuses


def test_a_commit_that_failed_is_made_good_in_the_log(bench: Bench) -> None:
    bench.send(b"a")
    bench.broker.flush()
    bench.disk.fail_syncs = errno.EIO
    bench.disk.pending.popleft()()
    bench.disk.fail_syncs = None
    assert bench.answers == []
    bench.run()
    assert bench.answers == ["a OK"]
    assert bench.publish(b"b") == "OK"
    assert bench.after_power_loss() == [b"a", b"b"]
    assert any("refused a commit" in warning for warning in bench.events.warnings)


def test_a_disk_that_refuses_both_refuses_the_publish(bench: Bench) -> None:
    bench.disk.fail_syncs = errno.EIO
    assert bench.publish(b"a") == "EIO"
    bench.disk.fail_syncs = None
    assert bench.publish(b"b") == "OK"
    assert bench.drained() == [b"warm", b"warm", b"b"]
    assert bench.after_power_loss() == [b"b"]


def test_what_was_committed_outlives_a_sync_in_its_place_that_failed(bench: Bench) -> None:
    """The system may have dropped those pages, and no later sync would tell."""
    assert bench.publish(b"kept") == "OK"
    bench.disk.fail_syncs = errno.EIO
    bench.broker.sync()
    bench.run()
    bench.disk.fail_syncs = None
    for number in range(200):
        assert bench.publish(b"%03d" % number) == "OK"
    bench.broker.sync()
    bench.run()
    assert bench.after_power_loss()[-1] == b"kept"
    bench.broker.close()  # leaves what the next start needs
    assert bench.after_power_loss()[-1] == b"kept"


def under_way(bench: Bench) -> None:
    """Have a commit of a, and then a sync in its place that fails, with b appended meanwhile."""
    bench.send(b"a")
    bench.broker.flush()
    bench.topic().sync_in_background()
    bench.send(b"b")
    bench.broker.flush()
    commit = bench.disk.pending.popleft()
    bench.disk.fail_syncs = errno.EIO
    bench.disk.pending.popleft()()
    bench.disk.fail_syncs = None
    bench.disk.pending.appendleft(commit)
    assert bench.answers == ["b EIO"]
    assert bench.channel().depth == 2  # what it was warmed up with


def test_a_sync_that_fails_meanwhile_costs_what_was_not_in_the_commit(bench: Bench) -> None:
    under_way(bench)
    bench.run()
    assert bench.answers == ["b EIO", "a OK"]
    assert bench.publish(b"c") == "OK"
    assert bench.drained() == [b"warm", b"warm", b"a", b"c"]
    assert bench.after_power_loss() == [b"a", b"c"]


def test_both_fail_at_the_same_time(bench: Bench) -> None:
    under_way(bench)
    bench.disk.fail_syncs = errno.EIO
    bench.disk.pending.popleft()()
    bench.disk.fail_syncs = None
    bench.run()
    assert bench.answers == ["b EIO", "a EIO"]
    assert bench.publish(b"c") == "OK"
    assert bench.drained() == [b"warm", b"warm", b"c"]


def test_a_commit_that_fails_after_its_place_was_lost_is_refused(bench: Bench) -> None:
    """The next sync in its place would succeed, without the pages that the failed one dropped."""
    bench.send(b"a")
    bench.broker.flush()
    bench.topic().sync_in_background()  # nobody waits for it
    commit, in_place = bench.disk.pending
    bench.disk.pending.clear()
    bench.disk.fail_syncs = errno.EIO
    in_place()
    bench.disk.fail_syncs = None
    bench.send(b"b")
    bench.broker.flush()
    bench.topic().sync_in_background()  # it would prove nothing of what was before
    bench.run()
    assert bench.client(ready=9).bodies() == [b"warm", b"warm"]
    bench.disk.fail_syncs = errno.EIO
    commit()
    bench.disk.fail_syncs = None
    bench.run()
    assert bench.answers == ["a EIO", "b OK"]
    assert bench.publish(b"c") == "OK"
    bench.broker.tick()  # writes down what was refused
    assert bench.after_power_loss() == [b"b", b"c"]


def test_a_commit_that_fails_is_no_loss_when_its_place_was_synced_meanwhile(bench: Bench) -> None:
    """What came after it was passed on then, and so was this."""
    bench.send(b"a")
    bench.broker.flush()
    bench.send(b"b")
    bench.broker.flush()
    bench.topic().sync_in_background()
    commit, in_place = bench.disk.pending
    bench.disk.pending.clear()
    in_place()
    assert bench.answers == ["b OK"]
    bench.disk.fail_syncs = errno.EIO
    commit()
    bench.disk.run_pending()
    bench.disk.fail_syncs = None
    assert bench.answers == ["b OK", "a OK"]
    assert bench.after_power_loss() == [b"a", b"b"]


def test_a_fault_of_ours_in_a_commit_is_told_and_made_good(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.events.expects_failures = True
    with monkeypatch.context() as patched:
        patched.setattr("nsqx.nsqd.log.commit_files._encode_record", lambda *_: 1 / 0, raising=True)
        assert bench.publish(b"a") == "OK"
    assert [what for what, _ in bench.events.failures] == ["commit"]
    assert bench.after_power_loss() == [b"a"]


def test_without_room_for_the_files_logs_are_synced_in_their_place() -> None:
    bench = Bench()
    bench.channel()
    bench.disk.free_bytes = 256 * 1024
    for name in (b"a", b"b", b"c"):
        assert bench.publish(name) == "OK"
    assert not bench.has_files
    assert bench.disk.paths(".commits") == []
    assert bench.after_power_loss() == [b"a", b"b", b"c"]
    bench.disk.free_bytes = None
    bench.advance(11 * SECOND_NS)
    for name in (b"d", b"e", b"f"):
        assert bench.publish(name) == "OK"
    assert bench.has_files
    assert len(bench.after_power_loss()) == 6


# Start and end


def needs(disk: SimulatedDisk) -> list[str]:
    return list(json.loads(bytes(disk.content(FORMAT_PATH)))["needs"])


def test_the_folder_says_that_it_has_commit_files(bench: Bench) -> None:
    assert needs(bench.disk.power_loss(NothingSurvives())) == ["commits"]
    bench.publish(b"kept")
    bench.kill()
    assert needs(bench.disk) == []
    assert bench.disk.paths(".commits") == []


def test_an_end_leaves_no_commit_files(bench: Bench) -> None:
    bench.publish(b"kept")
    bench.broker.close()
    assert needs(bench.disk) == []
    assert bench.disk.paths(".commits") == []
    assert bench.after_power_loss() == [b"kept"]


def test_an_end_while_a_commit_is_under_way(bench: Bench) -> None:
    """What it writes to stays open: its number would be that of another file."""
    bench.send(b"a")
    bench.broker.flush()
    bench.broker.close()
    bench.run()
    assert bench.disk.paths(".commits") == []
    assert needs(bench.disk) == []
    assert bench.after_power_loss() == [b"a"]


def test_an_end_while_the_files_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.channel()
    bench.send(b"a")
    bench.broker.flush()

    def end() -> None:
        if len(bench.disk.paths(".commits")) == 2:
            monkeypatch.undo()
            bench.broker.close()

    monkeypatch.setattr(bench.disk, "step", end)
    bench.run()
    assert not bench.has_files
    assert needs(bench.disk) == []
    assert bench.after_power_loss() == [b"a"]
    bench.kill()
    assert bench.disk.paths(".commits") == []


def test_an_end_that_fails_while_the_files_are_made() -> None:
    """They are not marked when it is over: the folder may be another process's by then."""
    bench = Bench()
    bench.channel()
    bench.send(b"a")
    bench.broker.flush()
    bench.disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        bench.broker.close()
    bench.disk.fail_syncs = None
    bench.run()
    assert not bench.has_files
    assert needs(bench.disk) == []


def test_an_end_while_a_sync_in_its_place_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one is told, and the one that the end waits for succeeds without what was dropped."""
    assert bench.publish(b"kept") == "OK"
    works: list[Callable[[], None]] = []
    monkeypatch.setattr(bench.disk, "submit", lambda work, done, **_: works.append(work))
    bench.topic().sync_in_background()
    bench.disk.fail_syncs = errno.EIO
    with pytest.raises(OSError, match="EIO"):
        works[0]()
    bench.disk.fail_syncs = None
    bench.broker.close()
    assert needs(bench.disk) == ["commits"]
    assert bench.after_power_loss() == [b"kept"]


def test_a_start_on_a_full_disk(bench: Bench) -> None:
    """Whoever makes room has to start; what the folder needs is corrected when there is some."""
    assert bench.publish(b"kept") == "OK"
    bench.disk = bench.disk.kill()
    bench.disk.free_bytes = 30_000  # for what is in the commit files, and no more

    def takes_all_room(path: str) -> None:
        SimulatedDisk.remove(bench.disk, path)
        if path.endswith(".commits"):
            bench.disk.free_bytes = 0

    bench.disk.remove = takes_all_room  # type: ignore[method-assign]
    bench.start()
    assert bench.drained() == [b"warm", b"warm", b"kept"]
    assert needs(bench.disk) == ["commits"]
    bench.disk.free_bytes = None
    bench.upkeep()
    assert needs(bench.disk) == []


def test_no_room_for_the_files_is_told_once() -> None:
    bench = Bench()
    bench.channel()
    bench.disk.free_bytes = 256 * 1024
    for _ in range(5):
        assert bench.publish(b"x") == "OK"
        bench.advance(11 * SECOND_NS)
    assert len([each for each in bench.events.warnings if "no room for commit files" in each]) == 1


def test_a_broker_of_another_class_takes_up_what_was_committed(bench: Bench) -> None:
    bench.publish(b"kept")
    after = BrokerBench(disk=bench.disk.power_loss(NothingSurvives()))
    assert after.drained() == [b"warm", b"warm", b"kept"]
    assert any("safe in commit files" in warning for warning in after.events.warnings)


def test_topics_that_never_ask_for_it_cost_nothing() -> None:
    bench = BrokerBench()
    bench.channel()
    for _ in range(3):
        bench.publish(b"x")
    bench.broker.sync()
    bench.run()
    assert bench.disk.paths(".commits") == []
    log = bench.log()
    assert log._pending is None


def test_what_nobody_commits_is_not_gathered(bench: Bench) -> None:
    """A topic that was changed to the class os gathers no more than a limit."""
    topic: Topic = bench.topic()
    topic.durability = Durability.OS
    limit = bench.settings.limits.log.pending_bytes
    bench.publish(*[b"x" * 1000] * (limit // 1000 + 10))
    assert bench.log()._pending is None
