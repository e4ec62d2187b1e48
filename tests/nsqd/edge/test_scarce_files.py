"""Clients take all files that may be open, but those that are kept for HTTP."""

import asyncio
import resource
import socket

from tests.support.processes import Cluster

FILES = 128


async def test_http_answers_and_one_line_says_it(cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/pub?topic=orders", b"x")
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (FILES, FILES))
    host, _, port = node.tcp_address.rpartition(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(2 * FILES)]
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        assert b"E_INVALID too many open files, limit 128" in await reader.read()
        writer.close()
        assert (await node.get("/ping"))[1] == b"OK"
        assert b"process_open_fds" in (await node.get("/metrics"))[1]
        await node.post("/pub?topic=new", b"x")
        told = [line for line in node.log if "files run out" in line]
        assert len(told) == 1
        assert "LimitNOFILE" in told[0]
    finally:
        for client in clients:
            client.close()
