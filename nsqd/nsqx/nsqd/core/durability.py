"""What a publish that is answered ``OK`` survives (``--durability``)."""

from enum import Enum

__all__ = ["Durability"]


class Durability(Enum):
    """What ``OK`` means."""

    MEMORY = "memory"  # in memory
    OS = "os"  # written to a file: survives the broker's crash
    FSYNC = "fsync"  # on stable storage: survives a loss of power
