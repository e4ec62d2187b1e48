"""
An asyncio client for NSQ: ``Producer`` publishes, ``Consumer`` consumes.

Works with any nsqd and nsqlookupd. Importing it loads no HTTP library.
"""

from nsqx.client.backoff import BackoffPolicy
from nsqx.client.consumer import Consumer, ConsumerStats, Handler
from nsqx.client.errors import (
    AuthFailed,
    ClientClosed,
    ConnectFailed,
    ConnectionClosed,
    DeadlineExceeded,
    IdentifyFailed,
    LookupFailed,
    NsqError,
    PartlyPublished,
    PublishFailed,
    RequestFailed,
)
from nsqx.client.message import Message
from nsqx.client.producer import Producer
from nsqx.client.settings import Settings

__all__ = [
    "AuthFailed",
    "BackoffPolicy",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionClosed",
    "Consumer",
    "ConsumerStats",
    "DeadlineExceeded",
    "Handler",
    "IdentifyFailed",
    "LookupFailed",
    "Message",
    "NsqError",
    "PartlyPublished",
    "Producer",
    "PublishFailed",
    "RequestFailed",
    "Settings",
]
