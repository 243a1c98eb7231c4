"""Offsets followed from the inputs to the outputs, until a bias, a mean or a constant takes them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from chiralize.errors import OffsetError
from chiralize.graph.model import Node, Ref
from chiralize.graph.passes.centering.graph import Choices, Fixed, Graph, Offset
from chiralize.graph.passes.centering.operations import (
    BIAS,
    BLIND,
    CELLS,
    IDENTITY,
    LAYERS,
    NORMS,
    PLACES,
    PLAIN,
    PRODUCTS,
    SUMS,
    base,
    keeps_numbers,
    run,
    signs,
    without_constants,
)
from chiralize.symmetry.action import Center

Levels = dict[str, Offset | None]
REMEDY = "subtract the centre from the input in the network itself (x - c), or use --method lift"


@dataclass(frozen=True)
class Addend:
    """What a bias takes up, in its shape.  rounding: how far it was apart along other axes, and rounding in float64."""

    value: Tensor
    rounding: Tensor


class Forward:
    """One pass through a graph.

    extra: by operation with a bias, the offset that its result shall have; the second pass has some.
    choices, levels: which weights that are added take offsets up, and what constants do; made in the first pass.
    offsets: of every value that has one.  found: by leaf and by the operation that reads it, what it takes up.
    numbers: by operation, the constant that stands in place of a number added there. Raises OffsetError.
    """

    def __init__(
        self, graph: Graph, inputs: tuple[Center, ...], extra: Mapping[str, Offset], choices: Choices, levels: Levels
    ) -> None:
        self.graph = graph
        self.extra = extra
        self.choices, self.levels = choices, levels
        self.offsets: dict[str, tuple[Offset | None, ...]] = {}
        self.found: dict[str, dict[str, Addend]] = {}
        self.numbers: dict[str, Tensor] = {}
        for name, center in zip(graph.captured.inputs, inputs, strict=True):
            if center is not None:
                tensor = graph.leaves[name].tensor
                value = torch.from_numpy(center).to(tensor.device).expand(tensor.shape)
                self.offsets[name] = (Offset(value, value.abs()),)
        for node in graph.captured.nodes:
            if node.target == "getitem":
                source = self.offsets.get(node.arguments["value"].name)
                self.offsets[node.name] = (source[node.arguments["index"]] if source else None,)
            elif any(self.offset(ref.name) is not None for ref in node.reads) or node.name in extra:
                found = self._through(node)
                self.offsets[node.name] = tuple(
                    None if own is None or own.vanishes(graph.eps) else own for own in found
                )

    def offset(self, name: str | None) -> Offset | None:
        """Of one value, None where it has none."""
        found = self.offsets.get(name or "")
        return found[0] if found else None

    def _through(self, node: Node) -> tuple[Offset | None, ...]:
        name = base(node)
        rest = [None] * (len(node.shapes) - 1)
        if name in BLIND:
            return (None, *rest)
        if name in IDENTITY and keeps_numbers(node):
            return (self.offset(node.reads[0].name), *rest)
        if name in SUMS:
            return (self._sum(node),)
        if name in PRODUCTS and not node.target.endswith("_mode"):
            return (self._product(node),)
        if name in NORMS and not node.arguments.get("training"):
            return (self._norm(node), *rest)
        if name in LAYERS | CELLS:
            return self._recurrent(node)
        if name in PLAIN:
            return self._plain(node)
        raise _not_linear(node)

    def _plain(self, node: Node) -> tuple[Offset | None, ...]:
        """An operation that moves, repeats and adds up numbers."""
        places = [node.arguments[key] for key in PLACES if key in node.arguments]
        if not all(self.graph.fixed(item) for own in places for item in (own if isinstance(own, list) else [own])):
            raise _not_linear(node)

        def pick(name: str, part: str) -> Any:
            own = self.offset(name)
            if own is not None:
                return getattr(own, part)
            if name in self.graph.data:
                return self.graph.zero(name).value
            value = self.graph.value(name)
            return torch.zeros_like(value) if value.is_floating_point() else value

        changed = without_constants(node)
        parts = [run(node, lambda name, part=part: pick(name, part), changed) for part in ("value", "size")]
        weighted = any(own.weighted for ref in node.reads if (own := self.offset(ref.name)) is not None)
        values, sizes = (own if isinstance(own, tuple) else (own,) for own in parts)
        return tuple(Offset(*pair, weighted) for pair in zip(values, sizes, strict=True))

    # ---- products ---------------------------------------------------------------------------------------------
    def _product(self, node: Node) -> Offset | None:
        """W x + b takes up W c, whatever comes in; without b it goes on."""
        key = BIAS.get(base(node))
        bias = node.arguments.get(key) if key else None
        incoming = self._multiplied(node, key)
        scaled = any(node.arguments.get(own, 1) != 1 for own in ("alpha", "beta"))
        if bias is None or not self.graph.is_leaf(bias) or scaled:
            if bias is not None and not self.graph.fixed(bias):
                raise _not_linear(node)
            return self._passed(node, incoming)
        if bias.name in self.graph.data:
            raise _not_linear(node)
        axis = None
        if key == "bias":
            weight = self.graph.value(node.arguments["weight"].name)
            axis = len(node.shapes[0] or ()) - (1 if base(node) == "linear" else weight.ndim - 1)
        return self._take(node, bias.name, incoming, 1.0, axis)

    def _multiplied(self, node: Node, key: str | None) -> Offset | None:
        """W c, where exactly one factor has an offset and nothing else depends on the input."""
        bias = node.arguments.get(key) if key else None
        refs = [ref.name for ref in node.reads if ref != bias]
        moving = [name for name in refs if self.offset(name) is not None]
        if isinstance(bias, Ref) and self.offset(bias.name) is not None:
            raise _not_linear(node)
        if not moving:
            return None
        own = self.offset(moving[0])
        others = set(refs) - {moving[0]}
        divisor = base(node) == "div" and node.arguments["other"] == Ref(moving[0])
        if len(moving) > 1 or others & self.graph.data or divisor or own is None:
            raise _not_linear(node)

        def pick(name: str, part: Tensor, positive: bool) -> Tensor:
            if name == moving[0]:
                return part
            value = self.graph.value(name)
            if isinstance(bias, Ref) and name == bias.name:
                return torch.zeros_like(value)
            return value.abs() if positive else value

        changed = {"bias": None} if key == "bias" else {}
        value = run(node, lambda name: pick(name, own.value, False), changed)
        size = run(node, lambda name: pick(name, own.size, True), changed).abs()  # a factor may be a negative number
        return Offset(value, size, own.weighted or bool(others & self.graph.weighted))

    def _passed(self, node: Node, own: Offset | None) -> Offset | None:
        if node.name in self.extra:
            raise _not_linear(node)
        return own

    def _norm(self, node: Node) -> Offset | None:
        """BatchNorm: the mean takes up what comes in, the bias gives what is wanted."""
        own, wanted = self.offset(node.arguments["input"].name), self.extra.get(node.name)
        mean = node.arguments["running_mean"]
        if own is not None:
            if not self.graph.is_leaf(mean):
                raise _not_linear(node)
            self._record(node, mean.name, own.times(-1.0), 1)
        if wanted is not None:
            self._record(node, node.arguments["bias"].name, wanted.times(-1.0), 1)
        return wanted

    def _recurrent(self, node: Node) -> tuple[None, ...]:
        """Gates read W x + b: the biases of the first layer take up W c, in every direction."""
        arguments = node.arguments
        source = arguments.get("input")
        weights: list[tuple[Any, Any]]
        if base(node) in CELLS:
            weights = [(arguments["w_ih"], arguments.get("b_ih"))]
        else:
            params, directions = arguments.get("params"), 1 + bool(arguments.get("bidirectional"))
            step = 4 if arguments.get("has_biases") else 2
            if not isinstance(params, (list, tuple)) or len(params) < step * directions:
                raise _not_linear(node)
            weights = [(params[step * at], params[step * at + 2] if step == 4 else None) for at in range(directions)]
        moving = {ref.name for ref in node.reads if self.offset(ref.name) is not None}
        own = self.offset(source.name) if isinstance(source, Ref) else None
        if own is None or not isinstance(source, Ref) or moving != {source.name}:
            raise _not_linear(node)
        for weight, bias in weights:
            if not self.graph.is_leaf(bias) or not self.graph.fixed(weight):
                raise _not_linear(node)
            matrix = self.graph.value(weight.name)
            taken = Offset(own.value @ matrix.T, own.size @ matrix.abs().T, True)
            self._record(node, bias.name, taken, own.value.ndim - 1)
        return (None,) * len(node.shapes)

    # ---- sums -------------------------------------------------------------------------------------------------
    def _sum(self, node: Node) -> Offset | None:
        """Offsets add up; a weight may take them up, a constant gives what it holds itself: x - [320, 240]."""
        operands = list(zip((node.arguments["self"], node.arguments["other"]), signs(node), strict=True))
        zero = self.graph.zero(node.name)
        total: Offset | None = None
        for operand, sign in operands:
            own = self.offset(operand.name) if isinstance(operand, Ref) else None
            if own is not None:
                total = (total or zero) + own.times(sign)
        fixed = [item for item in operands if self.graph.fixed(item[0])]
        if not fixed:
            return self._passed(node, total)
        if total is not None and not self.extra:
            self.levels[node.name] = self.graph.level(fixed[0], total)
        level = self.levels.get(node.name)
        own, passing = (None, total) if total is None or level is None else (level.times(-1.0), total + level)
        if total is not None and self._takes_up(node, fixed[0], total):
            own, passing = total, None
        if own is None and node.name not in self.extra:
            return total
        operand, sign = fixed[0]
        if isinstance(operand, Ref):
            return _joined(self._take(node, operand.name, own, sign, None), passing)
        return _joined(self._take_number(node, float(operand) * sign, own), passing)

    def _takes_up(self, node: Node, fixed: Fixed, total: Offset) -> bool:
        """Whether a weight that is added takes the whole offset up: in a hidden space, if it can.

        In the space of the coordinates, if it is nearer to the offset turned round than to 0 (stored means).
        """
        operand = fixed[0]
        if not self.graph.is_weight(operand):
            return False
        if node.name not in self.choices and not self.extra:
            fits = self._same_elsewhere(total, self.graph.leaves[operand.name].shape)[1]
            self.choices[node.name] = fits if total.weighted else self.graph.near(fixed, total.times(-1.0))
        return self.choices.get(node.name, False)

    def _moved(self, node: Node, own: Offset | None) -> Offset:
        zero = self.graph.zero(node.name)
        return (own or zero) + (self.extra.get(node.name) or zero).times(-1.0)

    def _take_number(self, node: Node, number: float, own: Offset | None) -> Offset | None:
        moved = self._moved(node, own)
        value = moved.value + number
        value = torch.where(value.abs() <= 4 * self.graph.eps * (moved.size + abs(number)), 0.0, value)
        for place in range(value.ndim):
            first = value.narrow(place, 0, 1)
            value = first if bool((value == first).all()) else value
        self.numbers[node.name] = value.clone()
        return self.extra.get(node.name)

    # ---- taking up --------------------------------------------------------------------------------------------
    def _take(self, node: Node, leaf: str, own: Offset | None, sign: float, axis: int | None) -> Offset | None:
        """A tensor added with a sign takes up an offset, and gives the one that is wanted behind it."""
        wanted = self.extra.get(node.name)
        if own is not None or wanted is not None:
            self._record(node, leaf, self._moved(node, own).times(1 / sign), axis)
        return wanted

    def _record(self, node: Node, leaf: str, own: Offset, axis: int | None) -> None:
        """b' = b + offset, which must be the same along all axes that b has not."""
        shape = self.graph.leaves[leaf].shape
        taken, fits = self._same_elsewhere(own, shape, axis)
        if not fits:
            raise OffsetError(
                str(node.where), f"{self.graph.leaves[leaf].names[0]} cannot take up the offset of the coordinates: it "
                "is not the same at all places (zero padding, or sums that differ from joint to joint)", REMEDY,
            )  # fmt: skip
        self.found.setdefault(leaf, {})[node.name] = taken

    def _same_elsewhere(self, own: Offset, shape: Sequence[int], axis: int | None = None) -> tuple[Addend, bool]:
        """An offset in the shape of what shall take it up, and whether it is the same along all other axes.

        axis: where the only axis of that shape lies; else the shapes end alike, as in a sum.
        """
        full = [1] * (own.value.ndim - len(shape)) + list(shape)
        if axis is not None:
            full = [shape[0] if place == axis else 1 for place in range(own.value.ndim)]
        axes = [place for place, size in enumerate(full) if size == 1]
        mean = own.value.mean(axes, keepdim=True) if axes else own.value
        apart, size = (own.value - mean).abs(), own.size
        fits = not bool((apart > 4 * self.graph.eps * size).any())
        if axes:
            apart, size = apart.amax(axes, keepdim=True), size.amax(axes, keepdim=True)
        rounding = (apart + 64 * torch.finfo(torch.float64).eps * size).reshape(tuple(shape))
        return Addend(mean.reshape(tuple(shape)), rounding), fits


def _not_linear(node: Node) -> OffsetError:
    return OffsetError(
        str(node.where), f"{node.target} is not linear, and what it reads does not count from the point that "
        "coordinates are mirrored at (no bias, mean or constant before it takes the offset up)", REMEDY,
    )  # fmt: skip


def _joined(first: Offset | None, second: Offset | None) -> Offset | None:
    if first is None or second is None:
        return first if second is None else second
    return first + second
