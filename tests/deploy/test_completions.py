"""Completions, asked in the shells that use them."""

import asyncio
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.generate import ROOT
from deploy.programs import CHOICES, Program, programs
from deploy.references import DAEMON_OPTIONS, TOOL_OPTIONS
from nsqx.admin.options import AdminOptions
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options import flags
from tests.support.processes import Cluster

FOLDER = ROOT / "deploy" / "completions"
SHELL_SECONDS = 30

Ask = Callable[[str, Path], list[str]]


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here (Debian: {name})")
    return path


def ask_bash(line: str, folder: Path) -> list[str]:
    """What bash offers at the end of a line; words are split as readline does at = and :."""
    words = [part for word in line.split(" ") for part in re.split("([=:])", word)]
    if line.endswith(("=", ":")):
        words.pop()
    script = "COMP_LINE=$1; COMP_POINT=${#COMP_LINE}; shift; "
    script += f'source "{FOLDER}/nsqx.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
    # compopt works in a completion only.
    script += 'compopt() { :; }; _nsqx; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        [shell("bash"), "-uc", script, "bash", line, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SHELL_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.split()


def ask_fish(line: str, folder: Path) -> list[str]:
    script = f'source "{FOLDER}/nsqx.fish"; complete -C "{line}"'
    done = subprocess.run(
        [shell("fish"), "--no-config", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SHELL_SECONDS,
        env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    return [each.split("\t")[0] for each in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nsqd.toml").touch()
    (tmp_path / "node-1").mkdir()
    return tmp_path


@pytest.mark.parametrize("ask", [ask_bash, ask_fish], ids=["bash", "fish"])
class TestEveryShell:
    def test_an_option_is_completed_in_the_form_that_was_begun(
        self, ask: Ask, folder: Path
    ) -> None:
        assert ask("nsqd --dura", folder) == ["--durability"]
        assert ask("nsqd -dura", folder) == ["-durability"]
        assert ask("nsqx nsqd -dura", folder) == ["-durability"]
        assert ask("to_nsq -deli", folder) == ["-delimiter"]

    def test_a_value_of_few_is_offered(self, ask: Ask, folder: Path) -> None:
        assert ask("nsqd --durability f", folder) == ["fsync"]
        assert ask("nsqd -durability f", folder) == ["fsync"]
        (after_equals,) = ask("nsqd --durability=f", folder)
        assert after_equals.endswith("fsync")  # fish repeats the option

    def test_files_and_folders(self, ask: Ask, folder: Path) -> None:
        assert ask("nsqlookupd --config ns", folder) == ["nsqd.toml"]
        offered = ask("nsqd --data-path n", folder)
        assert [each.rstrip("/") for each in offered] == ["node-1"]
        assert ask("nsqx pub events ns", folder) == ["nsqd.toml"]
        assert ask("nsqx peek ns", folder) == []

    def test_sub_commands_and_their_options(self, ask: Ask, folder: Path) -> None:
        assert ask("nsqx pe", folder) == ["peek"]
        assert {"up", "nsqd", "to-file"} <= set(ask("nsqx ", folder))
        assert set(ask("nsqx peek --bo", folder)) == {"--bodies"}
        assert ask("nsqx to-file --gzip-l", folder) == ["--gzip-level"]
        assert ask("nsqx peek --data", folder) == []


STUB = """\
#!/bin/sh
[ "$1" = complete ] || { echo "RAN<$*>"; exit; }
printf '<%s>' "$@" >> asked
echo >> asked
printf '%s\\n' orders 127.0.0.1:4151
"""


@pytest.fixture
def stub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``nsqx`` that writes down what it is asked, and knows a topic and a node."""
    program = folder / "bin" / "nsqx"
    program.parent.mkdir()
    program.write_text(STUB)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return folder / "asked"


@pytest.mark.parametrize("ask", [ask_bash, ask_fish], ids=["bash", "fish"])
def test_names_are_asked_for_by_the_line_as_it_was_typed(
    ask: Ask, folder: Path, stub: Path
) -> None:
    assert "orders" in ask("nsqx tail --nsqd 127.0.0.1:4150 or", folder)
    assert "orders" in ask("bin/nsqx seek ", folder)
    assert "orders" in ask("nsq_tail --channel=c --topic ", folder)
    assert "orders" in ask("nsqx pub ", folder)
    assert stub.read_text().splitlines() == [
        "<complete><nsqx><tail><--nsqd><127.0.0.1:4150><or>",
        "<complete><bin/nsqx><seek><>",
        "<complete><nsq_tail><--channel=c><--topic><>",
        "<complete><nsqx><pub><>",
    ]


def test_bash_is_given_what_it_will_put_behind_a_colon(folder: Path, stub: Path) -> None:
    assert ask_bash("nsqx drain 127.0.0.1:41", folder)[1] == "4151"
    assert ask_bash("nsqx drain 127.0.0.1:", folder)[1] == "4151"
    assert ask_bash("nsqx drain 127", folder)[1] == "127.0.0.1:4151"
    assert ask_bash("nsqx tail t --channel=", folder)[0] == "orders"
    assert ask_bash("nsqx tail t --channel=o", folder)[0] == "orders"


@pytest.fixture
def bash(folder: Path) -> Iterator[int]:
    """A terminal with bash and its readline, in which ``nsqx`` prints what it was given."""
    program = shell("bash")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        [program, "--norc", "--noprofile", "-i"],
        cwd=folder,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**os.environ, "PATH": path, "PS1": "", "TERM": "dumb", "INPUTRC": "/dev/null"},
        start_new_session=True,
    )
    os.close(inside)
    setup = [
        f'source "{FOLDER}/nsqx.bash"',
        """bind 'set enable-bracketed-paste off'""",
        """nsqx() { echo "RAN<$*>"; }""",
        "nsqx ready",
    ]
    os.write(terminal, ("\n".join(setup) + "\n").encode())
    assert read_run(terminal) == "ready"
    yield terminal
    process.kill()
    process.wait()
    os.close(terminal)


@pytest.mark.timeout(SHELL_SECONDS * 2)
async def test_a_real_bash_completes_the_names_of_a_real_node(bash: int, cluster: Cluster) -> None:
    node = await cluster.nsqd()
    await node.post("/topic/create?topic=orders")
    await node.post("/channel/create?topic=orders&channel=billing")
    by_tcp, by_http = f"--nsqd {node.tcp_address}", f"--nsqd={node.http_address}"
    typed_and_run = {
        f"nsqx tail {by_tcp} ord\t": f"tail {by_tcp} orders",
        f"nsqx seek {by_http} orders b\tend": f"seek {by_http} orders billing end",
    }
    for typed, run in typed_and_run.items():
        os.write(bash, typed.encode() + b"\n")
        assert (await asyncio.to_thread(read_run, bash)).rstrip() == run, typed


@pytest.fixture
def zsh(folder: Path, stub: Path) -> Iterator[int]:
    """A terminal with zsh, in which the programs print what they were given."""
    program = shell("zsh")
    terminal, inside = pty.openpty()
    names = [each.name for each in programs() if " " not in each.name]
    process = subprocess.Popen(
        [program, "-fi"], cwd=folder, stdin=inside, stdout=inside, stderr=inside, close_fds=True
    )
    os.close(inside)
    setup = [
        "PROMPT= ZLE_REMOVE_SUFFIX_CHARS=; unsetopt prompt_cr prompt_sp",
        f"fpath=({FOLDER} $fpath); autoload -Uz compinit; compinit -u -D",
        *(f'{name}() {{ print -r -- "RAN<$*>" }}' for name in names),
        "nsqd ready",
    ]
    os.write(terminal, ("\n".join(setup) + "\n").encode())
    assert read_run(terminal) == "ready"
    yield terminal
    process.kill()
    process.wait()
    os.close(terminal)


def read_run(terminal: int) -> str:
    """Wait for a program to run; return its arguments."""
    seen = b""
    while (found := re.search(rb"RAN<([^$>]*)>\r?\n", seen)) is None:
        seen += os.read(terminal, 4096)
    return found[1].decode()


@pytest.mark.timeout(SHELL_SECONDS * 2)
def test_zsh(zsh: int) -> None:
    typed_and_run = {
        "nsqd --dura\tos": "--durability=os",
        "nsqd -dura\tos": "-durability=os",
        "nsqd --durability=f\t": "--durability=fsync",
        "nsqx pe\tx": "peek x",
        "nsqx peek --bod\tx": "peek --bodies x",
        "nsqx nsqd -durability f\t": "nsqd -durability fsync",
        "nsqlookupd --config nsq\t": "--config nsqd.toml",
        "nsqx pub events nsq\t": "pub events nsqd.toml",
        "bin/nsqx tail --nsqd=127.0.0.1:4150 ord\t": "tail --nsqd=127.0.0.1:4150 orders",
        "nsq_tail --topic=ord\t": "--topic=orders",
        "nsqx drain 127\t": "drain 127.0.0.1:4151",
    }
    for typed, run in typed_and_run.items():
        os.write(zsh, typed.encode() + b"\n")
        assert read_run(zsh).rstrip() == run, typed


@pytest.mark.parametrize(
    ("command", "file"),
    [("bash", "nsqx.bash"), ("zsh", "_nsqx"), ("fish", "nsqx.fish")],
)
def test_the_shell_finds_no_error(command: str, file: str) -> None:
    subprocess.run([shell(command), "-n", FOLDER / file], check=True, timeout=SHELL_SECONDS)


@pytest.mark.parametrize(("program", "name"), CHOICES)
def test_the_choices_are_accepted(program: str, name: str) -> None:
    options = {**DAEMON_OPTIONS, **TOOL_OPTIONS}[program]
    others = ["--lookupd-http-address=127.0.0.1:4161"] if program == "nsqadmin" else []
    for word in CHOICES[program, name]:
        parsed = flags.parse(options, [*others, f"--{name}={word}"], program, environ={})
        # Tools check when they run; what is about TLS wants certificates, too.
        if isinstance(parsed, NsqdOptions | AdminOptions) and not name.startswith("tls-"):
            parsed.check()


def test_every_file_option_is_known_as_one() -> None:
    """What ends in -path, -file, -cert, -key or -dir is completed as a file."""
    by_name: dict[str, Program] = {program.name: program for program in programs()}
    values = {
        f"{name} {option.names[0]}": option.value.name
        for name in ("nsqd", "nsqlookupd", "nsqadmin", "nsq_to_file")
        for option in by_name[name].options
        if option.value.name in ("FILE", "FOLDER")
    }
    assert values["nsqd --data-path"] == "FOLDER"
    assert values["nsqd --tls-key"] == "FILE"
    assert values["nsq_to_file --output-dir"] == "FOLDER"
    assert "nsqadmin --base-path" not in values
