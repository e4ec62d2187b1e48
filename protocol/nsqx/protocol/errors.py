"""
The errors of nsqx: the root of their one tree. The class decides what happens next, no flag does.

    NsqxError                     base of all that nsqx raises on purpose
      StartupError                  a program cannot start: one line on stderr, exit code 1
      NsqError                      what a client can meet; ``nsqx.client.errors`` has the others
        ProtocolError                 answered with an error frame; the connection goes on
          FatalProtocolError            answered, then the connection is closed
        FrameError                    what a client received is not a stream of frames
        CompressionError              a compressed stream is damaged

In NSQ only ``E_FIN_FAILED``, ``E_REQ_FAILED`` and ``E_TOUCH_FAILED`` leave a connection open
(protocol section 5). Every other component hangs its own errors into this tree, beside what raises
them; one that is a ``ValueError`` or ``LookupError``, too, is both.
"""

__all__ = [
    "CompressionError",
    "FatalProtocolError",
    "FrameError",
    "NsqError",
    "NsqxError",
    "ProtocolError",
    "StartupError",
    "quote",
]


class NsqxError(Exception):
    """Base of all errors that nsqx raises on purpose."""


class StartupError(NsqxError):
    """
    A program cannot start; its text is the one line that the user sees.

    ``bare`` failures are printed without prefix and level, as Go's standard logger does.
    """

    def __init__(self, message: str, *, bare: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.bare = bare


class NsqError(NsqxError):
    """Base of what a client of NSQ can meet: on the wire, and on the way to it."""


class ProtocolError(NsqError):
    """
    A command that cannot be done.

    Attributes:
        code: The first word of the error frame, for example ``E_FIN_FAILED``.
        detail: What follows it, as bytes: what the peer sent may be echoed, and need not be text.
    """

    def __init__(self, code: str, detail: bytes | str = b"") -> None:
        self.code = code
        self.detail: bytes = detail.encode() if isinstance(detail, str) else detail
        super().__init__(self.line.decode(errors="backslashreplace"))

    @property
    def line(self) -> bytes:
        """The data of the error frame: the code, and the detail if there is one."""
        code = self.code.encode()
        return code + b" " + self.detail if self.detail else code


class FatalProtocolError(ProtocolError):
    """A violation: the peer is told, then its connection is closed."""


class FrameError(NsqError):
    """The bytes a client received are not frames: it must close the connection."""


class CompressionError(NsqError):
    """A compressed stream is damaged or has ended: nothing after this can be read."""


# Control characters that have a letter of their own; quote and backslash are escaped too.
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def quote(raw: bytes) -> str:
    """Return ``raw`` in double quotes with escapes, as Go's ``%q`` writes a string (section 3)."""
    text = raw.decode("utf-8", "surrogateescape")
    return '"' + "".join([_ESCAPES.get(char) or _quoted(char) for char in text]) + '"'


def _quoted(char: str) -> str:
    code = ord(char)
    if char.isprintable():
        return char
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as surrogateescape marks it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
