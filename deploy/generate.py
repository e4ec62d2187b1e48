"""
Write the files that are generated from the code: ``python -m deploy.generate``.

A test compares them with what is committed, so that no option is undocumented and no example old.
The manifests in ``k8s`` are rendered from the chart, by ``python -m deploy.check --write``.
"""

import json
from pathlib import Path

from deploy.completions import completions
from deploy.dashboards import DASHBOARDS, dashboard
from deploy.manuals import manuals
from deploy.numbers import dashboard_module, number_reference
from deploy.references import DAEMON_OPTIONS, command_reference, option_reference
from nsqx.runtime.options.docs import example_file

__all__ = ["ROOT", "generated"]

ROOT = Path(__file__).parents[1]


def generated() -> dict[str, str]:
    """Return the contents of every generated file, by its path from the root."""
    contents = {
        "docs/configuration.md": option_reference(),
        "docs/commands.md": command_reference(),
        "docs/numbers.md": number_reference(),
        "admin/nsqx/admin/static/app/numbers.mjs": dashboard_module(),
    }
    for program, options in DAEMON_OPTIONS.items():
        contents[f"deploy/config/{program}.toml"] = example_file(options, program)
    for name, page in DASHBOARDS.items():
        # A chart can't read what is outside of it, so they are there.
        text = json.dumps(dashboard(page), indent=2) + "\n"
        contents[f"deploy/helm/nsqx/files/dashboards/{name}.json"] = text
    for name, text in manuals().items():
        contents[f"deploy/man/man{name[-1]}/{name}"] = text
    for name, text in completions().items():
        contents[f"deploy/completions/{name}"] = text
    return contents


def main() -> None:
    """Write them."""
    for path, text in generated().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
