from dataclasses import dataclass
from pathlib import Path

from nsqx.runtime.options import flags
from nsqx.runtime.options.docs import example_file, reference_table
from nsqx.runtime.options.flags import DURATION, FLOATS, TLS_REQUIRED, TlsRequired, flag


@dataclass
class SmallOptions(flags.DaemonOptions):
    host: str = flag(
        factory=lambda: "this-machine", default_text="the host's name", help="told to all"
    )
    msg_timeout: int = flag("1m", kind=DURATION, group="limits", help="a | b")
    names: list[str] = flag(["a", "b"], group="limits", help="names")
    shares: list[float] = flag([0.5], kind=FLOATS, group="limits", help="shares")
    tls_required: TlsRequired = flag("tcp-https", kind=TLS_REQUIRED, group="limits", help="tls")
    old: int = flag(5, no_effect="use --new", help="once something")


def test_the_example_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    example = example_file(SmallOptions, "nsqd")
    lines = [line[1:] for line in example.splitlines() if line.startswith("#") and line[1] != " "]
    path = tmp_path / "nsqd.toml"
    path.write_text("\n".join(line for line in lines if not line.startswith("host")))
    options = flags.parse(SmallOptions, [f"--config={path}"], "nsqd", environ={})
    options.config = ""
    assert options == SmallOptions()
    assert options.source("msg_timeout") is flags.Source.FILE


def test_the_example_does_not_show_the_machine_it_was_made_on() -> None:
    example = example_file(SmallOptions, "nsqd")
    assert "this-machine" not in example
    assert "# default: the host's name" in example
    assert "#old" not in example


def test_the_table_has_every_option() -> None:
    table = reference_table(SmallOptions, "nsqd")
    assert (
        r"| `--msg-timeout` | duration | `1m0s` | `msg_timeout` | `NSQD_MSG_TIMEOUT` | a \| b |"
        in table
    )
    assert "### Limits" in table
    assert "(no effect: use --new)" in table
    for each in flags.list_flags(SmallOptions):
        assert f"`--{each.name}`" in table
