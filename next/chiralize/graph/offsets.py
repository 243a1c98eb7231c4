"""By how much does every value of f(u + c) differ from that of f(u), and what takes the difference up?

The difference is the value's offset: c at an input (320 for x in a picture of 640 columns), W c behind a linear layer,
0 behind a bias that takes it up (b' = b + W c). `Walk` makes one pass through a graph, op by op, each by its trait; it
stops at the first op that reads an offset and is not linear in it. A second pass adds what outputs want (`affine`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor

from chiralize.errors import OffsetError
from chiralize.graph.execution import called, with_values
from chiralize.graph.model import CapturedModel, Node, Ref, overload, refs_in
from chiralize.graph.traits import (
    BatchNorm,
    Copy,
    Filled,
    Movement,
    Product,
    Scaling,
    Sum,
    Traits,
    keeps_numbers,
)
from chiralize.symmetry.action import Center

PLACES = ("index", "indices", "condition", "mask", "repeats")
"""Arguments that say where numbers go, not what they are."""
_ROUNDINGS = 4
"""Units in the last place of the terms of a sum within which it counts as 0, as in 320 - 320."""
REMEDY = "subtract the centre from the input in the network itself (x - c), or use --method average"


@dataclass(frozen=True)
class Offset:
    """The difference between a value and the value that it would have if coordinates counted from the centre.

    value: in float64, in the shape of the value that it belongs to.  size: the sum of the absolute values of its
    terms, which bounds its rounding.  is_mixed: weights added up several entries, so that these are hidden units and
    no coordinates.
    """

    value: Tensor
    size: Tensor
    is_mixed: bool = False

    def __add__(self, other: Offset) -> Offset:
        return Offset(self.value + other.value, self.size + other.size, self.is_mixed or other.is_mixed)

    def times(self, factor: Tensor | float) -> Offset:
        """The offset of a value that is multiplied by a factor."""
        return Offset(self.value * factor, self.size * abs(factor), self.is_mixed)


class Graph:
    """A captured graph with other tensors in place of some weights, and what a walk asks of it, in float64.

    eps: relative rounding of the numbers that the network stores.  data: values that depend on inputs or states.
    """

    def __init__(self, captured: CapturedModel, traits: Traits, tensors: Mapping[str, Tensor]) -> None:
        self.captured, self.traits, self.leaves, self.nodes = captured, traits, captured.leaves, captured.by_name
        floats = [leaf.tensor.dtype for leaf in self.leaves.values() if leaf.tensor.is_floating_point()]
        self.eps = min(1e-7, max((torch.finfo(dtype).eps for dtype in floats), default=0.0))
        self.data = {*self.leaves, *self.nodes} - captured.fixed
        self.values: dict[str, Any] = {}
        for leaf in self.leaves.values():
            if leaf.name not in self.data:
                self.values[leaf.name] = _wide(tensors.get(leaf.name, leaf.tensor).detach())

    def value(self, name: str) -> Any:
        """A weight, a constant, or a value computed from them."""
        if name not in self.values:
            node = self.nodes[name]
            if node.target == "getitem":
                self.values[name] = self.value(node.arguments["value"].name)[node.arguments["index"]]
            else:
                self.values[name] = run(node, self.value)
        return self.values[name]

    def number(self, operand: Any) -> Any:
        """A fixed operand as a tensor or a float."""
        return self.value(operand.name) if isinstance(operand, Ref) else float(operand)

    def zero(self, name: str) -> Offset:
        """No offset, in the shape of a value."""
        zero = torch.zeros(self.captured.shapes.get(name, ()), dtype=torch.float64)
        return Offset(zero, zero)

    def cleared(self, name: str) -> Tensor:
        """A value with 0 for floating-point numbers, so that a linear op adds nothing; positions stay."""
        if name in self.data:
            return self.zero(name).value
        value = self.value(name)
        return torch.zeros_like(value) if value.is_floating_point() else value

    def is_fixed(self, operand: Any) -> bool:
        """Whether an operand does not depend on the input."""
        return not (isinstance(operand, Ref) and operand.name in self.data)

    def is_bias(self, operand: Any) -> bool:
        """Whether an operand is a leaf that can take offsets up: a weight that only ever is added.

        A buffer that also scales numbers, as the size of a picture does in x / size - size / 2, has to stay as it is.
        """
        if not isinstance(operand, Ref) or operand.name not in self.leaves or not self.leaves[operand.name].is_weight:
            return False
        if self.leaves[operand.name].kind == "parameter":
            return True
        return all(operand in _added(node, self.traits) for node in self.captured.readers(operand.name))

    def vanishes(self, value: Tensor, size: Tensor) -> bool:
        """Whether a sum is no more than the rounding of its terms."""
        return bool((value.abs() <= _ROUNDINGS * self.eps * size).all())


def _added(node: Node, traits: Traits) -> list[Any]:
    match traits.get(node.target):
        case Sum():
            return [node.arguments["self"], node.arguments["other"]]
        case Product() as trait:
            return [trait.added(node.arguments)]
        case BatchNorm():
            return [node.arguments.get("bias"), node.arguments.get("running_mean")]
    return []


def run(node: Node, value_of: Callable[[str], Any], **changed: Any) -> Any:
    """The result of an op on other values, in float64 where it is floating-point. changed: arguments."""
    arguments = with_values({**node.arguments, **changed}, value_of)
    dtype = arguments.get("dtype")
    # A cast in the graph would round the offset to the network's precision.
    if isinstance(dtype, torch.dtype) and dtype.is_floating_point:
        arguments["dtype"] = torch.float64
    return _wide(called(overload(node.target), arguments))


def _wide(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_wide, value))
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


class Walk:
    """One pass through a graph, made on construction. Raises OffsetError where an op is not linear in an offset.

    extra: by op, the offset that its result shall have.  choices: by sum, whether its weight takes offsets up.
    levels: by sum, what its constant takes up.
    results: by value, the offsets of all its results.  taken: by leaf, and by op that reads it, what it takes up.
    numbers: by sum, the constant that is added there in place of a number or another constant, with its sign.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: tuple[Center, ...],
        extra: Mapping[str, Offset],
        choices: dict[str, bool],
        levels: dict[str, Offset | None],
    ) -> None:
        self.graph, self.extra, self.choices, self.levels = graph, extra, choices, levels
        self.results: dict[str, tuple[Offset | None, ...]] = {}
        self.taken: dict[str, dict[str, Offset]] = {}
        self.numbers: dict[str, Tensor] = {}
        for name, center in zip(graph.captured.inputs, inputs, strict=True):
            if center is not None:
                value = torch.from_numpy(center).double().expand(graph.leaves[name].shape)
                self.results[name] = (Offset(value, value.abs()),)
        for node in graph.captured.nodes:
            if node.target == "getitem":
                results = self.results.get(node.arguments["value"].name)
                self.results[node.name] = (results[node.arguments["index"]] if results else None,)
            elif node.name in extra or any(map(self.offset, node.reads)):
                self.results[node.name] = tuple(map(self._simplified, self._through(node)))

    def offset(self, operand: Any) -> Offset | None:
        """The offset of an operand, None where it has none."""
        results = self.results.get(operand.name) if isinstance(operand, Ref) else None
        return results[0] if results else None

    def lacking(self, index: int, center: Center) -> Offset | None:
        """The difference between an output's centre and its offset, None where they agree."""
        name = self.graph.captured.outputs[index]
        if name is None:
            return None
        lack = (self.offset(Ref(name)) or self.graph.zero(name)).times(-1.0)
        if center is not None:
            wanted = torch.from_numpy(center).double().expand_as(lack.value)
            lack = Offset(wanted, wanted.abs()) + lack
        return self._simplified(lack)

    def shared(self) -> dict[str, Offset]:
        """The offset that every leaf takes up. Raises OffsetError where two ops that read it need different ones."""
        shared: dict[str, Offset] = {}
        for name, by_reader in self.taken.items():
            first = shared[name] = next(iter(by_reader.values()))
            for node in self.graph.captured.readers(name):
                other = by_reader.get(node.name) or self.graph.zero(name)
                if not self.graph.vanishes(other.value - first.value, other.size + first.size):
                    facts = f"{self.graph.leaves[name].names[0]} is read more than once, with different offsets"
                    raise OffsetError(str(node.where), facts, REMEDY)
        return shared

    def _simplified(self, offset: Offset | None) -> Offset | None:
        return None if offset is None or self.graph.vanishes(offset.value, offset.size) else offset

    def _stop(self, node: Node) -> NoReturn:
        facts = f"{node.target} is not linear, and what it reads does not count from where coordinates are mirrored"
        raise OffsetError(str(node.where), facts, REMEDY)

    def _through(self, node: Node) -> tuple[Offset | None, ...]:
        others = (None,) * (len(node.shapes) - 1)
        # A copy is a movement too, and one that rounds or drops entries passes as neither.
        match self.graph.traits.get(node.target):
            case Copy() if keeps_numbers(node):
                return (self.offset(node.reads[0]), *others)
            case Sum() as trait:
                return (self._sum(node, trait),)
            case Product() as trait:
                return (self._product(node, trait),)
            case BatchNorm() if not node.arguments.get("training"):
                return (self._norm(node), *others)
            case Filled():
                return (None, *others)
            case Movement() as trait if not isinstance(trait, Copy):
                return self._movement(node, trait)
        self._stop(node)

    def _movement(self, node: Node, trait: Movement) -> tuple[Offset | None, ...]:
        """An op that moves, repeats and adds up numbers does the same to offsets."""
        places = refs_in(node.arguments[key] for key in PLACES if key in node.arguments)
        if not all(map(self.graph.is_fixed, places)):
            self._stop(node)

        def part(name: str, of: Callable[[Offset], Tensor]) -> Tensor:
            """Of an operand's offset; 0 where it has none, and positions as they are."""
            offset = self.offset(Ref(name))
            return self.graph.cleared(name) if offset is None else of(offset)

        changed = unfilled(node, trait)
        values = run(node, lambda name: part(name, lambda offset: offset.value), **changed)
        sizes = run(node, lambda name: part(name, lambda offset: offset.size), **changed)
        is_mixed = any(offset.is_mixed for offset in map(self.offset, node.reads) if offset is not None)
        if isinstance(values, tuple):
            return tuple(Offset(value, size, is_mixed) for value, size in zip(values, sizes, strict=True))
        return (Offset(values, sizes, is_mixed),)

    # ---- products -----------------------------------------------------------------------------------------------
    def _product(self, node: Node, trait: Product) -> Offset | None:
        """W x + b: the bias takes the offset W c up; without a bias it goes on."""
        bias, incoming = trait.added(node.arguments), self._multiplied(node, trait)
        is_scaled = any(node.arguments.get(factor, 1) != 1 for factor in ("alpha", "beta"))
        if bias is None or is_scaled or not self.graph.is_bias(bias):
            if node.name in self.extra or not self.graph.is_fixed(bias):
                self._stop(node)
            return incoming
        axis = None
        # The bias of a layer lies along its channels: the last axis for a weight "out in", the third last for "out in
        # h w".
        if trait.is_layer:
            axis = len(node.shapes[0] or ()) - (self.graph.value(node.arguments["weight"].name).ndim - 1)
        self._take(node, bias.name, self._moved(node, incoming), axis)
        return self.extra.get(node.name)

    def _multiplied(self, node: Node, trait: Product) -> Offset | None:
        """W c, where exactly one factor has an offset and nothing else depends on the input."""
        bias = trait.added(node.arguments)
        factors = [ref for ref in node.reads if ref != bias]
        moving = [ref for ref in factors if self.offset(ref) is not None]
        if not moving and self.offset(bias) is None:
            return None
        divisor = isinstance(trait, Scaling) and trait.divides and node.arguments["other"] in moving
        # What (x + c)(y + d) has more than x y depends on x and y, and 1 / (x + c) is no sum: neither is linear in c.
        if len(moving) != 1 or self.offset(bias) is not None or divisor:
            self._stop(node)
        if not all(map(self.graph.is_fixed, (ref for ref in factors if ref != moving[0]))):
            self._stop(node)
        offset = self.offset(moving[0])
        assert offset is not None

        def factor(name: str, part: Tensor, is_size: bool) -> Tensor:
            """The part of the offset, 0 for the bias, and the other factor, or its absolute values."""
            if name == moving[0].name:
                return part
            value = self.graph.cleared(name) if bias == Ref(name) else self.graph.value(name)
            return value.abs() if is_size else value

        # W c by the op itself; |W| |c| bounds the sizes of the terms that were added up.
        value = run(node, lambda name: factor(name, offset.value, False), **trait.without_bias)
        size = run(node, lambda name: factor(name, offset.size, True), **trait.without_bias).abs()
        others = [ref.name for ref in factors if ref != moving[0]]
        mixes = not isinstance(trait, Scaling) and any(map(self._is_trained, others))
        return Offset(value, size, offset.is_mixed or mixes)

    def _is_trained(self, name: str) -> bool:
        if name in self.graph.leaves:
            return self.graph.leaves[name].is_weight
        return any(map(self._is_trained, self.graph.nodes[name].names_read))

    def _norm(self, node: Node) -> Offset | None:
        """BatchNorm: the mean takes the offset up that comes in, the bias adds the one that is wanted behind it."""
        incoming, wanted = self.offset(node.arguments["input"]), self.extra.get(node.name)
        if incoming is not None:
            # (x + c) - m = x - (m - c): the stored mean falls by what comes in.
            self._take(node, node.arguments["running_mean"].name, incoming.times(-1.0), 1)
        if wanted is not None:
            self._take(node, node.arguments["bias"].name, wanted.times(-1.0), 1)
        return wanted

    # ---- sums ---------------------------------------------------------------------------------------------------
    def _sum(self, node: Node, trait: Sum) -> Offset | None:
        """Offsets add up. A weight that is added takes all or nothing; a constant is passed on."""
        terms = trait.terms(node.arguments)
        total = self.graph.zero(node.name)
        for operand, sign in terms:
            offset = self.offset(operand)
            total = total if offset is None else total + offset.times(sign)
        fixed = next(((operand, sign) for operand, sign in terms if self.graph.is_fixed(operand)), None)
        if fixed is None or not self.graph.is_bias(fixed[0]):
            return self._number(node, fixed, total)
        # Decided in the first walk: the second has to take the same up, whatever it adds for outputs.
        if not self.extra:
            self.choices.setdefault(node.name, self._takes_up(fixed, total))
        wanted, takes = self.extra.get(node.name), self.choices.get(node.name, False)
        if not takes and wanted is None:
            return total
        passing = self.graph.zero(node.name) if takes else total
        taken = self._moved(node, total if takes else None)
        self._take(node, fixed[0].name, taken.times(1 / fixed[1]), None)
        return passing + wanted if wanted is not None else passing

    def _takes_up(self, fixed: tuple[Any, float], total: Offset) -> bool:
        """Whether a weight that is added takes an offset up: in a hidden space if its shape allows, in the space of
        coordinates if it is nearer to minus the offset than to 0, as stored means are.
        """
        if total.is_mixed:
            return self._fitted(total, self.graph.leaves[fixed[0].name].shape, None)[1]
        return is_near(self.graph.number(fixed[0]) * fixed[1], total.times(-1.0))

    def _number(self, node: Node, fixed: tuple[Any, float] | None, total: Offset) -> Offset | None:
        """Behind a sum without a weight: a number or constant becomes 0 where there is an offset."""
        wanted = self.extra.get(node.name)
        number = None if fixed is None else torch.zeros_like(total.value) + self.graph.number(fixed[0]) * fixed[1]
        if number is not None and not self.extra:
            self.levels[node.name] = passed_on(self.graph, number, total)
        level = self.levels.get(node.name)
        if level is None and wanted is None:
            return total
        if number is None:
            self._stop(node)
        passing = total if level is None else total + level
        value = number + self._moved(node, None if level is None else level.times(-1.0)).value
        # As few numbers as it takes: a batch or frame axis along which all are equal has size 1 then.
        for axis in range(value.ndim):
            first = value.narrow(axis, 0, 1)
            value = first if bool((value == first).all()) else value
        self.numbers[node.name] = value.clone()
        return passing + wanted if wanted is not None else passing

    # ---- taking up ----------------------------------------------------------------------------------------------
    def _moved(self, node: Node, offset: Offset | None) -> Offset:
        """The offset that comes in less the one that is wanted behind an op: so much has to be taken up there."""
        zero = self.graph.zero(node.name)
        return (offset or zero) + (self.extra.get(node.name) or zero).times(-1.0)

    def _take(self, node: Node, leaf: str, offset: Offset, axis: int | None) -> None:
        """b' = b + offset, which must be the same along all axes that b has not.

        axis: of the offset, where the only axis of b lies; else the shapes end alike, as in a sum.
        """
        if not self.graph.is_bias(Ref(leaf)):
            self._stop(node)
        taken, fits = self._fitted(offset, self.graph.leaves[leaf].shape, axis)
        if not fits:
            facts = (
                f"{self.graph.leaves[leaf].names[0]} cannot take up the offset of the coordinates: it is not the same"
            )
            facts += " at all places (zero padding, or sums that differ from joint to joint)"
            raise OffsetError(str(node.where), facts, REMEDY)
        self.taken.setdefault(leaf, {})[node.name] = taken

    def _fitted(self, offset: Offset, shape: Sequence[int], axis: int | None) -> tuple[Offset, bool]:
        """An offset in the shape of the tensor that shall take it up, and whether it is the same along other axes."""
        full = [1] * (offset.value.ndim - len(shape)) + list(shape)
        if axis is not None:
            full = [1] * offset.value.ndim
            full[axis] = shape[0]
        axes = [index for index, size in enumerate(full) if size == 1]
        mean = offset.value.mean(axes, keepdim=True) if axes else offset.value
        size = offset.size.amax(axes, keepdim=True) if axes else offset.size
        fits = self.graph.vanishes(offset.value - mean, offset.size)
        return Offset(mean.reshape(tuple(shape)), size.reshape(tuple(shape)), offset.is_mixed), fits


def is_near(number: Any, offset: Offset) -> bool:
    """Whether a number that is added is nearer to an offset than to 0: |w - o| < |w|, without roots."""
    value = number - offset.value
    return bool((value * offset.value).sum() > -0.5 * offset.value.square().sum())


def passed_on(graph: Graph, number: Tensor, offset: Offset) -> Offset | None:
    """What an added constant gives to one offset: its entries where the offset has any, None where that is nothing.

    So the constant becomes 0 there, as the 320 of x - [320, 240] for c = (320, 0), and what follows takes up the rest.
    In hidden spaces it stays as it is.
    """
    if offset.is_mixed:
        return None
    has_offset = offset.value.abs() > _ROUNDINGS * graph.eps * offset.size
    level = torch.where(has_offset, number, 0.0)
    return Offset(level, number.abs()) if bool(level.any()) else None


def unfilled(node: Node, trait: Movement) -> dict[str, float]:
    """The arguments to change so that numbers which an op fills in are 0: filling in is not linear."""
    given = {name: node.arguments.get(name) for name in trait.fills}
    return {name: 0.0 for name, value in given.items() if value is not None and not isinstance(value, Ref)}
