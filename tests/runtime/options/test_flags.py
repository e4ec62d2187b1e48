"""
The command line, environment and file of a small daemon, against Go's rules and recorded answers.

The daemons' own options are tested with them; here are the rules that all share.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nsqx.protocol.version import NSQ_VERSION, VERSION
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import (
    DURATION,
    FLOATS,
    TLS_MIN_VERSION,
    TLS_REQUIRED,
    Level,
    Source,
    TlsRequired,
    flag,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "daemon_cli.json"


@dataclass
class SmallOptions(flags.DaemonOptions):
    log_prefix: str = flag("[nsqd] ", help="text before every log line")
    node_id: int = flag(factory=lambda: 7, config_key="id", help="part of ids", default_text="hash")
    tcp_address: str = flag("0.0.0.0:4150", help="`addr:port` to listen on")
    msg_timeout: int = flag("1m", kind=DURATION, help="before a message is requeued")
    max_msg_size: int = flag(1048576, help="bytes of a message\nat most")
    sample: float = flag(1.0, help="share of messages")
    deflate: bool = flag(True, help="allow it")
    n: bool = flag(False, help="one letter")
    lookupds: list[str] = flag(
        [],
        name="lookupd-tcp-address",
        config_key="nsqlookupd_tcp_addresses",
        help="may be repeated",
    )
    percentiles: list[float] = flag([], kind=FLOATS, name="percentile", help="floats")
    tls_required: TlsRequired = flag("false", kind=TLS_REQUIRED, help="true, false, tcp-https")
    tls_min_version: int = flag("tls1.0", kind=TLS_MIN_VERSION, help="tls1.0 to tls1.3")
    worker_id: bool = flag(False, config_key=None, help="deprecated", no_effect="use --node-id")


def parse(*argv: str, environ: dict[str, str] | None = None) -> SmallOptions:
    return flags.parse(SmallOptions, argv, "nsqd", environ=environ or {})


def write_file(folder: Path, text: str) -> str:
    path = folder / "nsqd.toml"
    path.write_text(text)
    return f"--config={path}"


def fail(capsys: pytest.CaptureFixture[str], *argv: str, **kwargs: Any) -> tuple[int, list[str]]:
    """Return the exit code and the lines on stderr."""
    with pytest.raises(SystemExit) as raised:
        parse(*argv, **kwargs)
    captured = capsys.readouterr()
    assert captured.out == ""
    code = raised.value.code
    assert isinstance(code, int)
    return code, captured.err.splitlines()


# --- syntax ---


@pytest.mark.parametrize(
    "argv",
    [
        ["-tcp-address=a:1"],
        ["--tcp-address=a:1"],
        ["-tcp-address", "a:1"],
        ["--tcp-address", "a:1"],
        ["--tcp-address=x", "--tcp-address=a:1"],
    ],
)
def test_all_spellings_of_a_flag_are_the_same(argv: Sequence[str]) -> None:
    assert parse(*argv).tcp_address == "a:1"


def test_a_value_may_hold_an_equals_sign_or_look_like_a_flag() -> None:
    assert parse("--tcp-address=a=b").tcp_address == "a=b"
    assert parse("--tcp-address", "-x").tcp_address == "-x"
    assert parse("--tcp-address=").tcp_address == ""


def test_a_bool_never_takes_the_following_word() -> None:
    options = parse("--n", "false", "--deflate=false")
    assert options.n is True
    assert options.leftovers == ["false", "--deflate=false"]
    assert options.deflate is True


@pytest.mark.parametrize("word", ["1", "t", "T", "TRUE", "true", "True"])
def test_words_for_true(word: str) -> None:
    assert parse(f"--n={word}").n is True


@pytest.mark.parametrize("word", ["0", "f", "F", "FALSE", "false", "False"])
def test_words_for_false(word: str) -> None:
    assert parse(f"--deflate={word}").deflate is False


@pytest.mark.parametrize("end", [["--"], []])
def test_flags_end_at_two_dashes_or_a_bare_word(end: list[str]) -> None:
    options = parse("--n", *end, "word", "--nosuch")
    assert options.leftovers == ["word", "--nosuch"]


def test_a_single_dash_is_a_word() -> None:
    assert parse("-", "--nosuch").leftovers == ["-", "--nosuch"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("10", 10),
        ("-10", -10),
        ("+10", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("1_000", 1000),
        ("0x_ff", 255),
        ("-0x10", -16),
    ],
)
def test_integers_are_those_of_go(text: str, number: int) -> None:
    assert parse(f"--max-msg-size={text}").max_msg_size == number


@pytest.mark.parametrize(
    "text", ["", "abc", "1.5", "1__0", "_1", "1_", "09", "0x", " 1", "1 ", "\u0661"]
)
def test_what_is_no_integer_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fail(capsys, f"--max-msg-size={text}")
    quoted = '"\u0661"' if text == "\u0661" else f'"{text}"'
    assert code == 2
    assert lines[0] == f"invalid value {quoted} for flag -max-msg-size: parse error"


def test_an_integer_beyond_64_bits_is_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = fail(capsys, "--max-msg-size=9223372036854775808")
    assert lines[0].endswith("for flag -max-msg-size: value out of range")
    assert parse("--max-msg-size=-9223372036854775808").max_msg_size == -(2**63)


@pytest.mark.parametrize(
    ("text", "number"), [("0.5", 0.5), ("1e-3", 0.001), (".5", 0.5), ("5", 5.0)]
)
def test_floats(text: str, number: float) -> None:
    assert parse(f"--sample={text}").sample == number


def test_repeated_flags_make_a_list_and_commas_do_not_split() -> None:
    options = parse("--lookupd-tcp-address=a:1,b:2", "-lookupd-tcp-address", "c:3")
    assert options.lookupds == ["a:1,b:2", "c:3"]


def test_percentiles_are_split_and_sorted_from_high_to_low() -> None:
    assert parse("--percentile=0.5,0.9", "--percentile=0.99").percentiles == [0.99, 0.9, 0.5]


@pytest.mark.parametrize(
    ("argv", "required"),
    [
        ([], TlsRequired.NO),
        (["--tls-required"], TlsRequired.YES),
        (["--tls-required=true"], TlsRequired.YES),
        (["--tls-required=false"], TlsRequired.NO),
        (["--tls-required=TCP-https"], TlsRequired.TCP_ONLY),
    ],
)
def test_tls_required_is_a_bool_or_a_word(argv: Sequence[str], required: TlsRequired) -> None:
    assert parse(*argv).tls_required is required


def test_tls_versions_are_the_numbers_of_the_protocol() -> None:
    assert [
        parse(f"--tls-min-version={word}").tls_min_version for word in ("tls1.0", "TLS1.3", "")
    ] == [
        769,
        772,
        769,
    ]


# --- refusals ---


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--nosuch"], "flag provided but not defined: -nosuch"),
        (["-nosuch=1"], "flag provided but not defined: -nosuch"),
        (["--nosuch", "--version"], "flag provided but not defined: -nosuch"),
        (["---n"], "bad flag syntax: ---n"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-=x"], "bad flag syntax: -=x"),
        (["--log-prefix"], "flag needs an argument: -log-prefix"),
        (["--n=maybe"], 'invalid boolean value "maybe" for -n: parse error'),
        (["--msg-timeout=5"], 'invalid value "5" for flag -msg-timeout: parse error'),
        (["--worker-id=7"], 'invalid boolean value "7" for -worker-id: parse error'),
        (
            ["--tcp-address=a", "--max-msg-size", 'a"b'],
            r'invalid value "a\"b" for flag -max-msg-size: parse error',
        ),
        (
            ["--log-level=warning"],
            "invalid value \"warning\" for flag -log-level: invalid log level 'warning'"
            " (debug, info, warn, error, fatal)",
        ),
        (
            ["--tls-min-version=ssl3.0"],
            'invalid value "ssl3.0" for flag -tls-min-version: unknown tlsVersionOption "ssl3.0"',
        ),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_what_may_help(
    argv: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = fail(capsys, *argv)
    assert code == 2
    assert lines[0] == message
    assert lines[-1] == "nsqd -h lists all flags"
    assert len(lines) <= 3


@pytest.mark.parametrize(
    ("word", "likely"),
    [
        ("--max-msgsize=1", "max-msg-size"),
        ("--max_msg_size=1", "max-msg-size"),
        ("--loglevel=info", "log-level"),
        ("-lookup-tcp-address=a:1", "lookupd-tcp-address"),
    ],
)
def test_a_misspelt_flag_is_told_with_the_one_that_was_meant(
    word: str, likely: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = fail(capsys, word)
    name = word.lstrip("-").partition("=")[0]
    assert code == 2
    assert lines == [
        f"flag provided but not defined: -{name}",
        f"did you mean -{likely}?",
        "nsqd -h lists all flags",
    ]


def test_nothing_is_suggested_for_what_is_like_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(capsys, "--zzzzzz")[1] == [
        "flag provided but not defined: -zzzzzz",
        "nsqd -h lists all flags",
    ]


def test_a_percentile_that_is_no_number_is_a_bare_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fail(capsys, "--percentile=x")
    assert code == 1
    (line,) = lines
    assert line[19:] == " Could not parse: x"


# --- recorded answers ---


def _recorded() -> list[Any]:
    cases = []
    for case in json.loads(GOLDEN.read_text())["cases"]:
        run = case["events"][-1]
        is_about_flags = (
            run.get("exit_code") == 2 or "config" in case["name"] or "version" in case["name"]
        )
        if run.get("run") == "nsqd" and is_about_flags:
            cases.append(pytest.param(case["events"], id=case["name"]))
    assert len(cases) >= 10
    return cases


@pytest.mark.parametrize("events", _recorded())
def test_recorded_command_lines(
    events: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for event in events[:-1]:
        (tmp_path / "c.toml").write_text(event["config_file"])
    run = events[-1]
    # Addresses and the data path stand before the flag under test; this small daemon has one.
    argv = [word.replace("<DIR>", str(tmp_path)) for word in run["args"]]
    argv = [word for word in argv if not word.startswith(("--http-address", "--data-path"))]
    with pytest.raises(SystemExit) as raised:
        parse(*argv)
    captured = capsys.readouterr()
    assert raised.value.code == run["exit_code"]
    expected_out = run["stdout"].replace("<VERSION>", NSQ_VERSION)
    assert captured.out.partition("<")[0].startswith(expected_out.partition("<RUNTIME>")[0])
    if "stderr_first_line" in run:
        assert captured.err.splitlines()[0] == run["stderr_first_line"]
    if "stderr_last_line" in run:
        before, _, after = run["stderr_last_line"].partition("<DATE>")
        assert captured.err.startswith(before)
        assert captured.err.endswith(after + "\n")


# --- usage and version ---

USAGE = """\
Usage of nsqd:
  -config string
    \tpath of a TOML file of options
  -deflate
    \tallow it (default true)
  -log-format string
    \tlog lines: nsq, console or json (default "nsq")
  -log-level value
    \tleast level logged: debug, info, warn, error, fatal (default INFO)
  -log-prefix string
    \ttext before every log line (default "[nsqd] ")
  -lookupd-tcp-address value
    \tmay be repeated
  -max-msg-size int
    \tbytes of a message
    \tat most (default 1048576)
  -msg-timeout duration
    \tbefore a message is requeued (default 1m0s)
  -n\tone letter
  -node-id int
    \tpart of ids (default 7)
  -percentile value
    \tfloats
  -sample float
    \tshare of messages (default 1)
  -tcp-address addr:port
    \taddr:port to listen on (default "0.0.0.0:4150")
  -tls-min-version value
    \ttls1.0 to tls1.3 (default tls1.0)
  -tls-required
    \ttrue, false, tcp-https
  -verbose
    \tdoes nothing, kept for old command lines
  -version
    \tprint the version and exit
  -worker-id
    \tdeprecated
"""


@pytest.mark.parametrize("word", ["-h", "-help", "--help", "--h"])
def test_help_is_go_usage_on_stderr(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = fail(capsys, word)
    assert code == 0
    assert "\n".join(lines) + "\n" == USAGE


def test_version_is_looked_at_before_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse("--config=/nosuch", "--version")
    assert raised.value.code == 0
    out = capsys.readouterr().out
    # One word of these characters, which gnsq's own tests look for.
    assert re.fullmatch(r"nsqd v1\.3\.0 \(built w/python3\.[a-z0-9.-]+\)\n", out)
    assert out.endswith(f"-nsqx-{VERSION})\n")


def test_tools_print_their_version_alone(capsys: pytest.CaptureFixture[str]) -> None:
    @dataclass
    class ToolOptions(flags.Options):
        version: bool = flag(False, help="print the version")

    with pytest.raises(SystemExit):
        flags.parse(ToolOptions, ["--version"], "nsq_tail")
    assert capsys.readouterr().out == "nsq_tail v1.3.0\n"


# --- file ---


def test_values_of_the_file(tmp_path: Path) -> None:
    options = parse(
        write_file(
            tmp_path,
            """
            id = 3
            log_level = "WARN"
            msg_timeout = 1500
            max_msg_size = "2048"
            sample = 1
            deflate = "false"
            n = true
            tcp_address = 4150
            nsqlookupd_tcp_addresses = ["a:1", "b:2"]
            percentiles = [0.5, 1]
            tls_required = true
            tls_min_version = ""
            """,
        )
    )
    assert options.node_id == 3
    assert options.log_level is Level.WARNING
    assert options.msg_timeout == 1_500_000_000  # an integer is milliseconds
    assert options.max_msg_size == 2048
    assert options.sample == 1.0
    assert options.deflate is False
    assert options.n is True
    assert options.tcp_address == "4150"
    assert options.lookupds == ["a:1", "b:2"]
    assert options.percentiles == [0.5, 1.0]  # the file's order is kept
    assert options.tls_required is TlsRequired.YES
    assert options.tls_min_version == 769


def test_lists_of_the_file_may_be_one_text_with_commas(tmp_path: Path) -> None:
    options = parse(
        write_file(tmp_path, 'nsqlookupd_tcp_addresses = "a:1, b:2"\npercentiles = "0.5,0.9"')
    )
    assert options.lookupds == ["a:1", "b:2"]
    assert options.percentiles == [0.5, 0.9]


@pytest.mark.parametrize(("number", "value"), [(1, True), (0, False)])
def test_an_integer_for_a_bool_means_what_it_says(number: int, value: bool, tmp_path: Path) -> None:
    assert parse(write_file(tmp_path, f"n = {number}")).n is value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_msg_size = 1.5", "1.5 (1048576) for field MaxMsgSize - invalid value type"),
        ("max_msg_size = true", "true (1048576) for field MaxMsgSize - invalid value type"),
        (
            'max_msg_size = "x"',
            'x (1048576) for field MaxMsgSize - strconv.ParseInt: parsing "x": invalid syntax',
        ),
        ("msg_timeout = 1.5", "1.5 (1m0s) for field MsgTimeout - invalid value type"),
        ('msg_timeout = "5"', '5 (1m0s) for field MsgTimeout - time: invalid duration "5"'),
        ("n = 2", "2 (false) for field N - invalid value type"),
        (
            "nsqlookupd_tcp_addresses = 5",
            "5 ([]) for field NSQLookupdTCPAddresses - invalid value type",
        ),
        ("tcp_address = [1]", "[1] (0.0.0.0:4150) for field TCPAddress - invalid value type"),
        (
            'percentiles = ["x"]',
            '[x] ([]) for field Percentiles - strconv.ParseFloat: parsing "x": invalid syntax',
        ),
    ],
)
def test_a_value_of_the_wrong_type_ends_the_start(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (line,) = fail(capsys, write_file(tmp_path, text))
    assert code == 1
    assert line[19:] == f" ERROR: Resolve failed to coerce value {message}"


@pytest.mark.parametrize("text", ['log_level = "loud"', "log_level = 3", 'tls_required = "maybe"'])
def test_three_options_have_an_error_of_their_own(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # They are looked at first, whatever else is wrong.
    code, (line,) = fail(capsys, write_file(tmp_path, f"max_msg_size = 1.5\n{text}"))
    key, value = text.split(" = ")
    assert code == 1
    assert line.startswith("[nsqd] ")
    assert line.endswith(f" FATAL: failed parsing {key} {value.strip(chr(34))}")


@pytest.mark.parametrize("content", [b"a = ", b"\xff\xfe"])
def test_a_file_that_is_not_toml_ends_the_start(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    code, (line,) = fail(capsys, f"--config={path}")
    assert code == 1
    assert f" FATAL: failed to load config file {path} - " in line


# --- environment, precedence, sources ---


def test_the_flag_goes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file = write_file(tmp_path, 'max_msg_size = 1\nsample = 0.1\ntcp_address = "file"')
    options = parse(
        file, "--max-msg-size=3", environ={"NSQD_MAX_MSG_SIZE": "2", "NSQD_SAMPLE": "0.2"}
    )
    assert (options.max_msg_size, options.sample, options.tcp_address) == (3, 0.2, "file")
    assert options.source("max_msg_size") is Source.FLAG
    assert options.source("sample") is Source.ENVIRONMENT
    assert options.source("tcp_address") is Source.FILE
    assert options.source("msg_timeout") is Source.DEFAULT


def test_the_environment_names_the_flag_and_splits_lists(tmp_path: Path) -> None:
    write_file(tmp_path, "max_msg_size = 5")
    options = parse(
        environ={
            "NSQD_LOOKUPD_TCP_ADDRESS": "a:1,b:2",
            "NSQD_NODE_ID": "9",
            "NSQD_CONFIG": str(tmp_path / "nsqd.toml"),
            "NSQD_VERSION": "1.3.0",  # set by many images; not an option
        }
    )
    assert options.lookupds == ["a:1", "b:2"]
    assert options.node_id == 9
    assert options.max_msg_size == 5


def test_a_wrong_variable_ends_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    code, (line,) = fail(capsys, environ={"NSQD_MSG_TIMEOUT": "5"})
    assert code == 1
    assert line.endswith(
        'FATAL: invalid value "5" for environment variable NSQD_MSG_TIMEOUT: parse error'
    )


@pytest.mark.parametrize(
    ("argv", "environ"),
    [(["--log-format=json"], {}), ([], {"NSQD_LOG_FORMAT": "json"})],
)
def test_a_failed_start_has_the_form_of_the_log(
    argv: list[str], environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, (line,) = fail(capsys, *argv, environ={**environ, "NSQD_MSG_TIMEOUT": "5"})
    assert json.loads(line)["level"] == "fatal"


def test_options_without_effect_are_told_when_given() -> None:
    assert parse().notices() == []
    assert parse("--worker-id").notices() == [
        "--worker-id is accepted but has no effect: use --node-id"
    ]


def test_keys_of_the_file_that_mean_nothing_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
        max_msg_sise = 5
        node_id = 3
        lookupd_tcp_address = "a:1"
        [section]
        x = 1
    """
    with pytest.raises(SystemExit, match="1"):
        parse(write_file(tmp_path, text))
    assert (
        capsys.readouterr()
        .err.rstrip()
        .endswith(
            " - unknown: max_msg_sise, node_id (here it is id), "
            "lookupd_tcp_address (here it is nsqlookupd_tcp_addresses), section"
        )
    )


def test_two_command_lines_do_not_share_lists() -> None:
    parse("--lookupd-tcp-address=a:1")
    options = parse()
    options.lookupds.append("x")
    assert parse().lookupds == []


# --- listing ---


def test_every_option_is_listed_with_what_documents_need() -> None:
    by_name = {each.name: each for each in flags.list_flags(SmallOptions)}
    node_id = by_name["node-id"]
    assert (node_id.attribute, node_id.config_key, node_id.default_text) == (
        "node_id",
        "id",
        "hash",
    )
    assert node_id.variable("nsqd") == "NSQD_NODE_ID"
    assert by_name["version"].variable("nsqd") is None
    assert by_name["msg-timeout"].default_text == "1m0s"
    assert flags.by_config_key(SmallOptions)["id"] == node_id
    assert "verbose" not in flags.by_config_key(SmallOptions)


def test_a_kind_that_cannot_be_guessed_must_be_said() -> None:
    with pytest.raises(TypeError, match="must say its kind"):
        flag(None, help="nothing to guess from")
