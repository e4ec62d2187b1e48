"""One option of a program, as it was declared."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nsqx.runtime.options.kinds import Kind

__all__ = ["Flag"]


@dataclass(frozen=True, slots=True)
class Flag:
    """A declared option, as the command line, the documentation and ``/config/:opt`` see it."""

    attribute: str
    name: str  # of the flag, without dashes
    config_key: str | None  # None: neither in the file nor under /config
    kind: Kind
    help: str
    group: str
    no_effect: str | None
    make_default: Callable[[], Any]  # may cost something: only for who shows it
    shown_default: str | None
    environment: bool

    @property
    def default(self) -> Any:
        return self.make_default()

    @property
    def default_text(self) -> str:
        """For the documentation; not machine dependent."""
        return self.kind.show(self.default) if self.shown_default is None else self.shown_default

    def variable(self, program: str) -> str | None:
        """Return the environment variable, such as NSQD_MSG_TIMEOUT; None if it has none."""
        if not self.environment:
            return None
        return f"{program}_{self.name}".upper().replace("-", "_")
