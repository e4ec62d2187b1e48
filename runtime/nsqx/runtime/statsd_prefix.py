"""What may be said to be the prefix of keys in statsd (``--statsd-prefix``). No I/O."""

import re

__all__ = ["NODE", "is_statsd_prefix"]

NODE = "%s"  # stands for the node

# A colon, a bar and an end of a line end the key; of what is no key statsd tells nobody.
_PREFIX = re.compile(r"[^\s:|%\x00-\x1f\x7f]*")


def is_statsd_prefix(text: str) -> bool:
    """Whether keys may begin with it. ``%s`` is the only format that is known."""
    return _PREFIX.fullmatch(text.replace(NODE, "")) is not None
