"""
Durations as Go writes them: ``1h2m3.5s``, ``100ms``, ``0``. Stored as integer nanoseconds.

    duration := sign? ( "0" | (number unit)+ )
    number   := digits | digits "." digits? | "." digits
    unit     := "ns" | "us" | "µs" | "ms" | "s" | "m" | "h"
"""

import re

__all__ = ["HOUR_NS", "MICROSECOND_NS", "MILLISECOND_NS", "MINUTE_NS", "SECOND_NS"]
__all__ += ["format_duration", "parse_duration"]

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS

# Go keeps a duration in an int64.
DURATION_NS_MAX = 2**63 - 1

_UNIT_NS = {
    "ns": 1,
    "us": MICROSECOND_NS,
    "\N{MICRO SIGN}s": MICROSECOND_NS,
    "\N{GREEK SMALL LETTER MU}s": MICROSECOND_NS,
    "ms": MILLISECOND_NS,
    "s": SECOND_NS,
    "m": MINUTE_NS,
    "h": HOUR_NS,
}
_PART = re.compile(
    r"(?P<whole>[0-9]*)(?:\.(?P<fraction>[0-9]*))?(?P<unit>" + "|".join(_UNIT_NS) + ")"
)


def parse_duration(text: str) -> int:
    """
    Return the nanoseconds of a Go duration; digits below a nanosecond are cut off.

    Raises:
        ValueError: ``parse error``, also for a number without a unit and beyond 292 years.
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0
    total_ns = 0
    position = 0
    while match := _PART.match(rest, position):
        total_ns += _part_ns(match)
        position = match.end()
    if position == 0 or position != len(rest) or total_ns > DURATION_NS_MAX:
        raise ValueError("parse error")
    return sign * total_ns


def _part_ns(match: re.Match[str]) -> int:
    whole, fraction = match["whole"], match["fraction"] or ""
    if not whole and not fraction:
        raise ValueError("parse error")
    unit_ns = _UNIT_NS[match["unit"]]
    fraction_ns: int = int(fraction or "0") * unit_ns // 10 ** len(fraction)
    return int(whole or "0") * unit_ns + fraction_ns


def format_duration(duration_ns: int) -> str:
    """Return Go's text for a duration: ``1m0s``, ``250ms``, ``1.5µs``, ``0s``."""
    if duration_ns < 0:
        return "-" + format_duration(-duration_ns)
    if duration_ns == 0:
        return "0s"
    for unit, unit_ns, next_ns in (
        ("ns", 1, MICROSECOND_NS),
        ("\N{MICRO SIGN}s", MICROSECOND_NS, MILLISECOND_NS),
        ("ms", MILLISECOND_NS, SECOND_NS),
    ):
        if duration_ns < next_ns:
            return _decimal(duration_ns, unit_ns) + unit
    minutes, rest_ns = divmod(duration_ns, MINUTE_NS)
    seconds = _decimal(rest_ns, SECOND_NS) + "s"
    if minutes == 0:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def _decimal(amount: int, unit: int) -> str:
    whole, rest = divmod(amount, unit)
    if rest == 0:
        return str(whole)
    digits = str(rest).zfill(len(str(unit)) - 1)
    return f"{whole}.{digits.rstrip('0')}"
