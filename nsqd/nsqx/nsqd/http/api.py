"""
nsqd's HTTP API (HTTP section 2). The routing rules are those of ``runtime.http``.

Handlers check arguments in NSQ's order, then ask or change the broker. What is ours and not
NSQ's is in `http_history`; publishing, ``/config`` and ``/debug`` have modules of their own.
"""

import socket
import time

from aiohttp import web

from nsqx.net.host_port import without_secrets
from nsqx.nsqd.edge.steps import in_steps
from nsqx.nsqd.http.arguments import (
    boolean,
    existing_channel,
    existing_topic,
    made_topic,
    topic_name,
    valid_topic_name,
)
from nsqx.nsqd.http.debug import DebugEndpoints
from nsqx.nsqd.http.drain import DrainEndpoints
from nsqx.nsqd.http.history import HistoryEndpoints
from nsqx.nsqd.http.metrics import MetricsEndpoint
from nsqx.nsqd.http.node import HttpNode
from nsqx.nsqd.http.peek import PeekEndpoints
from nsqx.nsqd.http.publish import PublishEndpoints
from nsqx.nsqd.http.readiness import Readiness
from nsqx.nsqd.http.rights import Rights
from nsqx.nsqd.http.settings import SettingsEndpoints
from nsqx.nsqd.telling.stats import Selection, Stats
from nsqx.protocol.version import NSQ_VERSION, RUNTIME, VERSION
from nsqx.runtime.http.config_endpoint import ConfigEndpoint, parse_addresses
from nsqx.runtime.http.server import (
    JSON_TYPE,
    NSQ_HEADERS,
    Answer,
    Handler,
    Request,
    Router,
    empty,
    json_answer,
    plain_text,
    text,
)

__all__ = ["UNLOGGED_PATHS", "HttpApi"]

# As in NSQ: a line for each published message would be the log's main content.
# Probes come every few seconds for ever.
UNLOGGED_PATHS = frozenset({"/pub", "/mpub", "/livez", "/readyz"})


class HttpApi:
    """The endpoints of one node."""

    def __init__(self, nsqd: HttpNode) -> None:
        self._nsqd = nsqd
        self._options = nsqd.options
        self._readiness = Readiness(nsqd)

    def router(self) -> Router[Handler]:
        """Return the routes."""
        router: Router[Handler] = Router()
        for method, path, handler in [
            ("GET", "/ping", self._ping),
            ("GET", "/livez", self._livez),
            ("GET", "/readyz", self._readyz),
            ("GET", "/info", self._info),
            ("GET", "/stats", self._stats),
            ("POST", "/topic/create", self._create_topic),
            ("POST", "/topic/delete", self._delete_topic),
            ("POST", "/topic/empty", self._empty_topic),
            ("POST", "/topic/pause", self._pause_topic),
            ("POST", "/topic/unpause", self._unpause_topic),
            ("POST", "/channel/delete", self._delete_channel),
            ("POST", "/channel/empty", self._empty_channel),
            ("POST", "/channel/pause", self._pause_channel),
            ("POST", "/channel/unpause", self._unpause_channel),
        ]:
            router.add(method, path, handler)
        PublishEndpoints(self._nsqd).add_to(router)
        DebugEndpoints(self._nsqd).add_to(router)
        MetricsEndpoint(self._nsqd).add_to(router)
        HistoryEndpoints(self._nsqd).add_to(router)
        PeekEndpoints(self._nsqd).add_to(router)
        SettingsEndpoints(self._nsqd).add_to(router)
        DrainEndpoints(self._nsqd).add_to(router)
        config = self._config()
        config.add_to(router)
        config.add_list_to(router)
        router.wrap(Rights(self._nsqd).guarded)
        return router

    def _config(self) -> ConfigEndpoint:
        nsqd, options = self._nsqd, self._options
        endpoint = ConfigEndpoint(self._options, bytes_max=self._options.max_msg_size)
        endpoint.may_show("broadcast_tcp_port", lambda: nsqd.broadcast_tcp_port)
        endpoint.may_show("broadcast_http_port", lambda: nsqd.broadcast_http_port)
        endpoint.may_show("statsd_prefix", lambda: nsqd.statsd_prefix)
        endpoint.may_show(
            "auth_http_addresses", lambda: list(map(without_secrets, options.auth_http_address))
        )
        endpoint.may_set(
            "nsqlookupd_tcp_addresses",
            parse_addresses,
            lambda addresses: nsqd.peers.set_addresses(addresses or []),
        )
        return endpoint

    # About this node

    async def _ping(self, request: Request) -> Answer:
        health = self._nsqd.broker.health
        return plain_text(health, 200 if health == "OK" else 500)

    async def _livez(self, request: Request) -> Answer:
        return plain_text("OK")

    async def _readyz(self, request: Request) -> Answer:
        obstacle = self._readiness.obstacle()
        return plain_text(f"NOK - {obstacle}", 503) if obstacle else plain_text("OK")

    async def _info(self, request: Request) -> Answer:
        nsqd, options = self._nsqd, self._options
        return json_answer(
            {
                "version": NSQ_VERSION,
                "broadcast_address": options.broadcast_address,
                "hostname": socket.gethostname(),
                "http_port": nsqd.http_port,
                "tcp_port": nsqd.tcp_port,
                "start_time": nsqd.start_time_s,
                "max_heartbeat_interval": options.max_heartbeat_interval,
                "max_output_buffer_size": options.max_output_buffer_size,
                "max_output_buffer_timeout": options.max_output_buffer_timeout,
                "max_deflate_level": options.max_deflate_level,
                "topology_zone": options.topology_zone,
                "topology_region": options.topology_region,
                "nsqx_version": VERSION,
                # NSQ's has none: only who serves HTTPS says where.
                **({"https_port": nsqd.https_port} if nsqd.https_port else {}),
            }
        )

    async def _stats(self, request: Request) -> Answer:
        query = request.query()
        selection = Selection(
            query.get("topic", ""),
            query.get("channel", ""),
            include_clients=boolean(request, "include_clients", True),
            include_memory=boolean(request, "include_mem", True),
        )
        stats = self._read_stats(selection)
        if query.get("format") != "json":
            return text("".join(await in_steps(stats.text())))
        body = b"".join(await in_steps(stats.json()))
        return web.Response(body=body, headers={"Content-Type": JSON_TYPE, **NSQ_HEADERS})

    def _read_stats(self, selection: Selection) -> Stats:
        nsqd = self._nsqd
        return Stats(
            nsqd.broker,
            [connection.session for connection in nsqd.tcp_server.connections],
            selection,
            version=NSQ_VERSION,
            runtime=RUNTIME,
            start_time_s=nsqd.start_time_s,
            uptime_ns=time.monotonic_ns() - nsqd.started_ns,
            now_ns=nsqd.broker.clock.monotonic(),
            wall_ns=nsqd.broker.clock.wall(),
            memory=nsqd.memory.read() if selection.include_memory else {},
            quantiles=nsqd.latencies.quantiles,
            window_of=nsqd.latencies.window_of,
        )

    # Topics

    async def _create_topic(self, request: Request) -> Answer:
        made_topic(self._nsqd.broker, valid_topic_name(request))
        return empty()

    async def _delete_topic(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        broker.delete_topic(existing_topic(broker, topic_name(request)))
        return empty()

    async def _empty_topic(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        broker.empty_topic(existing_topic(broker, valid_topic_name(request)))
        return empty()

    async def _pause_topic(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        broker.pause_topic(existing_topic(broker, topic_name(request)), True)
        return empty()

    async def _unpause_topic(self, request: Request) -> Answer:
        broker = self._nsqd.broker
        broker.pause_topic(existing_topic(broker, topic_name(request)), False)
        return empty()

    # Channels

    async def _delete_channel(self, request: Request) -> Answer:
        self._nsqd.broker.delete_channel(*existing_channel(self._nsqd.broker, request))
        return empty()

    async def _empty_channel(self, request: Request) -> Answer:
        self._nsqd.broker.empty_channel(*existing_channel(self._nsqd.broker, request))
        return empty()

    async def _pause_channel(self, request: Request) -> Answer:
        topic, channel = existing_channel(self._nsqd.broker, request)
        self._nsqd.broker.pause_channel(topic, channel, True)
        return empty()

    async def _unpause_channel(self, request: Request) -> Answer:
        topic, channel = existing_channel(self._nsqd.broker, request)
        self._nsqd.broker.pause_channel(topic, channel, False)
        return empty()
