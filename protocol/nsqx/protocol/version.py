"""
Two versions: that of NSQ whose protocol we speak, and our own (decision record 85).

Clients decide by the version they are told: whether to try snappy and TLS, which commands there
are. So wherever NSQ's clients look stands NSQ's, and ours beside it.
"""

import sys

__all__ = ["NSQ_VERSION", "RUNTIME", "VERSION"]

NSQ_VERSION = "1.3.0"

# That of the distribution: pyproject.toml reads it here. Asking what is installed would be a third
# of what ``nsqd --version`` costs.
VERSION = "0.1.0"
# Behind "built w/", where NSQ names its version of Go: one word, as clients' own tests expect.
RUNTIME = f"python{'.'.join(map(str, sys.version_info[:3]))}-nsqx-{VERSION}"
