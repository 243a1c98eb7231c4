"""From what a user hands in to a network ready for analysis: one door for Python and one for the command line.

specification    what the user names, else what the file or the module brings (its passport)
example          what the user gives, what the file brings, else sizes that are derived
network          one call, the program, its graph, T on inputs and outputs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from chiralize.body.spec import Spec, load_spec
from chiralize.errors import UsageError
from chiralize.graph.run import Call
from chiralize.problem.examples import example_for
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.problem.request import Progress, Source
from chiralize.storage.arrays import load_arrays
from chiralize.storage.load import Loaded, Wanted, load_model
from chiralize.storage.passport import Passport

FIRST = 64
"""Samples of the user's whose sizes, and answers to which, tell how a network is called: `derive` looks at 32."""


@dataclass(frozen=True)
class Opened:
    """A network made ready. name: of its file or class, for messages.  passport: what it brought of an earlier
    conversion.  loaded: the file that it came from, None for a module of Python.
    """

    network: Network
    name: str
    passport: Passport | None = None
    loaded: Loaded | None = None


def opened(
    model: Any,
    spec: Any,
    args: Any,
    kwargs: Mapping[str, Any] | None,
    source: Source,
    passport: Passport | None = None,
    data: Any = None,
) -> Opened:
    """A module or a program of Python, on the call that is given, or on one that is derived.

    data: the inputs of the user, whose sizes are tried first.

    Raises UsageError for what is no network or no call, SpecError, ModelRunError.
    """
    if not isinstance(model, (torch.nn.Module, ExportedProgram)):
        facts = f"{type(model).__name__} is neither a torch.nn.Module nor an ExportedProgram"
        raise UsageError("the model", facts, "pass the network itself; the command line takes files")
    call = _call(args, kwargs)
    fitted = load_spec(
        spec,
        input_layouts=source.input_layouts,
        output_layouts=source.output_layouts,
        invariant=source.invariant,
    )
    entry = source.entry
    if entry == "forward" and passport is not None and callable(getattr(type(model), passport.entry, None)):
        entry = passport.entry
    program = model if isinstance(model, ExportedProgram) else None
    brought = passport.example if passport is not None else None
    if program is not None and brought is None and program.example_inputs is not None:
        brought = (tuple(program.example_inputs[0]), dict(program.example_inputs[1]))
    module = model.module() if isinstance(model, ExportedProgram) else model
    network = _ready(module, program, fitted, call, brought, source, entry, data)
    return Opened(network, type(module).__name__, passport)


def opened_file(path: Path, source: Source, progress: Progress, data: Any = None) -> Opened:
    """The network of a file.  data: the inputs of the user, whose sizes are tried first.

    Raises ModelFileError, UnsafeFileError, FactoryError, UsageError where neither the options nor the file name a
    skeleton, SpecError, ModelRunError.
    """
    given = None
    if source.skeleton is not None:
        given = _spec(source.skeleton, source)
    loaded = load_model(path, Wanted(source.model, _pairs(source.arg), source.key, unsafe_pickle=source.unsafe_pickle))
    passport = loaded.passport
    if given is None:
        if passport is None:
            remedy = "add --skeleton NAME (see: chiralize skeleton list) or a YAML file"
            raise UsageError(str(path), "no skeleton is given, and the file does not bring one", remedy)
        given = _spec(passport.spec, source)
    entry = source.entry
    if entry == "forward" and passport is not None and loaded.program is None:
        entry = passport.entry
    brought = loaded.example or (passport.example if passport is not None else None)
    progress("exporting")
    network = _ready(loaded.module, loaded.program, given, None, brought, source, entry, data)
    return Opened(network.with_findings(*loaded.findings), path.name, passport, loaded)


def data_in(path: Path | None) -> Mapping[str, Any] | None:
    """The arrays of a file of inputs; None without one. Raises DataFileError, NonFiniteError, UnsafeFileError."""
    return load_arrays(path) if path is not None else None


def _arrays(data: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The first samples of the arrays of the user, by name; none of what is only run through."""
    arrays = data if isinstance(data, Mapping) else {"": data}
    for name, array in arrays.items():
        if isinstance(array, (np.ndarray, torch.Tensor)) and array.ndim:
            yield (
                str(name),
                torch.as_tensor(np.array(array[:FIRST]) if isinstance(array, np.ndarray) else array[:FIRST]),
            )


def _spec(spec: Any, source: Source) -> Spec:
    """A specification with the layouts of the options."""
    return load_spec(
        spec, input_layouts=source.input_layouts, output_layouts=source.output_layouts, invariant=source.invariant
    )


def _call(args: Any, kwargs: Any) -> Call | None:
    """The call that a user gave; None for none. Raises UsageError."""
    if kwargs is not None and not isinstance(kwargs, Mapping):
        facts = f"{kwargs!r} is no dictionary of arguments"
        raise UsageError("example_kwargs", facts, "options such as method are given by name")
    if isinstance(args, torch.Tensor):
        args = (args,)
    if not isinstance(args, (tuple, list)):
        raise UsageError("example_inputs", f"{type(args).__name__} is no sequence of arguments", "pass a tuple")
    return (tuple(args), dict(kwargs or {})) if args or kwargs else None


def _ready(
    module: torch.nn.Module,
    program: ExportedProgram | None,
    spec: Spec,
    call: Call | None,
    brought: Call | None,
    source: Source,
    entry: str,
    data: Any,
) -> Network:
    """The network on the call of the user, on that which it brings, or on one that is derived."""
    if call is not None:
        return prepare(module, *call, spec, program=program, entry=entry)
    arrays = dict(_arrays(data))
    reading = example_for(module, spec, source=source, brought=brought, entry=entry, arrays=arrays)
    network = prepare(module, *reading.call, reading.spec, program=program, entry=entry)
    return network.with_findings(*reading.findings)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """The arguments of a class by name: `channels=1024`, `encoder.depth=4`. Raises UsageError."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not all(part.isidentifier() for part in name.split(".")) or name in values:
            raise UsageError("--arg", f"{text!r} is not one name=value", "write for example --arg channels=1024")
        values[name] = value
    return values
