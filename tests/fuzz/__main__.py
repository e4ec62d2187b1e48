"""
Feeds every parser for some time, guided by coverage. Needs atheris, see `make fuzz`.

    python -m tests.fuzz --seconds 60
    python -m tests.fuzz --target commands --seconds 600

What makes a parser fail is written to a file that is named at the end, and belongs into `corpus`.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ARTIFACTS = Path("build/fuzz")


def main() -> int:
    """Run each target in a process of its own; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--target", action="append")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        _feed(arguments.target[0], arguments.seconds)
        return 0

    from tests.fuzz.targets import TARGETS

    failed = 0
    for name in arguments.target or TARGETS:
        command = [sys.executable, "-m", "tests.fuzz", "--inside", "--target", name]
        finished = subprocess.run(
            [*command, "--seconds", str(arguments.seconds)],
            capture_output=True,
            text=True,
            check=False,
        )
        told = [line for line in finished.stderr.splitlines() if line.strip()]
        runs = next((line for line in reversed(told) if line.startswith("Done")), "")
        print(f"{name}: {'ok, ' + runs if finished.returncode == 0 else 'FAILED'}", flush=True)
        if finished.returncode != 0:
            print("\n".join(told[-25:]))
            failed += 1
    return 1 if failed else 0


def _feed(name: str, seconds: int) -> None:
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # as installed

    with atheris.instrument_imports(include=["nsqx", "tests.fuzz"]):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="nsqx-fuzz-") as folder:
        for number, example in enumerate(target.examples):
            Path(folder, str(number)).write_bytes(example)
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        options = [
            f"-artifact_prefix={ARTIFACTS}/",
            f"-max_total_time={seconds}",
            "-rss_limit_mb=2048",
            "-timeout=20",
            folder,
        ]
        atheris.Setup([sys.argv[0], *options], target.feed)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
