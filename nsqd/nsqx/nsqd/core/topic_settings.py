"""What can be set for one topic, and outlives the process."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nsqx.nsqd.core.topic import Durability

__all__ = ["TopicSettings"]


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """None is what the node's options say."""

    retain_time_ns: int | None = None
    retain_bytes: int | None = None
    durability: Durability | None = None

    def to_fields(self) -> dict[str, Any]:
        """Return what goes into the topic's state file."""
        return {
            "retain_time_ns": self.retain_time_ns,
            "retain_bytes": self.retain_bytes,
            "durability": self.durability.value if self.durability is not None else None,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "TopicSettings":
        """Return what a state file says; of a file without settings, all None."""
        durability = fields.get("durability")
        return cls(
            fields.get("retain_time_ns"),
            fields.get("retain_bytes"),
            Durability(durability) if durability is not None else None,
        )
