"""Completions, asked in the shells that use them."""

import os
import pty
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.generate import ROOT
from deploy.programs import CHOICES, Program, programs
from deploy.references import DAEMON_OPTIONS, TOOL_OPTIONS
from nsqx.admin.options import AdminOptions
from nsqx.nsqd.options import NsqdOptions
from nsqx.runtime.options import flags

FOLDER = ROOT / "deploy" / "completions"
SHELL_SECONDS = 30

Ask = Callable[[str, Path], list[str]]


def shell(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here (Debian: {name})")
    return path


def ask_bash(line: str, folder: Path) -> list[str]:
    """What bash offers at the end of a line; words are split as readline does at ``=``."""
    words = [part for word in line.split(" ") for part in re.split("(=)", word)]
    if line.endswith("="):
        words.pop()
    script = f'source "{FOLDER}/nsqx.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
    # compopt works in a completion only.
    script += 'compopt() { :; }; _nsqx; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        [shell("bash"), "-uc", script, "bash", *words],
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


@pytest.fixture
def zsh(folder: Path) -> Iterator[int]:
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
