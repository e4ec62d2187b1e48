r"""
Patterns of an auth server: Go's regular expressions (RE2), matched with Python's (section 8).

Names are at most 64 characters of ASCII, so what is different is mostly syntax:

- ``\z``, ``\Q..\E``, ``(?<name>..)`` and ``[[:alpha:]]`` are translated;
- look-around, back-references, conditions, atomic groups and possessive repetition, which RE2
  does not have, are refused, as NSQ refuses them;
- ``\p{..}``, ``\pN``, ``\C`` and ``(?U)``, which Python does not have, are refused.

RE2 takes linear time whatever the pattern. Here a repetition without a bound within another one
(``(a+)*``) can take exponential time, which would stop the whole broker: it is refused too
(decision record 32).
"""

import re

from nsqx.protocol.errors import NsqxError

__all__ = ["PatternError", "compile_pattern"]

PATTERN_CHARS_MAX = 1024

_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "a-zA-Z0-9_",
    "xdigit": "a-fA-F0-9",
}
_TOKEN = re.compile(
    r"""(?xs)
      \\Q (?P<literal>.*?) (?:\\E|\Z)
    | (?P<escape>\\.)
    | \[ (?P<class>\^? \]? (?: \[:\^?\w+:\] | \\. | [^\]\\] )*) \]
    | (?P<open>\( (?: \? (?: P?<\w+> | [imsU-]+[:)] | : | . )? )?)
    | (?P<close>\))
    | (?P<repeat>[*+?] | \{\d+(?:,\d*)?\}) (?P<more>\??)
    | (?P<other>.)
    """
)
_REFUSED_ESCAPES = re.compile(r"\\[1-9pPCgkZ]")
_NAMED_GROUP = re.compile(r"\(\?P?(<\w+>)")
_FLAGS = re.compile(r"\(\?[ims]*(?:-[ims]+)?[:)]")


class PatternError(NsqxError, ValueError):
    """The pattern is none, or one that this broker does not take."""


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """
    Return a pattern to be searched.

    Raises:
        PatternError: the reason is for the log.
    """
    if len(pattern) > PATTERN_CHARS_MAX:
        raise PatternError(f"longer than {PATTERN_CHARS_MAX} characters")
    translated = _Translation(pattern).result
    try:
        return re.compile(translated, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(str(error)) from error


class _Translation:
    """One pass over a pattern."""

    def __init__(self, pattern: str) -> None:
        self._parts: list[str] = []
        # Whether something in the group repeats without a bound, for each group that is open.
        self._repeats = [False]
        self._last_repeats = False  # the same for what stands before the current token
        self._is_after_repeat = False
        for match in _TOKEN.finditer(pattern):
            self._take(match)
        self.result = "".join(self._parts)

    def _take(self, match: re.Match[str]) -> None:
        kind = match.lastgroup if match.lastgroup != "more" else "repeat"
        text = match[0]
        if kind == "repeat":
            self._repeat(match["repeat"], match["more"])
            return
        self._last_repeats = self._is_after_repeat = False
        if kind == "open":
            self._open(text)
        elif kind == "close":
            self._close()
        elif kind == "literal":
            self._parts.append(re.escape(match["literal"]))
        elif kind == "escape":
            self._escape(text)
        elif kind == "class":
            self._parts.append(f"[{_translate_class(match['class'])}]")
        else:
            self._parts.append(text)

    def _repeat(self, repeat: str, more: str) -> None:
        if self._is_after_repeat:
            raise PatternError("a repetition is repeated")
        is_unbounded = repeat in "*+" or repeat.endswith(",}")
        if is_unbounded and self._last_repeats:
            raise PatternError("a repetition without a bound within another takes too long")
        if is_unbounded:
            self._repeats[-1] = True
        self._parts.append(repeat + more)
        self._is_after_repeat = True

    def _open(self, text: str) -> None:
        named = _NAMED_GROUP.fullmatch(text)
        if named is not None:
            text = f"(?P{named[1]}"
        elif text != "(" and not _FLAGS.fullmatch(text):
            raise PatternError(f"{text} is not a group of RE2")
        if text.endswith(")"):  # flags for the rest of the group
            if self._parts or text.startswith("(?-"):
                raise PatternError(f"{text} is taken at the start only")
        else:
            self._repeats.append(False)
        self._parts.append(text)

    def _close(self) -> None:
        if len(self._repeats) == 1:
            raise PatternError("unexpected )")
        self._last_repeats = self._repeats.pop()
        self._repeats[-1] = self._repeats[-1] or self._last_repeats
        self._parts.append(")")

    def _escape(self, text: str) -> None:
        if _REFUSED_ESCAPES.fullmatch(text):
            raise PatternError(f"{text} is not taken")
        self._parts.append(r"\Z" if text == r"\z" else text)


def _translate_class(inside: str) -> str:
    def posix(match: re.Match[str]) -> str:
        characters = _POSIX_CLASSES.get(match[1])
        if characters is None:
            raise PatternError(f"{match[0]} is not a class of characters")
        return characters

    if "[:^" in inside or re.search(r"\\[pP]", inside):
        raise PatternError(f"[{inside}] is not taken")
    translated = re.sub(r"\[:(\w+):\]", posix, inside)
    # Python warns of what may mean sets one day.
    return re.sub(r"(?<!\\)\[|--|&&|~~|\|\|", lambda m: re.escape(m[0]), translated)
