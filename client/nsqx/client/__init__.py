"""
An asyncio client for NSQ: ``Producer`` publishes, ``Consumer`` consumes, ``Nsq`` is an application.

Works with any nsqd and nsqlookupd. Importing it loads no HTTP library.
"""

from nsqx.client.backoff import BackoffPolicy
from nsqx.client.codecs import BYTES, JSON, MSGPACK, Codec
from nsqx.client.consumer import Consumer, ConsumerStats, Handler
from nsqx.client.errors import (
    AuthFailed,
    ClientClosed,
    ConnectFailed,
    ConnectionClosed,
    DeadlineExceeded,
    DecodeFailed,
    IdentifyFailed,
    LookupFailed,
    NsqError,
    PartlyPublished,
    PublishFailed,
    RequestFailed,
)
from nsqx.client.message import Message
from nsqx.client.nsq import Nsq
from nsqx.client.observer import Observer
from nsqx.client.producer import Producer
from nsqx.client.settings import Settings

__all__ = [
    "BYTES",
    "JSON",
    "MSGPACK",
    "AuthFailed",
    "BackoffPolicy",
    "ClientClosed",
    "Codec",
    "ConnectFailed",
    "ConnectionClosed",
    "Consumer",
    "ConsumerStats",
    "DeadlineExceeded",
    "DecodeFailed",
    "Handler",
    "IdentifyFailed",
    "LookupFailed",
    "Message",
    "Nsq",
    "NsqError",
    "Observer",
    "PartlyPublished",
    "Producer",
    "PublishFailed",
    "RequestFailed",
    "Settings",
]
