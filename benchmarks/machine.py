"""What the figures were measured on, and whether it had anything else to do."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_BUSY = 0.3  # load average above which the figures are not to be trusted


@dataclass(frozen=True, slots=True)
class Machine:
    """``load`` is the average over the last minute, before anything was measured."""

    processor: str
    processors: int
    kernel: str
    python: str
    load: float

    @classmethod
    def read(cls) -> "Machine":
        return cls(
            processor=_processor(),
            processors=os.cpu_count() or 1,
            kernel=platform.release(),
            python=platform.python_version(),
            load=os.getloadavg()[0],
        )

    def __str__(self) -> str:
        text = (
            f"{self.processors} x {self.processor}, Linux {self.kernel}, Python {self.python},"
            f" load {self.load:.2f}"
        )
        if self.load > _BUSY:
            text += "\nSomething else is running on this machine: expect worse figures and noise."
        return text


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
