"""The command line as a whole: what it imports, says and hands on."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from nsqx.apps import cli


def nsqx(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nsqx.apps", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_lists_every_command_with_examples() -> None:
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    for name in [*cli.COMMANDS, *cli.DAEMONS, "Examples:"]:
        assert name in result.output


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_teaches_by_examples(name: str) -> None:
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output


def test_help_imports_no_command_and_no_daemon() -> None:
    code = (
        "import sys\n"
        "from nsqx.apps.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith("
        "('nsqx.nsqd', 'nsqx.lookupd', 'nsqx.admin', 'nsqx.client', 'aiohttp', 'asyncio'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli.main, ["nonsense"])
    assert result.exit_code == 2
    assert "No such command 'nonsense'" in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["--tcp-address=:0", "--", "-x"], []])
def test_a_daemon_gets_its_arguments_unread(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[Sequence[str]] = []

    def daemon_main(argv: Sequence[str]) -> int:
        received.append(argv)
        return 7

    monkeypatch.setattr(cli, "load", lambda _target: daemon_main)
    result = CliRunner().invoke(cli.main, ["nsqd", *arguments])
    assert (received, result.exit_code) == ([arguments], 7)


def test_it_runs_as_a_module() -> None:
    done = nsqx("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "nsqx")


def test_every_command_is_in_the_readme() -> None:
    readme = (Path(cli.__file__).parents[2] / "README.md").read_text()
    assert [name for name in [*cli.COMMANDS, *cli.DAEMONS] if f"nsqx {name}" not in readme] == []
