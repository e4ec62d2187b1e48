"""The API reference holds all that the client exports."""

from pathlib import Path

import nsqx.client
from nsqx.client import errors

PAGE = Path(__file__).parents[2] / "docs/client/api.md"


def test_every_public_name_of_the_client_is_there() -> None:
    page = PAGE.read_text()
    missing = [
        name
        for name in nsqx.client.__all__
        if name not in errors.__all__ and f" nsqx.client.{name}\n" not in page
    ]
    assert missing == []
    assert ".. automodule:: nsqx.client.errors\n" in page
