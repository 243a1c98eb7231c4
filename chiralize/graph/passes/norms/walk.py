"""Following the difference that changed tensors make through a graph, to the weights that make up for it.

Every value of the changed graph is related to that of the old one by old = scale * new + shift, entry by entry
(`Map`). It starts at the normalisers that `absorb` makes symmetric and has to end in weights: behind them all values
are the old ones again. A small case, x / 2 made x / 4 before a layer with weight W and bias b:

    old x / 2  =  2 * (new x / 4) + 0        scale 2, shift 0
    W (2 z) + b  =  (2 W) z + b              W takes the scale up; behind it the map is the identity

Anything that a map cannot pass ends the walk with `Stuck`, which names the tensors to be left one-sided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from chiralize.graph.interpreter import Interpreter
from chiralize.graph.model import Node, Ref
from chiralize.graph.passes.centering.graph import Graph
from chiralize.graph.passes.centering.operations import (
    axes_without,
    mean_along,
    run,
    without_constants,
)
from chiralize.graph.passes.norms.factors import along, factor
from chiralize.graph.passes.norms.maps import Map, Stuck, causes, union
from chiralize.graph.traits import (
    BatchNorm,
    Contraction,
    Copy,
    Einsum,
    Movement,
    Product,
    Recurrence,
    Scaling,
    Sum,
    Transpose,
)

_READING_SYMMETRIC = (Copy, Sum, Scaling, BatchNorm)
# Relative rounding of sums in float64.
_SAME = 1e-12
_LOST = 1e-3  # what rounding may do to a value of size 1


class Walk(Interpreter[Map]):
    """One pass through a graph with some tensors made symmetric, on construction. Raises Stuck.

    old, new: the graph before and after.  depends: by constant, the symmetric tensors that it is computed from.
    results: by op, the maps of its results, None for the identity.
    changes: by weight and by the op that reads it, its new value, and the tensors whose change it makes up for.
    """

    def __init__(self, graph: Graph, symmetric: Mapping[str, Tensor]) -> None:
        super().__init__(graph.traits)
        self.old, self.new = graph, Graph(graph.captured, symmetric, graph.traits)
        self.symmetric = symmetric
        self.depends = {name: frozenset({name}) for name in symmetric}
        self.changes: dict[str, dict[str, tuple[Tensor, frozenset[str]]]] = {}
        results = set(graph.captured.results)
        for node in graph.captured.nodes:
            # A constant, or a weight that forward computes: it has no map, but what it depends on is remembered.
            if node.name not in graph.data:
                sources = union(map(self._of, node.reads))
                if sources:
                    self.depends[node.name] = sources
            else:
                self.visit(node)
            for reading in filter(None, self.results.get(node.name, ())):
                # Nothing stands behind a result that could make up for its change.
                if node.name in results:
                    raise Stuck(reading.sources, None, [reading])
        # The same for a result that is computed from symmetric tensors and from no input.
        if bad := results & self.depends.keys():
            raise Stuck(self.depends[bad.pop() or ""], None)

    def taken(self) -> dict[str, Tensor]:
        """The weights that make up for the change, which must be the same wherever one is read. Raises Stuck."""
        weights: dict[str, Tensor] = {}
        for name, changes in self.changes.items():
            values, sources = zip(*changes.values(), strict=True)
            readers = {node.name: node for node in self.old.readers(name)}
            # One weight may be read by several ops (tied layers). It can take one value, so all of its readers must
            # ask for the same, and every one of them must ask: a reader without a change needs the old weight.
            is_one_value = all(_equal(value, values[0]) for value in values)
            if not is_one_value or readers.keys() != changes.keys() or name in self.symmetric:
                raise Stuck(union(sources), next(iter(readers.values())))
            weights[name] = values[0].to(self.old.leaves[name].tensor.dtype)
        return weights

    def reaches(self, node: Node) -> bool:
        """Whether an op reads a map, or what depends on a symmetric tensor."""
        return any(self.of(ref) or ref.name in self.depends for ref in node.reads)

    def simplified(self, followed: Map | None) -> Map | None:
        """A map, None for the identity."""
        if followed is not None and (followed.is_scaled or followed.is_shifted):
            return followed
        return None

    def _map_of(self, operand: Ref) -> Map:
        """The map of an operand that depends on the input, the identity included."""
        return self.of(operand) or self._identity(operand.name)

    def _identity(self, name: str) -> Map:
        """The map of a value that has not changed: scale 1, shift 0, in its shape."""
        zero = self.old.zero(name).value
        return Map(torch.ones_like(zero), zero)

    def _of(self, operand: Any) -> frozenset[str]:
        """The symmetric tensors that a constant operand is computed from."""
        if isinstance(operand, Ref):
            return self.depends.get(operand.name, frozenset())
        return frozenset()

    def stop(self, node: Node, only: frozenset[str] | None = None) -> NoReturn:
        """Give up the changes that reach an op.  only: the tensors to blame, all of them by default. Raises Stuck."""
        maps = self.read_by(node)
        sources = union([*(reading.sources for reading in maps), *map(self._of, node.reads)])
        raise Stuck(only or sources, node, maps)

    # ---- ops ------------------------------------------------------------------------------------------------
    def through(self, node: Node) -> tuple[Map | None, ...]:
        """As of every interpreter; a symmetric tensor is foreseen only where it shifts or scales entry by entry."""
        if not self.depends.keys().isdisjoint(node.names_read):
            # In any other op, a convolution's weight say, the tensor does more than to shift or scale entries.
            if not isinstance(self.traits.get(node.target), _READING_SYMMETRIC):
                self.stop(node)
        return super().through(node)

    def sum(self, node: Node, trait: Sum) -> Map:
        """A sum of two values adds their shifts, if both have one scale; a sum with a constant may change the shift."""
        shape = node.shapes[0] or ()
        # Let y = p x + q c, with signs p and q, and x = s x' + t. The new value is y' = p x' + q c'.
        # So the old one is y = s y' + (p t + q c - s q c'). Of two values that vary, the scales s have to be equal.
        maps: list[Map] = []
        fixed: list[tuple[Any, float]] = []
        shift = torch.zeros(())
        for operand, sign in trait.terms(node.arguments):
            if self.old.fixed(operand):
                fixed.append((operand, sign))
            else:
                maps.append(self._map_of(operand))
                shift = shift + maps[-1].shift * sign
        scale = maps[0].scale.expand(shape)
        total = Map(scale, shift.expand(shape), *causes(maps))
        if not fixed:
            # old 1 + old 2 = s1 new 1 + s2 new 2 is no multiple of new 1 + new 2 where s1 and s2 differ.
            if not _equal(scale, maps[1].scale.expand(shape)):
                self.stop(node, total.scaled_by)
            return total
        [(operand, sign)] = fixed
        # A bias behind a weight: b' = b + shift, and the map ends here.
        if self._takes(total, operand):
            self._record(node, operand.name, total.shift / sign, total.sources, None)
            return self._identity(node.name)
        added = (self.old.number(operand) - total.scale * self.new.number(operand)) * sign
        shifted_by = total.shifted_by
        # The constant is to blame as well: it changed, or what it is added to is scaled and it is not.
        if bool((added != 0).any()):
            shifted_by |= total.scaled_by | self._of(operand)
        return replace(total, shift=total.shift + added, shifted_by=shifted_by)

    def product(self, node: Node, trait: Product) -> Map | None:
        """A scale goes on through products entry by entry, and into the weight of those that are summed up."""
        match trait:
            case Scaling():
                return self._scaled(node, trait)
            case Contraction() | Einsum():
                return self._contracted(node, trait)
        self.stop(node)

    def _scaled(self, node: Node, trait: Scaling) -> Map:
        """A product or quotient with a constant that may have changed."""
        first, second = node.arguments["self"], node.arguments["other"]
        # Data times data is not affine in the map, nor is a constant divided by data.
        if self.old.fixed(first) == self.old.fixed(second) or (trait.divides and self.old.fixed(first)):
            self.stop(node)
        if self.old.fixed(first):
            data, factor = second, first
        else:
            data, factor = first, second
        reading, shape = self._map_of(data), node.shapes[0] or ()
        old = torch.as_tensor(self.old.number(factor), dtype=torch.float64)
        new = torch.as_tensor(self.new.number(factor), dtype=torch.float64)
        if trait.divides:
            ratio, shift = new / old, reading.shift / old
        else:
            ratio, shift = old / new, reading.shift * old
        # Where nothing changed the ratio is 1, also for 0 / 0. Elsewhere a new factor of 0 loses what no later weight
        # can bring back.
        ratio = torch.where(old == new, 1.0, ratio)
        if not bool(ratio.isfinite().all()):
            self.stop(node)
        scale, scaled_by = (reading.scale * ratio).expand(shape), reading.scaled_by | self._of(factor)
        return replace(reading, scale=scale, shift=shift.expand(shape), scaled_by=scaled_by)

    def norm(self, node: Node) -> Map:
        """Batch norm with running statistics: a x + c for every channel."""
        arguments = node.arguments
        reading, mean = self._map_of(arguments["input"]), arguments["running_mean"]
        # (x - m) with x = x' + t: a mean m' = m - t takes the shift up, if t came from a weight before it. Where the
        # norm's own numbers changed as well, its result is scaled or shifted all the same, and goes on below.
        is_as_before = self.depends.keys().isdisjoint(node.names_read)
        if is_as_before and not reading.is_scaled and self._takes(reading, mean):
            self._record(node, mean.name, -reading.shift, reading.sources, 1)
            return self._identity(node.name)
        shape = (1, -1, *(1,) * (reading.scale.ndim - 2))
        a, c = _affine(self.old, node, shape)
        new_a, new_c = _affine(self.new, node, shape)
        # Old y = a x + c, new y' = a' x' + c', x = s x' + t. So y = (s a / a') y' + a t + c - (s a / a') c'.
        ratio = torch.where(a == new_a, 1.0, a / new_a)
        if not bool(ratio.isfinite().all()):
            self.stop(node)
        scale = reading.scale * ratio
        added = c - scale * new_c
        scaled_by = reading.scaled_by | self._of(arguments.get("weight")) | self._of(arguments["running_var"])
        shifted_by = reading.shifted_by
        # Rounding alone would blame a bias or a mean that did not change.
        if bool((added.abs() > _SAME * c.abs()).any()):
            shifted_by |= (self._of(arguments.get("bias")) | self._of(mean)) or scaled_by
        shift = reading.shift * a + added
        return replace(reading, scale=scale, shift=shift, scaled_by=scaled_by, shifted_by=shifted_by)

    def movement(self, node: Node, trait: Movement) -> tuple[Map | None, ...]:
        """An op that moves entries moves scales and shifts alike; one that adds entries up needs scales of 1."""
        maps = self.read_by(node)
        scaled = any(reading.is_scaled for reading in maps)
        # A sum of entries with different scales is no multiple of the sum of the new entries.
        if self.old.moves_by_data(node) or (scaled and trait.blends):
            self.stop(node)

        def part_of(name: str, part: str) -> Tensor:
            """The scale or the shift of an operand: 1 or 0 where it has no map."""
            reading = self.of(Ref(name))
            if reading is not None:
                return getattr(reading, part)
            cleared = self.old.cleared(name)
            if part == "scale" and cleared.is_floating_point():
                return torch.ones_like(cleared)
            return cleared

        # Shifts move as the entries do, and what the op fills in itself is not shifted.
        shifts = _as_tuple(run(node, lambda name: part_of(name, "shift"), without_constants(node, trait)))
        scales = tuple(map(torch.ones_like, shifts))
        if scaled:
            # Filled-in numbers are the same before and after: scale 1. Other modes of padding repeat entries with
            # their scales.
            if node.arguments.get("mode", "constant") == "constant":
                fills = trait.fills
            else:
                fills = ()
            scales = _as_tuple(run(node, lambda name: part_of(name, "scale"), dict.fromkeys(fills, 1.0)))
        of_all = causes(maps)
        return tuple(Map(scale, shift, *of_all) for scale, shift in zip(scales, shifts, strict=True))

    # ---- weights --------------------------------------------------------------------------------------------
    def _contracted(self, node: Node, trait: Contraction | Einsum) -> Map | None:
        """W y + b: the weight W takes the scale, the bias b the shift; without a bias the shift W s goes on."""
        # old = W (s z + t) + b = (W diag s) z + (b + W t): one factor varies, the other is a weight or constant.
        bias = trait.added(node.arguments)
        factors = [ref for ref in node.reads if ref != bias]
        moving = list(filter(self.of, factors))
        others = [ref for ref in factors if ref not in moving]
        plain = all(node.arguments.get(multiplier, 1) == 1 for multiplier in ("alpha", "beta"))
        fixed = len(others) == 1 and self.old.fixed(others[0]) and (bias is None or self.old.fixed(bias))
        if len(moving) != 1 or not fixed or not plain:
            self.stop(node)
        reading = self._map_of(moving[0])
        # name: None for a weight that is computed (weight_norm), which cannot be written; its shift still passes on.
        name, turned = self._stored(others[0])
        if reading.is_scaled:
            if name is None:
                self.stop(node, reading.scaled_by)
            value = self.old.value(name)
            scales = factor(node, trait, reading.scale, factors.index(moving[0]), value)
            if scales is None:
                self.stop(node, reading.scaled_by)
            self._set(name, node, value * (scales.T if turned else scales), reading.scaled_by)
        weighted = reading.weighted or name is not None
        # The weight has taken the scale up. Without a shift the op's result is the old one.
        if not reading.is_shifted:
            return None

        def value_of(ref: str) -> Tensor:
            """The shift of the operand that has one, 0 for the bias, and the other operand itself."""
            if ref == moving[0].name:
                return reading.shift
            value = self.old.value(ref)
            return torch.zeros_like(value) if bias == Ref(ref) else value

        # W t, by the op itself, so that strides, groups and zero padding act on the shift as on the data.
        shift = run(node, value_of, trait.without_bias)
        self._check_rounding(node, reading)
        shifted = Map(torch.ones_like(shift), shift, frozenset(), reading.sources, weighted)
        if not isinstance(bias, Ref) or not self._takes(shifted, bias):
            return shifted
        # The bias of a convolution lies along the channels, that of all others along the last axis.
        axis = 1 if isinstance(trait, Contraction) and trait.is_windowed else shift.ndim - 1
        self._record(node, bias.name, shift, reading.shifted_by, axis)
        return None

    def recurrence(self, node: Node, trait: Recurrence) -> tuple[None, ...]:
        """Gates read W x + b: the weights and biases of the first layer take scale and shift, in every direction."""
        # Only the input of a recurrent layer can be followed: a mapped state would change from step to step.
        source, weights = node.arguments.get("input"), trait.first_weights(node.arguments)
        reading = self.of(source)
        mapped = list(filter(self.of, node.reads))
        if not weights or reading is None or mapped != [source]:
            self.stop(node)
        scale = along(reading.scale, reading.scale.ndim - 1)
        for weight, bias in weights:
            # W multiplies the features of every frame alike, so the scale may differ along the features alone.
            if scale is None or not self.old.is_weight(weight):
                self.stop(node, reading.scaled_by or None)
            value = self.old.value(weight.name)
            if reading.is_scaled:
                self._set(weight.name, node, value * scale, reading.scaled_by)
            if reading.is_shifted:
                if not isinstance(bias, Ref) or not self.old.is_weight(bias):
                    self.stop(node, reading.shifted_by)
                self._check_rounding(node, reading)
                self._record(node, bias.name, reading.shift @ value.T, reading.shifted_by, reading.shift.ndim - 1)
        return (None,) * len(node.shapes)

    def _stored(self, operand: Ref) -> tuple[str | None, bool]:
        """The parameter that an operand is, and whether it is transposed; None for any other operand."""
        before = self.old.nodes.get(operand.name)
        if before is not None and isinstance(self.old.trait(before), Transpose):
            name, turned = self._stored(before.arguments["self"])
            return name, not turned
        leaf = self.old.leaves.get(operand.name)
        if leaf is None or leaf.kind != "parameter":
            return None, False
        return leaf.name, False

    def _takes(self, reading: Map, operand: Any) -> bool:
        """Whether a tensor that is added behind a weight may take a shift up."""
        # Before any weight T on the operand is known, and a one-sided shift would make it one-sided again. Of a
        # scaled value W has to take the scale up first. Behind a weight T may be known, too. A projection takes the odd
        # part of the shift from the bias again, as the mean of both views does.
        free = self.old.is_weight(operand) and operand.name not in self.symmetric
        return free and reading.weighted and reading.is_shifted and not reading.is_scaled

    def _check_rounding(self, node: Node, reading: Map) -> None:
        """Stop at a shift that is too large to be corrected, by its rounding; spreads of about 0 make such shifts.

        A shift of size S is stored in a bias with an error of about eps S, against values of size 1. In float32 that
        allows S up to 8,400; in half precision eps is so large that small shifts would be refused, hence 4 at least.
        """
        eps = max(torch.finfo(leaf.tensor.dtype).eps for leaf in self.old.leaves.values() if leaf.is_weight)
        if float(reading.shift.abs().max()) > max(_LOST / eps, 4.0):
            self.stop(node, reading.shifted_by)

    def _record(self, node: Node, leaf: str, shift: Tensor, sources: frozenset[str], axis: int | None) -> None:
        """b' = b + shift, which must be the same along all axes that b has not.  axis: of b, where it has one."""
        value = self.old.value(leaf)
        shape = value.shape if axis is None else (value.numel(),)
        # It differs between places where a convolution pads a shifted frame with zeros: no bias can undo that.
        mean = mean_along(shift, axes_without(shift.ndim, shape, axis))
        if not _equal(mean.expand_as(shift), shift):
            self.stop(node, sources)
        self._set(leaf, node, value + mean.reshape(value.shape), sources)

    def _set(self, leaf: str, node: Node, value: Tensor, sources: frozenset[str]) -> None:
        """Note the value that a weight has to have for an op that reads it, and whose change it makes up for."""
        self.changes.setdefault(leaf, {})[node.name] = value, sources


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """The results of an op as a tuple, also where it has one."""
    if isinstance(value, tuple):
        return value
    return (value,)


# ---- arithmetic -------------------------------------------------------------------------------------------------
def _equal(one: Tensor, two: Tensor) -> bool:
    """Whether tensors are equal up to the rounding of sums in float64."""
    if one.numel():
        size = float(torch.maximum(one.abs(), two.abs()).max())
    else:
        size = 0.0
    return bool(((one - two).abs() <= _SAME * size).all())


def _affine(graph: Graph, node: Node, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """a and c of a batch norm, to be broadcast."""
    arguments = node.arguments
    mean, variance = graph.number(arguments["running_mean"]), graph.number(arguments["running_var"])
    weight, bias = arguments.get("weight"), arguments.get("bias")
    a = (variance + float(arguments["eps"])).rsqrt()
    if weight is not None:
        a = a * graph.number(weight)
    c = graph.number(0.0 if bias is None else bias) - a * mean
    return a.reshape(shape), c.reshape(shape)
