"""What one viewer is sent: each delta if it keeps up, and the newest in full if it does not."""

import json
from typing import Any

from nsqx.admin.shown.deliveries import Deliveries
from nsqx.admin.shown.feed import Feed


class Stage:
    """One document and one viewer."""

    def __init__(self, has: int = 0) -> None:
        self.feed = Feed("summary", "b1")
        self.deliveries = Deliveries(lambda _key: self.feed)
        self.publish(5)
        self.deliveries.add("summary", has)

    def publish(self, versions: int) -> None:
        for _ in range(versions):
            self.feed.publish({"n": self.feed.seq}, 1.0)

    def sent(self) -> list[dict[str, Any]]:
        return [json.loads(envelope) for envelope in self.deliveries.next()]


def test_the_first_is_full_and_then_there_are_deltas() -> None:
    stage = Stage()
    (first,) = stage.sent()
    assert "full" in first
    assert stage.sent() == []
    stage.publish(1)
    (second,) = stage.sent()
    assert (second["base"], second["seq"]) == (5, 6)


def test_who_is_too_slow_gets_the_newest_and_is_told() -> None:
    stage = Stage()
    stage.sent()
    stage.publish(4)
    (only,) = stage.sent()
    assert (only["full"], only["seq"], only["skipped"]) == ({"n": 8}, 9, 3)


def test_who_resumes_gets_all_deltas_once() -> None:
    stage = Stage(has=2)
    assert [(each["base"], each["seq"]) for each in stage.sent()] == [(2, 3), (3, 4), (4, 5)]
    stage.publish(2)
    (only,) = stage.sent()
    assert only["skipped"] == 1


def test_who_asks_gets_the_whole() -> None:
    stage = Stage()
    stage.sent()
    stage.deliveries.forget("summary")
    (one,) = stage.sent()
    stage.deliveries.forget_all()
    (all_of_them,) = stage.sent()
    assert one == all_of_them
    assert one["full"] == {"n": 4}
    assert "skipped" not in one


def test_who_wants_no_more_gets_no_more() -> None:
    stage = Stage()
    stage.deliveries.remove("summary")
    stage.deliveries.forget("summary")
    assert stage.sent() == []
    assert stage.deliveries.keys == set()
