"""
Where in the logs of several nodes somebody looks, as the text of ``from``. No I/O.

    start, time:-10m, id:..          in each log, from there on
    seq:1234                         the same, by the number of one node
    end                              the newest of all
    before:1234                      the newest before a number, of one node
    before:HOST:PORT=12,HOST:PORT=9  the newest before a number of each node
    after:HOST:PORT=12,HOST:PORT=9   from a number of each node on

The last two are what pages give to go on with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from nsqx.protocol.errors import NsqxError

__all__ = ["BadPlaceError", "LogPlaces", "text_of_places"]

NUMBER_DIGITS_MAX = 18


class BadPlaceError(NsqxError, ValueError):
    """The text names no place."""


@dataclass(frozen=True, slots=True)
class LogPlaces:
    """
    Where to look, and in which direction.

    Attributes:
        is_backwards: the newest before the place, not those from it on.
        place: that of all nodes, as nsqd takes it; "end" with no number is the newest.
        numbers: those of single nodes, which are all that is looked at then; by address.
    """

    is_backwards: bool
    place: str = ""
    numbers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read the text; what nsqd knows is left to nsqd.

        Raises:
            BadPlaceError: numbers of nodes that are none.
        """
        kind, _, rest = text.partition(":")
        if kind not in ("before", "after"):
            return cls(text == "end", text)
        if rest.isascii() and rest.isdigit():
            return cls(kind == "before", f"seq:{_number(rest)}")
        pairs = (each.rpartition("=") for each in rest.split(","))
        numbers = {address: _number(number) for address, _, number in pairs}
        return cls(kind == "before", "", numbers)

    @property
    def is_of_one_node(self) -> bool:
        """Whether the place is a number that only one log can mean."""
        return self.place.startswith("seq:")

    def of(self, address: str) -> str:
        """Return the place in the log of a node, in nsqd's words."""
        return f"seq:{self.numbers[address]}" if self.numbers else self.place

    def number_of(self, address: str) -> int | None:
        """Return the place in the log of a node if it is a number."""
        place = self.of(address)
        number = place.removeprefix("seq:")
        return int(number) if number != place and number.isdigit() else None


def text_of_places(kind: str, places: Iterable[tuple[str, int]]) -> str | None:
    """Return the text for places of several nodes; None if there is none."""
    pairs = ",".join(f"{address}={number}" for address, number in places)
    return f"{kind}:{pairs}" if pairs else None


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS_MAX):
        raise BadPlaceError(f"{text[:100]!r} is no number of a message")
    return int(text)
