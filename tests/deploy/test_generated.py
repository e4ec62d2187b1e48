"""What the code generates is what is committed."""

import pytest

from deploy.generate import ROOT, generated


@pytest.mark.parametrize("path", sorted(generated()))
def test_the_committed_file_is_the_generated_one(path: str) -> None:
    assert (ROOT / path).read_text() == generated()[path], "run: make deploy-files"
