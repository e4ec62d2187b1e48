"""
Whether a node is being emptied, and the file that says so: ``draining.json``.

    {"since_ns":1795500047000000000}

The file is there while the node drains, so that a node which is started again by a supervisor does
not take messages that somebody is waiting to be rid of (decision record 160). A file that can't be
read says the same, only not since when.
"""

import json

from nsqx.nsqd.log.replacement import replace_file
from nsqx.nsqd.log.storage import Storage

__all__ = ["DRAINING_PATH", "Draining"]

DRAINING_PATH = "draining.json"


class Draining:
    """
    The state and its file.

    Attributes:
        is_on: no messages are taken.
        since_ns: wall time at which that began; 0 while it is off, or not known.
        is_saved: a restart goes on with it.
    """

    def __init__(self, storage: Storage) -> None:
        self.is_on = self.is_saved = False
        self.since_ns = 0
        self._storage = storage

    def load(self) -> None:
        """Go on as before the start."""
        try:
            content = self._storage.read_file(DRAINING_PATH)
        except FileNotFoundError:
            return
        self.is_on = self.is_saved = True
        try:
            self.since_ns = int(json.loads(content)["since_ns"])
        except (ValueError, KeyError, TypeError):
            self.since_ns = 0

    def begin(self, wall_ns: int) -> None:
        """Note that it begins. OSError if the disk refuses: then it holds for this process."""
        self.is_on, self.since_ns = True, wall_ns
        content = json.dumps({"since_ns": wall_ns}, separators=(",", ":")).encode()
        replace_file(self._storage, DRAINING_PATH, content)
        self.is_saved = True

    def end(self) -> None:
        """Note that it is over. OSError if the disk refuses: then it is not."""
        if self.is_saved:
            self._storage.remove(DRAINING_PATH)
            self._storage.sync_folder("")
        self.is_on = self.is_saved = False
        self.since_ns = 0
