"""
What the stored frame of a deferred message says of its delay. The only module that knows it.

The attempts of a stored frame are 1. A message that is published deferred has here, in two bytes,
how long after the frame's timestamp it is due at the latest:

     15   14        10   9               0
    +---+--------------+------------------+
    | 1 | exponent     | mantissa         |     in units of 2^20 ns, rounded up
    +---+--------------+------------------+

    exponent 0    mantissa
    exponent e    (1024 + mantissa) * 2^(e - 1); all ones: as long as can be, beyond 73 years

The commit record has the exact time; this is for when a loss of power or damage took that record
and left the frame. A message may then come up to 0.1 % of its delay late, and never early. The
attempts are overwritten at each delivery, so no consumer sees this.

Example: 1.5 s are 1431 units, exponent 1 and mantissa 407: 8597 in hexadecimal.
"""

__all__ = ["NOT_DEFERRED", "due_of", "mark_of"]

NOT_DEFERRED = 1

_MARK = 0x8000
_UNIT_BITS = 20
_MANTISSA_BITS = 10
_MANTISSA_MAX = (1 << _MANTISSA_BITS) - 1
_EXPONENT_MAX = 31
_FOR_EVER = 0xFFFF
_DUE_NS_MAX = (1 << 63) - 1


def mark_of(timestamp_ns: int, due_ns: int) -> int:
    """Return the attempts to store; 1 if the message is not deferred (``due_ns`` 0)."""
    if not due_ns:
        return NOT_DEFERRED
    units = -(timestamp_ns - due_ns >> _UNIT_BITS)
    if units <= _MANTISSA_MAX:
        return _MARK | units if units > 0 else _MARK
    # The mantissa gets one bit more, its first, which is not stored.
    exponent = units.bit_length() - _MANTISSA_BITS
    mantissa = -(-units >> (exponent - 1))
    if mantissa.bit_length() > _MANTISSA_BITS + 1:  # rounded up to the next power of two
        exponent += 1
        mantissa = -(-units >> (exponent - 1))
    if exponent > _EXPONENT_MAX:
        return _FOR_EVER
    return _MARK | exponent << _MANTISSA_BITS | mantissa & _MANTISSA_MAX


def due_of(timestamp_ns: int, attempts: int) -> int:
    """Return when the message of a stored frame is due at the latest; 0 if it is not deferred."""
    if attempts < _MARK:
        return 0
    if attempts == _FOR_EVER:
        return _DUE_NS_MAX
    exponent, mantissa = attempts >> _MANTISSA_BITS & _EXPONENT_MAX, attempts & _MANTISSA_MAX
    units = mantissa if not exponent else (_MANTISSA_MAX + 1 + mantissa) << (exponent - 1)
    return min(timestamp_ns + (units << _UNIT_BITS), _DUE_NS_MAX)
