"""The ways to name a place in a log."""

import pytest

from nsqx.nsqd.http.log_position import BadPositionError, Kind, LogPosition

NOW_NS = 1_795_500_000 * 10**9


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("start", Kind.START, 0),
        ("end", Kind.END, 0),
        ("seq:0", Kind.SEQUENCE, 0),
        ("seq:1234", Kind.SEQUENCE, 1234),
        ("id:00000000000000ff", Kind.ID, 255),
        ("time:1795500047", Kind.TIME, 1_795_500_047_000_000_000),
        ("time:1795500047.5", Kind.TIME, 1_795_500_047_500_000_000),
        ("time:2026-11-24T06:00:47Z", Kind.TIME, 1_795_500_047_000_000_000),
        ("time:2026-11-24T08:00:47.25+02:00", Kind.TIME, 1_795_500_047_250_000_000),
        ("time:-10m", Kind.TIME, NOW_NS - 600 * 10**9),
    ],
)
def test_a_place_is_read(text: str, kind: Kind, value: int) -> None:
    assert LogPosition.parse(text, NOW_NS) == LogPosition(kind, value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "middle",
        "start:",
        "end:1",
        "seq",
        "seq:",
        "seq:-1",
        "seq:1x",
        "seq:1234567890123456789",
        "id:ff",
        "id:00000000000000FF",
        "id:zzzzzzzzzzzzzzzz",
        "time",
        "time:",
        "time:10m",
        "time:-10",
        "time:tomorrow",
        "time:2026-11-24T06:00:47",
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadPositionError):
        LogPosition.parse(text, NOW_NS)
