"""The mean and spread of its inputs that a network keeps entry by entry, in a normaliser or a first batch norm.

A normaliser computes z = (x - m) / s from stored tensors: running statistics of a robot's observations, a table of
mean pose and spreads. How it is written does not matter. Every value is looked at that is computed from one input and
from stored numbers that were not trained. Where each of its numbers is a x_i + b for one entry i of the input, which
probes tell, -b / a is the mean of that entry, and 1 / |a| its spread. A batch norm that reads such a value has running
statistics m and v of it, so that (m - b) / a is the mean, and sqrt v / |a| the spread.

Four probes tell: x = 0 gives b, x = 1 gives a + b, x = (0, 1, 2, ...) gives the place i of every number, since
(z - b) / a is i then. Random x confirm that z is a x_i + b. No op is looked at by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import nan

import numpy as np
import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.graph.passes.centering import number_name
from chiralize.problem.data.moments.norms import norms, same
from chiralize.symmetry.action import Center

_UNTRAINED = ("input", "statistic", "constant")
_MOST_NUMBERS = 1 << 20
"""Of an input, so that single precision, to which a graph may cast them, tells their places apart."""
_OFF_PLACE = 0.1
"""How far a place that is told by a probe may be from a whole number."""


@dataclass(frozen=True)
class InputMoments:
    """What a network keeps of one input.

    index: of the input.  name: of the stored tensors, or of the batch norm.  mean, spread: in the input's shape
    (float64, on the CPU), NaN where nothing is kept.
    """

    index: int
    name: str
    mean: Tensor
    spread: Tensor


@dataclass(frozen=True)
class _Line:
    """A value whose numbers are a x_i + b. places: i of every number, in the flattened input of that index."""

    index: int
    places: Tensor
    slope: Tensor
    offset: Tensor

    @property
    def is_scaled(self) -> bool:
        """Whether entries have scales of their own, as spreads are; where only means are taken off, nothing tells."""
        scale = self.slope.abs()
        return not same(scale, scale.amax().expand_as(scale))

    def is_of_units(self, center: Center) -> bool:
        """Whether all entries have one offset, as those of x / (W / 2) - 1 and x / W have.

        Such a line says where a picture ends, not where bodies were in it.  center: what is taken off x before; a
        stored number has taken that up already, or a later op will.
        """
        offsets = [self.offset]
        if center is not None:
            offsets.append(self.offset - self.slope * torch.from_numpy(center).flatten()[self.places])
        return any(same(offset, offset.mean().expand_as(offset)) for offset in offsets)

    def moments(self, like: Tensor, name: str, mean: Tensor, spread: Tensor) -> InputMoments:
        """Moments of the value, to be broadcast to it, as moments of the input.  like: the input."""
        means, spreads = torch.full((2, like.numel()), nan, dtype=torch.float64)
        means[self.places] = (mean - self.offset) / self.slope
        spreads[self.places] = spread / self.slope.abs()
        return InputMoments(self.index, name, means.view(like.shape), spreads.view(like.shape))


def input_moments(captured: CapturedModel, centers: Sequence[Center] = ()) -> list[InputMoments]:
    """What a network keeps of its inputs; of each input what comes last before trained weights.

    centers: of the inputs, where the graph reads them less these points.
    """
    entrance, one, zero = _Entrance(captured), torch.ones(1).double(), torch.zeros(1).double()
    by_input: dict[int, InputMoments] = {}
    # In the order of execution: a later line of an input takes the place of an earlier one. Lines with one scale for
    # all, as x - m, are passed over. A normalised value has mean 0 and spread 1.
    for node in entrance.nodes:
        if not entrance.applies_numbers(node):
            continue
        line = entrance.line(node.name)
        if line is None or not line.is_scaled:
            continue
        if line.is_of_units(_whole(centers, line.index, entrance)):
            by_input.pop(line.index, None)  # a step on the way to it
            continue
        name = f"its normaliser ({', '.join(entrance.stored(node))})"
        by_input[line.index] = line.moments(entrance.inputs[line.index].tensor, name, zero, one)
    # A batch norm that reads the line comes after it, and replaces it with its own statistics, "channel" along axis 1.
    for norm in norms(captured):
        line = entrance.line(norm.source)
        if line is not None and line.places.ndim > 1:
            channels = (-1, *[1] * (line.places.ndim - 2))
            mean, spread = norm.mean.cpu().view(channels), norm.variance.sqrt().cpu().view(channels)
            by_input[line.index] = line.moments(entrance.inputs[line.index].tensor, norm.name, mean, spread)
    return list(by_input.values())


def _whole(centers: Sequence[Center], index: int, entrance: _Entrance) -> Center:
    """The centre of an input, a number for every entry."""
    if not centers or (center := centers[index]) is None:
        return None
    return np.broadcast_to(center, entrance.inputs[index].shape).astype(np.float64)


class _Entrance:
    """The part of a graph before trained weights.

    inputs: its floating-point inputs, by index.  nodes: ops on these that read nothing trained.
    """

    def __init__(self, captured: CapturedModel) -> None:
        leaves = captured.leaves
        self.captured, self.nodes = captured, list[Node]()
        self.inputs = {
            index: leaves[name]
            for index, name in enumerate(captured.inputs)
            if leaves[name].tensor.is_floating_point() and leaves[name].tensor.numel() <= _MOST_NUMBERS
        }
        self.behind: dict[str, frozenset[str]] = {
            name: frozenset({name}) for name, leaf in leaves.items() if leaf.kind in _UNTRAINED
        }
        """The leaves that a value is computed from."""
        # A node belongs to it if all that it reads does. What reads a trained weight is left out with all behind it.
        for node in captured.nodes:
            if node.inner is not None or node.draws_numbers or not self.behind.keys() >= {*node.names_read}:
                continue
            self.behind[node.name] = frozenset[str]().union(*(self.behind[name] for name in node.names_read))
            if node.name not in captured.fixed:  # computed from stored numbers alone: no line of an input
                self.nodes.append(node)

    def applies_numbers(self, node: Node) -> bool:
        """Whether an op applies stored numbers, one for every entry, to an input.

        One number for all is none, though it differs by entry where the graph is centred (`x / size + 0.25`).
        """
        leaves, fixed = self.captured.leaves, self.captured.fixed
        read = [name for name in node.names_read if name in fixed and name != number_name(node)]
        applied = [name for value in read for name in self.behind[value]]
        return any(leaves[name].tensor.numel() > 1 for name in applied)

    def stored(self, node: Node) -> list[str]:
        """The names of the stored numbers that a value is computed from."""
        leaves = [self.captured.leaves[name] for name in self.behind[node.name]]
        return sorted(
            leaf.names[0] for leaf in leaves if leaf.kind != "input" and leaf.tensor.numel() > 1 and leaf.names
        )

    def line(self, name: str) -> _Line | None:
        """A value as a line of the entries of one input; None where it is none."""
        # It has to come from one input, and from no other one, whole numbers included.
        sources = [index for index, leaf in self.inputs.items() if leaf.name in self.behind.get(name, ())]
        if len(sources) != 1 or len(self.behind[name] & {*self.captured.inputs}) != 1:
            return None
        index, values = sources[0], [probe.get(name) for probe in self._probes]
        if not all(isinstance(value, Tensor) and value.is_floating_point() for value in values):
            return None
        at_zero, at_one, at_places, at_random = (value.double().cpu() for value in values if isinstance(value, Tensor))
        slope, count = at_one - at_zero, self.inputs[index].tensor.numel()
        # A number that does not depend on x (slope 0) has no place.
        if not slope.numel() or not bool((slope.isfinite() & (slope != 0)).all()):
            return None
        places = (at_places - at_zero) / slope
        nearest = places.round()
        if not bool(((places - nearest).abs() < _OFF_PLACE).all() and ((nearest >= 0) & (nearest < count)).all()):
            return None
        line = _Line(index, nearest.long(), slope, at_zero)
        x = self._random(self.inputs[index]).double().cpu().flatten()
        return line if same(at_random, slope * x[line.places] + at_zero) else None

    @cached_property
    def _probes(self) -> list[dict[str, object]]:
        """Values at 0, at 1, at the place of every entry, and at random numbers."""
        kinds: list[Callable[[Leaf], Tensor]] = [
            lambda leaf: torch.zeros_like(leaf.tensor),
            lambda leaf: torch.ones_like(leaf.tensor),
            lambda leaf: torch.arange(leaf.tensor.numel()).view(leaf.shape).to(leaf.tensor.device, torch.float64),
            self._random,
        ]
        return [self._run(kind) for kind in kinds]

    @staticmethod
    def _random(leaf: Leaf) -> Tensor:
        """N(0, 1) in the shape of an input, the same numbers every time."""
        return torch.randn(leaf.shape, generator=torch.Generator().manual_seed(0)).to(leaf.tensor)

    def _run(self, probe: Callable[[Leaf], Tensor]) -> dict[str, object]:
        """The values of the entrance, by name; an op that refuses the probe (a table looked up by x) has none.

        In double precision: of an entry whose mean is a thousand times its spread, single precision hides the slope,
        and half precision has no whole numbers beyond 2,048, so that places would be confused.
        """
        inputs = {leaf.name: probe(leaf) for leaf in self.inputs.values()}
        values = execution.start(self.captured, (), inputs)
        for name, value in values.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                values[name] = value.double()
        for node in self.captured.nodes:
            if node.name in self.behind and values.keys() >= {*node.names_read}:
                with torch.no_grad(), suppress(RuntimeError, IndexError):
                    values[node.name] = execution.evaluate(node, values)
        return values
