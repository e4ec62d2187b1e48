"""
What can't work is refused at the start: for each option of each daemon, what it is told then.

Each option is in one of two tables: with values that its program does not start with, or among
those of which there is no wrong value. So a new option has to say which it is.
"""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nsqx.admin.daemon import Admin
from nsqx.admin.options import AdminOptions
from nsqx.apps import cli
from nsqx.apps.tools import nsq_stat, nsq_tail, nsq_to_file, nsq_to_http, nsq_to_nsq, to_nsq
from nsqx.lookupd.daemon import Lookupd
from nsqx.lookupd.options import LookupdOptions
from nsqx.nsqd.daemon import Nsqd
from nsqx.nsqd.options import NsqdOptions
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import BOOL, DURATION, INT, Options

PROGRAMS: Mapping[str, tuple[type[Options], Any]] = {
    "nsqd": (NsqdOptions, Nsqd),
    "nsqlookupd": (LookupdOptions, Lookupd),
    "nsqadmin": (AdminOptions, Admin),
}
SOMEWHERE = {
    "nsqd": {"tcp-address": "127.0.0.1:0", "http-address": "127.0.0.1:0", "data-path": "{folder}"},
    "nsqlookupd": {"tcp-address": "127.0.0.1:0", "http-address": "127.0.0.1:0"},
    "nsqadmin": {"http-address": "127.0.0.1:0", "lookupd-http-address": "127.0.0.1:1"},
}

# No host: a URL, one with a port, with a path, with blanks, none.
HOSTS = ("", " ", "http://broker", "broker:4150", "broker/x", "two words", "[::1]:4150", "[::1]")
ADDRESSES = ("nowhere", "127.0.0.1:99999", "127.0.0.1:x", "http://127.0.0.1:1")
LISTENERS = ADDRESSES[1:]  # a word is the path of a socket
PREFIXES = ("nsq.%d", "nsq %s", "nsq:%s", "nsq|%s", "nsq\n", "%(host)s")
URLS = ("nsq.example", "ftp://nsq.example", "http://", "http://host:port")
NETWORKS = ("nonsense", "10.0.0.0/99")
NO_FILE = "{folder}/nosuch"
POSITIVE = ("0", "-1")
TLS = "--tls-cert={pem}", "--tls-key={pem}"

# program -> option -> values, each alone or with what it needs before it can be wrong.
REFUSED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "nsqd": {
        "config": (NO_FILE,),
        "node-id": ("-1", "1024", "x"),
        "tcp-address": ("", *LISTENERS),
        "http-address": LISTENERS,
        "https-address": ((*TLS, LISTENERS[0]),),
        "own-tcp-address": ("127.0.0.1:0",),
        "own-http-address": ("127.0.0.1:0",),
        "broadcast-address": HOSTS,
        "broadcast-tcp-port": ("65536", "-1"),
        "broadcast-http-port": ("65536", "-1"),
        "advertise": ("10.0.0.0/8", "nonsense=host", "10.0.0.0/8=http://host"),
        "lookupd-tcp-address": ADDRESSES,
        "lookupd-tls-root-ca-file": (("--lookupd-tls", NO_FILE),),
        "lookupd-tls-cert": ((NO_FILE),),
        "lookupd-tls-key": ((NO_FILE),),
        "cluster": (("--discover", ""), ("--discover", "x" * 300)),
        "auth-http-address": ("host:http", "ftp://host", "http:///x"),
        "auth-http-request-method": ("put",),
        "http-client-connect-timeout": ("0s", "-1s", "5"),
        "http-client-request-timeout": ("0s", "-1s"),
        "data-path": (NO_FILE,),
        "durability": ("never",),
        "msg-timeout": ("0s",),
        "max-msg-timeout": ("0s",),
        "max-heartbeat-interval": ("0s", "999ms"),
        "max-rdy-count": POSITIVE,
        "max-output-buffer-timeout": ("1ms",),
        "min-output-buffer-timeout": ("31s",),
        "max-msg-size": POSITIVE,
        "max-body-size": POSITIVE,
        "max-bytes-per-file": POSITIVE,
        "sync-timeout": ("0s",),
        "statsd-address": ADDRESSES,
        "statsd-interval": ("0s",),
        "statsd-prefix": PREFIXES,
        "e2e-processing-latency-percentile": ("0", "1.5", "x"),
        "e2e-processing-latency-window-time": ("0s",),
        "tls-cert": (NO_FILE, ("--tls-key={pem}", NO_FILE)),
        "tls-key": (NO_FILE,),
        "tls-client-auth-policy": ("required",),
        "tls-root-ca-file": ((*TLS, "--tls-client-auth-policy=require-verify", NO_FILE),),
        "tls-required": ("true", "maybe"),
        "tls-min-version": ("tls9",),
        "max-deflate-level": ("0", "10"),
        "log-level": ("loud",),
    },
    "nsqlookupd": {
        "config": (NO_FILE,),
        "tcp-address": LISTENERS,
        "http-address": LISTENERS,
        "https-address": ("127.0.0.1:0", (*TLS, LISTENERS[0])),
        "broadcast-address": HOSTS,
        "cluster": (("--advertise", ""), ("--advertise", "x" * 300)),
        "tls-cert": (NO_FILE, ("--tls-key={pem}", NO_FILE)),
        "tls-key": (NO_FILE,),
        "tls-client-auth-policy": ("required",),
        "tls-root-ca-file": ((*TLS, "--tls-client-auth-policy=require-verify", NO_FILE),),
        "tls-min-version": ("tls9",),
        "inactive-producer-timeout": ("0s", "-1s"),
        "max-connections": POSITIVE,
        "max-connections-per-address": POSITIVE,
        "max-registrations": POSITIVE,
        "max-registrations-per-address": POSITIVE,
        "max-entries": POSITIVE,
        "max-line-size": POSITIVE,
        "max-identify-size": POSITIVE,
        "log-level": ("loud",),
    },
    "nsqadmin": {
        "config": (NO_FILE,),
        "http-address": LISTENERS,
        "base-path": ("/a b", "/x?y", "/x#y"),
        "dev-static-dir": (NO_FILE,),
        "lookupd-http-address": ("nowhere", "127.0.0.1:99999", "http://127.0.0.1:1/path"),
        "nsqd-http-address": ("nowhere", "127.0.0.1:99999"),
        "http-client-connect-timeout": ("0s",),
        "http-client-request-timeout": ("0s",),
        "http-client-tls-root-ca-file": (NO_FILE,),
        "http-client-tls-cert": (NO_FILE,),
        "http-client-tls-key": (NO_FILE,),
        "nsqd-auth-secret-file": (NO_FILE,),
        "poll-interval": ("0s",),
        "forget-nodes-after": ("0s",),
        "oldest-age-warning": ("0s",),
        "history-path": ("{folder}/nosuch/file", "{folder}"),
        "notification-http-endpoint": URLS,
        "allow-config-from-cidr": NETWORKS,
        "acl-http-header": ("", "X User", "X:User"),
        "admin-user": ("", " "),
        "operator-user": ("",),
        "acl-trusted-cidr": NETWORKS,
        "auth-token-file": (NO_FILE,),
        "auth-basic-file": (NO_FILE,),
        "message-role": ("king",),
        "allowed-origin": (*URLS, "https://nsq.example/path"),
        "allowed-host": ("", "http://nsq.example"),
        "graphite-url": URLS,
        "proxy-graphite": ("true",),
        "statsd-counter-format": ("", "stats.count", "%s.%s", "%d"),
        "statsd-gauge-format": ("", "stats.gauges", "%x"),
        "statsd-prefix": PREFIXES,
        "statsd-interval": ("0s",),
        "cluster": (("--discover", ""), ("--discover", "x" * 300)),
        "log-level": ("loud",),
    },
}
# Of these there is no wrong value, but for words that are no number, and numbers below 0.
ANY = {
    "version",
    "verbose",
    "log-prefix",
    "log-format",  # refused by `run_daemon`: tests/*/test_startup.py
    "worker-id",
    "topology-region",
    "topology-zone",
    "enable-experiment",  # what is unknown is said: test_options.py
}


def _start_flags(program: str, option: str, values: tuple[str, ...]) -> list[str]:
    *needed, value = values
    usual = {name: text for name, text in SOMEWHERE[program].items() if name != option}
    if option == "nsqd-http-address" or "--discover" in needed:
        usual.pop("lookupd-http-address", None)
    return [*(f"--{name}={text}" for name, text in usual.items()), *needed, f"--{option}={value}"]


async def started(program: str, argv: list[str]) -> None:
    """Start a daemon here, and stop it if it does."""
    options_class, make = PROGRAMS[program]
    daemon = make(flags.parse(options_class, argv, program, environ={}))
    await daemon.start()
    await daemon.stop()


CASES = [
    (program, option, value if isinstance(value, tuple) else (value,))
    for program, options in REFUSED.items()
    for option, values in options.items()
    for value in values
]


@pytest.mark.parametrize(("program", "option", "values"), CASES, ids=lambda each: str(each))
async def test_a_value_that_cannot_work_ends_the_start(
    program: str, option: str, values: tuple[str, ...], tmp_path: Path
) -> None:
    pem = tmp_path / "pem"
    pem.write_text("no certificate")
    argv = [
        text.replace("{folder}", str(tmp_path)).replace("{pem}", str(pem))
        for text in _start_flags(program, option, values)
    ]
    with pytest.raises((StartupError, SystemExit)) as failure:
        await started(program, argv)
    assert not isinstance(failure.value, SystemExit) or failure.value.code in (1, 2)


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_option_says_what_is_wrong_with_it(program: str) -> None:
    listed = flags.list_flags(PROGRAMS[program][0])
    by_kind = {each.name for each in listed if each.kind in (BOOL, INT, DURATION)}
    names = {each.name for each in listed}
    assert REFUSED[program].keys() <= names
    assert names - REFUSED[program].keys() - by_kind - ANY == set()


def run_command(words: Sequence[str]) -> None:
    """Run a command of ``nsqx`` here."""
    cli.load(cli.COMMANDS[words[0]].target)(words[1:])


TOP, PEEK, SEEK, DOCTOR = ["top", "-n1"], ["peek", "t"], ["seek", "t", "c", "end"], ["doctor"]
WRONG = ("h", "h:x", "h:0", ":4151", "127.0.0.1:99999", "http://h:1/path", "ftp://h:1", "h:1 ")


@pytest.mark.parametrize("text", WRONG)
@pytest.mark.parametrize("flag", ["--lookupd", "--nsqd"])
@pytest.mark.parametrize("command", [TOP, PEEK, SEEK], ids=lambda words: words[0])
def test_a_command_names_the_address_that_is_none(
    command: list[str], flag: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command([*command, f"{flag}={text}"])
    assert ended.value.code == 2
    assert f"Invalid value for '{flag}': {text!r} is not host:port" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        [*TOP, "--interval=0"],
        [*TOP, "-n0"],
        [*DOCTOR, "--nsqd=h:x"],
        [*DOCTOR, "--lookupd=h:99999"],
        ["tail", "two words", "--nsqd=127.0.0.1:1"],
        ["tail", "t", "--max-in-flight=0"],
        ["tail", "t", "--nsqd=h:x"],
        ["pub", "two words", "--nsqd=127.0.0.1:1"],
        ["pub", "t", "--nsqd=h:x"],
        [*TOP, "--discover", "--cluster="],
        ["bench", "--nsqd=h:x"],
        ["up", "--nsqds=0"],
    ],
    ids=" ".join,
)
def test_a_command_does_not_begin_with_what_cannot_work(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(words)
    assert ended.value.code in (1, 2)
    assert capsys.readouterr().err


NSQDS = ["--topic=t", "--nsqd-tcp-address=127.0.0.1:1"]
LOOKUPDS = ["--topic=t", "--channel=c", "--lookupd-http-address=127.0.0.1:1"]


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        *((nsq_to_http, [*NSQDS, f"--post={url}"]) for url in URLS),
        *((nsq_to_http, [*NSQDS, f"--get={url}/%s"]) for url in URLS[:3]),
        (nsq_to_http, [*NSQDS, "--post=http://h/", "--http-client-connect-timeout=0s"]),
        (nsq_to_http, [*NSQDS, "--post=http://h/", "--http-client-request-timeout=0s"]),
        (nsq_to_http, [*NSQDS, "--post=http://h/", "--sample=2"]),
        (nsq_to_http, [*NSQDS, "--post=http://h/", "--header=none"]),
        (nsq_to_http, [*NSQDS, "--post=http://h/", "--max-in-flight=0"]),
        (nsq_to_http, ["--topic=t", "--nsqd-tcp-address=h:x", "--post=http://h/"]),
        (nsq_to_http, [*LOOKUPDS[:1], "--lookupd-http-address=h:x", "--post=http://h/"]),
        (to_nsq, [*NSQDS, "--rate=-1"]),
        (to_nsq, [*NSQDS, "--delimiter=xy"]),
        (to_nsq, ["--topic=t", "--nsqd-tcp-address=h:x"]),
        (nsq_to_nsq, [*NSQDS, "--destination-nsqd-tcp-address=h:x"]),
        (nsq_to_nsq, [*NSQDS, "--destination-topic=two words"]),
        (nsq_to_file, [*NSQDS, "--gzip-level=10"]),
        (nsq_to_file, [*NSQDS, "--topic-pattern=("]),
        (nsq_to_file, [*NSQDS, "--sync-interval=0s"]),
        (nsq_tail, ["--topic=two words", *NSQDS[1:]]),
        (nsq_tail, ["--topic=t", "--nsqd-tcp-address=h:x"]),
        (nsq_stat, [*LOOKUPDS, "--interval=0s"]),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else each.TOOL,
)
def test_a_tool_does_not_begin_with_what_cannot_work(
    tool: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begins(*_: object) -> int:
        raise AssertionError("it begins")

    monkeypatch.setattr(tool, "run", begins, raising=False)
    monkeypatch.setattr(asyncio, "run", begins)
    monkeypatch.setattr(tool, "start_log", begins, raising=False)
    with pytest.raises(SystemExit) as ended:
        tool.main(words)
    assert ended.value.code in (1, 2)
    assert capsys.readouterr().err
