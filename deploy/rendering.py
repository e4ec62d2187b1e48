"""The chart's manifests. Needs ``helm-python-sdk``, which brings Helm's own code."""

from collections.abc import Iterator
from typing import Any

import helm_python.chart
import yaml

from deploy.generate import ROOT

__all__ = [
    "CHART",
    "DEFAULTS",
    "EVERYTHING",
    "EXAMPLES",
    "MANIFESTS",
    "documents",
    "is_hook",
    "lint",
    "manifests",
    "notes",
]

CHART = ROOT / "deploy" / "helm" / "nsqx"
EXAMPLES = ROOT / "deploy" / "helm" / "examples"
MANIFESTS = ROOT / "deploy" / "k8s" / "nsqx.yaml"
DEFAULTS: dict[str, Any] = {}
# Every branch of the templates.
EVERYTHING: dict[str, Any] = {
    "imagePullSecrets": [{"name": "registry"}],
    "nameOverride": "events",
    "nsqd": {
        "extraArgs": ["--msg-timeout=30s"],
        "topologyFromLabels": True,
        "persistence": {"storageClass": "fast"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "brokers", "operator": "Exists"}],
        "priorityClassName": "high",
    },
    "nsqlookupd": {"replicas": 3, "extraArgs": ["--log-format=json"]},
    "nsqadmin": {
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "annotations": {"a": "b"},
            "tlsSecret": "certificate",
        },
        "httpRoute": {
            "enabled": True,
            "annotations": {"a": "b"},
            "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
            "hostnames": ["nsq.example.com"],
        },
    },
    "networkPolicy": {"clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
}

HEAD = """\
# Rendered from the chart with its defaults (make deploy-files): kubectl apply -n nsqx -f nsqx.yaml
"""


def lint() -> list[str]:
    """Return what Helm finds wrong with the chart."""
    report = helm_python.chart.lint(str(CHART), strict=True)
    # It recommends an icon, which would have to be somewhere on the web.
    messages = [each["error"] for each in report["messages"] if each["severity"] > 1]
    return [*report["errors"], *messages]


def documents(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the manifests that the chart makes of values."""
    chart = helm_python.chart.Chart.load(str(CHART))
    for path, text in sorted(_rendered(chart, values).items()):
        if path.endswith(".yaml"):
            yield from filter(None, yaml.safe_load_all(text))


def is_hook(document: dict[str, Any]) -> bool:
    """Whether Helm runs it at a certain time, as a test."""
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def notes(values: dict[str, Any]) -> str:
    """Return what Helm prints after an installation."""
    rendered = _rendered(helm_python.chart.Chart.load(str(CHART)), values)
    (text,) = (text for path, text in rendered.items() if path.endswith("NOTES.txt"))
    return text


def manifests() -> str:
    """Return the manifests of the defaults, as one file."""
    # Without what is Helm's only: kubectl would run the tests once, and then never.
    kept = (each for each in documents(DEFAULTS) if not is_hook(each))
    parts = [yaml.safe_dump(each, sort_keys=False, width=120) for each in kept]
    return HEAD + "---\n".join(parts)


def _rendered(chart: helm_python.chart.Chart, values: dict[str, Any]) -> dict[str, str]:
    chart.validate_schema(values)
    rendered: dict[str, str] = chart.render(values, name="nsqx", namespace="nsqx")
    return rendered
