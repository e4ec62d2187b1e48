"""
How the depths of channels went in the last minute; only of those where something waits. Pure.

Times are those of a clock that runs evenly.
"""

import math
from collections import deque
from collections.abc import Mapping
from itertools import pairwise

from nsqx.cluster.rows import ChannelRow
from nsqx.cluster.thresholds import Thresholds

__all__ = ["Trend"]

SAMPLES = 7  # over a minute
SAMPLE_S = 10.0


class Trend:
    """
    Attributes:
        still_since: by channel, since when its consumers finish nothing although something waits.
    """

    def __init__(self, limits: Thresholds) -> None:
        self.still_since: dict[str, float] = {}
        self.earlier: dict[str, float] = {}  # before a restart of whoever looks
        self._limits = limits
        self._samples: dict[str, deque[int]] = {}
        self._sampled_at = -math.inf

    def add(self, at_s: float, waiting: Mapping[str, ChannelRow]) -> None:
        """Take in the channels in which something waits at a time."""
        still: dict[str, float] = {}
        for key, row in waiting.items():
            since = self.still_since.get(key, self.earlier.pop(key, None))
            if row.out_rate or row.paused:
                continue
            # A node that does not answer, or whose consumers come again after its restart, says
            # nothing new: what was still is still then. It begins when nothing is known to go.
            if since is not None:
                still[key] = since
            elif row.clients and row.out_rate is not None:
                still[key] = at_s
        self.still_since = still
        if at_s - self._sampled_at < SAMPLE_S:
            return
        self._sampled_at = at_s
        samples: dict[str, deque[int]] = {}
        for key, row in waiting.items():
            samples[key] = self._samples.get(key) or deque(maxlen=SAMPLES)
            if not row.stale:  # what it said last is no new sample
                samples[key].append(row.depth)
        self._samples = samples

    def is_growing(self, key: str) -> bool:
        """Whether more waits with each sample, and by how much matters."""
        depths = list(self._samples.get(key, ()))
        if len(depths) < SAMPLES or depths[-1] < self._limits.growing_depth:
            return False
        grown = depths[-1] - depths[0]
        matters = grown > depths[0] * self._limits.growing_share
        matters = matters or grown >= self._limits.growing_messages
        return matters and all(later >= earlier for earlier, later in pairwise(depths))

    def still_s(self, key: str, at_s: float) -> float:
        """Return for how long nothing was finished."""
        return at_s - self.still_since.get(key, at_s)
