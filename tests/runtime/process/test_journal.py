"""Lines that systemd's journal reads have their priority."""

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsqx.lookupd.options import LookupdOptions
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options import flags
from nsqx.runtime.process import journal, logs
from nsqx.runtime.process.levels import Level
from nsqx.runtime.process.startup import exit_with_failure


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.TextIOWrapper]:
    """What the journal would have given to a service."""
    with (tmp_path / "journal").open("w+") as file:
        status = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        yield file
    logs.setup("nsq", Level.INFO, "")


def lines_of(stream: io.TextIOWrapper) -> list[str]:
    stream.flush()
    return Path(str(stream.name)).read_text().splitlines()


@pytest.mark.parametrize("log_format", logs.LOG_FORMATS)
def test_each_line_has_its_priority(stream: io.TextIOWrapper, log_format: str) -> None:
    logs.setup(log_format, Level.DEBUG, "", stream)
    log = logs.get_logger()
    for write in (log.debug, log.info, log.warning, log.error, log.fatal):
        write("x")
    assert [line[:3] for line in lines_of(stream)] == ["<7>", "<6>", "<4>", "<3>", "<2>"]


def test_the_lines_of_a_traceback_too(stream: io.TextIOWrapper) -> None:
    logs.setup("nsq", Level.INFO, "", stream)
    logs.get_logger().error("it failed", exc_info=ValueError("why"))
    lines = lines_of(stream)
    assert len(lines) > 1
    assert {line[:3] for line in lines} == {"<3>"}


def test_who_is_not_read_by_the_journal_writes_plain_lines(
    stream: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")  # of a service whose stderr goes elsewhere
    logs.setup("nsq", Level.INFO, "[me] ", stream)
    logs.get_logger().info("x")
    assert lines_of(stream)[0].startswith("[me] ")
    assert not journal.is_journal(10**6)


def test_a_failed_start_is_critical_and_json_if_the_log_is(
    stream: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    exit_with_failure(StartupError("it is broken"), "[me] ", "json")
    exit_with_failure(StartupError("it is broken"), "[me] ")
    in_json, in_words = lines_of(stream)
    assert in_json.startswith("<2>{")
    line = json.loads(in_json.removeprefix("<2>"))
    assert (line["level"], line["event"]) == ("fatal", "it is broken")
    assert in_words.startswith("<2>[me] ")
    assert in_words.endswith(" FATAL: it is broken")


def test_a_word_that_is_no_flag_is_critical_too(
    stream: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", stream)
    with pytest.raises(SystemExit, match="2"):
        flags.parse(LookupdOptions, ["--htp-address=x"], "nsqlookupd", environ={})
    lines = lines_of(stream)
    assert "flag provided but not defined" in lines[0]
    assert {line[:3] for line in lines} == {"<2>"}
