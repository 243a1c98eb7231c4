"""Options that several commands share.

typer reads the signature of a command: a parameter for each option. `convert`, `verify`, `plan`, `audit` and `bench`
share sixteen of them. Here these are fields of a record, `NetworkOptions`, whose records (`weights`, `layouts`,
`loudness`) stand for their own fields, and `takes_network` writes the signature:

    @takes_network
    def plan(options: NetworkOptions, method: ... = "match"): ...

is plan(model, skeleton, *, method, input_shape, example, ...) to typer: the command's own options after the first two.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chiralize.cli.given import check_given
from chiralize.storage import former_names

if TYPE_CHECKING:
    from chiralize.problem.progress import Progress

_BY_NAME = inspect.Parameter.KEYWORD_ONLY
_OF_ARRAYS = ("calibration", "calibrate", "data")
"""Parameters of commands that name files of arrays, which have to be there."""
Samples = Annotated[
    int | None,
    typer.Option(
        "--samples", metavar="N", min=1, max=10_000, help="Random inputs for the numeric verdict: 8, fewer if costly."
    ),
]


class Format(str, Enum):
    """How a report is printed."""

    text = "text"
    json = "json"


def _skeletons(incomplete: str) -> list[str]:
    """Names of shipped skeletons, for the shell, which completes names of files itself."""
    from chiralize.body.skeleton.catalog import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


def former_option(name: str) -> Any:
    """An option under its former name, which the help no longer shows."""
    return typer.Option(name, metavar="FILE", hidden=True)


FormatOption = Annotated[Format, typer.Option("--format", help="text for people, json for programs.")]


@dataclass(frozen=True)
class WeightsOptions:
    """Of which network a file of weights is: what builds it, with which arguments, and where its weights lie."""

    factory: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PKG.MOD:NAME",
            help="Class or function that builds the network of weights; auto: the class that the file names.",
        ),
    ] = None
    arg: Annotated[
        Sequence[str],
        typer.Option("--arg", metavar="NAME=VALUE", help="Argument of the class or function; repeat for more."),
    ] = ()
    key: Annotated[
        str | None, typer.Option("--key", metavar="NAME", help="Entry of a checkpoint that holds the weights.")
    ] = None
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="NAME",
            help="Start of the names of the network's weights in the file, where several fit.",
        ),
    ] = None
    normalizer: Annotated[
        Path | None,
        typer.Option("--normalizer", metavar="FILE", help="vecnormalize.pkl of Stable-Baselines3, beside the .zip."),
    ] = None


@dataclass(frozen=True)
class LayoutOptions:
    """Layouts of inputs and outputs in place of those of the specification."""

    input_layout: Annotated[
        Sequence[str],
        typer.Option(
            "--input-layout", metavar="LAYOUT", help="'b t j d', 'b (j d)', free or state, per input; repeat in order."
        ),
    ] = ()
    output_layout: Annotated[
        Sequence[str], typer.Option("--output-layout", metavar="LAYOUT", help="The same per output; repeat in order.")
    ] = ()
    invariant: Annotated[
        bool, typer.Option("--invariant", help="The outputs are scores that the mirror leaves alone.")
    ] = False

    @property
    def as_arguments(self) -> dict[str, Any]:
        """The arguments of `load_spec`."""
        return {
            "input_layouts": self.input_layout,
            "output_layouts": self.output_layout,
            "invariant": self.invariant,
        }


@dataclass(frozen=True)
class Loudness:
    """How much is said of what is done, and of the report."""

    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No progress, and only the first sentence of a report in words.")
    ] = False
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="A line for every step, with the seconds it took, and the whole report."),
    ] = False


@dataclass(frozen=True)
class NetworkOptions:
    """The options of every command that reads a network, with what the user gave for them.

    Fields are in the order of the help; a record among them stands for its own fields.
    """

    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help=".pt2, TorchScript, .onnx, or weights (checkpoint, .safetensors, folder) with --model.",
        ),
    ]
    skeleton: Annotated[
        str | None,
        typer.Option(
            "--skeleton",
            metavar="NAME|FILE",
            help="A shipped one (h36m, coco, ...) or a YAML file.",
            autocompletion=_skeletons,
        ),
    ] = None
    input_shape: Annotated[
        Sequence[str],
        typer.Option(
            "--input-shape",
            metavar="[NAME=]SIZES",
            help="Size of an input: 1,243,17,2; repeat for more inputs. Without it, sizes are tried.",
        ),
    ] = ()
    example: Annotated[
        Path | None,
        typer.Option(
            "--example", metavar="FILE", help="Example inputs (.npz, .npy, .pt, .safetensors); one sample is taken."
        ),
    ] = None
    weights: WeightsOptions = WeightsOptions()
    entry: Annotated[str, typer.Option("--entry", metavar="NAME", help="Method to call instead of forward.")] = (
        "forward"
    )
    layouts: LayoutOptions = LayoutOptions()
    unsafe_pickle: Annotated[
        bool, typer.Option("--unsafe-pickle", help="Load a pickled module. This runs code that the file carries.")
    ] = False
    loudness: Loudness = Loudness()


def takes_network(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer wants it: in place of its first parameter, a NetworkOptions, one parameter per option.

    The model and the skeleton come first in the help, then the command's own options, then the others.
    """
    shared = list(_parameters(NetworkOptions))
    # All but the first parameter of the command, which is the record itself.
    of_command = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    order = [*shared[:2], *(parameter.replace(kind=_BY_NAME) for parameter in of_command), *shared[2:]]
    names = [parameter.name for parameter in shared]

    def flat(**values: Any) -> None:
        """Put the network's options together, and run the command."""
        # What is left in `values` are the parameters of the command.
        options = _filled(NetworkOptions, {name: values.pop(name) for name in names})
        check_given(options, [options.example, *(values.get(name) for name in _OF_ARRAYS)])
        command(options, **values)

    # typer reads name and help, then the signature, and of each parameter the annotation.
    flat.__name__, flat.__doc__ = command.__name__, command.__doc__
    flat.__signature__ = inspect.Signature(order)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in order}
    return flat


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    """The fields of a record of options as parameters, those of records in it among them; sequences are lists for
    typer.
    """
    hints = typing.get_type_hints(options, include_extras=True)
    for field in fields(options):
        hint, default = hints[field.name], field.default
        # A record among the fields stands for its own fields.
        if isinstance(hint, type) and is_dataclass(hint):
            yield from _parameters(hint)
            continue
        kind, option = typing.get_args(hint)
        # Records are frozen, so that their defaults are tuples; typer knows lists.
        if kind == Sequence[str]:
            hint, default = Annotated[list[str], option], []
        if default is MISSING:
            default = inspect.Parameter.empty
        yield inspect.Parameter(field.name, _BY_NAME, default=default, annotation=hint)


def _filled(options: type[Any], values: Mapping[str, Any]) -> Any:
    """A record of options with what the user gave, by the names of the parameters."""
    hints = typing.get_type_hints(options)
    filled: dict[str, Any] = {}
    for field in fields(options):
        part = hints[field.name]
        if isinstance(part, type) and is_dataclass(part):
            filled[field.name] = _filled(part, values)
        else:
            filled[field.name] = values[field.name]
    return options(**filled)


def under_its_name(calibration: Path | None, former: Path | None, option: str) -> tuple[Path | None, tuple[str, ...]]:
    """The file given by --calibration, or by the former name of that; with a remark in that case.

    Raises UsageError where both are given.
    """
    if former is None:
        return calibration, ()
    if calibration is not None:
        from chiralize.errors import UsageError

        raise UsageError(
            option, f"is the former name of {former_names.OPTIONS[option]}, and both are given", "leave it out"
        )
    return former, (former_names.remark(option, "", former_names.OPTIONS[option]),)


@contextmanager
def progress(options: NetworkOptions | None = None) -> Iterator[Progress]:
    """Show on stderr what is being done, unless --quiet is given: a bar on a terminal, lines in a log.

    What the user's own code prints meanwhile goes to stderr too: stdout is for the report.
    """
    from chiralize.commands.progress import shown

    loudness = options.loudness if options is not None else Loudness()
    _check(loudness)
    with redirect_stdout(sys.stderr), shown(not loudness.quiet, verbose=loudness.verbose) as step:
        step("loading")
        yield step


def _check(loudness: Loudness) -> None:
    """Raise UsageError where less and more are asked for."""
    if loudness.quiet and loudness.verbose:
        from chiralize.errors import UsageError

        raise UsageError("--quiet", "--verbose is given as well", "leave one of them out")


def say(text: str) -> None:
    """Print a text on stderr."""
    typer.echo(text, err=True)
