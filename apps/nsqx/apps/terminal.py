"""
Text of strangers on a terminal: bodies, names, errors. No I/O.

A terminal obeys what it is shown: an ESC can rename the window, write to the clipboard or hide what
stood above. So what would not be seen is shown as its escape, such as ``\\x1b``. What goes to a
file or a pipe is data, and stays as it is.
"""

import re

__all__ = ["for_terminal", "printable"]

_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\n"
_SUSPECT = re.compile(r"[^\x20-\x7e]")


def printable(text: str) -> str:
    """Return a text in one line: control characters, bidi marks and the like are escaped."""
    return _SUSPECT.sub(_shown, text)


def for_terminal(data: bytes) -> bytes:
    """Return lines for a terminal: tabs and line feeds stay, and bytes that are no UTF-8 show."""
    if not data.translate(None, _PLAIN):
        return data
    lines = data.decode(errors="backslashreplace").split("\n")
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in lines).encode()


def _shown(match: re.Match[str]) -> str:
    char = match[0]
    return char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
