"""Losses of power at each step of what a broker does with finished segments and checkpoints."""

import random

from tests.support.broker_bench import SECOND_NS, BrokerBench, Client
from tests.support.simulated_disk import NothingSurvives
from tests.support.sinks import Received

POWER_LOSSES = 15


def bodies_after(bench: BrokerBench, channel: str = "archive") -> list[list[bytes]]:
    """Return what is delivered after each of some losses of power now; nothing may be lost."""
    found = []
    for seed in range(POWER_LOSSES):
        after = BrokerBench(disk=bench.disk.power_loss(random.Random(seed)))
        assert after.lost() == []
        after.pass_time(3600 * SECOND_NS)
        found.append(sorted(after.drained(channel)))
    return found


def published(bench: BrokerBench, name: str) -> list[bytes]:
    """Fill more than one segment."""
    bodies = [b"%b %02d " % (name.encode(), number) + b"x" * 900 for number in range(20)]
    for body in bodies:
        bench.publish(body)
    return bodies


def finish_but(client: Client, kept: list[bytes]) -> list[Received]:
    """Finish what was received but some; return those."""
    received = client.take()
    client.finish(*(message for message in received if message.body not in kept))
    return [message for message in received if message.body in kept]


def test_stragglers_and_what_was_finished_before_them() -> None:
    bench = BrokerBench()
    client = bench.client(ready=100)
    kept = published(bench, "a")[1:3]
    bench.broker.sync()
    bench.run()
    first, second = finish_but(client, kept)
    client.ready(0)
    client.requeue(first)
    client.requeue(second, SECOND_NS)
    bench.broker.tick()
    bench.broker.upkeep()
    while bench.disk.pending:  # its segment goes only when the copies are safe
        for bodies in bodies_after(bench):
            assert set(kept) <= set(bodies)
        bench.disk.pending.popleft()()
    assert bodies_after(bench) == [kept] * POWER_LOSSES
    more = published(bench, "b")
    bench.pass_time(SECOND_NS)
    bench.broker.sync()
    bench.run()
    client.ready(100)
    for message in finish_but(client, [kept[0], more[0]]):
        client.ready(0)
        client.requeue(message)
    store = bench.broker._files["orders"].stores["archive"]
    save = store.save_stragglers
    after_save: list[list[list[bytes]]] = []

    def saved(copies: dict[int, bytes]) -> None:
        save(copies)
        after_save.append(bodies_after(bench))

    store.save_stragglers = saved  # type: ignore[assignment,method-assign]  # to look at each moment
    bench.upkeep()
    # The file of copies was written anew without what was finished, which is known to be.
    assert after_save
    for bodies in after_save[0]:
        assert kept[1] not in bodies
    assert bodies_after(bench) == [[kept[0], more[0]]] * POWER_LOSSES


def test_a_checkpoint_and_the_journals_before_it() -> None:
    bench = BrokerBench()
    client = bench.client(ready=100)
    bodies = published(bench, "a")
    kept = finish_but(client, bodies[5:7])
    client.ready(0)
    client.requeue(kept[0])
    client.requeue(kept[1], 10 * SECOND_NS)
    bench.broker.tick()
    bench.broker.sync()
    bench.run()
    files = bench.broker._files["orders"]
    store = files.stores["archive"]
    for _ in range(2):
        store.checkpoint(files.snapshot(bench.channel()), _no_failure)
        while bench.disk.pending:
            assert bodies_after(bench) == [bodies[5:7]] * POWER_LOSSES
            bench.disk.pending.popleft()()
        assert bodies_after(bench) == [bodies[5:7]] * POWER_LOSSES


def test_segments_that_go_while_a_checkpoint_is_written() -> None:
    """The old checkpoint counts until then, and with it the journal before the last."""
    bench = BrokerBench()
    client = bench.client(ready=100)
    published(bench, "a")
    bench.broker.sync()
    bench.run()
    finish_but(client, [])
    bench.broker.tick()
    files = bench.broker._files["orders"]
    files.stores["archive"].checkpoint(files.snapshot(bench.channel()), _no_failure)
    write_checkpoint = bench.disk.pending.popleft()
    bench.upkeep()
    assert bodies_after(bench) == [[]] * POWER_LOSSES
    write_checkpoint()
    bench.run()
    assert bodies_after(bench) == [[]] * POWER_LOSSES


def _no_failure(error: OSError) -> None:
    raise AssertionError from error


def test_an_end_does_not_leave_to_a_sync_under_way_what_it_may_never_finish() -> None:
    bench = BrokerBench()
    bench.channel()
    bodies = published(bench, "a")
    bench.broker.sync()  # of sealed segments, too; the disk is slow, and it waits
    assert bench.disk.pending
    bench.broker.close()
    assert bodies_after(bench) == [bodies] * POWER_LOSSES


def test_numbers_that_were_emptied_are_not_given_out_again() -> None:
    bench = BrokerBench()
    bench.channel()
    bench.broker.pause_topic(bench.topic(), True)
    bench.publish(b"emptied")  # written, and not synced
    bench.broker.empty_topic(bench.topic())
    bench.lose_power(NothingSurvives())
    bench.publish(b"kept")
    bench.broker.pause_topic(bench.topic(), False)
    assert bench.drained() == [b"kept"]
