"""Options that several commands share, and how their values become a network ready for analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from chiralize.passport import Passport
    from chiralize.storage.load import LoadedModel
    from chiralize.subject import Subject

Model = Annotated[Path, typer.Argument(help=".pt2, TorchScript, or weights (.pt, .safetensors) with --model.")]
SkeletonOption = Annotated[
    str | None, typer.Option("--skeleton", help="A shipped skeleton (h36m, coco, quadruped, ...) or a YAML file.")
]
InputShape = Annotated[
    list[str] | None, typer.Option("--input-shape", help="Size of an input, e.g. 1,243,17,2; repeat for more inputs.")
]
Example = Annotated[Path | None, typer.Option("--example", help="Example inputs (.npz, .npy, .pt), samples first.")]
Factory = Annotated[
    str | None, typer.Option("--model", help="package.module:factory that builds the network for a file of weights.")
]
FactoryArgs = Annotated[
    list[str] | None, typer.Option("--arg", help="Argument of the factory, name=value; repeat for more.")
]
Key = Annotated[str | None, typer.Option("--key", help="Entry of a checkpoint that holds the weights.")]
Entry = Annotated[str, typer.Option("--entry", help="Method to call instead of forward.")]
InputLayout = Annotated[
    list[str] | None,
    typer.Option("--input-layout", help="Layout of an input, e.g. 'b t j d', 'b (j d)', free, state; repeat in order."),
]
OutputLayout = Annotated[
    list[str] | None, typer.Option("--output-layout", help="Layout of an output; repeat in order.")
]
Invariant = Annotated[bool, typer.Option("--invariant", help="The outputs are scores that the mirror leaves alone.")]
Samples = Annotated[int, typer.Option("--samples", min=1, help="Random inputs for the numeric verdict.")]
UnsafePickle = Annotated[
    bool, typer.Option("--unsafe-pickle", help="Load a pickled module. This runs code that the file carries.")
]


@dataclass(frozen=True)
class Request:
    """What the user said about the network."""

    model: Path
    skeleton: str | None = None
    input_shapes: Sequence[str] = ()
    example: Path | None = None
    factory: str | None = None
    factory_args: Sequence[str] = ()
    key: str | None = None
    entry: str = "forward"
    input_layouts: Sequence[str] = ()
    output_layouts: Sequence[str] = ()
    invariant: bool = False
    unsafe_pickle: bool = False
    notes: list[str] = field(default_factory=list)


def open_subject(request: Request) -> tuple[Subject, LoadedModel, Passport | None]:
    """Load the file, find its examples and its mirror, capture it. Raises ChiralizeError."""
    from dataclasses import replace

    from chiralize.errors import UsageError
    from chiralize.inputs import examples_for
    from chiralize.passport import Passport
    from chiralize.spec import load_spec
    from chiralize.storage.load import CERTIFICATE, load_model
    from chiralize.subject import prepare

    loaded = load_model(
        request.model,
        factory=request.factory,
        factory_args=_pairs(request.factory_args),
        key=request.key,
        unsafe_pickle=request.unsafe_pickle,
    )
    text = loaded.extra.get(CERTIFICATE)
    passport = Passport.from_json(text, str(request.model)) if text else None
    chosen = request.skeleton or (passport.spec if passport else None)
    if chosen is None:
        raise UsageError(
            str(request.model), "no skeleton is given, and the file does not bring one",
            "add --skeleton NAME (see: chiralize skeleton list) or a YAML file",
        )  # fmt: skip
    spec = load_spec(
        chosen, input_layouts=request.input_layouts, output_layouts=request.output_layouts, invariant=request.invariant
    )
    args, kwargs = examples_for(loaded, request.input_shapes, request.example)
    network = loaded.exported if loaded.exported is not None else loaded.module
    subject = prepare(network, spec, args, kwargs, request.entry)
    subject = replace(subject, notes=(*loaded.notes, *subject.notes))
    return subject, loaded, replace(passport, spec=spec) if passport else None


def _pairs(texts: Sequence[str]) -> Mapping[str, str]:
    from chiralize.errors import UsageError

    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError("--arg", f"{text!r} is not name=value", "write for example --arg channels=1024")
        found[name] = value
    return found


def calls_from_file(path: Path | None, subject: Subject) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Inputs in an array file as calls of the network."""
    if path is None:
        return []
    from chiralize.inputs import calls_from

    states = [place for place, rep in enumerate(subject.resolved.inputs) if rep is None]
    return calls_from(path, (subject.args, subject.kwargs), states)


@contextmanager
def progress(quiet: bool = False) -> Iterator[Any]:
    """A line on stderr that says what is being done, while somebody is watching."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda step: None
        return
    with console.status("loading") as status:
        yield lambda step: status.update(step)


def say(text: str) -> None:
    """To stderr."""
    typer.echo(text, err=True)
