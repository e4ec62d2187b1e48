"""
What was set for one topic or channel, and outlives the process.

Values are by the key that the table of settings (``nsqx.runtime.settings``) gives them in state
files; what is not there is as the node's options say. Durations are nanoseconds.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

__all__ = ["Settings", "kept_settings"]

Settings: TypeAlias = Mapping[str, int | str]


def kept_settings(fields: Any) -> Settings:
    """Return what a state file says; keys that this version does not know are kept, too."""
    return {key: value for key, value in (fields or {}).items() if value is not None}
