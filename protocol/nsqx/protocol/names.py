"""Names of topics and channels (protocol section 4)."""

import re

__all__ = ["EPHEMERAL_SUFFIX", "NAME_BYTES_MAX", "is_ephemeral", "is_valid_name"]

NAME_BYTES_MAX = 64  # the #ephemeral suffix counts
EPHEMERAL_SUFFIX = "#ephemeral"

_matches = re.compile(r"[.a-zA-Z0-9_-]+(#ephemeral)?").fullmatch


def is_valid_name(name: object) -> bool:
    """Whether a topic or a channel may have this name; the rule is the same for both."""
    return isinstance(name, str) and len(name) <= NAME_BYTES_MAX and _matches(name) is not None


def is_ephemeral(name: str) -> bool:
    """Whether the topic or channel of this name lives in memory only, and goes when unused."""
    return name.endswith(EPHEMERAL_SUFFIX)
