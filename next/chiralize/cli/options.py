"""Options of the commands, made from the records that declare them (`problem.request`).

typer reads a function's signature. A command is written with whole records, and `command` gives it a signature with a
parameter for each of their fields, in panels:

    @command(Source, Request)
    def convert(model: Path, source: Source, request: Request, output: ... = None): ...

is convert(model, *, output, model, arg, key, ..., method, ..., force) to typer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from chiralize.problem.request import PANELS, options_of

OUTPUT = "What is written and printed"
"""The panel of what belongs to no record."""
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help=".pt2, or weights (checkpoint, .pth, .safetensors) with --model.")
]


class Format(str, Enum):
    """How a report is printed."""

    text = "text"
    json = "json"


class VerdictFormat(str, Enum):
    """How a verdict is printed."""

    text = "text"
    json = "json"
    junit = "junit"


FormatOption = Annotated[
    Format, typer.Option("--format", rich_help_panel=OUTPUT, help="text for people, json for programs.")
]
VerdictFormatOption = Annotated[
    VerdictFormat, typer.Option("--format", rich_help_panel=OUTPUT, help="text, json, or JUnit XML for CI.")
]
QuietOption = Annotated[
    bool, typer.Option("-q", "--quiet", rich_help_panel=OUTPUT, help="No progress, and only the first line.")
]
VerboseOption = Annotated[
    bool,
    typer.Option("-v", "--verbose", rich_help_panel=OUTPUT, help="A line for every step, and the whole report."),
]


def command(*records: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator: what is handed to typer has a parameter for every option of the records.

    The function takes the model first, then one of each record, then parameters of its own.
    """

    def decorated(function: Callable[..., None]) -> Callable[..., None]:
        """The function under the signature that typer reads."""
        model, *rest = inspect.signature(function, eval_str=True).parameters.values()
        of_function = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in rest[len(records) :]]
        shared = {record: list(_parameters(record)) for record in records}

        def flat(**values: Any) -> None:
            """Put the records together, and run the command."""
            path = values.pop(model.name)
            filled = []
            for record, parameters in shared.items():
                filled.append(record(**{each.name.removeprefix("_"): values.pop(each.name) for each in parameters}))
            function(path, *filled, **values)

        listed = [each for record in records for each in _parameters(record)]
        signature = [model.replace(kind=inspect.Parameter.KEYWORD_ONLY), *listed, *of_function]
        flat.__name__, flat.__doc__ = function.__name__, function.__doc__
        flat.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
        flat.__annotations__ = {each.name: each.annotation for each in signature}
        return flat

    return decorated


def _parameters(record: type[Any]) -> Iterator[inspect.Parameter]:
    """The options of a record as parameters for typer, which knows lists and no tuples.

    Their names begin with _, since a command may have an argument of the same name, as MODEL beside --model.
    """
    for each in sorted(options_of(record), key=lambda each: PANELS.index(each.panel)):
        hint, default = each.hint, each.default
        if each.kind is tuple:
            hint, default = list[get_args(hint)[0]], list(default)
        settings: dict[str, Any] = {"help": each.text, "rich_help_panel": each.panel}
        if each.choices or each.metavar:
            settings["metavar"] = each.metavar or "|".join(each.choices)
        option = Annotated[hint, typer.Option(each.flag, **settings)]
        yield inspect.Parameter(f"_{each.name}", inspect.Parameter.KEYWORD_ONLY, default=default, annotation=option)
