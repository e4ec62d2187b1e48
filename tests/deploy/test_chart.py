"""The chart, rendered by Helm's own code. Skipped where that is not installed."""

from typing import Any

import pytest

pytest.importorskip("helm_python", reason="helm-python-sdk is not installed (make deploy-check)")

from helm_python.errors import HelmRenderError, HelmValuesError

from deploy.rendering import DEFAULTS, EVERYTHING, MANIFESTS, documents, is_hook, notes
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options.flags import list_flags

GATEWAY = {"name": "public", "namespace": "gateways"}


def one(values: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (each for each in documents(values) if each["kind"] == kind)
    return found


def with_route(**route: Any) -> dict[str, Any]:
    return {"nsqadmin": {"httpRoute": {"enabled": True, **route}}}


def test_a_route_removes_what_anybody_could_send() -> None:
    route = one(with_route(parentRefs=[GATEWAY], hostnames=["nsq.example.com"]), "HTTPRoute")
    assert route["spec"]["parentRefs"] == [GATEWAY]
    assert route["spec"]["hostnames"] == ["nsq.example.com"]
    (rule,) = route["spec"]["rules"]
    assert rule["filters"][0]["requestHeaderModifier"] == {"remove": ["X-Forwarded-User"]}
    service = next(
        each
        for each in documents(DEFAULTS)
        if each["kind"] == "Service" and each["metadata"]["name"] == "nsqx-nsqadmin"
    )
    (backend,) = rule["backendRefs"]
    assert backend == {"name": "nsqx-nsqadmin", "port": service["spec"]["ports"][0]["port"]}


def test_a_gateway_that_says_who_it_is_may() -> None:
    route = one(with_route(parentRefs=[GATEWAY], keepForwardedUser=True), "HTTPRoute")
    assert "filters" not in route["spec"]["rules"][0]


@pytest.mark.parametrize(
    "wrong",
    [
        with_route(),
        with_route(parentRefs=[{"namespace": "gateways"}]),
        with_route(parentRefs=[GATEWAY], hostname="nsq.example.com"),
        {"nsqd": {"durability": "hope"}},
        {"nsqd": {"replica": 3}},
        {"nsqd": {"drainSeconds": 101}},  # with the grace period of 120 s: it would be killed
        {"nsqd": {"terminationGracePeriodSeconds": 60}},
        {"nsqd": {"extraArgs": ["--drain-timeout=200s"]}},  # past that comparison
        {"nsqd": {"extraArgs": ["-drain-timeout", "200s"]}},
    ],
)
def test_values_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((HelmRenderError, HelmValuesError)):
        list(documents(wrong))


def test_a_node_is_where_its_pod_is() -> None:
    def variables(values: dict[str, Any]) -> dict[str, Any]:
        (nsqd,) = (
            each
            for each in documents(values)
            if each["kind"] == "StatefulSet" and each["metadata"]["name"] == "nsqx-nsqd"
        )
        found = nsqd["spec"]["template"]["spec"]["containers"][0]["env"]
        return {each["name"]: each.get("valueFrom", each.get("value")) for each in found}

    assert set(variables(DEFAULTS)) == {"POD_NAME"}
    found = variables({"nsqd": {"topologyFromLabels": True}})
    path = "metadata.labels['topology.kubernetes.io/zone']"
    assert found["NSQD_TOPOLOGY_ZONE"] == {"fieldRef": {"fieldPath": path}}
    assert found.keys() - {"POD_NAME"} <= {
        each.variable("nsqd") for each in list_flags(NsqdOptions)
    }


def test_the_test_asks_every_directory_and_passes_the_network_policy() -> None:
    values = {"nsqlookupd": {"replicas": 3}}
    (pod,) = (each for each in documents(values) if is_hook(each))
    asked = pod["spec"]["containers"][0]["args"]
    host = "nsqx-nsqlookupd-{0}.nsqx-nsqlookupd.nsqx.svc.cluster.local:4161"
    assert asked == [f"--lookupd={host.format(number)}" for number in range(3)]
    policy = next(
        each
        for each in documents(values)
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == "nsqx-nsqd"
    )
    *_, ours = policy["spec"]["ingress"][0]["from"]
    labels = pod["metadata"]["labels"]
    assert ours["podSelector"]["matchLabels"].items() <= labels.items()


def ports_for_prometheus(values: dict[str, Any], component: str) -> list[Any]:
    """Who may read metrics, and where."""
    (policy,) = (
        each
        for each in documents(values)
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"] == f"nsqx-{component}"
    )
    _, metrics = policy["spec"]["ingress"]
    return [metrics["from"], [each["port"] for each in metrics["ports"]]]


def test_prometheus_passes_the_network_policy() -> None:
    everywhere: list[Any] = [{"namespaceSelector": {}}]
    assert ports_for_prometheus(DEFAULTS, "nsqd") == [everywhere, [4151]]
    assert ports_for_prometheus(DEFAULTS, "nsqlookupd") == [everywhere, [4161]]
    named = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    values = {"networkPolicy": {"metrics": named}}
    assert ports_for_prometheus(values, "nsqd") == [named, [4151]]


def test_kubectl_gets_no_test_pod() -> None:
    assert "helm.sh/hook" not in MANIFESTS.read_text()


def test_the_notes_say_where_the_dashboard_is_and_what_is_open() -> None:
    assert "port-forward svc/nsqx-nsqadmin 4171" in notes(DEFAULTS)
    text = notes(EVERYTHING)
    assert "https://nsq.example.com/" in text
    assert "networkPolicy.dashboard" in text
    assert "--admin-user" in text
    named = {"nsqadmin": {"extraArgs": ["--admin-user=alice"]}}
    assert "--admin-user" not in notes(named)
