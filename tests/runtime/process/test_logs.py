import io
import json
import re
from collections.abc import Iterator

import pytest

from nsqx.runtime.process import logs
from nsqx.runtime.process.logs import Level


@pytest.fixture(autouse=True)
def _restore_logs() -> Iterator[None]:
    yield
    logs.setup("nsq", Level.INFO, "")


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def test_the_nsq_line_to_the_letter(output: io.StringIO) -> None:
    logs.setup("nsq", Level.INFO, "[nsqd] ", output)
    logs.get_logger("TCP").info("listening on %s", "127.0.0.1:4150")
    assert re.fullmatch(
        r"\[nsqd\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6}"
        r" INFO: TCP: listening on 127\.0\.0\.1:4150\n",
        output.getvalue(),
    )


def test_names_of_the_levels(output: io.StringIO) -> None:
    logs.setup("nsq", Level.DEBUG, "", output)
    log = logs.get_logger()
    for write in (log.debug, log.info, log.warning, log.error, log.fatal):
        write("x")
    words = [line.split(" ")[2] for line in output.getvalue().splitlines()]
    assert words == ["DEBUG:", "INFO:", "WARNING:", "ERROR:", "FATAL:"]


def test_a_percent_sign_without_arguments_is_text(output: io.StringIO) -> None:
    logs.setup("nsq", Level.INFO, "", output)
    logs.get_logger().info("100% done")
    assert output.getvalue().endswith("INFO: 100% done\n")


def test_fields_stand_behind_the_text(output: io.StringIO) -> None:
    logs.setup("nsq", Level.INFO, "", output)
    logs.get_logger("LOG").info("closed", topic="t", size_bytes=12)
    assert output.getvalue().endswith("INFO: LOG: closed topic=t size_bytes=12\n")


def test_what_a_peer_has_sent_looks_like_no_other_field(output: io.StringIO) -> None:
    logs.setup("nsq", Level.INFO, "", output)
    logs.get_logger().info("closed", agent="a topic=x", quote='"', empty="")
    assert output.getvalue().endswith('closed agent="a topic=x" quote="\\"" empty=""\n')


def test_the_level_may_change_while_running(output: io.StringIO) -> None:
    logs.setup("nsq", Level.WARNING, "", output)
    log = logs.get_logger()
    log.info("hidden")
    logs.set_level(Level.INFO)
    log.info("shown")
    assert logs.get_level() == 2
    assert "hidden" not in output.getvalue()
    assert "shown" in output.getvalue()


def test_a_level_that_is_off_does_not_format_its_arguments(output: io.StringIO) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError

    logs.setup("nsq", Level.FATAL, "", output)
    log = logs.get_logger()
    for write in (log.debug, log.info, log.warning, log.error):
        write("%s", Unprintable())
    assert output.getvalue() == ""


def test_json_lines_hold_the_fields(output: io.StringIO) -> None:
    logs.setup("json", Level.INFO, "[nsqd] ", output)
    logs.get_logger("TCP").warning("slow %s", "disk", topic="t")
    line = json.loads(output.getvalue())
    assert list(line) == ["time", "level", "logger", "event", "topic"]
    assert (line["level"], line["logger"], line["event"]) == ("warning", "TCP", "slow disk")


@pytest.mark.parametrize("log_format", logs.LOG_FORMATS)
def test_tracebacks_are_written(log_format: str, output: io.StringIO) -> None:
    logs.setup(log_format, Level.INFO, "", output)
    try:
        raise KeyError("nosuch")
    except KeyError as exc:
        logs.get_logger().error("failed", exc_info=exc)
    assert "KeyError" in output.getvalue()


def test_what_a_peer_sent_neither_moves_a_cursor_nor_turns_text_around(
    output: io.StringIO,
) -> None:
    logs.setup("nsq", Level.INFO, "", output)
    logs.get_logger().info("%s", "a\x1b[2J\rb\x07\n\u202ec\td\u2028é")
    assert output.getvalue().endswith("INFO: a\\x1b[2J\\x0db\\x07\\x0a\\u202ec\td\\u2028é\n")


def test_no_colours_outside_a_terminal(output: io.StringIO) -> None:
    logs.setup("console", Level.INFO, "", output)
    logs.get_logger("TCP").info("listening", port=1)
    assert "\x1b" not in output.getvalue()
    assert "listening" in output.getvalue()


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="invalid log format 'xml'"):
        logs.setup("xml", Level.INFO, "")


def test_a_closed_stderr_stops_nobody() -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    logs.setup("nsq", Level.INFO, "", Gone())
    logs.get_logger().info("nobody reads this")
