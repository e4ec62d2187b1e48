"""The dashboard as a process, over real lookupds and nsqds."""

import signal
import uuid

import pytest

from tests.support.processes import Admin, Cluster, eventually


async def test_it_shows_what_a_real_lookupd_knows(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    admin = await cluster.admin(lookupds=[lookupd])
    await lookupd.post("/channel/create?topic=t&channel=c")
    assert await admin.get_json("/api/topics") == {"topics": ["t"], "message": ""}
    assert await admin.get_json("/api/topics?inactive=true") == {
        "topics": {"t": ["c"]},
        "message": "",
    }

    async def shows_it() -> bool:
        status, body = await admin.get("/plain")
        return status == 200 and b"<td>t" in body

    await eventually(shows_it, "the plain page shows the topic")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_exit_code_0(cluster: Cluster, signum: int) -> None:
    lookupd = await cluster.lookupd()
    admin = await cluster.admin(lookupds=[lookupd])
    assert await admin.stop(signum) == 0


async def test_a_port_in_use_gives_one_line_and_exit_code_1(cluster: Cluster) -> None:
    lookupd = await cluster.lookupd()
    admin = Admin("second", [f"--lookupd-http-address={lookupd.http_address}"])
    admin.addresses["HTTP"] = lookupd.http_address
    with pytest.raises(AssertionError, match="already in use"):
        await admin.start()
    assert await admin.wait() == 1
    assert len([line for line in admin.log if "FATAL" in line]) == 1


async def test_lookupds_on_the_local_network_are_asked(cluster: Cluster) -> None:
    mdns = f"--cluster=test-{uuid.uuid4().hex}"
    lookupd = await cluster.lookupd("--advertise", mdns)
    admin = await cluster.admin("--discover", mdns)
    await lookupd.post("/topic/create?topic=t")
    await admin.wait_for_log("found nsqlookupd")
    assert await admin.get_json("/api/topics") == {"topics": ["t"], "message": ""}


async def test_nsqds_and_discovery_are_not_mixed(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="use --nsqd-http-address or --discover not both"):
        await cluster.admin("--discover", "--nsqd-http-address=127.0.0.1:1")


@pytest.mark.parametrize("flag", ["", "--read-only", "--admin-user=alice"])
async def test_a_dashboard_that_is_open_to_all_says_so(cluster: Cluster, flag: str) -> None:
    lookupd = await cluster.lookupd()
    flags = ["--http-address=0.0.0.0:0", *filter(None, [flag])]
    admin = await cluster.admin(*flags, lookupds=[lookupd])
    assert await admin.stop() == 0
    warned = any("may change everything" in line for line in admin.log)
    assert warned == (flag == "")
