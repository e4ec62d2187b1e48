"""``nsq_to_nsq`` as a process: every message arrives, also when a destination does not answer."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nsqx.client import Producer
from tests.support.commands import running_nsqx
from tests.support.processes import Cluster, Nsqd, eventually, free_port


@asynccontextmanager
async def copying(source: Nsqd, destinations: list[str], *flags: str) -> AsyncIterator[None]:
    """Run until the block ends, then see that it ends in good order."""
    addresses = [f"--nsqd-tcp-address={source.tcp_address}"]
    addresses += [f"--destination-nsqd-tcp-address={address}" for address in destinations]
    async with running_nsqx("nsq-to-nsq", "--topic=t", *addresses, *flags) as process:
        yield
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            _, log = await process.communicate()
        assert process.returncode == 0, log.decode()


async def messages(node: Nsqd) -> int:
    stats = await node.get_json("/stats?format=json&topic=t")
    return sum(topic["message_count"] for topic in stats["topics"] or ())


async def until_all_arrived(source: Nsqd, count: int, *destinations: Nsqd) -> None:
    async def have_arrived() -> bool:
        return sum([await messages(node) for node in destinations]) >= count

    async def are_finished() -> bool:
        stats = await source.get_json("/stats?format=json&topic=t&channel=nsq_to_nsq")
        channel = stats["topics"][0]["channels"][0]
        return not any(channel[name] for name in ("depth", "in_flight_count", "deferred_count"))

    await eventually(have_arrived, f"{count} messages have arrived")
    await eventually(are_finished, "all messages are finished")


async def test_destinations_take_turns(cluster: Cluster) -> None:
    source, one, two = [await cluster.nsqd() for _ in range(3)]
    async with Producer(source.tcp_address) as producer:
        await producer.publish_many("t", (b"%d" % number for number in range(5000)))
    async with copying(source, [one.tcp_address, two.tcp_address], "--mode=round-robin"):
        await until_all_arrived(source, 5000, one, two)
    assert (await messages(one), await messages(two)) == (2500, 2500)


async def test_a_destination_that_is_down_is_passed_over(cluster: Cluster) -> None:
    source, living = [await cluster.nsqd() for _ in range(2)]
    async with Producer(source.tcp_address) as producer:
        await producer.publish_many("t", (b"%d" % number for number in range(100)))
    down = f"127.0.0.1:{free_port()}"
    retry = ["--consumer-opt=default_requeue_delay,10ms", "--consumer-opt=backoff_multiplier,1"]
    async with copying(source, [down, living.tcp_address], *retry):
        await until_all_arrived(source, 100, living)
    assert await messages(living) == 100


async def test_a_frozen_destination_is_left_within_a_second(cluster: Cluster) -> None:
    source, frozen, living = [await cluster.nsqd() for _ in range(3)]
    retry = ["--consumer-opt=max_backoff_duration,0", "--mode=round-robin", "--max-in-flight=20"]
    destinations = [frozen.tcp_address, living.tcp_address]
    async with Producer(source.tcp_address) as producer, copying(source, destinations, *retry):
        await producer.publish_many("t", [b"x"] * 10)
        await until_all_arrived(source, 10, frozen, living)
        frozen.send_signal(signal.SIGSTOP)
        before = await messages(living)
        for _ in range(40):
            await producer.publish("t", b"x")
            await asyncio.sleep(0.05)  # the subject is a second that passes

        async def most_have_arrived() -> bool:
            # Those of the first half second wait for the frozen one, as NSQ's would.
            return await messages(living) - before >= 30

        try:
            await eventually(most_have_arrived, "the others have arrived")
        finally:
            frozen.send_signal(signal.SIGCONT)
        await until_all_arrived(source, 50, frozen, living)
