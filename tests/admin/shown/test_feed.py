"""
Versions of a document: whoever applies the deltas has what the full document says.

``Page`` below does what a page does (docs/admin-api.md, "Applying a delta").
"""

import json
from typing import Any

from hypothesis import given, strategies as st

from nsqx.admin.shown.feed import DELTAS_BYTES_MAX, MAPS, Feed


class Page:
    """A page that follows one document."""

    def __init__(self) -> None:
        self.seq = 0
        self.document: dict[str, Any] | None = None

    def take(self, envelope: bytes) -> None:
        message = json.loads(envelope)
        if "full" in message:
            self.document = message["full"]
        else:
            assert message["base"] == self.seq
            self._apply(message["delta"])
        self.seq = message["seq"]

    def _apply(self, delta: dict[str, Any]) -> None:
        assert self.document is not None
        for name, section in delta.items():
            if name not in MAPS:
                self.document[name] = section
                continue
            for key, row in section.items():
                if row is None:
                    del self.document[name][key]
                else:
                    self.document[name][key] = row


def test_the_first_version_is_full() -> None:
    feed = Feed("summary", "b1")
    assert feed.publish({"totals": {"in": 1.0}, "topics": {}}, 12.5)
    assert json.loads(feed.full()) == {
        "k": "summary",
        "boot": "b1",
        "seq": 1,
        "t": 12.5,
        "full": {"totals": {"in": 1.0}, "topics": {}},
    }


def test_a_delta_has_what_changed_and_nothing_else() -> None:
    feed = Feed("summary", "b1")
    feed.publish({"totals": 1, "verdict": 1, "topics": {"a": 1, "b": 1, "c": 1}}, 1.0)
    feed.publish({"totals": 2, "verdict": 1, "topics": {"a": 1, "b": 2, "d": 1}}, 2.0)
    (envelope,) = feed.since(1)
    assert json.loads(envelope) == {
        "k": "summary",
        "boot": "b1",
        "seq": 2,
        "base": 1,
        "t": 2.0,
        "delta": {"totals": 2, "topics": {"b": 2, "d": 1, "c": None}},
    }


def test_what_is_the_same_is_no_new_version() -> None:
    feed = Feed("summary", "b1")
    feed.publish({"topics": {"a": 1}}, 1.0)
    assert not feed.publish({"topics": {"a": 1}}, 2.0)
    assert feed.seq == 1
    assert feed.since(1) == []


def test_full_bytes_are_made_once_for_all() -> None:
    feed = Feed("summary", "b1")
    feed.publish({"topics": {}}, 1.0)
    assert feed.full() is feed.full()
    assert json.loads(feed.full(skipped=3))["skipped"] == 3
    assert "skipped" not in json.loads(feed.full())


def test_who_was_away_for_long_gets_the_whole() -> None:
    feed = Feed("summary", "b1")
    for number in range(100):
        feed.publish({"n": number}, float(number))
    assert len(feed.since(98)) == 2
    (envelope,) = feed.since(3)
    assert json.loads(envelope)["full"] == {"n": 99}
    (envelope,) = feed.since(1_000)  # of another run
    assert json.loads(envelope)["full"] == {"n": 99}


def test_a_document_may_vanish_and_come_back() -> None:
    feed = Feed("topic:t", "b1")
    feed.publish(None, 1.0)
    assert json.loads(feed.full())["full"] is None
    assert not feed.publish(None, 2.0)
    feed.publish({"row": 1}, 3.0)
    feed.publish(None, 4.0)
    page = Page()
    for envelope in feed.since(1):
        page.take(envelope)
    assert page.document is None
    assert page.seq == 3


_DOCUMENTS = st.none() | st.fixed_dictionaries(
    {
        "totals": st.integers(0, 2),
        "topics": st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3),
        "nodes": st.dictionaries(st.sampled_from("xy"), st.integers(0, 1), max_size=2),
    }
)


@given(st.lists(st.tuples(_DOCUMENTS, st.booleans()), min_size=1, max_size=50))
def test_a_page_that_looks_now_and_then_is_right(
    story: list[tuple[dict[str, Any] | None, bool]],
) -> None:
    feed, page = Feed("summary", "b1"), Page()
    for number, (document, looks) in enumerate(story):
        feed.publish(document, float(number))
        if looks:
            for envelope in feed.since(page.seq):
                page.take(envelope)
            assert page.document == document
            assert page.seq == feed.seq


def test_who_has_missed_more_bytes_than_are_kept_gets_it_in_full() -> None:
    feed, page = Feed("summary", "b1"), Page()
    for number in range(10):
        feed.publish({"totals": str(number) * (DELTAS_BYTES_MAX // 3)}, float(number))
    assert len(feed.since(9)) == 1
    assert b'"delta"' in feed.since(9)[0]
    assert len(feed.since(8)) == 2
    (whole,) = feed.since(2)
    page.take(whole)
    assert page.seq == 10
