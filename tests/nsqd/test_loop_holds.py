"""No step of a broker with 1,000 channels holds the event loop for more than 20 ms."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nsqx.nsqd.log import channel_store
from tests.support.holds import measured_holds
from tests.support.node import Node, running_node
from tests.support.processes import eventually

HOLD_S_MAX = 0.02
CHANNELS = 1_000
BODIES = [b"x" * 200] * 200


@contextmanager
def held_briefly(what: str) -> Iterator[None]:
    with measured_holds() as holds:
        yield
    assert 0 < holds.longest_s < HOLD_S_MAX, f"{what}: {holds.longest}"


async def publish(node: Node, count: int = 25) -> None:
    async with node.client() as client:
        for _ in range(count):
            await client.publish_many("t", BODIES)


async def released(node: Node, first: int) -> None:
    log = node.broker.topics["t"].log

    async def is_released() -> bool:
        return bool(log.first >= first)

    await eventually(is_released, "segments that nobody needs go")


async def compacted(folder: Path) -> None:
    def has_first_journals() -> bool:
        return any(folder.glob("c00*.channel.0.journal"))  # the others have theirs in turn

    async def is_compacted() -> bool:
        return not await asyncio.to_thread(has_first_journals)

    await eventually(is_compacted, "a hundred channels have a checkpoint")


async def test_holds_with_a_thousand_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantiles = [1.0, 0.99]
    async with running_node(
        tmp_path, max_bytes_per_file=200_000, e2e_processing_latency_percentile=quantiles
    ) as node:
        topic = node.broker.get_topic("t")
        channels = [node.broker.get_channel(topic, f"c{n:04}") for n in range(CHANNELS)]
        node.broker.flush()
        with held_briefly("publishing and passing on"):
            await publish(node)
        for path in ("/stats?format=json", "/stats", "/metrics"):
            with held_briefly(path):
                assert b"c0999" in await node.get(path)

        # Every channel is done with everything: all journals are to be written, segments go.
        for channel in channels:
            channel.empty()
        with held_briefly("journals and retention"):
            await released(node, 4_000)

        # All channels want a checkpoint in the same second.
        monkeypatch.setattr(channel_store, "CHECKPOINT_AFTER_BYTES", 0)
        with held_briefly("checkpoints"):
            await compacted(tmp_path / "topics" / "t.topic")
        monkeypatch.undo()

        with held_briefly("deletion"):
            await node.post("/topic/delete?topic=t")
