"""
What is generated from a class of options: a reference table and an example file.

A test compares them with the files kept in the repository, so that no option is undocumented.
"""

import json
from collections.abc import Iterator

from nsqx.runtime.options.flags import Flag, Options, list_flags
from nsqx.runtime.options.kinds import (
    BOOL,
    FLOAT,
    FLOATS,
    INT,
    LEVEL,
    STRING,
    STRINGS,
    TLS_REQUIRED,
)
from nsqx.runtime.process.levels import WORDS

__all__ = ["example_file", "reference_table"]


def reference_table(options_class: type[Options], program: str) -> str:
    """Return a Markdown table of every option, with headings for their groups."""
    lines: list[str] = []
    for group, flags in _groups(options_class):
        lines += [f"### {group.capitalize()}", ""] if group else []
        lines.append("| flag | type | default | file key | environment | meaning |")
        lines.append("|---|---|---|---|---|---|")
        lines += [_row(each, program) for each in flags]
        lines.append("")
    return "\n".join(lines)


def _row(known: Flag, program: str) -> str:
    meaning = known.help.replace("`", "")
    if known.no_effect is not None:
        meaning += f" (no effect: {known.no_effect})"
    default = known.default_text
    cells = (
        f"`--{known.name}`",
        known.kind.name,
        f"`{default}`" if default not in ("", '""') else "",
        f"`{known.config_key}`" if known.config_key else "",
        f"`{known.variable(program)}`" if known.environment else "",
        meaning,
    )
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def example_file(options_class: type[Options], program: str) -> str:
    """Return a TOML file with every option at its default, commented out."""
    lines = [f"# Options of {program}. What is commented out is the default.", ""]
    for group, flags in _groups(options_class):
        in_file = [each for each in flags if each.config_key is not None and not each.no_effect]
        lines += [f"# --- {group} ---", ""] if group and in_file else []
        for each in in_file:
            lines += [*_comment(each), f"#{each.config_key} = {_toml(each)}", ""]
    return "\n".join(lines)


def _comment(known: Flag) -> Iterator[str]:
    yield from (f"# {line}" for line in known.help.replace("`", "").splitlines())
    if known.default_text != known.kind.show(known.default):
        yield f"# default: {known.default_text}"


def _toml(known: Flag) -> str:
    value, kind = known.default, known.kind
    if known.default_text != kind.show(value):
        return '""' if kind is STRING else "0"  # depends on the machine; said in the comment
    if kind in (BOOL, INT, FLOAT):
        return kind.show(value)
    if kind in (STRINGS, FLOATS, STRING):
        return json.dumps(value, ensure_ascii=False)
    if kind is TLS_REQUIRED:
        return json.dumps(kind.show(value))
    if kind is LEVEL:
        return json.dumps(next(word for word, level in WORDS.items() if level is value))
    return json.dumps(kind.show(value), ensure_ascii=False)


def _groups(options_class: type[Options]) -> list[tuple[str, list[Flag]]]:
    """Return the options by group, in the order in which each was first named."""
    groups: dict[str, list[Flag]] = {}
    for each in list_flags(options_class):
        groups.setdefault(each.group, []).append(each)
    return list(groups.items())
