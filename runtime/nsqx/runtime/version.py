"""
Two versions: that of NSQ whose protocol we speak, and our own (decision record 85).

Clients decide by the version they are told: whether to try snappy and TLS, which commands there
are. So wherever NSQ's clients look stands NSQ's, and ours beside it.
"""

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["NSQ_VERSION", "RUNTIME", "VERSION"]

NSQ_VERSION = "1.3.0"


def _installed_version() -> str:
    try:
        return version("nsqx")
    except PackageNotFoundError:
        # A source tree on the path, never installed: semver consumers get a valid, oldest version.
        return "0.0.0"


VERSION = _installed_version()
# Behind "built w/", where NSQ names its version of Go.
RUNTIME = f"python{platform.python_version()}, nsqx {VERSION}"
