"""
Completions for bash, zsh and fish, one file each for all programs. No I/O.

Go-style options are completed in the form that was begun: ``-da`` to ``-data-path``, ``--da`` and a
bare ``-`` to the form with two dashes (fish and zsh offer both for a bare one).

Names of topics, channels and nodes are asked for when they are needed: ``nsqx complete`` gets the
line as it was typed, and prints what fits. It is the ``nsqx`` beside the program that was typed.
"""

import re
from collections.abc import Iterable, Iterator

from deploy.programs import ALIASES, Option, Program, Value, programs

__all__ = ["completions"]

HEAD = "Generated from the code: python -m deploy.generate"


def completions() -> dict[str, str]:
    """Return the files by their names."""
    known = programs()
    return {"nsqx.bash": _bash(known), "_nsqx": _zsh(known), "nsqx.fish": _fish(known)}


def _names(known: Iterable[Program]) -> str:
    """Return what can be typed as a command."""
    return " ".join(program.name for program in known if " " not in program.name)


def _commands(known: Iterable[Program]) -> dict[str, str]:
    """Return the sub-commands of nsqx with their summaries."""
    (umbrella,) = (program for program in known if program.commands)
    return umbrella.commands


# --- bash ---

BASH = """\
# Completion for bash. {head}
# shellcheck shell=bash disable=SC2207 # no name of an option has a blank in it

# The options of a program: --switch, --option:file, :folder, :name (of a topic, channel or node),
# :one,of,these or : for anything.
_nsqx_options() {{
    case $1 in
{options}
    esac
}}

# The program behind a sub-command of nsqx.
_nsqx_program() {{
    case $1 in
{aliases}
        *) echo "nsqx $1" ;;
    esac
}}

_nsqx_value() {{
    case $1 in
        file)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$2")
            ;;
        folder)
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -d -- "$2")
            ;;
        name) _nsqx_ask ;;
        *) COMPREPLY=($(compgen -W "${{1//,/ }}" -- "$2")) ;;
    esac
}}

# What the cluster has, by the line as it was typed: bash makes several words of host:port.
_nsqx_ask() {{
    local words before nsqx=nsqx name
    read -ra words <<< "${{COMP_LINE:0:COMP_POINT}}"
    if [[ ${{COMP_LINE:0:COMP_POINT}} == *[[:space:]] ]]; then
        words+=("")
    fi
    if [[ ${{words[0]}} == */* ]]; then
        nsqx=${{words[0]%/*}}/nsqx
        nsqx=${{nsqx/#"~/"/"$HOME/"}}
    fi
    # What is before the last : or = is no part of the word that bash will replace.
    before=${{words[-1]}}
    if [[ ${{COMP_WORDS[COMP_CWORD]}} != [=:] ]]; then
        before=${{before%"${{COMP_WORDS[COMP_CWORD]}}"}}
    fi
    before=${{before#-*=}}
    while IFS= read -r name; do
        COMPREPLY+=("${{name#"$before"}}")
    done < <(command "$nsqx" complete "${{words[@]}}" 2> /dev/null)
}}

# Options in the form that was begun: -da is -data-path where Go's rules hold.
_nsqx_names() {{
    local option names=()
    for option in $(_nsqx_options "$1"); do
        option=${{option%%:*}}
        if [[ $1 != nsqx* && $2 == -[!-]* && $option == --* ]]; then
            option=${{option#-}}
        fi
        names+=("$option")
    done
    COMPREPLY=($(compgen -W "${{names[*]}}" -- "$2"))
}}

_nsqx() {{
    local program=${{COMP_WORDS[0]##*/}} current=${{COMP_WORDS[COMP_CWORD]}}
    local name=${{COMP_WORDS[COMP_CWORD - 1]}} option
    COMPREPLY=()
    if [[ $program == nsqx && $COMP_CWORD -eq 1 ]]; then
        COMPREPLY=($(compgen -W "{commands} $(_nsqx_options nsqx)" -- "$current"))
        return
    fi
    if [[ $program == nsqx ]]; then
        program=$(_nsqx_program "${{COMP_WORDS[1]}}")
    fi
    # bash makes three words of --option=value.
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $name == "=" ]]; then
        name=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    if [[ $program != nsqx* && $name == -[!-]* ]]; then
        name=-$name
    fi
    for option in $(_nsqx_options "$program"); do
        if [[ $option == "$name:"* ]]; then
            _nsqx_value "${{option#*:}}" "$current"
            return
        fi
    done
    case $current in
        -*) _nsqx_names "$program" "$current" ;;
        *)
            [[ {named} == *" $program "* ]] && _nsqx_ask
            if [[ ${{#COMPREPLY[@]}} -eq 0 && {files} == *" $program "* ]]; then
                _nsqx_value file "$current"
            fi
            ;;
    esac
}}

complete -F _nsqx {names}
"""


def _bash(known: list[Program]) -> str:
    options = "\n".join(map(_bash_case, known))
    by_target: dict[str, list[str]] = {}
    for name, program in ALIASES.items():
        by_target.setdefault(program, []).append(name)
    aliases = (f"        {'|'.join(each)}) echo {to} ;;" for to, each in by_target.items())
    files = "".join(f" {program.name} " for program in known if program.takes_files)
    named = "".join(f" {program.name} " for program in known if program.takes_names)
    return BASH.format(
        head=HEAD,
        options=options,
        aliases="\n".join(aliases),
        commands=" ".join(_commands(known)),
        files=f'"{files}"',
        named=f'"{named}"',
        names=_names(known),
    )


def _bash_case(program: Program) -> str:
    pattern = f'"{program.name}"' if " " in program.name else program.name
    words = (
        name + _bash_value(option)
        for option in program.options
        for name in option.names
        if name != "--n"  # the same as -n
    )
    lines = "\n".join(f"            {word}" for word in words)
    return f'        {pattern}) echo "\n{lines}\n        " ;;'


def _bash_value(option: Option) -> str:
    match option.value:
        case Value.NONE:
            return ""
        case Value.CHOICE:
            return f":{','.join(option.choices)}"
        case Value.FILE:
            return ":file"
        case Value.FOLDER:
            return ":folder"
        case Value.NAME:
            return ":name"
        case Value.ANY:
            return ":"


# --- zsh ---

ZSH = """\
#compdef {names}
# Completion for zsh. {head}

_nsqx_arguments() {{
    case $1 in
{options}
    esac
}}

# What the cluster has.
_nsqx_ask() {{
    local nsqx=nsqx
    [[ $typed[1] == */* ]] && nsqx=${{~typed[1]:h}}/nsqx
    local -a names=(${{(f)"$(command $nsqx complete "${{typed[@]}}" 2> /dev/null)"}})
    compadd -a names
}}

_nsqx() {{
    local program=$service
    local -a commands typed=("${{(@Q)words[1,CURRENT]}}")
    if [[ $program == nsqx ]]; then
        if (( CURRENT == 2 )); then
            commands=(
{commands}
            )
            _describe -t commands 'nsqx command' commands
            _nsqx_arguments nsqx
            return
        fi
        case $words[2] in
{aliases}
            *) program="nsqx $words[2]" ;;
        esac
        shift words
        (( CURRENT-- ))
    fi
    _nsqx_arguments "$program"
}}

_nsqx "$@"
"""


def _zsh(known: list[Program]) -> str:
    described = (
        f"                {_quoted(f'{name}:{summary}')}"
        for name, summary in _commands(known).items()
    )
    aliases = (f"            {name}) program={program} ;;" for name, program in ALIASES.items())
    return ZSH.format(
        head=HEAD,
        names=_names(known),
        options="\n".join(map(_zsh_case, known)),
        commands="\n".join(described),
        aliases="\n".join(aliases),
    )


def _zsh_case(program: Program) -> str:
    specs = [spec for option in program.options for spec in _zsh_specs(option, program.is_go)]
    if program.takes_files and program.takes_names:
        specs += ["'1:name:_nsqx_ask'", "'*:file:_files'"]
    elif program.takes_files:
        specs.append("'*:file:_files'")
    elif program.takes_names:
        specs.append("'*:name:_nsqx_ask'")
    lines = " \\\n".join(f"                {spec}" for spec in specs)
    pattern = _quoted(program.name) if " " in program.name else program.name
    return f"        {pattern})\n            _arguments \\\n{lines}\n            ;;"


def _zsh_specs(option: Option, is_go: bool) -> Iterator[str]:
    help_text = re.sub(r"([\[\]:\\])", r"\\\1", " ".join(option.help.split()))
    for name in option.names:
        prefix = "'*'" if option.repeats else ""
        if is_go and name.startswith("--"):
            shown = "{-,--}"
            name = name.removeprefix("--")
        else:
            shown = ""
        equals = "=" if option.value is not Value.NONE and len(name.strip("-")) > 1 else ""
        yield f"{prefix}{shown}{_quoted(f'{name}{equals}[{help_text}]{_zsh_action(option)}')}"


def _zsh_action(option: Option) -> str:
    word = option.word.replace(":", r"\:")
    match option.value:
        case Value.NONE:
            return ""
        case Value.CHOICE:
            return f":{word}:({' '.join(option.choices)})"
        case Value.FILE:
            return f":{word}:_files"
        case Value.FOLDER:
            return f":{word}:_files -/"
        case Value.NAME:
            return f":{word}:_nsqx_ask"
        case Value.ANY:
            return f":{word}: "


def _quoted(text: str) -> str:
    """Quote for zsh, which leaves a single quote by ``'\\''``."""
    return "'" + text.replace("'", r"'\''") + "'"


# --- fish ---

FISH = """\
# Completion for fish. {head}

function __nsqx_is
    set -l words (commandline -opc)
    test (count $words) -gt 1; and contains -- $words[2] $argv
end

# What the cluster has.
function __nsqx_ask
    set -l words (commandline -opc) (commandline -ct)
    set -l nsqx nsqx
    string match -q '*/*' -- $words[1]; and set nsqx (string replace -r '[^/]*$' nsqx -- $words[1])
    command $nsqx complete $words 2>/dev/null
end

function __nsqx_is_bare
    test (count (commandline -opc)) -eq 1
end

{lines}
"""


def _fish(known: list[Program]) -> str:
    lines = [f"complete -c {name} -f" for name in _names(known).split()]
    for name, summary in _commands(known).items():
        lines.append(f"complete -c nsqx -n __nsqx_is_bare -a {name} -d {_fish_quoted(summary)}")
    for program in known:
        lines += _fish_lines(program)
    return FISH.format(head=HEAD, lines="\n".join(lines))


def _fish_lines(program: Program) -> Iterator[str]:
    if not program.is_go:
        command, _, name = program.name.partition(" ")
        scope = f"-c {command} -n " + (f"'__nsqx_is {name}'" if name else "__nsqx_is_bare")
        if program.takes_files:
            yield f"complete {scope} -F"
        if program.takes_names:
            yield f"complete {scope} -a '(__nsqx_ask)'"
        yield from (f"complete {scope} {_fish_option(option)}" for option in program.options)
        return
    names = " ".join(name for name, target in ALIASES.items() if target == program.name)
    for option in program.options:
        yield f"complete -c {program.name} {_fish_option(option, is_go=True)}"
        yield f"complete -c nsqx -n '__nsqx_is {names}' {_fish_option(option, is_go=True)}"


def _fish_option(option: Option, *, is_go: bool = False) -> str:
    words: list[str] = []
    for name in option.names:
        bare = name.lstrip("-")
        if not name.startswith("--"):
            words.append(f"-s {bare}")
        else:
            words.append(f"-l {bare} -o {bare}" if is_go and len(bare) > 1 else f"-l {bare}")
    match option.value:
        case Value.CHOICE:
            words.append(f"-x -a '{' '.join(option.choices)}'")
        case Value.FILE:
            words.append("-r -F")
        case Value.FOLDER:
            words.append("-x -a '(__fish_complete_directories)'")
        case Value.NAME:
            words.append("-x -a '(__nsqx_ask)'")
        case Value.ANY:
            words.append("-x")
        case Value.NONE:
            pass
    return f"{' '.join(words)} -d {_fish_quoted(' '.join(option.help.split()))}"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"
