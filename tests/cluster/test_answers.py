"""
What NSQ 1.3.0's own daemons answered can be read: the dashboard works in front of them.

The answers are those of the recordings. Their placeholders become the text "1", which stands for a
number as well.
"""

import json
import re
from typing import Any

import msgspec
import pytest

from nsqx.cluster.answers import (
    ChannelsAnswer,
    LookupAnswer,
    NodesAnswer,
    NsqdInfo,
    NsqdStats,
    TopicsAnswer,
)
from tests.support.transcripts import load_cases

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z0-9_]*>")


def recorded(suite: str, path: str) -> list[Any]:
    """Return the JSON of every good answer of a path, with or without a query."""
    return [
        event["response"]["json"]
        for case in load_cases(suite)
        for event in case.events
        if "http" in event
        and event["http"]["method"] == "GET"
        and event["http"]["path"].partition("?")[0] == path
        and event["response"]["status"] == 200
        and "json" in event["response"]
    ]


@pytest.mark.parametrize(
    ("suite", "path", "kind"),
    [
        ("nsqd_http", "/stats", NsqdStats),
        ("nsqd_http", "/info", NsqdInfo),
        ("nsqd_tcp", "/stats", NsqdStats),
        ("lookupd_http", "/nodes", NodesAnswer),
        ("lookupd_http", "/topics", TopicsAnswer),
        ("lookupd_tcp", "/nodes", NodesAnswer),
        ("lookupd_tcp", "/lookup", LookupAnswer),
        ("lookupd_tcp", "/channels", ChannelsAnswer),
    ],
)
def test_every_recorded_answer_can_be_read(suite: str, path: str, kind: type) -> None:
    answers = recorded(suite, path)
    assert answers, "nothing is recorded"
    for answer in answers:
        if "<UNSTABLE>" in (text := json.dumps(answer)) or "<DROPPED>" in text:
            continue
        msgspec.convert(json.loads(_PLACEHOLDER.sub("1", text)), kind, strict=False)


def test_recorded_statistics_hold_topics_channels_and_clients() -> None:
    text = json.dumps(recorded("nsqd_tcp", "/stats") + recorded("nsqd_http", "/stats"))
    answers = msgspec.convert(
        json.loads(_PLACEHOLDER.sub("1", text)), list[NsqdStats], strict=False
    )
    channels = [
        channel
        for answer in answers
        for topic in answer.topics or ()
        for channel in topic.channels or ()
    ]
    assert any(channel.message_count for channel in channels)
    assert any(channel.clients for channel in channels)
