"""Log levels, numbered as ``/config/log_level`` shows them (nsqd-http section 7)."""

from enum import IntEnum

__all__ = ["WORDS", "Level", "parse_level"]


class Level(IntEnum):
    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    FATAL = 5


# The words of the flag and of PUT /config/log_level. "warning" is not among them, as in NSQ.
WORDS = {
    "debug": Level.DEBUG,
    "info": Level.INFO,
    "warn": Level.WARNING,
    "error": Level.ERROR,
    "fatal": Level.FATAL,
}


def parse_level(word: str) -> Level:
    """
    Return the level that a word in any letter case names.

    Raises:
        ValueError: with NSQ's text, if it is none of debug, info, warn, error, fatal.
    """
    level = WORDS.get(word.lower())
    if level is None:
        raise ValueError(f"invalid log level '{word}' (debug, info, warn, error, fatal)")
    return level
