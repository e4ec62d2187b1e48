"""One place for one fact: what a pattern finds stands in the named modules, and nowhere else."""

import re
from functools import cache
from pathlib import Path

import pytest

from nsqx.protocol.version import NSQ_VERSION, VERSION

ROOT = Path(__file__).parents[1]

FACTS = {
    "how TLS contexts are made": (r"ssl\.SSLContext\(|create_default_context", {"net/tls"}),
    "what a name stands for": (r"getaddrinfo\(|gethostbyname", {"net/names", "net/addresses"}),
    # Those of the client know no runtime; the others talk to no daemon of a cluster.
    "how daemons are asked by HTTP": (
        r"aiohttp\.ClientSession\(",
        {"cluster/http", "client/lookup", "nsqd/edge/auth", "apps/tools/nsq_to_http"},
    ),
    "what is judged as too much": (r"class \w*Thresholds", {"cluster/thresholds"}),
    "relative imports": (r"(?m)^\s*from \.", set()),
    "the versions": (
        rf'"(nsqx/)?{re.escape(VERSION)}"|"{re.escape(NSQ_VERSION)}"',
        {"protocol/version"},
    ),
    "Go's bools": (r'"TRUE"|ParseBool: ', {"runtime/options/go_values"}),
    "Go's integers": (r"ParseInt: ", {"runtime/options/go_values"}),
    "Go's floats": (r"ParseFloat: ", {"runtime/options/go_values"}),
    "NSQ's ports": (r"= 41[567]\d\b|[\"{].*:41[567]\d\"", {"protocol/defaults"}),
    "the most RDY": (r"(?i)rdy.*\b2_?500\b", {"protocol/defaults"}),
    "the largest messages": (r"(?i)(msg|body)_size.*1024 \* 1024", {"protocol/defaults"}),
    "the letters of names": (r"\[\.?a-zA-Z0-9_-\]|\[\.a-zA-Z0-9_\\-\]", {"protocol/names"}),
}


@cache
def code() -> dict[str, str]:
    """Return the text of each module, without what is documentation, by component and path."""
    found = {}
    for folder in ROOT.glob("*/nsqx/*"):
        for file in folder.rglob("*.py"):
            text = re.sub(r'""".*?"""', "", file.read_text(), flags=re.DOTALL)
            name = file.relative_to(folder.parent).with_suffix("").as_posix()
            found[name] = re.sub(r"^\s*#.*", "", text, flags=re.MULTILINE)
    return found


@pytest.mark.parametrize("fact", FACTS)
def test_a_fact_stands_in_one_place(fact: str) -> None:
    pattern, places = FACTS[fact]
    found = {name for name, text in code().items() if re.search(pattern, text)}
    assert found == places
