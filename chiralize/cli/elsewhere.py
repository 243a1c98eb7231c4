"""What was typed belongs elsewhere: options of a remedy that another command has, and commands of a group.

    chiralize audit ...        Fix: use --method average      ->      Fix: use chiralize convert --method average
    chiralize lint my.yaml     no command 'lint'              ->      write chiralize skeleton lint

Errors are written without knowing which command runs; `__main__` asks here before it prints one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import typer.main

from chiralize.errors import ChiralizeError

_OPTION = re.compile(r"--[a-z][a-z-]*")
_WITH_ALL = "convert"


def name_the_command(error: ChiralizeError, app: typer.Typer, words: Sequence[str]) -> None:
    """Write `chiralize convert --method` for an option of the remedy that `convert` has and the typed command has not.

    words: as typed, the command first. Remedies that name a command themselves stay.
    """
    commands = getattr(typer.main.get_command(app), "commands", {})
    if not words or words[0] not in commands or "chiralize " in error.remedy:
        return
    taken, offered = (_options_of(commands[name]) for name in (words[0], _WITH_ALL))

    def with_command(option: re.Match[str]) -> str:
        """The option, behind the command that has it."""
        if option[0] in offered - taken:
            return f"chiralize {_WITH_ALL} {option[0]}"
        return option[0]

    error.remedy = _OPTION.sub(with_command, error.remedy)


def command_within(app: typer.Typer, words: Sequence[str]) -> str | None:
    """The group and its command, such as "skeleton lint", where the command alone was typed; None for other words."""
    commands = getattr(typer.main.get_command(app), "commands", {})
    if not words or words[0] in commands:
        return None
    for name, command in commands.items():
        if words[0] in getattr(command, "commands", {}):
            return f"{name} {words[0]}"
    return None


def _options_of(command: object) -> set[str]:
    """All options of a command, as they are typed."""
    options = set[str]()
    for parameter in getattr(command, "params", ()):
        options |= {*parameter.opts, *parameter.secondary_opts}
    return options
