"""The version that ``--version``, ``/info`` and the wire negotiation report."""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["RUNTIME", "VERSION"]


def _installed_version() -> str:
    try:
        return version("nsqx")
    except PackageNotFoundError:
        # A source tree on the path, never installed: semver consumers get a valid, oldest version.
        return "0.0.0"


VERSION = _installed_version()
RUNTIME = f"python{platform.python_version()}"
