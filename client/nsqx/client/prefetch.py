"""
Whether a consumer may hold messages that nobody has asked for yet. No I/O; time is an argument.

Theory of operation. Messages at hand save a round trip each, but their time runs from the moment
that nsqd sent them, and no other consumer can have them. So they are fetched ahead only for who
takes them soon. Two things show that somebody does not:

    a message has waited here for half of its time (it is given back then);
    a message in work had to be touched, so it took as long.

From then on nsqd is asked for as many messages as are in work or waited for, until as many were
finished as could have been at hand, or nothing like it was seen for a whole ``msg_timeout``. A
cautious consumer begins like that: the first message that is finished proves it quick.
"""

__all__ = ["Prefetch"]


class Prefetch:
    """The judgement on one consumer."""

    def __init__(self, *, cautious: bool = False) -> None:
        self.is_allowed = not cautious
        self._unproven = 1  # messages yet to be finished before there is trust again
        self._finished = 0  # since trust was lost
        self._until = float("inf")

    def lose_trust(self, now: float, msg_timeout: float, needed: int) -> None:
        """
        Note that a message waited, or was in work, for half of its time.

        Args:
            now: of any clock that only goes forwards, in seconds.
            msg_timeout: seconds.
            needed: how many messages finished without a further sign prove the contrary.
        """
        self.is_allowed = False
        self._unproven, self._finished = max(needed, 1), 0
        self._until = now + msg_timeout

    def finished(self) -> bool:
        """Note that a message was answered. Returns whether messages may be fetched ahead again."""
        self._finished += 1
        self._unproven -= 1
        if self._unproven <= 0:
            self.is_allowed = True
        return self.is_allowed

    def expire(self, now: float) -> bool:
        """Forgive what is long past. Returns whether that changed something."""
        if self.is_allowed or now < self._until or not self._finished:
            return False
        self.is_allowed = True
        return True
