"""The URL of a GET, with a place for the message (``--get``). No I/O."""

import re
from urllib.parse import quote_plus

__all__ = ["UrlTemplate"]

_DIRECTIVE = re.compile(r"%[%s]")


class UrlTemplate:
    """
    A URL with one ``%s``. ``%%`` stands for ``%``.

    Raises:
        ValueError: there is not exactly one.
    """

    def __init__(self, text: str) -> None:
        if _DIRECTIVE.findall(text).count("%s") != 1:
            raise ValueError("invalid GET address - must be a printf string")
        self.text = text

    def fill(self, body: bytes) -> str:
        """Return the URL of a message, which is escaped as in a query."""
        escaped = quote_plus(body)
        return _DIRECTIVE.sub(lambda found: "%" if found[0] == "%%" else escaped, self.text)
