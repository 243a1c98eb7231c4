"""What does a network remember of its training, and are these inputs like that?

A normaliser computes z = (x - m) / s from stored tensors: running statistics of a robot's observations, a table of mean
pose and spreads. How it is written does not matter. Every value is looked at that is computed from one input and from
stored numbers that were not trained. Where each of its numbers is a x_i + b for one entry i of the input, which probes
tell, -b / a is the mean of that entry, and 1 / |a| its spread. A batch norm that reads such a value has running
statistics m and v of it, so that (m - b) / a is the mean, and sqrt v / |a| the spread.

Four probes tell: x = 0 gives b, x = 1 gives a + b, x = (0, 1, 2, ...) gives the position i of every number, since
(z - b) / a is i then. Random x confirm that z is a x_i + b. No op is looked at by its name.

Inputs are held against the first batch norm, channel by channel, or against a normaliser, entry by entry:

    shift = RMS over channels of (mean here - m) / sqrt v        factor = exp(RMS of log(variance here / v))

Other people and other actions shift by less than 1 and have a factor below 2; poses in another joint order, with other
axes or in other units shift by more than 2; one person walking has a factor of 2.4 to 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import exp, nan

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Leaf, Node
from chiralize.graph.run import Arguments
from chiralize.graph.traits import BatchNorm
from chiralize.infer.rule import traits
from chiralize.problem.network import Network
from chiralize.problem.table import Table
from chiralize.symmetry.action import act

_UNTRAINED = ("input", "statistic", "constant")
_MOST_NUMBERS = 1 << 20
"""Of an input, so that single precision, to which a graph may cast them, tells their positions apart."""
_OFF_POSITION = 0.1
"""How far a position that is told by a probe may be from a whole number."""
_EQUAL = 1e-4
"""Of the largest value: the rounding of many operations in single precision."""
_DEAD = 1e-6
"""Of the largest remembered variance: a channel that varied less is left out."""
MOST_SHIFT = 1.5
"""Between the shifts of other people (below 1) and of other orders or units (above 2)."""
MOST_SCALE = 5.0
"""How many times as far, or as little, inputs of the same unit are spread at most."""
MOST_FACTOR = 2.0
"""Between the factors of other people (below 2) and of one person walking (2.4 to 3)."""
_TELLING = 0.3
"""In spreads: how far entries that T swaps and negates lie on their side in training, RMS, for the side to tell."""
_LOOKED_AT = 512
"""Samples that are held against what is remembered."""


@dataclass(frozen=True)
class Moments:
    """What a network keeps of one input, entry by entry.

    name: of the stored tensors, or of the batch norm.  mean, spread: in the input's shape (float64, on the CPU), NaN
    where nothing is kept.
    """

    name: str
    mean: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Norm:
    """A batch norm and its statistics, "channel" (float64).  source: the value that it reads, channels along axis 1."""

    name: str
    source: str
    mean: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Likeness:
    """Inputs beside what is remembered.

    scale: how many times as far they are spread, the median over channels.  shift, factor: see above.
    side: of the entries that T swaps and negates, sum g m / s^2 over sum m^2 / s^2 with the mean g of the inputs: 1 for
    the handedness of the training, -1 for the other one, None where nothing tells.
    """

    name: str
    channels: int
    shift: float
    factor: float
    scale: float
    is_normaliser: bool = False
    side: float | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether the inputs are of another kind, on which the network's answers mean nothing."""
        return not (self.shift <= MOST_SHIFT and 1 / MOST_SCALE <= self.scale <= MOST_SCALE)  # nan is foreign

    @property
    def is_narrow(self) -> bool:
        """Whether they are of the right kind and not spread as in training; robots in use vary less than learning."""
        return not self.is_normaliser and not self.factor <= MOST_FACTOR

    def __str__(self) -> str:
        return (
            f"at {self.name} the means of {self.channels} channels are off by {self.shift:.2g} of their spreads, and "
            f"they are spread {self.scale:.2g} times as far as in training"
        )


@dataclass(frozen=True)
class Memory:
    """What a network keeps of its inputs in training: entry by entry, and at its first batch norm."""

    entries: Mapping[int, Moments] = field(default_factory=dict)
    norm: Norm | None = None

    def likeness(self, network: Network, table: Table) -> Likeness | None:
        """The inputs of a table beside what is remembered; None where nothing is."""
        rows = table.spread_out(_LOOKED_AT)
        index = next((index for index in self.entries if self._tells(network, table, index)), None)
        if self.norm is not None:
            likeness = _compared(self.norm, _values_at(self.norm, network, table, rows))
        elif index is not None:
            moments, calls = self.entries[index], table.batches(table.rows, rows)
            mean, spread = (_of_a_sample(network, values).flatten() for values in (moments.mean, moments.spread))
            values = (network.in_rows(Arguments.of(*call).tensors[index]).double().flatten(1) for call in calls)
            likeness = _compared(Norm(moments.name, "", mean, spread.square()), values)
        else:
            return None
        if likeness is None:
            return None
        return replace(likeness, is_normaliser=self.norm is None, side=self._side(network, table, rows))

    def _tells(self, network: Network, table: Table, index: int) -> bool:
        """Whether moments of an input tell of its values: what a free one is multiplied by need be no normaliser."""
        return index in table.arrays and not network.resolved.inputs[index].is_free

    def _side(self, network: Network, table: Table, rows: list[int]) -> float | None:
        """`Likeness.side` over all inputs."""
        products, squares, count = 0.0, 0.0, 0
        for index, moments in self.entries.items():
            described = network.resolved.inputs[index]
            if index not in table.arrays or described.representation is None or not described.has_rows:
                continue
            calls = table.batches(table.rows, rows)
            seen = torch.cat([network.in_rows(Arguments.of(*call).tensors[index]) for call in calls]).double()
            means = [seen.mean(0, keepdim=True), _of_a_sample(network, moments.mean)[None]]
            spread = _of_a_sample(network, moments.spread)
            # (1 + T) / 2 takes away to which side a whole body leans or stands. T itself is seen on (1, 2, 3, ...): an
            # image of -3 says that entry 3 comes here, negated.
            given, mean = ((each + act(each, described.representation, described.center))[0] / 2 for each in means)
            positions = torch.arange(1, mean.numel() + 1, dtype=torch.float64).view(1, *mean.shape)
            images = act(positions, described.representation)[0]
            lateral = (images < 0) & (images.abs() != positions[0]) & mean.isfinite() & (spread > 0)
            middle = 0.0 if described.center is None else torch.from_numpy(described.center).double()
            sides = ((mean - middle) / spread).where(lateral, 0.0)
            products += float((((given - middle) / spread) * sides).where(lateral, 0.0).sum())
            squares, count = squares + float(sides.square().sum()), count + int(lateral.sum())
        return products / squares if count and squares >= _TELLING**2 * count else None


def memory_of(network: Network) -> Memory:
    """What the network keeps of its training; nothing where it has no graph."""
    graph = network.captured
    if graph is None:
        return Memory()
    norms = _norms(graph)
    seen = next((norm for norm in norms if not bool((norm.mean == 0).all() and (norm.variance == 1).all())), None)
    return Memory(_moments(graph, norms), seen)


# ---- means and spreads, entry by entry ------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Line:
    """A value whose numbers are a x_i + b. positions: i of every number, in the flattened input of that index."""

    index: int
    positions: Tensor
    slope: Tensor
    offset: Tensor

    @property
    def is_of_units(self) -> bool:
        """Whether all entries have one scale, or one offset, as those of x / (W / 2) - 1 and x / W have.

        Such a line says where a picture ends, not where bodies were in it.
        """
        scale = self.slope.abs()
        is_shared = (same(values, values.mean().expand_as(values)) for values in (scale, self.offset))
        return any(is_shared)

    def moments(self, like: Tensor, name: str, mean: Tensor, spread: Tensor) -> Moments:
        """Moments of the value, to be broadcast to it, as moments of the input.  like: the input."""
        means, spreads = torch.full((2, like.numel()), nan, dtype=torch.float64)
        means[self.positions] = (mean - self.offset) / self.slope
        spreads[self.positions] = spread / self.slope.abs()
        return Moments(name, means.view(like.shape), spreads.view(like.shape))


def _norms(graph: CapturedModel) -> list[Norm]:
    """All batch norms with statistics that forward does not update, in order."""
    norms: list[Norm] = []
    for node in graph.nodes:
        if not isinstance(traits().get(node.target), BatchNorm):
            continue
        mean = graph.leaf_of(node.arguments.get("running_mean"))
        variance = graph.leaf_of(node.arguments.get("running_var"))
        if mean is not None and variance is not None and "state" not in (mean.kind, variance.kind):
            name, source = mean.names[0].removesuffix(".running_mean"), node.arguments["input"].name
            norms.append(Norm(name, source, mean.tensor.detach().double(), variance.tensor.detach().double()))
    return norms


def _moments(graph: CapturedModel, norms: Iterable[Norm]) -> dict[int, Moments]:
    """What a network keeps of its inputs; of each input what comes last before trained weights."""
    entrance, one, zero = _Entrance(graph), torch.ones(1).double(), torch.zeros(1).double()
    by_input: dict[int, Moments] = {}
    # In the order of execution: a later line of an input takes the place of an earlier one. A normalised value has
    # mean 0 and spread 1.
    for node in entrance.nodes:
        if not entrance.applies_numbers(node):
            continue
        line = entrance.line(node.name)
        if line is not None and not line.is_of_units:
            name = f"its normaliser ({', '.join(entrance.stored(node))})"
            by_input[line.index] = line.moments(entrance.inputs[line.index].tensor, name, zero, one)
    # A batch norm that reads the line comes after it, and replaces it with its statistics, "channel" along axis 1.
    for norm in norms:
        line = entrance.line(norm.source)
        if line is not None and line.positions.ndim > 1:
            channels = (-1, *[1] * (line.positions.ndim - 2))
            mean, spread = norm.mean.cpu().view(channels), norm.variance.sqrt().cpu().view(channels)
            by_input[line.index] = line.moments(entrance.inputs[line.index].tensor, norm.name, mean, spread)
    return by_input


class _Entrance:
    """The part of a graph before trained weights.

    inputs: its floating-point inputs, by index.  nodes: ops on these that read nothing trained.
    """

    def __init__(self, graph: CapturedModel) -> None:
        leaves = graph.leaves
        self.graph, self.nodes = graph, list[Node]()
        self.inputs = {
            index: leaves[name]
            for index, name in enumerate(graph.inputs)
            if leaves[name].tensor.is_floating_point() and leaves[name].tensor.numel() <= _MOST_NUMBERS
        }
        self.behind = {name: frozenset({name}) for name, leaf in leaves.items() if leaf.kind in _UNTRAINED}
        """The leaves that a value is computed from."""
        # A node belongs to it if all that it reads does. What reads a trained weight is left out with all behind it.
        for node in graph.nodes:
            if node.draws_numbers or not self.behind.keys() >= {*node.names_read}:
                continue
            self.behind[node.name] = frozenset[str]().union(*(self.behind[name] for name in node.names_read))
            if node.name not in graph.fixed:  # computed from stored numbers only: no line of an input
                self.nodes.append(node)

    def applies_numbers(self, node: Node) -> bool:
        """Whether an op applies stored numbers, one for every entry, to an input."""
        read = [name for name in node.names_read if name in self.graph.fixed]
        applied = {name for value in read for name in self.behind[value]}
        return any(self.graph.leaves[name].tensor.numel() > 1 for name in applied)

    def stored(self, node: Node) -> list[str]:
        """The names of the stored numbers that a value is computed from."""
        leaves = [self.graph.leaves[name] for name in self.behind[node.name]]
        return sorted(
            leaf.names[0] for leaf in leaves if leaf.kind != "input" and leaf.tensor.numel() > 1 and leaf.names
        )

    def line(self, name: str) -> _Line | None:
        """A value as a line of the entries of one input; None where it is none."""
        # It has to come from one input, and from no other one, whole numbers included.
        sources = [index for index, leaf in self.inputs.items() if leaf.name in self.behind.get(name, ())]
        if len(sources) != 1 or len(self.behind[name] & {*self.graph.inputs}) != 1:
            return None
        index, values = sources[0], [probe.get(name) for probe in self._probes]
        if not all(isinstance(value, Tensor) and value.is_floating_point() for value in values):
            return None
        at_zero, at_one, at_positions, at_random = (
            value.double().cpu() for value in values if isinstance(value, Tensor)
        )
        slope, count = at_one - at_zero, self.inputs[index].tensor.numel()
        # A number that does not depend on x (slope 0) has no position.
        if not slope.numel() or not bool((slope.isfinite() & (slope != 0)).all()):
            return None
        positions = (at_positions - at_zero) / slope
        nearest = positions.round()
        is_inside = (nearest >= 0) & (nearest < count)
        if not bool(((positions - nearest).abs() < _OFF_POSITION).all() and is_inside.all()):
            return None
        line = _Line(index, nearest.long(), slope, at_zero)
        x = _random(self.inputs[index]).double().cpu().flatten()
        return line if same(at_random, slope * x[line.positions] + at_zero) else None

    @cached_property
    def _probes(self) -> list[dict[str, object]]:
        """Values at 0, at 1, at the position of every entry, and at random numbers."""
        kinds: list[Callable[[Leaf], Tensor]] = [
            lambda leaf: torch.zeros_like(leaf.tensor),
            lambda leaf: torch.ones_like(leaf.tensor),
            lambda leaf: torch.arange(leaf.tensor.numel()).view(leaf.shape).to(leaf.tensor.device, torch.float64),
            _random,
        ]
        return [self._run(kind) for kind in kinds]

    def _run(self, probe: Callable[[Leaf], Tensor]) -> dict[str, object]:
        """The values of the entrance, by name; an op that refuses the probe (a table looked up by x) has none.

        In double precision: of an entry whose mean is a thousand times its spread, single precision hides the slope,
        and half precision has no whole numbers beyond 2,048, so that positions would be confused.
        """
        values = execution.start(self.graph, (), {leaf.name: probe(leaf) for leaf in self.inputs.values()})
        for name, value in values.items():
            if isinstance(value, Tensor) and value.is_floating_point():
                values[name] = value.double()
        for node in self.graph.nodes:
            if node.name in self.behind and values.keys() >= {*node.names_read}:
                with torch.no_grad(), suppress(RuntimeError, IndexError):
                    values[node.name] = execution.evaluate(node, values)
        return values


def _random(leaf: Leaf) -> Tensor:
    """N(0, 1) in the shape of an input, the same numbers every time."""
    return torch.randn(leaf.shape, generator=torch.Generator().manual_seed(0)).to(leaf.tensor)


def same(one: Tensor, other: Tensor) -> bool:
    """Equal up to the rounding of many operations in single precision."""
    if not one.numel():
        return True
    scale = float(torch.maximum(one.abs(), other.abs()).max())
    return float((one - other).abs().max()) <= _EQUAL * scale


# ---- inputs beside them ---------------------------------------------------------------------------------------------
def _of_a_sample(network: Network, values: Tensor) -> Tensor:
    """Values in an input's shape as those of one sample."""
    return network.in_rows(values)[0]


def _values_at(norm: Norm, network: Network, table: Table, rows: list[int]) -> Iterable[Tensor]:
    """What a norm reads on samples of a table, "value channel", batch by batch in the captured sizes."""
    assert network.captured is not None
    for call in table.batches(table.rows, rows):
        tensors = Arguments.of(*call).tensors
        values = dict(zip(network.captured.inputs, tensors, strict=True))
        read = values[norm.source] if norm.source in values else _run_until(network.captured, norm.source, tensors)
        yield read.double().movedim(1, -1).flatten(0, -2)


def _run_until(graph: CapturedModel, name: str, tensors: Iterable[Tensor]) -> Tensor:
    """A value of the graph on these inputs."""
    values = execution.start(graph, list(tensors))
    with torch.no_grad():
        for node in graph.until(name):
            values[node.name] = execution.evaluate(node, values)
    return values[name]


def _compared(norm: Norm, batches: Iterable[Tensor]) -> Likeness | None:
    """Rows "value channel" beside remembered means and variances, NaN where there are none.

    None for fewer than 2 values, and where nothing that is remembered varied.
    """
    count, total, square = 0, torch.zeros_like(norm.mean), torch.zeros_like(norm.mean)
    for rows in batches:
        count, total, square = count + len(rows), total + rows.sum(0), square + rows.square().sum(0)
    alive = norm.variance > _DEAD * norm.variance.nan_to_num().max()
    if count < 2 or not bool(alive.any()):
        return None
    mean = total / count
    variance = (square / count - mean.square()) * count / (count - 1)
    ratio = (variance / norm.variance)[alive].clamp_min(1e-12)
    shift = _rms(((mean - norm.mean) / norm.variance.sqrt())[alive])
    return Likeness(norm.name, int(alive.sum()), shift, exp(_rms(ratio.log())), float(ratio.median().sqrt()))


def _rms(numbers: Tensor) -> float:
    """The root of the mean square."""
    return float(numbers.square().mean().sqrt())
