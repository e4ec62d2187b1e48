"""
Fixtures that every test folder may use, and how long properties are tried.

``make test`` tries the same examples each time, for seconds; ``make test-long`` tries new ones, for
as long as a nightly run may. What it finds is kept in ``.hypothesis`` and tried first.
"""

import os

from hypothesis import HealthCheck, settings

from tests.support.processes import cluster

__all__ = ["cluster"]

settings.register_profile("short", deadline=None, derandomize=True)
settings.register_profile(
    "nightly",
    deadline=None,
    max_examples=3000,
    stateful_step_count=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))
