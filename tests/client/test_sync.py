"""The client for code without an event loop."""

import asyncio
import os
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing

import pytest

from nsqx.client import ClientClosed, DeadlineExceeded, PartlyPublished, PublishFailed
from nsqx.client.background import BackgroundLoop
from nsqx.client.sync import Nsq
from nsqx.testing.cluster import Cluster
from tests.support.processes import free_port


def depth(cluster: Cluster) -> int:
    (topic,) = cluster.node.stats()["topics"]
    (channel,) = topic["channels"]
    return int(channel["depth"] + channel["in_flight_count"])


def test_publish_and_consume(nsq: Nsq) -> None:
    nsq.publish("orders", {"id": 0})
    assert nsq.publish_many("orders", ({"id": number} for number in range(1, 2000))) == 1999
    ids = set()
    with nsq.consume("orders", "billing", max_in_flight=500) as messages:
        for message in messages:
            with message:
                ids.add(message.decode()["id"])
            if len(ids) == 2000:
                break
        assert messages.stats.received == 2000
    assert ids == set(range(2000))


def test_a_block_that_raises_requeues(nsq: Nsq) -> None:
    nsq.publish("orders", b"x")
    with nsq.consume("orders", "billing", requeue_delay=0) as messages:
        with pytest.raises(RuntimeError), next(messages):
            raise RuntimeError
        again = next(messages)
        assert again.attempts == 2
        assert again.finish()
        assert not again.finish()


def test_answers(nsq: Nsq) -> None:
    nsq.publish("orders", b"x")
    with nsq.consume("orders", "billing") as messages:
        message = next(messages)
        assert message.touch()
        assert message.requeue(0)
        again = next(messages)
        assert (again.id, again.body) == (message.id, b"x")
        assert again.age >= 0
        again.finish()


def test_a_message_is_touched_while_the_block_runs(nsq_server: Cluster) -> None:
    node = nsq_server.add_node(msg_timeout=1_000_000_000)
    with Nsq(nsqd=node.tcp_address) as nsq:
        nsq.publish("orders", b"x")
        with nsq.consume("orders", "billing") as messages, next(messages) as message:
            before = message._message.deadline
            until(lambda: message._message.deadline > before)  # the event loop has its own thread
            assert message.is_open


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_batches(nsq: Nsq) -> None:
    nsq.ready()
    nsq.publish_many("orders", range(5))
    with nsq.consume("orders", "warehouse") as messages:
        messages.max_in_flight = 3
        seen: list[int] = []
        for batch in messages.batches(max=2, wait=0.2):
            assert len(batch) <= 2
            for message in batch:
                seen.append(message.decode())
                assert message.is_open
                message.finish()
                assert not message.is_open
            if len(seen) == 5:
                break
        assert messages.max_in_flight == 3
    assert sorted(seen) == list(range(5))


def test_what_was_not_taken_goes_back(nsq: Nsq, nsq_server: Cluster) -> None:
    nsq.publish_many("orders", [b"%d" % number for number in range(10)])
    with nsq.consume("orders", "billing") as messages:
        next(messages).finish()
    assert depth(nsq_server) == 9


def test_waiting_in_vain(nsq: Nsq) -> None:
    with nsq.consume("orders", "billing") as messages:
        assert messages.get(timeout=0.05) is None
        nsq.publish("orders", b"x")
        message = messages.get(timeout=5)
        assert message is not None
        message.finish()


def test_closing_ends_the_loop(nsq: Nsq) -> None:
    nsq.publish("orders", b"x")
    seen = []
    with nsq.consume("orders", "billing") as messages:
        first = threading.Event()

        def close() -> None:
            first.wait()
            messages.close()

        closer = threading.Thread(target=close)
        closer.start()
        for message in messages:
            with message:
                seen.append(message.body)
            first.set()
        closer.join()
    assert seen == [b"x"]


def test_errors_are_the_same(nsq: Nsq) -> None:
    with pytest.raises(ValueError, match="topic"):
        nsq.publish("no spaces", b"x")
    with pytest.raises(PublishFailed):
        nsq.publish("orders", b"x" * 2_000_000)
    with (
        Nsq(nsqd=f"127.0.0.1:{free_port()}") as other,
        pytest.raises(DeadlineExceeded, match="cannot connect"),
    ):
        other.publish("orders", b"x", timeout=0.1)


def test_what_is_published_is_read_in_the_thread_of_the_caller(
    nsq: Nsq, nsq_server: Cluster
) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table orders (id integer)")
        database.executemany("insert into orders values (?)", ((id,) for id in range(3000)))
        rows = database.execute("select id from orders")  # refuses all other threads
        assert nsq.publish_many("orders", (row[0] for row in rows)) == 3000
    assert len(nsq_server.published("orders")) == 3000


def test_values_may_publish_themselves(nsq: Nsq, nsq_server: Cluster) -> None:
    def values() -> Iterator[int]:
        nsq.publish("log", b"began")
        yield 1

    assert nsq.publish_many("orders", values()) == 1
    assert nsq_server.published("log").bodies == [b"began"]


def test_what_values_raise_is_raised(nsq: Nsq) -> None:
    def values() -> Iterator[int]:
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        nsq.publish_many("orders", values())
    with pytest.raises(PartlyPublished) as caught:
        nsq.publish_many("orders", [b"fine"] * 500 + [b"x" * 2_000_000])
    assert caught.value.confirmed == 500
    assert caught.value.unconfirmed == [b"x" * 2_000_000]


def test_a_call_that_would_wait_for_itself_is_refused(nsq: Nsq) -> None:
    assert nsq._loop is not None
    refusal = nsq._loop.call(lambda: _refusal(lambda: nsq.publish("orders", b"x")))
    assert "wait for ever" in refusal
    refusal = nsq._loop.call(lambda: _refusal(lambda: nsq.publish_many("orders", [b"x"])))
    assert "wait for ever" in refusal
    assert "wait for ever" in nsq._loop.call(lambda: _refusal(nsq.close))
    nsq.publish("orders", b"x")  # it was not closed


def _refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except RuntimeError as exc:
        return str(exc)
    return ""


def test_a_child_made_by_fork_is_refused_at_once(nsq: Nsq) -> None:
    nsq.publish_many("orders", range(10))
    with nsq.consume("orders", "billing", max_in_flight=10) as messages:
        next(messages).finish()
        while messages.stats.received < 10:
            time.sleep(0.005)
        assert "made before fork" in _in_a_child(lambda: nsq.publish("orders", b"x"))
        # Nor has it the messages at hand, which are the parent's.
        assert "made before fork" in _in_a_child(lambda: next(messages))
        assert "made before fork" in _in_a_child(lambda: messages.get(1))
        next(messages).finish()


def _in_a_child(call: Callable[[], object]) -> str:
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the subject
        pid = os.fork()
    if not pid:
        os.write(write, _refusal(call).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read) as pipe:
        return pipe.read()


def test_it_is_opened_once(nsq: Nsq) -> None:
    threads = threading.active_count()
    with pytest.raises(ClientClosed, match="open already"):
        nsq.__enter__()
    assert threading.active_count() == threads
    nsq.publish("orders", b"x")


def test_closing_closes_the_consumers(nsq_server: Cluster) -> None:
    nsq = Nsq(nsqd=nsq_server.tcp_address)
    with nsq:
        nsq.publish_many("orders", range(3))
        messages = nsq.consume("orders", "billing").__enter__()
        next(messages).finish()
    assert depth(nsq_server) == 2
    assert nsq_server.node.stats()["topics"][0]["channels"][0]["clients"] == []
    assert list(messages) == []
    assert messages.get(1) is None
    assert list(messages.batches()) == []
    messages.close()


def test_a_slow_loop_runs_every_message_once(nsq_server: Cluster) -> None:
    node = nsq_server.add_node(msg_timeout=800_000_000)
    with Nsq(nsqd=node.tcp_address) as nsq:
        nsq.publish_many("orders", range(5))
        seen: list[tuple[int, int]] = []
        with nsq.consume("orders", "billing") as messages:
            while len(seen) < 5 and (message := messages.get(timeout=5)) is not None:
                with message:
                    time.sleep(0.3)  # all that was fetched would be stale by the third
                    seen.append((message.decode(), message.attempts))
    assert sorted(seen) == [(id, 1) for id in range(5)]
    assert node.stats()["topics"][0]["channels"][0]["timeout_count"] == 0


def test_it_is_open_within_its_block_only(nsq_server: Cluster) -> None:
    nsq = Nsq(nsqd=nsq_server.tcp_address)
    with pytest.raises(RuntimeError, match="use with"):
        nsq.publish("orders", b"x")
    with nsq:
        nsq.publish("orders", b"x")
    nsq.close()
    with pytest.raises(RuntimeError, match="use with"):
        nsq.publish("orders", b"x")


def test_from_env(nsq_server: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSQ_URL", f"nsq://{nsq_server.tcp_address}")
    with Nsq.from_env() as nsq:
        nsq.publish("orders", b"x")
    assert nsq_server.published("orders").bodies == [b"x"]


def test_several_threads_share_one_client(nsq: Nsq, nsq_server: Cluster) -> None:
    def publish() -> None:
        for _ in range(50):
            nsq.publish("orders", b"x")

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(nsq_server.published("orders")) == 200


def test_a_loop_that_does_not_run() -> None:
    loop = BackgroundLoop("test")
    loop.stop()  # nothing to do
    loop.start()
    assert loop.call(lambda: 5) == 5
    loop.stop()
    with pytest.raises(RuntimeError, match="event loop of test does not run"):
        loop.post(print)


class _LateLoop(asyncio.SelectorEventLoop):
    """Something is submitted when it has just stopped."""

    late: "list[Future[bool]]"
    background: BackgroundLoop

    def close(self) -> None:
        self.late = [self.background.submit(asyncio.Event().wait())]
        super().close()


def test_who_comes_while_it_stops_does_not_wait_for_ever() -> None:
    loop = BackgroundLoop("test", _LateLoop)
    loop.start()
    late = loop.loop
    assert isinstance(late, _LateLoop)
    late.background = loop
    loop.stop()
    assert late.late[0].cancelled()
    with pytest.raises(RuntimeError, match="does not run"):
        loop.run(asyncio.sleep(0))


def test_some_are_fetched_and_deliveries_are_paused(nsq: Nsq) -> None:
    nsq.publish_many("some", [b"1", b"2", b"3"])
    with nsq.consume("some", "c") as messages:
        messages.pause()
        assert messages.is_paused
        assert messages.fetch(1, timeout=0.01) == []
        messages.resume()
        got = messages.fetch(3, timeout=10)
        assert [message.body for message in got] == [b"1", b"2", b"3"]
        assert {(message.topic, message.channel) for message in got} == {("some", "c")}
        assert all(message.nsqd and message.finish() for message in got)
    assert messages.fetch(1) == []
