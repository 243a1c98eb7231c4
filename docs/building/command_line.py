"""The reference of the command line, from what `--help` prints, which every version of typer lays out alike."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from chiralize.cli.app import app

_STATUS = """
| exit status | meaning |
|---|---|
| 0 | all is well |
| 1 | not equivariant, or too far from the original |
| 2 | the specification, a file or an option is wrong |
| 3 | the network is not supported, or there is no proof |
| 101 | a defect of chiralize |
| 130 | interrupted |
"""
_OPTION = re.compile(r"(?<![\w`-])(--?[a-z][a-z-]*)")
_ROW = re.compile(r"^  (?P<names>\S.*?)(?:\s{2,}(?P<meaning>\S.*))?$")
_NAMES = re.compile(r"^(?P<names>-[^\s,]+(?:, --\S+)*|\S+)\s*(?P<value>.*)$")


def commands(command: Any = None, name: str = "chiralize") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from commands(inner, f"{name} {word}")


def _help(name: str, command: Any) -> str:
    """What `--help` prints on a terminal so wide that nothing is broken."""
    width = {"terminal_width": 1000, "max_content_width": 1000}
    return command.get_help(command.make_context(name, [], resilient_parsing=True, **width))


def _prose(text: str) -> str:
    """Words of the help as Markdown: options in code, no tags."""
    return _OPTION.sub(r"`\1`", text.replace("|", "\\|").replace("<", "&lt;"))


def _cells(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"


def _value(text: str) -> str:
    """What may be given: the choices, or the word for it."""
    choices = text.strip("<>").split("|")
    return " ".join(f"`{choice}`" for choice in choices) if text else ""


def _options(block: str) -> Iterator[str]:
    """A row for each option and argument of a block of the help."""
    yield "| option | value | meaning |"
    yield "|---|---|---|"
    lines = block.splitlines()
    for number, line in enumerate(lines):
        match = _ROW.match(line)
        if match is None:
            continue
        meaning = match["meaning"] or lines[number + 1].strip()
        parts = _NAMES.match(match["names"])
        assert parts is not None, line
        names = " ".join(f"`{name}`" for name in parts["names"].replace("|", "\\|").split(", "))
        yield _cells((names, _value(parts["value"]), _prose(meaning)))


def _section(name: str, command: Any) -> str:
    """The description, the examples, the arguments and the options of one command."""
    text = _help(name, command)
    usage, _, rest = text.partition("\n\n")
    description, *blocks = re.split(r"^(?=Arguments:|Options:)", rest, flags=re.MULTILINE)
    words, _, examples = description.replace("  Example: ", "  Examples:\n    ").partition("  Examples:\n")
    parts = [f"## {name}", _prose(re.sub(r"^  ", "", words, flags=re.MULTILINE).strip())]
    lines = "\n".join([usage.removeprefix("Usage: "), "", *(line[4:] for line in examples.rstrip().splitlines())])
    parts.append(f"```text\n{lines.strip()}\n```")
    rows = [line for block in blocks for line in block.splitlines()[1:]]
    return "\n\n".join([*parts, "\n".join(_options("\n".join(rows)))])


def page() -> str:
    """The whole page."""
    head = "# Command line\n\nMade from the commands: `chiralize COMMAND --help` says the same.\n"
    return "\n\n".join([head + _STATUS, *(_section(name, command) for name, command in commands())]) + "\n"
