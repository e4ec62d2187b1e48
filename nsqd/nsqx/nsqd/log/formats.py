"""
Which format a data folder has: the only module that knows its file, ``format.json``.

    {"format":2,"needs":[],"node_id":"0f3c..."}

    format   counts up when what was there before is read in another way
    needs    words for what the folder has beyond that number; who does not know one must not start
    node_id  128 random bits in hexadecimal, drawn once

A folder without that file has format 1, or is new. The page ``docs/data-format.md`` says what
stands where, and what has a place in format 2 already though no version writes it yet.

What has a sound checksum and says that it is of another version is not damage: it is refused, here
and by whoever reads it, before anything is written over.
"""

import json
from dataclasses import dataclass

from nsqx.nsqd.log.replacement import replace_file
from nsqx.nsqd.log.storage import Storage
from nsqx.protocol.errors import NsqxError

__all__ = [
    "COMMITS",
    "FORMAT",
    "FORMAT_PATH",
    "DataFormat",
    "DataFormatError",
    "UnknownFormatError",
]

FORMAT = 2
FORMAT_PATH = "format.json"
COMMITS = "commits"  # there may be commit files, which are to be replayed
_KNOWN_NEEDS = frozenset((COMMITS,))


class DataFormatError(NsqxError):
    """The data folder can't be read by this version. It was left as it is."""


class UnknownFormatError(DataFormatError):
    """A sound file has something that this version does not know."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path} has {what}, which a newer nsqd wrote; it was left as it is")


@dataclass(frozen=True, slots=True)
class DataFormat:
    """What ``format.json`` says."""

    node_id: str
    needs: frozenset[str] = frozenset()

    @classmethod
    def read(cls, storage: Storage) -> "DataFormat | None":
        """
        Return what the file says, or None if there is none.

        Raises:
            DataFormatError: the folder is of a newer format, or there is no telling.
            OSError: it can't be read.
        """
        try:
            content = storage.read_file(FORMAT_PATH)
        except FileNotFoundError:
            return None
        try:
            fields = json.loads(content)
            number, needs = int(fields["format"]), list(fields.get("needs", ()))
            node_id = str(fields["node_id"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataFormatError(
                f"{FORMAT_PATH} is damaged ({type(error).__name__}: {error}); it was left as it "
                "is: repair it, or move it away to have the folder taken for one of this version"
            ) from error
        if number > FORMAT:
            raise DataFormatError(
                f"the data folder has format {number}, and this nsqd knows {FORMAT} and older; it "
                "was left as it is: start the nsqd that wrote it, or a newer one"
            )
        unknown = [str(need) for need in needs if need not in _KNOWN_NEEDS]
        if unknown:
            raise DataFormatError(
                f"the data folder needs {', '.join(unknown)}, which this nsqd does not know; it "
                "was left as it is: start the nsqd that wrote it, or a newer one"
            )
        return cls(node_id, frozenset(needs))

    def write(self, storage: Storage) -> None:
        """Mark the folder as one of this format. OSError if the disk refuses."""
        fields = {"format": FORMAT, "needs": sorted(self.needs), "node_id": self.node_id}
        content = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        replace_file(storage, FORMAT_PATH, content)
