"""Fixtures that every test folder may use."""

from tests.support.processes import cluster

__all__ = ["cluster"]
