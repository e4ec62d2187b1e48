"""The URL of a GET, with a place for the message (``--get``). No I/O."""

import re
from urllib.parse import quote_plus, urlsplit

__all__ = ["UrlTemplate", "is_http_url"]

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


def is_http_url(text: str) -> bool:
    """Whether requests can be sent there."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False
