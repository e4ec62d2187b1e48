"""Names of the files of ``nsq_to_file``, as its format strings say."""

from datetime import UTC, datetime

import pytest

from nsqx.apps.tools.file_names import FileNames, MissingRevisionError, format_time

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def names(filename_format: str, *, gzip: bool = False, revisions: bool = False) -> FileNames:
    return FileNames(
        filename_format,
        "%Y-%m-%d_%H",
        topic="orders",
        host="web1",
        pid=42,
        gzip=gzip,
        revisions=revisions,
    )


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%Y-%m-%d_%H", "2026-03-04_05"),
        ("%B %b %A %a", "March Mar Wednesday Wed"),
        ("%I:%M:%S %p", "05:06:07 AM"),
        ("%y %Z %z", "26 UTC +0000"),
        ("100%%", "100%"),
        ("%j %Q %", "%j %Q %"),
        ("%%Y", "%Y"),
    ],
)
def test_directives_are_those_of_the_tool(pattern: str, text: str) -> None:
    assert format_time(pattern, WHEN) == text


def test_every_word_is_filled_in() -> None:
    stem = names("<TOPIC>/<HOST>.<PID>.<DATETIME>.log").stem(WHEN)
    assert FileNames.name(stem, 7) == "orders/web1.42.2026-03-04_05.log"


def test_the_revision_is_there_where_there_may_be_several_files() -> None:
    stem = names("<TOPIC><REV>.log", revisions=True).stem(WHEN)
    assert [FileNames.name(stem, number) for number in (0, 12)] == [
        "orders-000000.log",
        "orders-000012.log",
    ]


def test_the_revision_is_left_out_where_there_is_one_file() -> None:
    stem = names("<TOPIC><REV>.log").stem(WHEN)
    assert FileNames.name(stem, 3) == "orders.log"


def test_a_format_without_revision_is_refused_where_there_may_be_several_files() -> None:
    with pytest.raises(MissingRevisionError, match="missing <REV> in --filename-format"):
        names("<TOPIC>.log", revisions=True)


@pytest.mark.parametrize("written", ["<TOPIC>", "<TOPIC>.gz"])
def test_compressed_files_end_in_gz(written: str) -> None:
    assert names(written, gzip=True).stem(WHEN) == "orders.gz"
