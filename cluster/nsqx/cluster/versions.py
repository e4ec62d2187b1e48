"""Comparing versions of nsqd, as nsqadmin does to find those that are out of date."""

import re

__all__ = ["version_key"]

_SEMVER = re.compile(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def version_key(version: str) -> tuple[int, int, int, bool, str]:
    """Order versions; a pre-release comes before its release, and what is no version is 0.0.0."""
    match = _SEMVER.fullmatch(version)
    if match is None:
        return (0, 0, 0, True, "")
    major, minor, patch, pre_release = match.groups()
    return (int(major), int(minor), int(patch), pre_release is None, pre_release or "")
