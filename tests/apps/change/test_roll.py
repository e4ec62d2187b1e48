"""``nsqx roll`` on real daemons, restarted by a command that does, or does not, what it should."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from nsqx.apps.change.restart import Node, command_words
from tests.support.commands import nsqx, running_nsqx
from tests.support.processes import Cluster, Lookupd, Nsqd, eventually


async def started(cluster: Cluster, count: int) -> tuple[Lookupd, list[Nsqd]]:
    lookupd = await cluster.lookupd()
    nodes = [await cluster.nsqd(lookupds=[lookupd]) for _ in range(count)]
    for node in nodes:
        await node.post("/topic/create?topic=t")
        await node.post("/channel/create?topic=t&channel=c")

    async def all_are_listed() -> bool:
        body = await lookupd.get_json("/nodes")
        return [each["topics"] for each in body["producers"]] == [["t"]] * count

    await eventually(all_are_listed, "all are listed")
    return lookupd, sorted(nodes, key=lambda node: node.http_address)


def asking(folder: Path) -> str:
    """A command that has the test restart a node: it writes whom, and waits until that is done."""
    program = (
        "import pathlib,sys,time\n"
        "asked=pathlib.Path(sys.argv[1],sys.argv[2]);asked.touch()\n"
        "while asked.exists(): time.sleep(0.01)\n"
    )
    return shlex.join([sys.executable, "-Sc", program, str(folder)]) + " {http_port}"


async def restart_when_asked(folder: Path, node: Nsqd) -> None:
    asked = folder / str(node.http_port)

    async def is_asked() -> bool:
        return asked.exists()

    await eventually(is_asked, f"{node.name} is to be restarted")
    await node.restart()
    asked.unlink()


async def test_one_after_the_other_each_when_the_one_before_is_well(
    cluster: Cluster, tmp_path: Path
) -> None:
    lookupd, nodes = await started(cluster, 2)
    flags = [f"--lookupd={lookupd.http_address}", f"--command={asking(tmp_path)}", "--json"]
    async with running_nsqx("roll", "--drain=10s", *flags) as process:
        assert process.stdout is not None
        for node in nodes:
            await restart_when_asked(tmp_path, node)
            report = json.loads(await process.stdout.readline())
            assert (report["node"], report["state"]) == (node.http_address, "restarted")
        assert await process.wait() == 0
    for node in nodes:
        await node.post("/pub?topic=t", b"taken again")


async def test_a_node_that_has_just_started_is_restarted_in_another_second(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Starts are told in whole seconds: in the same one it would look as if it had not been."""
    lookupd = await cluster.lookupd()
    node = await cluster.nsqd(lookupds=[lookupd])
    started = (await node.get_json("/stats?format=json"))["start_time"]
    flags = [f"--lookupd={lookupd.http_address}", f"--command={asking(tmp_path)}"]
    async with running_nsqx("roll", *flags, node.http_address) as process:
        await restart_when_asked(tmp_path, node)
        assert await process.wait() == 0
    assert (await node.get_json("/stats?format=json"))["start_time"] > started


async def test_it_stops_at_the_first_that_does_not_come_back(cluster: Cluster) -> None:
    lookupd, (first, second) = await started(cluster, 2)
    flags = [f"--lookupd={lookupd.http_address}", "--timeout=300ms", "--json"]
    done = await nsqx("roll", "--command=true", *flags)
    reports = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 1
    assert [(each["node"], each["state"]) for each in reports] == [
        (first.http_address, "failed"),
        (second.http_address, "untouched"),
    ]
    assert reports[0]["gate"] == "back"
    assert "was not started anew; 1 not touched" in done.err
    done = await nsqx("roll", "--command=false", *flags)
    assert done.code == 1
    assert "command: it ended with 1" in done.err


async def test_none_is_touched_if_one_is_not_well_before(cluster: Cluster) -> None:
    lookupd, (first, second) = await started(cluster, 2)
    flags = [f"--lookupd={lookupd.http_address}", "--timeout=300ms"]
    done = await nsqx("roll", "--command=restart {host} {tcp_port}", "--dry-run", *flags)
    assert (done.code, done.out.splitlines()) == (
        0,
        [f"{each.http_address}: restart 127.0.0.1 {each.tcp_port}" for each in (first, second)],
    )
    await second.post("/node/drain")
    done = await nsqx("roll", "--command=true", *flags)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"nsqx roll: {second.http_address}: before: NOK - draining; no node was touched\n"
    )
    done = await nsqx("roll", "--command=restart {hots}", first.http_address, *flags)
    assert done.code == 1
    assert "there is no {hots}" in done.err


def test_a_host_is_no_option_of_the_command() -> None:
    assert command_words("ssh {host} 'a b' {node}", Node("h:1")) == ["ssh", "h", "a b", "h:1"]
    with pytest.raises(ValueError, match="is no host"):
        command_words("ssh {host}", Node("-oProxyCommand=x:1"))
