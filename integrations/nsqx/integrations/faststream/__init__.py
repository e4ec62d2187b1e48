"""
A FastStream broker over NSQ. Needs ``nsqx[faststream]``.

    broker = NsqBroker(Nsq(lookupd="127.0.0.1:4161"))
    app = FastStream(broker)

    @broker.subscriber("orders", "billing", max_workers=20)
    @broker.publisher("invoices")
    async def bill(order: Order) -> Invoice: ...

NSQ's messages have no headers, so there are no correlation ids across services, no replies, and no
``request``. A message that fails comes again (``AckPolicy.NACK_ON_ERROR``), later and later, and
while it is handled it is touched.

FastStream has no public interface for brokers: this is built on its private base classes, of 0.7,
and the tests run against the real package.
"""

from nsqx.integrations.faststream.broker import NsqBroker, NsqRouter
from nsqx.integrations.faststream.message import NsqMessage
from nsqx.integrations.faststream.testing import TestNsqBroker

__all__ = ["NsqBroker", "NsqMessage", "NsqRouter", "TestNsqBroker"]
