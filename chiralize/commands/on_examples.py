"""A network made ready on examples that the user gives, or on others where none are given.

Where examples are taken from, in this order: the arguments of the call; what a passport or an exported program brings;
sizes that are tried under the layouts of the specification (`problem.data.examples`). The Python interface calls
`prepared` first of all; the command line has `cli/opening` for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec
from chiralize.problem.data.examples import examples_for, samples_in
from chiralize.problem.network import Network
from chiralize.problem.partial import prepare
from chiralize.problem.preparation import check_model
from chiralize.problem.progress import Progress, silent
from chiralize.problem.two_samples import prepared_openly
from chiralize.storage.passport import Passport
from chiralize.storage.read_pt2 import example_inputs as inputs_of


def prepared(
    model: torch.nn.Module | ExportedProgram,
    spec: ConversionSpec,
    args: Sequence[Any] | torch.Tensor,
    kwargs: Mapping[str, Any] | None,
    entry: str,
    passport: Passport | None = None,
    progress: Progress = silent,
    calibration: object = None,
) -> Network:
    """The network made ready, on the examples given, else on those that it brings along, else on derived ones.

    passport: of a result of ours, which knows the entry that was converted and its inputs.  progress: called with the
    steps beside the export.  calibration: one tensor or array "sample ...", or calls, whose sizes are tried first, and
    which may show the order of joints and coordinates.
    """
    # An empty tuple or list stands for "none given".
    if kwargs or not (isinstance(args, (tuple, list)) and not args):
        return prepare(model, spec, args, kwargs, entry)
    brought = passport.example if passport is not None else None
    if isinstance(model, ExportedProgram):
        brought = brought or inputs_of(model)
    if brought is not None:
        return prepare(model, spec, *brought, entry)
    check_model(model)
    module = model.module() if isinstance(model, ExportedProgram) else model
    samples = samples_in(calibration)
    examples = examples_for(
        module, spec, name_of(model), samples=samples, entry=entry, option="example_inputs", progress=progress
    )
    progress("exporting")
    network = prepared_openly(model, examples.spec, examples.call, entry, progress, "example_inputs")
    behaviour = replace(network.behaviour, open_sizes=examples.open_axes)
    return replace(network, notes=(examples.remark, *network.notes), behaviour=behaviour)


def name_of(model: torch.nn.Module | ExportedProgram) -> str:
    """What reports call a model that came from no file."""
    if isinstance(model, torch.nn.Module):
        return type(model).__name__
    return "exported program"
