"""Example inputs of a network where the user gives none, with the remark that says what they were taken for.

The front of this folder: commands call `derive` with a network and a specification.  It makes a copy to try
(`trial`), lists the ways to call it (`arguments`), searches sizes (`search`), and makes random inputs of what was
found.  The remark stands at the head of the report: `taken as b t j d = 1,27,17,2; --input-shape says otherwise`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.export import ExportedProgram

from chiralize.body.tensors import ConversionSpec
from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Call
from chiralize.problem.preparation import entered, fresh_copy
from chiralize.problem.progress import Progress, silent
from chiralize.problem.readings.arguments import Arranged, arrangements
from chiralize.problem.readings.chosen import OpenAxes, chosen_people, open_axes
from chiralize.problem.readings.reading import Reading
from chiralize.problem.readings.refusal import refusal_of
from chiralize.problem.readings.remark import remark_on
from chiralize.problem.readings.search import Search
from chiralize.problem.readings.trial import Trial


@dataclass(frozen=True)
class Derived:
    """Inputs of one call that nobody gave. spec: with what was assumed of them.  remark: what they were taken for.

    open_axes: those of every input that have another size as well.
    """

    call: Call
    spec: ConversionSpec
    remark: str
    open_axes: OpenAxes = ()


@exclusive
@torch.inference_mode(False)
def derive(
    model: nn.Module | ExportedProgram,
    spec: ConversionSpec,
    dtype: torch.dtype,
    entry: str,
    where: str,
    option: str,
    progress: Progress = silent,
    command: str = "",
    samples: Mapping[str, torch.Tensor] | None = None,
    arguments: Mapping[str, object] | None = None,
) -> Derived:
    """Inputs of the sizes that the network takes, found by trial.

    where: the network, as messages name it.  option: how the user gives sizes, for the remark.
    progress: called during the trial.  command: as the user typed it, for messages.  samples: inputs that the user has
    by name, "sample ..." each: their sizes are tried first, and they may show the order of joints and coordinates.
    arguments: with which the user made the network, by name: one of them may be the number of frames.
    Raises UsageError where nothing fits, where several sizes do in a way that matters, and AmbiguousLayoutError where
    sizes fit that have several readings.
    """
    module = entered(fresh_copy(model)[0], entry)
    trial = Trial(module, dtype)
    ways = arrangements(module, spec)
    search = Search(trial, spec, [*ways, *_in_a_table(trial, ways)], progress, samples or {}, arguments=arguments or {})
    reading = search.first() or search.first_by_order()
    if reading is None:
        raise refusal_of(search, where, option, command)
    axes = open_axes(reading, trial)
    remark = remark_on(reading, module, option, chosen_people(reading, axes))
    return Derived(_call(reading, dtype), reading.spec, remark, axes)


def _in_a_table(trial: Trial, ways: Sequence[Arranged]) -> list[Arranged]:
    """The way to call a network that takes its one tensor out of a table, by the name that it asks for."""
    if len(ways) != 1 or ways[0].groups != (0,):
        return []
    key = trial.key_asked()  # it is called with an empty table, which notes what is read from it
    if key is None:
        return []
    return [replace(ways[0], groups=(), names=(), keys=(key,))]


def _call(reading: Reading, dtype: torch.dtype) -> Call:
    """Random numbers of the sizes, states zero."""
    generator = torch.Generator().manual_seed(0)
    tensors: list[torch.Tensor] = []
    for tensor, shape in zip(reading.resolved.input_tensors, reading.shapes, strict=True):
        values = torch.randn(shape, generator=generator).to(dtype)
        tensors.append(torch.zeros_like(values) if tensor.kind == "state" else values)
    return reading.arranged(tensors)
