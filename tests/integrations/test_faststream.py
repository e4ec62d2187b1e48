"""The FastStream broker: FastStream's own promises, with the real package and a real nsqd."""

import asyncio
from typing import Annotated, Any

import pydantic
import pytest
from faststream import AckPolicy, Context, FastStream
from faststream.exceptions import FeatureNotSupportedException
from faststream.specification import AsyncAPI

from nsqx.client import Nsq
from nsqx.integrations.faststream import NsqBroker, NsqMessage, NsqRouter, TestNsqBroker
from nsqx.testing.cluster import Cluster
from tests.support.processes import free_port

WAIT_SECONDS = 10.0

InContext = Annotated[NsqMessage, Context("message")]

QUICK: dict[str, Any] = {"requeue_delay": 0, "backoff": False}


class Order(pydantic.BaseModel):
    id: int


@pytest.fixture
def broker(nsq_server: Cluster) -> NsqBroker:
    return NsqBroker(nsq_server.client())


def channel_of(cluster: Cluster, topic: str) -> Any:
    topics = {found["topic_name"]: found for found in cluster.node.stats()["topics"]}
    (channel,) = topics[topic]["channels"]
    return channel


def is_drained(channel: Any) -> bool:
    return not (channel["depth"] or channel["in_flight_count"] or channel["deferred_count"])


async def test_handlers_get_typed_bodies_and_what_they_return_is_published(
    broker: NsqBroker, nsq_server: Cluster
) -> None:
    @broker.subscriber("orders", "billing", max_workers=2)
    @broker.publisher("invoices")
    async def bill(order: Order) -> dict[str, int]:
        return {"order": order.id}

    async with broker:
        await broker.start()
        await broker.publish(Order(id=1), "orders")
        await broker.publish({"id": 2}, "orders")
        await nsq_server.published("invoices").wait_async(2)
    assert sorted(found["order"] for found in nsq_server.published("invoices").values) == [1, 2]
    assert is_drained(channel_of(nsq_server, "orders"))


async def test_the_message_is_in_the_context(broker: NsqBroker) -> None:
    got: asyncio.Future[NsqMessage] = asyncio.get_running_loop().create_future()

    @broker.subscriber("orders", "billing")
    async def bill(body: str, message: InContext) -> None:
        got.set_result(message)

    async with broker:
        await broker.start()
        await broker.publish("hello", "orders")
        message = await asyncio.wait_for(got, WAIT_SECONDS)
    assert message.raw_message.body == b"hello"
    assert message.headers == {"attempts": 1}
    assert message.message_id == message.raw_message.id.decode()


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        *((str, text, text) for text in ("5", "null", "{}", "hello", '"quoted"')),
        (Annotated[str, pydantic.Field(max_length=9)], "5", "5"),
        *((bytes, body, body) for body in (b"5", b"{}", b"\xff")),
        (int, 5, 5),
        (dict[str, int], {"id": 1}, {"id": 1}),
    ],
)
async def test_who_asks_for_text_gets_text(kind: Any, value: object, expected: object) -> None:
    broker = NsqBroker("nsq://127.0.0.1:1")
    got: list[object] = []

    async def handle(body: Any, message: InContext) -> None:
        got.append(body)

    handle.__annotations__["body"] = kind
    broker.subscriber("t", "c")(handle)
    async with TestNsqBroker(broker):
        await broker.publish(value, "t")
    assert got == [expected]


@pytest.mark.parametrize(
    ("policy", "calls"),
    [
        (None, 3),
        (AckPolicy.NACK_ON_ERROR, 3),
        (AckPolicy.REJECT_ON_ERROR, 1),
        (AckPolicy.ACK, 1),
        (AckPolicy.ACK_FIRST, 1),
        (AckPolicy.MANUAL, 3),
    ],
)
async def test_policies(
    broker: NsqBroker, nsq_server: Cluster, policy: AckPolicy | None, calls: int
) -> None:
    """The first two calls fail; the last one says so."""
    attempts: list[int] = []
    done = asyncio.Event()
    options = {**QUICK, **({"ack_policy": policy} if policy is not None else {})}

    @broker.subscriber("orders", "billing", **options)
    async def bill(order: Order, message: InContext) -> None:
        attempts.append(message.headers["attempts"])
        if len(attempts) == calls:
            done.set()
        if len(attempts) < 3:
            raise RuntimeError("not yet")
        await message.ack()

    async with broker:
        await broker.start()
        await broker.publish({"id": 1}, "orders")
        async with asyncio.timeout(WAIT_SECONDS):
            await done.wait()
    assert attempts == list(range(1, calls + 1))
    assert is_drained(channel_of(nsq_server, "orders"))


async def test_stopping_waits_for_handlers(broker: NsqBroker, nsq_server: Cluster) -> None:
    started, may_end = asyncio.Event(), asyncio.Event()

    @broker.subscriber("orders", "billing")
    @broker.publisher("invoices")
    async def bill(order: Order) -> dict[str, int]:
        started.set()
        await may_end.wait()
        return {"order": order.id}

    await broker.start()
    for number in range(5):
        await broker.publish({"id": number}, "orders")
    await started.wait()
    stopping = asyncio.create_task(broker.stop())
    may_end.set()
    await asyncio.wait_for(stopping, WAIT_SECONDS)
    finished = len(nsq_server.published("invoices"))
    assert 1 <= finished < 5
    assert channel_of(nsq_server, "orders")["depth"] == 5 - finished  # the others went back


async def test_routers(broker: NsqBroker, nsq_server: Cluster) -> None:
    router = NsqRouter(prefix="shop.")

    @router.subscriber("orders", "billing")
    @router.publisher("invoices")
    async def bill(order: Order) -> int:
        return order.id

    broker.include_router(router)
    async with broker:
        await broker.start()
        await broker.publish({"id": 7}, "shop.orders")
        assert (await nsq_server.published("shop.invoices").wait_async())[0].decode() == 7


async def test_a_subscriber_without_handlers(broker: NsqBroker) -> None:
    subscriber = broker.subscriber("orders", "billing")
    async with broker:
        await broker.start()
        assert await subscriber.get_one(timeout=0.05) is None
        await broker.publish({"id": 1}, "orders")
        message = await subscriber.get_one(timeout=WAIT_SECONDS)
        assert message is not None
        assert await message.decode() == {"id": 1}
        await message.ack()
        await broker.publish({"id": 2}, "orders", delay=0.05)
        async with asyncio.timeout(WAIT_SECONDS):
            async for message in subscriber:
                assert await message.decode() == {"id": 2}
                await message.ack()
                break


async def test_ping(broker: NsqBroker) -> None:
    async with broker:
        assert await broker.ping()
    assert not await broker.ping()
    async with NsqBroker(f"nsq://127.0.0.1:{free_port()}") as other:
        assert not await other.ping(0.2)


async def test_requests_are_not_possible(broker: NsqBroker) -> None:
    for requesting in (broker, broker.publisher("orders")):
        with pytest.raises(FeatureNotSupportedException):
            await requesting.request("x", "orders")


async def test_an_application(broker: NsqBroker, nsq_server: Cluster) -> None:
    app = FastStream(broker)

    @broker.subscriber("orders", "billing")
    async def bill(order: Order) -> None:
        app.exit()

    @app.after_startup
    async def publish() -> None:
        await broker.publish({"id": 1}, "orders")

    await asyncio.wait_for(app.run(), WAIT_SECONDS)
    assert is_drained(channel_of(nsq_server, "orders"))


def test_asyncapi(broker: NsqBroker) -> None:
    @broker.subscriber("orders", "billing", title="Orders")
    @broker.publisher("invoices")
    async def bill(order: Order) -> int:
        return order.id

    document = AsyncAPI(broker, schema_version="3.0.0").to_specification().to_jsonable()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {"orders", "invoices"}
    assert {server["protocol"] for server in document["servers"].values()} == {"nsq"}


async def test_in_memory() -> None:
    broker = NsqBroker(Nsq(nsqd="127.0.0.1:1"))

    @broker.subscriber("orders", "billing")
    @broker.publisher("invoices")
    async def bill(order: Order) -> int:
        return order.id

    @broker.subscriber("invoices", "archive")
    async def archive(invoice: int) -> None: ...

    async with TestNsqBroker(broker):
        await broker.publish({"id": 5}, "orders")
        with pytest.raises(pydantic.ValidationError):
            await broker.publish({"id": "five"}, "orders")
        bill.mock.assert_any_call({"id": 5})
        archive.mock.assert_called_once_with(5)
