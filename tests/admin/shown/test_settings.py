"""The options of nodes beside each other: ours, NSQ's, and where they differ."""

from pathlib import Path
from typing import Any

import pytest

from nsqx.admin.shown.settings import settings_document
from nsqx.cluster.node_settings import FOREIGN_OPTIONS, NodeSettings, Option, foreign_option
from tests.support.cluster_views import NOW, cluster_view, node_view
from tests.support.dashboard import running_dashboard
from tests.support.fake_http import fake_http
from tests.support.processes import Cluster, eventually


def told(**options: Any) -> NodeSettings:
    known = {name: Option(value, source="flag") for name, value in options.items()}
    return NodeSettings(NOW, known, is_complete=True)


def test_where_nodes_differ() -> None:
    one = told(msg_timeout="1m0s", data_path="/a", snappy=True, deflate=False)
    two = told(msg_timeout="30s", data_path="/b", snappy=True)
    document = settings_document(
        cluster_view(
            node_view("n1:1", settings=one), node_view("n2:1", settings=two), node_view("n3:1")
        )
    )
    options = document["options"]
    assert list(options) == ["data_path", "deflate", "msg_timeout", "snappy"]
    assert options["msg_timeout"].values == {"n1:1": "1m0s", "n2:1": "30s"}
    assert [name for name, row in options.items() if row.differs] == ["msg_timeout"]
    assert [name for name, row in options.items() if row.individual] == ["data_path"]
    assert options["deflate"].values == {"n1:1": False}
    ages = {address: row.observed_at for address, row in document["nodes"].items()}
    assert ages == {"n1:1": NOW, "n2:1": NOW, "n3:1": None}


def test_a_yes_is_no_one() -> None:
    """In Python True equals 1; as options they are two things."""
    nodes = (node_view("n1:1", settings=told(x=True)), node_view("n2:1", settings=told(x=1)))
    assert settings_document(cluster_view(*nodes))["options"]["x"].differs


@pytest.mark.parametrize(
    ("name", "body", "value"),
    [
        ("msg_timeout", b"60000000000", "1m0s"),
        ("max_rdy_count", b"2500", 2500),
        ("snappy", b"true", True),
        ("broadcast_address", b"10", "10"),
        ("nsqlookupd_tcp_addresses", b"null", []),
        ("nsqlookupd_tcp_addresses", b'["l:4160"]', ["l:4160"]),
        ("msg_timeout", b"\xffnonsense", "\ufffdnonsense"),
    ],
)
def test_options_as_nsq_tells_them(name: str, body: bytes, value: Any) -> None:
    assert foreign_option(name, body).value == value


async def test_real_nodes_with_different_flags(tmp_path: Path) -> None:
    async with running_dashboard(tmp_path, nodes=1) as dashboard:
        other = await dashboard.cluster.nsqd("--msg-timeout=30s", lookupds=[dashboard.lookupd])
        one = dashboard.nodes[0]

        async def are_known() -> bool:
            nodes = (await dashboard.document("settings"))["nodes"]
            return len([row for row in nodes.values() if row["complete"]]) == 2

        await eventually(are_known, "both have told their options")
        options = (await dashboard.document("settings"))["options"]
    timeout = options["msg_timeout"]
    assert timeout["values"] == {one.http_address: "1m0s", other.http_address: "30s"}
    assert timeout["sources"] == {one.http_address: "default", other.http_address: "flag"}
    assert [name for name, row in options.items() if row["differs"]] == ["msg_timeout"]
    assert options["data_path"]["individual"]
    assert options.keys() > FOREIGN_OPTIONS.keys()


async def test_a_node_of_nsq_is_asked_for_each(cluster: Cluster) -> None:
    answers: dict[str, Any] = {
        "/stats": {"version": "1.3.0", "start_time": 1, "topics": []},
        "/info": {"broadcast_address": "h", "tcp_port": 1, "http_port": 1},
        "/config/msg_timeout": "60000000000",
        "/config/snappy": "true",
    }
    async with fake_http(answers) as nsqd:
        admin = await cluster.admin(f"--nsqd-http-address={nsqd.address}")

        async def is_known() -> bool:
            document = (await admin.get_json("/api/v2/settings"))["full"]
            return bool(document["options"])

        await eventually(is_known, "it has told its options")
        document = (await admin.get_json("/api/v2/settings"))["full"]
    values = {name: row["values"][nsqd.address] for name, row in document["options"].items()}
    assert values == {"msg_timeout": "1m0s", "snappy": True}
    assert document["nodes"][nsqd.address]["complete"] is False
