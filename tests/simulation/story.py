"""The part of a trace that tells how a promise came to be broken, for a person to read."""

import re
from collections.abc import Sequence

__all__ = ["story_of"]

_TOPICS = ("orders", "clicks", "trace#ephemeral")  # of `plan`
_MESSAGE = re.compile(
    r"\b(\d+), (\d+) of "
)  # as `auditor` names one: of the simulation, of the log
_PUBLISHED = re.compile(r"  publishes (\d+)(?: to (\d+))? to ")
_HANDLED = re.compile(r" (?:has|sends|finishes|requeues) ((?:\d+(?:, | to )?)+)$")
_TIME_CHARACTERS = len("00:00.000000")


def story_of(lines: Sequence[str], violation: str) -> list[str]:
    """
    Return the lines that have to do with a violation, whose text is given.

    Those of its node, topic and message, as far as it names them, and all faults.
    """
    nodes = re.findall(r"\bnsqd\d+", violation)
    others = [topic for topic in _TOPICS if topic not in violation]
    if len(others) == len(_TOPICS):
        others = []
    message = _MESSAGE.search(violation)
    story = [
        line
        for line in lines
        if "  fault  " in line
        or (
            (not nodes or any(node in line for node in nodes))
            and not any(topic in line for topic in others)
            and (message is None or _tells_of(line, int(message[1]), int(message[2])))
        )
    ]
    texts = ["", *(line[_TIME_CHARACTERS:] for line in story)]
    return [
        line
        for line, before in zip(story, texts, strict=False)
        if not before or not line.endswith(before)
    ]


def _tells_of(line: str, number: int, sequence: int) -> bool:
    """Return whether a line is about a message, or about none."""
    if published := _PUBLISHED.search(line):
        return int(published[1]) <= number <= int(published[2] or published[1])
    if handled := _HANDLED.search(line):
        return any(
            int(first) <= sequence <= int(last or first)
            for first, last in re.findall(r"(\d+)(?: to (\d+))?", handled[1])
        )
    return "  answers " not in line
