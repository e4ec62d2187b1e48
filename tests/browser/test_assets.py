"""What the browser loads: how much it is, where it is from, and that a wheel has all of it."""

import gzip
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nsqx.admin.shown.static_files import packaged_files

ROOT = Path(__file__).parents[2]
ADMIN = ROOT / "admin"
STATIC = ADMIN / "nsqx" / "admin" / "static"
ASSETS_GZIP_BYTES_MAX = 120 * 1024


def manifest() -> dict[str, Any]:
    path = STATIC / "vendor" / "MANIFEST.json"
    if not path.exists():
        pytest.skip("the build hook did not run here: pip install -e .")
    decoded: dict[str, Any] = json.loads(path.read_bytes())
    return decoded


def test_assets_are_small() -> None:
    manifest()
    sizes = {
        path: len(gzip.compress(body, 9))
        for path, body in packaged_files()
        if path.endswith((".html", ".css", ".mjs", ".svg"))
    }
    assert sum(sizes.values()) <= ASSETS_GZIP_BYTES_MAX, sizes


def test_vendored_files_are_those_of_the_manifest() -> None:
    entries = manifest()["files"]
    assert {entry["name"] for entry in entries} == set(
        json.loads((ADMIN / "package.json").read_bytes())["dependencies"]
    )
    for entry in entries:
        content = (STATIC / "vendor" / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]


def test_each_package_of_others_has_its_licence_text() -> None:
    entries = manifest()["files"]
    texts = (STATIC / "vendor" / "THIRD-PARTY-LICENCES.txt").read_text()
    for entry in entries:
        assert f"{entry['name']} {entry['version']} ({entry['licence']})" in texts


def test_no_file_loads_anything_by_a_whole_url() -> None:
    for path in STATIC.rglob("*"):
        if path.suffix not in (".html", ".css", ".mjs"):
            continue
        text = path.read_text()
        assert not re.search(r"""(src|href)=["']https?:|url\(\s*["']?https?:|@import""", text), path
        assert not re.search(r"""(from|import\()\s*["'](https?:|[\w@])""", text), path


def test_own_files_have_no_script_or_style_inside_the_html() -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=", text)


def test_lock_has_hashes_and_names_no_host() -> None:
    lock = json.loads((ADMIN / "package-lock.json").read_bytes())
    for name, package in lock["packages"].items():
        if name:
            assert package["integrity"].startswith("sha512-"), name
            assert "resolved" not in package, name


@pytest.mark.timeout(300)
def test_wheel_holds_every_file_of_the_manifest(tmp_path: Path) -> None:
    entries = manifest()["files"]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=240)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for entry in entries:
            content = archive.read(f"nsqx/admin/static/vendor/{entry['file']}")
            assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        names = set(archive.namelist())
    own = {
        f"nsqx/admin/static/{path.relative_to(STATIC)}"
        for path in STATIC.rglob("*")
        if path.is_file()
    }
    assert own <= names
    assert not any("node_modules" in name for name in names)
