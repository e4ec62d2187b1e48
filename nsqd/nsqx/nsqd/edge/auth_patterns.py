r"""
Patterns of an auth server: Go's regular expressions (RE2, section 8), in time that cannot explode.

Without more, names, ``.``, ``.*``, ``.+``, ``\.`` and the like, ``^`` and ``$`` are known: what
auth servers say. They are matched part by part, with nothing to go back to. Where the extra ``re2``
is installed, RE2 itself takes all there is. Python's own ``re`` takes exponential time for some
patterns, which would stop the whole broker (decision record 88).
"""

import re
from collections.abc import Callable
from typing import Any

from nsqx.protocol.errors import NsqxError

__all__ = ["Matcher", "PatternError", "compile_pattern"]

PATTERN_CHARS_MAX = 1024

Matcher = Callable[[str], bool]

# What a pattern may consist of: a gap of any length, or one character. ".+" is one and a gap.
_TOKEN = re.compile(
    r"(?P<gap>\.\*)|(?P<some>\.\+)|\\(?P<escaped>[^A-Za-z0-9])|(?P<one>[\w#.-])", re.A
)


class PatternError(NsqxError, ValueError):
    """The pattern is none, or one that this broker does not take."""


def compile_pattern(pattern: str, re2: Any = None) -> Matcher:
    """
    Return what says whether a name has a pattern in it.

    Args:
        pattern: of RE2.
        re2: the module of that name, if it is installed; see `load_re2`.

    Raises:
        PatternError: the reason is for the log.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise PatternError(f"longer than {PATTERN_CHARS_MAX} characters")
    if re2 is None:
        return _Simple(pattern)
    try:
        compiled = re2.compile(pattern)
    except re2.error as error:
        raise PatternError(str(error)) from error
    return lambda name: compiled.search(name) is not None


def load_re2() -> Any:
    """Return the module ``re2``, None where it is not installed."""
    try:
        import re2
    except ImportError:
        return None
    return re2


class _Simple:
    """Parts without repetition, and gaps between them."""

    def __init__(self, pattern: str) -> None:
        self._is_begin = pattern.startswith("^")
        self._is_end = pattern.endswith("$") and not pattern.endswith(r"\$")
        inner = pattern[self._is_begin : len(pattern) - self._is_end]
        # Of each part the tests of its characters: a character, or "" for any one.
        self._parts: list[list[str]] = [[]]
        position = 0
        while position < len(inner):
            token = _TOKEN.match(inner, position)
            if token is None:
                raise PatternError(
                    f"{inner[position : position + 10]!r} needs RE2: pip install 'nsqx[re2]'; "
                    "names, '.', '.*', '.+', '^' and '$' do not"
                )
            position = token.end()
            self._take(token)

    def _take(self, token: re.Match[str]) -> None:
        if token["gap"]:
            self._parts.append([])
        elif token["some"]:
            self._parts[-1].append("")
            self._parts.append([])
        else:
            one = token["one"]
            self._parts[-1].append("" if one == "." else one or token["escaped"])

    def __call__(self, name: str) -> bool:
        """Find each part behind the one before, as early as it comes: no other place is better."""
        *before, last = self._parts
        position = 0
        for index, part in enumerate(before):
            start = self._find(part, name, position, is_here=self._is_begin and index == 0)
            if start < 0:
                return False
            position = start + len(part)
        if not self._is_end:
            is_here = self._is_begin and not before
            return self._find(last, name, position, is_here=is_here) >= 0
        end = len(name) - len(last)
        if self._is_begin and not before and end != 0:
            return False
        return end >= position and self._find(last, name, end, is_here=True) >= 0

    @staticmethod
    def _find(part: list[str], name: str, position: int, *, is_here: bool) -> int:
        last = position if is_here else len(name) - len(part)
        for start in range(position, last + 1):
            characters = name[start : start + len(part)]
            if len(characters) == len(part) and all(
                wanted in ("", is_there) for wanted, is_there in zip(part, characters, strict=True)
            ):
                return start
        return -1
