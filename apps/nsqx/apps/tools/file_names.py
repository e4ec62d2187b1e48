"""
Names of the files that ``nsq_to_file`` writes (tools section 3). No I/O; time is an argument.

    <TOPIC>.<HOST><REV>.<DATETIME>.log      orders.web1-000002.2026-11-24_05.log

The revision is filled in last: what is left until then, the *stem*, says whether two names differ
by their revision only.
"""

import re
from datetime import datetime

from nsqx.protocol.errors import NsqxError

__all__ = ["FileNames", "MissingRevisionError", "format_time"]

_DIRECTIVE = re.compile(r"%([BbmAadHIMSYypZz%])")
REVISION = "<REV>"


class MissingRevisionError(NsqxError, ValueError):
    """The format gives one name only where several are needed."""

    def __init__(self) -> None:
        super().__init__(
            "missing <REV> in --filename-format when gzip, rotation, or work dir enabled"
        )


def format_time(pattern: str, when: datetime) -> str:
    """Fill in strftime's directives; those that the tool does not know stay as they are."""
    return _DIRECTIVE.sub(lambda directive: when.strftime(directive[0]), pattern)


class FileNames:
    """The names of one topic's files."""

    def __init__(
        self,
        filename_format: str,
        datetime_format: str,
        *,
        topic: str,
        host: str,
        pid: int,
        gzip: bool,
        revisions: bool,
    ) -> None:
        """
        ``revisions`` says whether there may be several files of one time.

        Raises:
            MissingRevisionError: then the format must have a place for it.
        """
        if revisions and REVISION not in filename_format:
            raise MissingRevisionError
        if not revisions:
            filename_format = filename_format.replace(REVISION, "")
        if gzip and not filename_format.endswith(".gz"):
            filename_format += ".gz"
        for word, text in (("<TOPIC>", topic), ("<HOST>", host), ("<PID>", str(pid))):
            filename_format = filename_format.replace(word, text)
        self._format = filename_format
        self._datetime_format = datetime_format

    def stem(self, when: datetime) -> str:
        """Return the name at a time, its revision not filled in."""
        return self._format.replace("<DATETIME>", format_time(self._datetime_format, when))

    @staticmethod
    def name(stem: str, revision: int) -> str:
        """Return the name, a path below the output folder."""
        return stem.replace(REVISION, f"-{revision:06d}")
