"""Manual pages, judged by what shows them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.generate import ROOT
from deploy.manuals import manuals
from deploy.programs import programs

FOLDER = ROOT / "deploy" / "man"
PAGES = sorted(FOLDER.glob("man?/*"))


def shown(path: Path) -> str:
    """The page as text, lines unfilled by no width."""
    if shutil.which("man") is None:
        pytest.skip("there is no man here (Debian: man-db)")
    done = subprocess.run(
        ["man", "--warnings=w", "-P", "cat", "-l", path],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "MANWIDTH": "1000", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_there_is_a_page_for_each_program_and_no_other() -> None:
    assert {path.name for path in PAGES} == set(manuals())
    assert {path.name[:-2] for path in PAGES} == {
        each.name.replace(" ", "-") for each in programs()
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_shows_every_option(path: Path) -> None:
    text = shown(path)
    (program,) = (each for each in programs() if each.name.replace(" ", "-") == path.name[:-2])
    for option in program.options:
        for name in option.names:
            assert name in text
        assert " ".join(option.help.split())[:60] in " ".join(text.split())
    for title in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SEE ALSO"):
        assert f"\n{title}\n" in text


def test_the_script_installs_pages_and_completions_for_every_program(tmp_path: Path) -> None:
    script = ROOT / "deploy" / "install-manuals.sh"
    environment = {**os.environ, "DESTDIR": str(tmp_path)}
    for _ in range(2):  # over itself, too
        subprocess.run([script, "/usr"], env=environment, check=True, timeout=60)
    share = tmp_path / "usr" / "share"
    assert len(list((share / "man").glob("man?/*"))) == len(PAGES)
    for program in (each.name for each in programs() if " " not in each.name):
        bash = share / "bash-completion" / "completions" / program
        assert bash.read_bytes() == (ROOT / "deploy" / "completions" / "nsqx.bash").read_bytes()
        fish = share / "fish" / "vendor_completions.d" / f"{program}.fish"
        assert fish.read_bytes() == (ROOT / "deploy" / "completions" / "nsqx.fish").read_bytes()
    assert (share / "zsh" / "site-functions" / "_nsqx").exists()


def test_examples_keep_their_lines() -> None:
    text = shown(FOLDER / "man1" / "nsqx-peek.1")
    assert "       nsqx peek orders                       the last ten messages\n" in text


def test_mandoc_has_nothing_to_say() -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("there is no mandoc here (Debian: mandoc)")
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *PAGES],
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert said == []
