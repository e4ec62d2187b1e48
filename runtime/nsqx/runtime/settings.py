"""
The table of settings that hold for a node, and may be set for one topic or one channel. No I/O.

One entry gives the flag, the environment variable and the key of the TOML file (`option_of`, in the
daemon's options), the parameter of ``/topic/settings`` or ``/channel/settings`` and what they
answer, the key in the topic's state file, and the references (``docs/configuration.md``). Whoever
honours a setting reads it from what the broker keeps under its key.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nsqx.runtime.options.flags import flag
from nsqx.runtime.options.kinds import DURATION, INT, STRING, Kind

__all__ = ["DEFAULT", "SETTINGS", "Scope", "Setting", "of_scope", "option_of", "setting"]

DEFAULT = "default"


class Scope(Enum):
    """For what a setting can be set besides the node."""

    TOPIC = "topic"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Setting:
    """
    One setting.

    Attributes:
        name: of the option, with underscores; the parameter's, too.
        scope: where it can be set besides the node.
        kind: how it is read and shown. Durations are nanoseconds.
        key: its name in state files.
        default: of the node, as a flag would have it.
        group: of the option, in the reference.
        option_help: what the option means, for the node.
        help: what it means for a topic or channel.
        least: the smallest value; None: any.
        most_option: the option that is the largest value; "": there is none.
        choices: all values; empty: any of the kind.
    """

    name: str
    scope: Scope
    kind: Kind
    key: str
    default: Any
    group: str
    option_help: str
    help: str
    least: int | None = None
    most_option: str = ""
    choices: tuple[str, ...] = ()

    def parse(self, text: str, options: Mapping[str, Any] | None = None) -> Any:
        """
        Return the value of a text; None if it is ``default``, which gives back the node's.

        ``options`` are the node's; without them it is not known which values are too large there.

        Raises:
            ValueError: it is none, or out of range.
        """
        if text == DEFAULT:
            return None
        value = self.kind.parse(text)
        if self.choices and value not in self.choices:
            raise ValueError(f"{text} is none of {', '.join(self.choices)}")
        if self.least is not None and value < self.least:
            raise ValueError(f"{text} is too small")
        if self.most_option and options is not None and value > options[self.most_option]:
            raise ValueError(f"{text} is more than --{self.most_option.replace('_', '-')}")
        return value

    def show(self, value: Any) -> str:
        """Return a value as `parse` reads it."""
        return value if isinstance(value, str) else self.kind.show(value)


SETTINGS: Sequence[Setting] = (
    Setting(
        "retain_time",
        Scope.TOPIC,
        DURATION,
        "retain_time_ns",
        "0s",
        "disk",
        "how long finished messages stay for replay",
        "how long finished messages stay for replay, such as `24h`; `0` is not at all",
        least=0,
    ),
    Setting(
        "retain_bytes",
        Scope.TOPIC,
        INT,
        "retain_bytes",
        0,
        "disk",
        "bytes of finished messages that each topic keeps for replay",
        "how many bytes of messages stay, finished or not; the time or the size that keeps more"
        " decides",
        least=0,
    ),
    Setting(
        "durability",
        Scope.TOPIC,
        STRING,
        "durability",
        "os",
        "disk",
        "what OK means: os (survives a crash of nsqd) or fsync (survives a loss of power)",
        "what `OK` means: `os`, the message survives a crash of nsqd; `fsync`, a loss of power too",
        choices=("os", "fsync"),
    ),
    Setting(
        "msg_timeout",
        Scope.CHANNEL,
        DURATION,
        "msg_timeout_ns",
        "1m",
        "messages",
        "time a client has for a message by default",
        "time that a consumer has for a message which asks for none itself, from when it subscribes"
        " next; up to `--max-msg-timeout`",
        least=1_000_000,
        most_option="max_msg_timeout",
    ),
)


def of_scope(scope: Scope) -> Iterator[Setting]:
    """Yield the settings that can be set for a topic, or for a channel."""
    return (each for each in SETTINGS if each.scope is scope)


def setting(name: str) -> Setting:
    """Return a setting by its name."""
    return next(each for each in SETTINGS if each.name == name)


def option_of(name: str) -> Any:
    """Declare the option of a setting, as `flag` does."""
    found = setting(name)
    return flag(found.default, kind=found.kind, group=found.group, help=found.option_help)
