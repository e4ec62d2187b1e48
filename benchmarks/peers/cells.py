"""What is measured: the rows of the table, and how safe an acknowledged message is."""

from dataclasses import dataclass
from enum import StrEnum


class Durability(StrEnum):
    """What an answer to a publish means."""

    MEMORY = "memory"  # lost with the process
    OS = "os"  # in a file: survives the process, not a loss of power
    FSYNC = "fsync"  # on stable storage


@dataclass(frozen=True, slots=True)
class Cell:
    """``connections`` publish, or take what was published before, until ``messages`` are done."""

    name: str
    connections: int
    batch: int = 1
    window: int = 1
    takes: bool = False
    messages: int = 1_000_000  # more than the seconds allow, where nothing else is said


CELLS = (
    Cell("publish-200x8", 8, batch=200),
    Cell("publish-10x8", 8, batch=10),
    Cell("publish-1x64", 64),
    Cell("publish-1x8", 8),
    Cell("publish-1x1", 1),
    Cell("deliver-2", 2, takes=True, messages=200_000),
)
# What is to be delivered is published so; who syncs each message has fewer after this time.
FILL = Cell("fill", 8, batch=50, window=2, messages=200_000)
FILL_SECONDS = 2.0
