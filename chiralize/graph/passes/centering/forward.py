"""Following offsets from the inputs to the outputs, until a bias, a mean or a constant takes them up.

An offset is by how much a value of f(u + c) differs from that of h(u), the network seen from its centre. Inputs have
the offset c. Behind W it is W c, and a bias takes it up (b' = b + W c), so that the values behind are equal in both
graphs. A lifter on pixels with c = (320, 240), whose first layer is `linear`, is done after one op.
`walk` makes one pass, asks `backward` which ops have to add offsets that outputs want, and makes a second pass with
these (`extra`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from chiralize.errors import OffsetError
from chiralize.graph.interpreter import Interpreter
from chiralize.graph.model import Node, Ref
from chiralize.graph.passes.centering.graph import Choices, Fixed, Graph, Offset
from chiralize.graph.passes.centering.operations import (
    axes_without,
    mean_along,
    run,
    without_constants,
)
from chiralize.graph.traits import Movement, Product, Recurrence, Scaling, Sum
from chiralize.symmetry.action import Center

Levels = dict[str, Offset | None]
REMEDY = "subtract the centre from the input in the network itself (x - c), or use --method average"


@dataclass(frozen=True)
class Addend:
    """An offset that a bias takes up, in the bias's shape.

    rounding: how much the offset differed along axes that the bias has not, plus the rounding in float64.
    """

    value: Tensor
    rounding: Tensor


class Forward(Interpreter[Offset]):
    """One pass through a graph, made on construction.

    extra: by operation with a bias, the offset that its result shall have; empty in the first pass.
    choices, levels: which added weights take offsets up, and the averages of added constants; set in the first pass.
    results: the offset of every value that has one.
    taken: by leaf and by the operation that reads it, what it takes up.
    numbers: by operation, the constant that replaces a number added there, with its sign, or what is computed.
    Raises OffsetError at an operation that is not linear in an offset, or a bias that cannot take one up.
    """

    def __init__(
        self, graph: Graph, inputs: tuple[Center, ...], extra: Mapping[str, Offset], choices: Choices, levels: Levels
    ) -> None:
        super().__init__(graph.traits)
        self.graph = graph
        self.extra = extra
        self.choices, self.levels = choices, levels
        self.taken: dict[str, dict[str, Addend]] = {}
        self.numbers: dict[str, Tensor] = {}
        for name, center in zip(graph.captured.inputs, inputs, strict=True):
            if center is not None:
                tensor = graph.leaves[name].tensor
                # `size` begins as |c| and grows with every term: by it, what is only rounding is told from an offset.
                value = torch.from_numpy(center).to(tensor.device).expand(tensor.shape)
                self.results[name] = (Offset(value, value.abs()),)
        for node in graph.captured.nodes:
            self.visit(node)

    def offset(self, name: str | None) -> Offset | None:
        """The offset of a value, None where it has none."""
        if name is None:
            return None
        return self.of(Ref(name))

    def reaches(self, node: Node) -> bool:
        """Whether an op reads an offset, or is to add one."""
        return any(map(self.of, node.reads)) or node.name in self.extra

    def simplified(self, followed: Offset | None) -> Offset | None:
        """An offset, None where it is no more than rounding."""
        if followed is not None and followed.vanishes(self.graph.eps):
            return None
        return followed

    def stop(self, node: Node) -> NoReturn:
        """Raises OffsetError: the operation is not linear in the offset."""
        facts = (
            f"{node.target} is not linear, and what it reads does not count from the point that coordinates are "
            "mirrored at (no bias, mean or constant before it takes the offset up)"
        )
        raise OffsetError(str(node.where), facts, REMEDY)

    def filled(self, node: Node) -> None:
        """Only the size of the operand matters."""

    def movement(self, node: Node, trait: Movement) -> tuple[Offset | None, ...]:
        """An operation that moves, repeats and adds up numbers does the same to offsets."""
        if self.graph.moves_by_data(node):
            self.stop(node)

        def part_of(name: str, part: str) -> Tensor:
            """The value or the size of an operand's offset."""
            offset = self.offset(name)
            if offset is None:
                return self.graph.cleared(name)
            return getattr(offset, part)

        changed = without_constants(node, trait)
        values = run(node, lambda name: part_of(name, "value"), changed)
        sizes = run(node, lambda name: part_of(name, "size"), changed)
        read = list(filter(None, map(self.offset, node.names_read)))
        kinds = any(offset.weighted for offset in read), any(offset.mixed for offset in read)
        if not isinstance(values, tuple):
            return (Offset(values, sizes, *kinds),)
        return tuple(Offset(value, size, *kinds) for value, size in zip(values, sizes, strict=True))

    # ---- products ---------------------------------------------------------------------------------------------
    def product(self, node: Node, trait: Product) -> Offset | None:
        """W x + b: the bias takes the offset W c up; without a bias it goes on."""
        bias, incoming = trait.added(node.arguments), self._multiplied(node, trait)
        scaled = any(node.arguments.get(factor, 1) != 1 for factor in ("alpha", "beta"))
        # Without a bias of its own that enters with factor 1 the op can add nothing, and the offset goes on.
        if bias is None or not self.graph.is_leaf(bias) or scaled:
            if bias is not None and not self.graph.fixed(bias):
                self.stop(node)
            return self._passed(node, incoming)
        # An input or a state as the bias cannot be rewritten.
        if bias.name in self.graph.data:
            self.stop(node)
        axis = None
        # The bias of a layer lies along its channels: the last axis for a weight "out in", the third last for "out in
        # h w".
        if trait.is_layer:
            weight = self.graph.value(node.arguments["weight"].name)
            axis = len(node.shapes[0] or ()) - (weight.ndim - 1)
        return self._take(node, bias.name, incoming, 1.0, axis)

    def _multiplied(self, node: Node, trait: Product) -> Offset | None:
        """W c, where exactly one factor has an offset and nothing else depends on the input."""
        bias = trait.added(node.arguments)
        refs = [ref.name for ref in node.reads if ref != bias]
        moving = list(filter(self.offset, refs))
        # An addend that is itself off would have to take two offsets up.
        if isinstance(bias, Ref) and self.offset(bias.name) is not None:
            self.stop(node)
        if not moving:
            return None
        offset = self.offset(moving[0])
        # What (x + c)(y + d) has more than x y depends on x and y, and 1 / (x + c) is no sum: neither is linear in c.
        others = set(refs) - {moving[0]}
        divides = isinstance(trait, Scaling) and trait.divides
        divisor = divides and node.arguments["other"] == Ref(moving[0])
        if len(moving) > 1 or others & self.graph.data or divisor or offset is None:
            self.stop(node)

        def factor(name: str, part: Tensor, positive: bool) -> Tensor:
            """The given part of the offset, 0 for the bias, and the other factor, or its absolute values."""
            if name == moving[0]:
                return part
            value = self.graph.value(name)
            if isinstance(bias, Ref) and name == bias.name:
                return torch.zeros_like(value)
            return value.abs() if positive else value

        changed = trait.without_bias
        # W c by the op itself; |W| |c| bounds the sizes of the terms that were added up.
        value = run(node, lambda name: factor(name, offset.value, False), changed)
        size = run(node, lambda name: factor(name, offset.size, True), changed).abs()  # a number may be negative
        by_weights = bool(others & self.graph.weighted)
        mixes = by_weights and not isinstance(trait, Scaling)
        return Offset(value, size, offset.weighted or by_weights, offset.mixed or mixes)

    def _passed(self, node: Node, offset: Offset | None) -> Offset | None:
        """The offset that goes on from an operation which can add none to it."""
        if node.name in self.extra:
            self.stop(node)
        return offset

    def norm(self, node: Node) -> Offset | None:
        """BatchNorm: the mean takes the offset up that comes in, the bias adds the one that is wanted behind it."""
        offset, wanted = self.offset(node.arguments["input"].name), self.extra.get(node.name)
        mean = node.arguments["running_mean"]
        if offset is not None:
            # (x + c) - m = x - (m - c): the stored mean falls by what comes in.
            if not self.graph.is_leaf(mean):
                self.stop(node)
            self._record(node, mean.name, offset.times(-1.0), 1)
        if wanted is not None:
            # `_record` adds what a leaf takes up with a plus; what the result shall have more, the bias has to have
            # less in h.
            self._record(node, node.arguments["bias"].name, wanted.times(-1.0), 1)
        return wanted

    def recurrence(self, node: Node, trait: Recurrence) -> tuple[None, ...]:
        """Gates read W x + b: the biases of the first layer take up W c, in every direction."""
        # The state has no offset at any step: the biases take that of the input up before the gates.
        source, weights = node.arguments.get("input"), trait.first_weights(node.arguments)
        moving = set(filter(self.offset, node.names_read))
        offset = self.offset(source.name) if isinstance(source, Ref) else None
        if not weights or offset is None or not isinstance(source, Ref) or moving != {source.name}:
            self.stop(node)
        for weight, bias in weights:
            if not self.graph.is_leaf(bias) or not self.graph.fixed(weight):
                self.stop(node)
            matrix = self.graph.value(weight.name)
            # "... in" times "in gate*unit": the offset of all gates, frame by frame.
            taken = Offset(offset.value @ matrix.T, offset.size @ matrix.abs().T, weighted=True, mixed=True)
            self._record(node, bias.name, taken, offset.value.ndim - 1)
        return (None,) * len(node.shapes)

    # ---- sums -------------------------------------------------------------------------------------------------
    def sum(self, node: Node, trait: Sum) -> Offset | None:
        """Offsets add up; an added weight may take the sum up, a constant its average, as the 320 of x - [320, 240]."""
        zero = self.graph.zero(node.name)
        total: Offset | None = None
        terms = trait.terms(node.arguments)
        for operand, sign in terms:
            offset = self.of(operand)
            if offset is not None:
                total = (total or zero) + offset.times(sign)
        fixed = [(operand, sign) for operand, sign in terms if self.graph.fixed(operand)]
        if not fixed:
            return self._passed(node, total)
        # Decided in the first pass and kept: the second must take the same up in the same ops.
        if total is not None and not self.extra:
            self.levels[node.name] = self.graph.level(fixed[0], total)
        level = self.levels.get(node.name)
        # taken: what the constant or weight of this sum takes up.  passing: what goes on behind it. In x - (320, 240)
        # with the offset (320, 240) the constant takes all; a weight takes all or nothing.
        taken, passing = None, total
        if total is not None and level is not None:
            taken, passing = level.times(-1.0), total + level
        stays = self.graph.stays(fixed[0][0]) and (total is None or level is not None)
        if total is not None and not stays and self._takes_up(node, fixed[0], total):
            taken, passing = total, None
        if taken is None and node.name not in self.extra:
            return total
        operand, sign = fixed[0]
        if self.graph.is_leaf(operand) and not stays:
            return _joined(self._take(node, operand.name, taken, sign, None), passing)
        wanted = self._take_number(node, self.graph.number(operand) * sign, taken)
        if isinstance(operand, Ref):
            self.numbers[node.name] /= sign
        return _joined(wanted, passing)

    def _takes_up(self, node: Node, fixed: Fixed, total: Offset) -> bool:
        """Whether an added weight takes the whole offset up.

        In a hidden space it does if its shape allows. In the space of the coordinates it does if it is nearer to minus
        the offset than to 0, as stored means are.
        """
        operand = fixed[0]
        if not self.graph.is_weight(operand):
            return False
        # As for levels: decided in the first pass.
        if node.name not in self.choices and not self.extra:
            fits = self._same_elsewhere(total, self.graph.leaves[operand.name].shape)[1]
            if total.weighted:
                self.choices[node.name] = fits
            else:
                self.choices[node.name] = self.graph.near(fixed, total.times(-1.0))
        return self.choices.get(node.name, False)

    def _moved(self, node: Node, offset: Offset | None) -> Offset:
        """The offset that comes in less the one that is wanted behind an operation: so much has to be taken up
        there.
        """
        zero = self.graph.zero(node.name)
        return (offset or zero) + (self.extra.get(node.name) or zero).times(-1.0)

    def _take_number(self, node: Node, number: Tensor | float, offset: Offset | None) -> Offset | None:
        """An added number takes an offset up by becoming a tensor, of size 1 along axes on which it is the same.

        So does what is computed from constants and buffers, which stay as they are.
        """
        moved = self._moved(node, offset)
        value = moved.value + number
        # 320 - 320 leaves its rounding, which would be added to coordinates that have no offset.
        value = torch.where(value.abs() <= 4 * self.graph.eps * (moved.size + abs(number)), 0.0, value)
        # As few numbers as it takes: a batch or frame axis along which all are equal has size 1 then.
        for axis in range(value.ndim):
            first = value.narrow(axis, 0, 1)
            if bool((value == first).all()):
                value = first
        self.numbers[node.name] = value.clone()
        return self.extra.get(node.name)

    # ---- taking up --------------------------------------------------------------------------------------------
    def _take(self, node: Node, leaf: str, offset: Offset | None, sign: float, axis: int | None) -> Offset | None:
        """A tensor added with a sign takes an offset up, and adds the one that is wanted behind it."""
        wanted = self.extra.get(node.name)
        if offset is not None or wanted is not None:
            # The leaf is added with the sign, so it takes the offset over the sign.
            self._record(node, leaf, self._moved(node, offset).times(1 / sign), axis)
        return wanted

    def _record(self, node: Node, leaf: str, offset: Offset, axis: int | None) -> None:
        """b' = b + offset, which must be the same along all axes that b has not."""
        shape, name = self.graph.leaves[leaf].shape, self.graph.leaves[leaf].names[0]
        taken, fits = self._same_elsewhere(offset, shape, axis)
        if not fits:
            facts = (
                f"{name} cannot take up the offset of the coordinates: it is not the same at all places "
                "(zero padding, or sums that differ from joint to joint)"
            )
            raise OffsetError(str(node.where), facts, REMEDY)
        self.taken.setdefault(leaf, {})[node.name] = taken

    def _same_elsewhere(self, offset: Offset, shape: Sequence[int], axis: int | None = None) -> tuple[Addend, bool]:
        """An offset in the shape of the tensor that shall take it up, and whether it is the same along all other axes.

        axis: of the offset, where the only axis of that shape lies; else the shapes end alike, as in a sum.
        """
        axes = axes_without(offset.value.ndim, shape, axis)
        mean = mean_along(offset.value, axes)
        # 4 eps of the stored numbers: as far as rounding may carry equal offsets apart at different places.
        apart, size = (offset.value - mean).abs(), offset.size
        fits = not bool((apart > 4 * self.graph.eps * size).any())
        if axes:
            apart, size = apart.amax(axes, keepdim=True), size.amax(axes, keepdim=True)
        rounding = (apart + 64 * torch.finfo(torch.float64).eps * size).reshape(tuple(shape))
        return Addend(mean.reshape(tuple(shape)), rounding), fits


def _joined(first: Offset | None, second: Offset | None) -> Offset | None:
    """The sum of two offsets, either of which may be None."""
    if first and second:
        return first + second
    return first or second
