"""Sines and cosines of clocks in the samples: sin² + cos² is one number, whatever the clock shows.

Where the pairs that the specification states have another sum from sample to sample, and those of the other grouping
have one, the block is grouped wrongly. A network whose inputs were divided by a spread each has neither.

Example: two clocks in four numbers, as [sin a, cos a, sin b, cos b] or as [sin a, sin b, cos a, cos b]. Grouped by
neighbours, the second has sin² a + sin² b, which is anything from 0 to 2; by halves it has 1 and 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.fields import Clocks, grouped_clocks, in_flow_style
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.verification.verdicts import Evidence

_CALLS = 2048
_CONSTANT, _VARIES = 0.02, 0.1
"""Spread of sums of squares, in shares of their mean: below the first they are one number, above the second not."""


def clock_findings(resolved: ResolvedSpec, inputs: Sequence[Call]) -> Evidence:
    """A warning of every block of clocks that is grouped wrongly, with its place and the line to write.

    inputs: of the user.
    """
    calls = inputs[:: max(1, len(inputs) // _CALLS)]
    warnings = list[str]()
    for tensor in resolved.input_tensors:
        if not tensor.entry.fields or tensor.name_axis is None:
            continue
        body = tensor.entry.body(resolved.spec.skeleton)
        clocks = list(grouped_clocks(tensor.entry.fields, body))
        if clocks and calls:
            warnings += _of_tensor(tensor, clocks, _rows(tensor, calls))
    return Evidence(warnings=tuple(warnings))


def _rows(tensor: ResolvedTensor, calls: Sequence[Call]) -> Tensor:
    """The axis of fields of all samples and frames, "row entry", in float64."""
    assert tensor.name_axis is not None
    rows = list[Tensor]()
    for call in calls:
        values = tensors(call)[tensor.index].detach().double()
        rows.append(values.movedim(tensor.name_axis, -1).flatten(0, -2) if values.ndim > 1 else values[None])
    return torch.cat(rows)


def _of_tensor(tensor: ResolvedTensor, clocks: Sequence[Clocks], rows: Tensor) -> Iterator[str]:
    """The warnings of the blocks of one input. clocks: each with both groupings of entries.  rows: "row entry"."""
    for grouped in clocks:
        stated, regrouped = _spread(rows, grouped.stated), _spread(rows, grouped.regrouped)
        if stated > _VARIES and regrouped <= _CONSTANT:
            name = grouped.block.name or grouped.block.things
            where = f"{grouped.block.where}: " if grouped.block.where else ""
            first, second = (tensor.names[entry] for entry in grouped.stated[0])
            yield (
                f"{where}{name!r} of {tensor.where} is grouped wrongly: {first}² + {second}² is not one number over "
                f"these inputs, as of sine and cosine of one clock, and it is where the block stands as "
                f"`{in_flow_style(grouped.other)}`; write that"
            )


def _spread(rows: Tensor, pairs: object) -> float:
    """How far sums of squares of pairs are apart, over samples and clocks, in shares of their mean.

    Samples in which all are 0 are left out: a clock that is switched off.
    """
    sums = rows[:, torch.as_tensor(pairs)].square().sum(2)
    sums = sums[(sums > 0).any(1)]
    if not sums.numel() or not sums.isfinite().all():
        return 0.0
    return float((sums - sums.mean()).square().mean().sqrt() / sums.mean())
