"""
Which of several hosts gets the next request (tools section 4, modes). No I/O; time is an argument.

    RoundRobin      one after another
    HostPool        one after another, but for those that failed lately
    EpsilonGreedy   mostly those that answer fast, and now and then another, to learn how it does
"""

import random
from collections.abc import Callable, Sequence
from typing import Protocol as Interface

__all__ = ["EpsilonGreedy", "HostPool", "Pool", "RoundRobin", "make_pool", "prompt"]

DEAD_SECONDS = 30.0
DEAD_SECONDS_MAX = 900.0

EPSILON = 0.3
EPSILON_MIN = 0.01
EPSILON_DECAY = 0.9
WINDOW_SECONDS = 300.0
BUCKETS = 120
FASTEST_SECONDS = 1e-6  # nothing answers in no time, and 1 / 0 is no weight


class Pool(Interface):
    """Chooses hosts, by their numbers, and is told how they did."""

    def choose(self, now: float) -> int:
        """Return the host of the next request."""

    def report(self, host: int, *, succeeded: bool, seconds: float, now: float) -> None:
        """Take note of an answer, and of how long it took."""


def make_pool(mode: str, hosts: int, *, first: int = 0) -> Pool:
    """Return the pool of a ``--mode``; ``first`` is where taking turns begins without memory."""
    if mode == "hostpool":
        return HostPool(hosts)
    if mode == "epsilon-greedy":
        return EpsilonGreedy(hosts, random.Random())
    return RoundRobin(hosts, first)


def prompt(host: int, late: Callable[[], Sequence[bool]]) -> int:
    """
    Return the host, or the next one after it that is not late with an answer.

    One that is frozen does not fail for long; until then it would be sent its part of everything.
    """
    is_late = late()
    if not is_late[host] or all(is_late):
        return host
    hosts = len(is_late)
    return next(each % hosts for each in range(host, host + hosts) if not is_late[each % hosts])


class RoundRobin:
    """Every host in turn, however it does."""

    def __init__(self, hosts: int, first: int = 0) -> None:
        self._hosts = hosts
        self._next = first % hosts

    def choose(self, now: float) -> int:
        host, self._next = self._next, (self._next + 1) % self._hosts
        return host

    def report(self, host: int, *, succeeded: bool, seconds: float, now: float) -> None:
        """It is all the same."""


class HostPool:
    """
    Every host in turn that is not dead.

    A failure makes a host dead for ``DEAD_SECONDS``; then it is tried once, and dead for twice
    as long if it fails again. If all are dead, all are taken to be alive.
    """

    def __init__(self, hosts: int) -> None:
        self._next = 0
        self._retry_at = [0.0] * hosts  # of the dead
        self._dead_seconds = [0.0] * hosts  # 0: alive

    def choose(self, now: float) -> int:
        host = self._next_usable(now)
        if host is None:
            self._dead_seconds = [0.0] * len(self._dead_seconds)
            host = self._next
        self._next = (host + 1) % len(self._retry_at)
        return self.take(host, now)

    def take(self, host: int, now: float) -> int:
        """Return the host, which is to be asked. If it was dead, nobody else asks it meanwhile."""
        if self._dead_seconds[host]:
            self._dead_seconds[host] = min(self._dead_seconds[host] * 2, DEAD_SECONDS_MAX)
            self._retry_at[host] = now + self._dead_seconds[host]
        return host

    def report(self, host: int, *, succeeded: bool, seconds: float, now: float) -> None:
        if succeeded:
            self._dead_seconds[host] = 0.0
        elif not self._dead_seconds[host]:
            self._dead_seconds[host] = DEAD_SECONDS
            self._retry_at[host] = now + DEAD_SECONDS

    def usable(self, now: float) -> list[int]:
        """Return the hosts that may be asked, the next in turn first."""
        count = len(self._retry_at)
        in_turn = ((self._next + step) % count for step in range(count))
        return [
            host for host in in_turn if not self._dead_seconds[host] or now >= self._retry_at[host]
        ]

    def _next_usable(self, now: float) -> int | None:
        return next(iter(self.usable(now)), None)


class EpsilonGreedy:
    """
    A host that is not dead, at random: the faster it answered lately, the more likely.

    With a probability that falls from ``EPSILON`` to ``EPSILON_MIN``, and as long as nothing is
    known, it is the next in turn.
    """

    def __init__(self, hosts: int, source: random.Random) -> None:
        self._turns = HostPool(hosts)
        self._averages = [_Average() for _ in range(hosts)]
        self._random = source
        self.epsilon = EPSILON

    def choose(self, now: float) -> int:
        if self._random.random() < self.epsilon:
            self.epsilon = max(self.epsilon * EPSILON_DECAY, EPSILON_MIN)
            return self._turns.choose(now)
        hosts = self._turns.usable(now)
        weights = [self._averages[host].weight(now) for host in hosts]
        if not any(weights):
            return self._turns.choose(now)
        return self._turns.take(self._random.choices(hosts, weights)[0], now)

    def report(self, host: int, *, succeeded: bool, seconds: float, now: float) -> None:
        self._turns.report(host, succeeded=succeeded, seconds=seconds, now=now)
        if succeeded:
            self._averages[host].add(seconds, now)


class _Average:
    """The average of what was added in the last ``WINDOW_SECONDS``, roughly."""

    def __init__(self) -> None:
        self._sums = [0.0] * BUCKETS
        self._counts = [0] * BUCKETS
        self._bucket = 0  # number of the newest one, since the beginning of time

    def add(self, value: float, now: float) -> None:
        self._move_to(now)
        self._sums[self._bucket % BUCKETS] += value
        self._counts[self._bucket % BUCKETS] += 1

    def weight(self, now: float) -> float:
        """Return 1 / average; 0 if there is none."""
        self._move_to(now)
        count = sum(self._counts)
        return count / max(sum(self._sums), count * FASTEST_SECONDS) if count else 0.0

    def _move_to(self, now: float) -> None:
        bucket = int(now / (WINDOW_SECONDS / BUCKETS))
        for passed in range(max(self._bucket + 1, bucket - BUCKETS + 1), bucket + 1):
            self._sums[passed % BUCKETS], self._counts[passed % BUCKETS] = 0.0, 0
        self._bucket = max(bucket, self._bucket)
