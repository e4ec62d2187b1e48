"""Every module can be imported without a warning: with the oldest allowed versions, too."""

import importlib
import pkgutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import nsqx


def test_every_module_can_be_imported_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        names = [module.name for module in pkgutil.walk_packages(nsqx.__path__, "nsqx.")]
        for name in names:
            if not name.endswith(".__main__"):
                importlib.import_module(name)
    assert "nsqx.client.consumer" in names
    assert "nsqx.admin.known.collector" in names


# What takes long to import, and what only a running daemon needs.
HEAVY = {
    *("aiohttp", "asyncio", "concurrent", "logging", "msgspec", "multiprocessing", "ssl"),
    *("datetime", "hashlib", "ipaddress", "json", "pathlib", "urllib.parse"),
}
IMPORTED = """
import sys
before = set(sys.modules)
from {module} import main
try:
    main(["--version"])
except SystemExit:
    print(*(set(sys.modules) - before))
"""


@pytest.mark.parametrize("module", ["nsqx.nsqd", "nsqx.lookupd", "nsqx.admin"])
def test_a_version_is_told_without_what_a_daemon_needs(module: str) -> None:
    code = IMPORTED.format(module=f"{module}.__main__")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    told, imported = done.stdout.splitlines()
    assert "v1.3.0" in told
    assert HEAVY.intersection(imported.split()) == set()


STARTED = """
import gc, os, signal, ssl
read, collected = [], []
ssl.SSLContext.set_default_verify_paths = read.append
gc.callbacks.append(lambda phase, info: collected.append(info))
from {module} import main
import nsqx.runtime.process.service_manager as service_manager
def notify(state):
    if state == "READY=1":
        print(len(read), len(collected), gc.isenabled())
        os.kill(os.getpid(), signal.SIGTERM)
service_manager.notify = notify
collected.clear()
main({arguments})
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("nsqx.nsqd", ["--tcp-address=127.0.0.1:0", "--data-path={folder}"]),
        ("nsqx.lookupd", ["--tcp-address=127.0.0.1:0"]),
        ("nsqx.admin", ["--nsqd-http-address=127.0.0.1:9"]),
    ],
)
def test_a_start_reads_no_authorities_and_collects_nothing(
    module: str, arguments: list[str], tmp_path: Path
) -> None:
    given = [text.format(folder=tmp_path) for text in (*arguments, "--http-address=127.0.0.1:0")]
    code = STARTED.format(module=f"{module}.__main__", arguments=given)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "0 0 True\n", done.stderr
