"""Requests to the daemons' HTTP APIs, without an event loop."""

import json
import urllib.request
from typing import Any

__all__ = ["Json", "get_json", "post"]

Json = Any

# Beyond this a daemon counts as hanging: for example one that is paused.
SECONDS_MAX = 10.0


def get_json(url: str) -> Json:
    """
    GET, and decode the answer.

    Raises:
        OSError: there is no answer, or (as ``urllib.error.HTTPError``) it is not 200.
    """
    with urllib.request.urlopen(url, timeout=SECONDS_MAX) as response:
        return json.loads(response.read())


def post(url: str, body: bytes = b"") -> None:
    """
    POST, and forget the answer.

    Raises:
        OSError: there is none, or (as ``urllib.error.HTTPError``) it is not 200.
    """
    request = urllib.request.Request(url, data=body, method="POST")
    with urllib.request.urlopen(request, timeout=SECONDS_MAX):
        """Its status was looked at."""
