"""How values behind changed tensors differ, followed through a graph to the weights that make up for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from chiralize.graph.model import Node, Ref
from chiralize.graph.passes.centering.graph import Graph
from chiralize.graph.passes.centering.operations import (
    BIAS,
    CELLS,
    IDENTITY,
    LAYERS,
    NORMS,
    PLACES,
    PLAIN,
    SUMS,
    base,
    keeps_numbers,
    run,
    signs,
    without_constants,
)
from chiralize.graph.passes.norms.factors import CONVOLUTIONS, MATRICES, along, factor

_MOVERS = PLAIN - frozenset(
    """sum mean cumsum tril triu where masked_fill avg_pool1d avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d
    upsample_linear1d upsample_nearest1d upsample_bilinear2d upsample_nearest2d""".split()
)
_FILLING = frozenset({"constant_pad_nd", "pad"})
_SAME = 1e-12
_LOST = 1e-3  # what rounding may do to a value of size 1


class Stuck(Exception):  # noqa: N818 - a signal within this module
    """sources: the tensors whose change does not get past an op."""

    def __init__(self, sources: frozenset[str], at: Node | None, found: Sequence[Map] = ()) -> None:
        super().__init__(at)
        self.sources, self.at = sources, at
        self.shift = max((float(own.shift.abs().max()) for own in found if own.shift.numel()), default=0.0)
        scales = [own.scale for own in found if own.scale.numel()]
        self.scales = (
            min((float(own.min()) for own in scales), default=1.0),
            max((float(own.max()) for own in scales), default=1.0),
        )


@dataclass(frozen=True)
class Map:
    """old = scale * new + shift (float64, in the value's shape), and the tensors whose change made either so.

    weighted: a weight has been multiplied in, so that whatever is added from now on may take the shift up.
    """

    scale: Tensor
    shift: Tensor
    scaled_by: frozenset[str] = frozenset()
    shifted_by: frozenset[str] = frozenset()
    weighted: bool = False

    @property
    def sources(self) -> frozenset[str]:
        return self.scaled_by | self.shifted_by

    @property
    def is_scaled(self) -> bool:
        return bool((self.scale != 1).any())

    @property
    def is_shifted(self) -> bool:
        return bool((self.shift != 0).any())


class Walk:
    """One pass through a graph with some tensors in place of others.

    made: by weight and by the op that reads it, what becomes of it, and the tensors that this is for. Raises Stuck.
    """

    def __init__(self, graph: Graph, symmetric: Mapping[str, Tensor]) -> None:
        self.old, self.new = graph, Graph(graph.captured, symmetric)
        self.symmetric = symmetric
        self.depends = {name: frozenset({name}) for name in symmetric}
        self.maps: dict[str, tuple[Map | None, ...]] = {}
        self.made: dict[str, dict[str, tuple[Tensor, frozenset[str]]]] = {}
        results = {*graph.captured.outputs, *graph.captured.mutations.values()}
        for node in graph.captured.nodes:
            if node.name not in graph.data:
                sources = frozenset().union(*(self.depends.get(ref.name, frozenset()) for ref in node.reads))
                self.depends |= {node.name: sources} if sources else {}
            elif any(self._map(ref.name) or ref.name in self.depends for ref in node.reads):
                found = self._through(node)
                self.maps[node.name] = tuple(
                    own if own is not None and (own.is_scaled or own.is_shifted) else None for own in found
                )
            for own in self.maps.get(node.name, ()):
                if own is not None and node.name in results:
                    raise Stuck(own.sources, None, [own])
        if bad := results & self.depends.keys():
            raise Stuck(self.depends[bad.pop() or ""], None)

    def taken(self) -> dict[str, Tensor]:
        """The weights that make up for the change, which must be the same wherever one is read. Raises Stuck."""
        found: dict[str, Tensor] = {}
        for name, places in self.made.items():
            first, _ = next(iter(places.values()))
            sources = frozenset().union(*(own for _, own in places.values()))
            readers = {node.name: node for node in self.old.readers(name)}
            uneven = any(not _equal(own, first) for own, _ in places.values())
            if uneven or readers.keys() != places.keys() or name in self.symmetric:
                raise Stuck(sources, next(iter(readers.values())))
            found[name] = first.to(self.old.leaves[name].tensor.dtype)
        return found

    def _map(self, operand: Any) -> Map | None:
        name = operand.name if isinstance(operand, Ref) else operand
        return self.maps.get(name, (None,))[0] if isinstance(name, str) else None

    def _of(self, operand: Any) -> frozenset[str]:
        return self.depends.get(operand.name, frozenset()) if isinstance(operand, Ref) else frozenset()

    def _identity(self, name: str) -> Map:
        zero = self.old.zero(name).value
        return Map(torch.ones_like(zero), zero)

    def _stop(self, node: Node, only: frozenset[str] | None = None) -> NoReturn:
        """Give up what reaches an op.  only: the tensors to blame, all of them by default."""
        found = [own for ref in node.reads if (own := self._map(ref)) is not None]
        sources = frozenset().union(*(own.sources for own in found), *(self._of(ref) for ref in node.reads))
        raise Stuck(only or sources, node, found)

    # ---- ops ------------------------------------------------------------------------------------------------
    def _through(self, node: Node) -> tuple[Map | None, ...]:
        name = base(node)
        rest = (None,) * (len(node.shapes) - 1)
        if node.target == "getitem":
            return (self.maps[node.arguments["value"].name][node.arguments["index"]],)
        if name in IDENTITY and keeps_numbers(node):
            return (self._map(node.reads[0]), *rest)
        if name in SUMS:
            return (self._sum(node),)
        if name in ("mul", "div") and not node.target.endswith("_mode"):
            return (self._scaled(node),)
        if name in NORMS and not node.arguments.get("training"):
            return (self._norm(node), *rest)
        if any(ref.name in self.depends for ref in node.reads):  # a symmetric tensor anywhere else is not foreseen
            self._stop(node)
        if name in LAYERS | CELLS:
            return self._recurrent(node)
        if name == "linear" or name in CONVOLUTIONS or name in MATRICES or name == "einsum":
            return (self._product(node),)
        if name in PLAIN:
            return self._moved(node)
        self._stop(node)

    def _sum(self, node: Node) -> Map:
        operands = list(zip((node.arguments["self"], node.arguments["other"]), signs(node), strict=True))
        shape = node.shapes[0] or ()
        data = [(self._map(own) or self._identity(own.name), sign) for own, sign in operands if not self.old.fixed(own)]
        maps = [own for own, _ in data]
        total = Map(
            maps[0].scale.expand(shape), sum((own.shift * sign for own, sign in data), torch.zeros(())).expand(shape),
            frozenset().union(*(own.scaled_by for own in maps)), frozenset().union(*(own.shifted_by for own in maps)),
            all(own.weighted or not own.is_shifted for own in maps),
        )  # fmt: skip
        if len(data) == 2:
            if not _equal(maps[0].scale.expand(shape), maps[1].scale.expand(shape)):
                self._stop(node, total.scaled_by)
            return total
        [(operand, sign)] = [own for own in operands if self.old.fixed(own[0])]
        if self._takes(total, operand):
            self._record(node, operand.name, total.shift / sign, total.sources, None)
            return self._identity(node.name)
        old, new = (graph.number(operand) for graph in (self.old, self.new))
        added = (old - total.scale * new) * sign
        return replace(
            total, shift=total.shift + added,
            shifted_by=total.shifted_by | (total.scaled_by | self._of(operand) if bool((added != 0).any()) else set()),
        )  # fmt: skip

    def _scaled(self, node: Node) -> Map:
        first, second = node.arguments["self"], node.arguments["other"]
        if self.old.fixed(first) == self.old.fixed(second) or (base(node) == "div" and self.old.fixed(first)):
            self._stop(node)
        data, factor = (second, first) if self.old.fixed(first) else (first, second)
        own, shape = self._map(data) or self._identity(data.name), node.shapes[0] or ()
        old, new = (torch.as_tensor(graph.number(factor), dtype=torch.float64) for graph in (self.old, self.new))
        ratio = torch.where(old == new, 1.0, old / new if base(node) == "mul" else new / old)
        if not bool(ratio.isfinite().all()):
            self._stop(node)
        shift = own.shift * old if base(node) == "mul" else own.shift / old
        return replace(
            own, scale=(own.scale * ratio).expand(shape), shift=shift.expand(shape),
            scaled_by=own.scaled_by | self._of(factor),
        )  # fmt: skip

    def _norm(self, node: Node) -> Map:
        """Batch norm with kept statistics: a x + c for every channel."""
        arguments = node.arguments
        own = self._map(arguments["input"]) or self._identity(arguments["input"].name)
        mean = arguments["running_mean"]
        if not own.is_scaled and self._takes(own, mean):
            self._record(node, mean.name, -own.shift, own.sources, 1)
            return self._identity(node.name)
        shape = [-1 if place == 1 else 1 for place in range(own.scale.ndim)]
        (a, c), (new_a, new_c) = (_affine(graph, node, shape) for graph in (self.old, self.new))
        ratio = torch.where(a == new_a, 1.0, a / new_a)
        if not bool(ratio.isfinite().all()):
            self._stop(node)
        scale = own.scale * ratio
        added = c - scale * new_c
        by_scale = self._of(arguments.get("weight")) | self._of(arguments["running_var"])
        by_shift = self._of(arguments.get("bias")) | self._of(mean)
        shifting = (by_shift or own.scaled_by | by_scale) if bool((added.abs() > _SAME * c.abs()).any()) else set()
        return replace(
            own, scale=scale, shift=own.shift * a + added,
            scaled_by=own.scaled_by | by_scale, shifted_by=own.shifted_by | shifting,
        )  # fmt: skip

    def _moved(self, node: Node) -> tuple[Map | None, ...]:
        """What moves entries moves scales and shifts alike; sums of entries go where nothing is scaled."""
        maps = [own for ref in node.reads if (own := self._map(ref)) is not None]
        scaled = any(own.is_scaled for own in maps)
        places = [node.arguments[key] for key in PLACES if key in node.arguments]
        if not all(self.old.fixed(item) for own in places for item in (own if isinstance(own, list) else [own])):
            self._stop(node)  # entries are moved by what the inputs say
        if scaled and base(node) not in _MOVERS:
            self._stop(node)

        def pick(name: str, part: str) -> Any:
            own = self._map(name)
            if own is not None:
                return getattr(own, part)
            value = self.old.zero(name).value if name in self.old.data else self.old.value(name)
            if not value.is_floating_point():
                return value
            return torch.ones_like(value) if part == "scale" else torch.zeros_like(value)

        fills = base(node) in _FILLING and node.arguments.get("mode", "constant") == "constant"
        fill = {"value": 1.0} if fills else {}
        shifts = run(node, lambda name: pick(name, "shift"), without_constants(node))
        shifts = shifts if isinstance(shifts, tuple) else (shifts,)
        scales = run(node, lambda name: pick(name, "scale"), fill) if scaled else [torch.ones_like(x) for x in shifts]
        scales = scales if isinstance(scales, (tuple, list)) else (scales,)
        by = frozenset().union(*(own.scaled_by for own in maps)), frozenset().union(*(own.shifted_by for own in maps))
        weighted = all(own.weighted or not own.is_shifted for own in maps)
        return tuple(Map(*pair, *by, weighted) for pair in zip(scales, shifts, strict=True))

    # ---- weights --------------------------------------------------------------------------------------------
    def _product(self, node: Node) -> Map | None:
        """W y + b, with whatever stands in the place of W: it takes the scale, b or what follows the shift."""
        key = BIAS.get(base(node))
        bias = node.arguments.get(key) if key else None
        factors = [ref for ref in node.reads if ref != bias]
        moving = [ref for ref in factors if self._map(ref) is not None]
        others = [ref for ref in factors if ref not in moving]
        plain = all(node.arguments.get(own, 1) == 1 for own in ("alpha", "beta"))
        fixed = len(others) == 1 and self.old.fixed(others[0]) and (bias is None or self.old.fixed(bias))
        if len(moving) != 1 or not fixed or not plain:
            self._stop(node)
        own, other = self._map(moving[0]), others[0]
        assert own is not None
        name, turned = self._stored(other)
        if own.is_scaled:
            scales = None if name is None else factor(node, own.scale, factors.index(moving[0]), self.old.value(name))
            if name is None or scales is None:
                self._stop(node, own.scaled_by)
            value = self.old.value(name)
            self._set(name, node, value * (scales.T if turned else scales), own.scaled_by)
        weighted = own.weighted or name is not None
        if not own.is_shifted:
            return None

        def pick(ref: str) -> Tensor:
            if ref == moving[0].name:
                return own.shift
            return torch.zeros_like(self.old.value(ref)) if bias == Ref(ref) else self.old.value(ref)

        shift = run(node, pick, {"bias": None} if key == "bias" else {})
        self._check_rounding(node, own)
        found = Map(torch.ones_like(shift), shift, frozenset(), own.sources, weighted)
        if not isinstance(bias, Ref) or not self._takes(found, bias):
            return found
        place = 1 if base(node) in CONVOLUTIONS else shift.ndim - 1
        self._record(node, bias.name, shift, own.shifted_by, place)
        return None

    def _recurrent(self, node: Node) -> tuple[None, ...]:
        """Gates read W x + b: the weights and biases of the first layer, in every direction."""
        arguments = node.arguments
        source, own = arguments.get("input"), self._map(arguments.get("input"))
        if own is None or [ref for ref in node.reads if self._map(ref) is not None] != [source]:
            self._stop(node)
        if base(node) in CELLS:
            weights = [(arguments["w_ih"], arguments.get("b_ih"))]
        else:
            params, directions = arguments.get("params"), 1 + bool(arguments.get("bidirectional"))
            step = 4 if arguments.get("has_biases") else 2
            if not isinstance(params, (list, tuple)) or len(params) < step * directions:
                self._stop(node)
            weights = [(params[step * at], params[step * at + 2] if step == 4 else None) for at in range(directions)]
        scale = along(own.scale, own.scale.ndim - 1)
        for weight, bias in weights:
            if scale is None or not self.old.is_weight(weight):
                self._stop(node, own.scaled_by or None)
            value = self.old.value(weight.name)
            if own.is_scaled:
                self._set(weight.name, node, value * scale, own.scaled_by)
            if own.is_shifted:
                if not isinstance(bias, Ref) or not self.old.is_weight(bias):
                    self._stop(node, own.shifted_by)
                self._check_rounding(node, own)
                self._record(node, bias.name, own.shift @ value.T, own.shifted_by, own.shift.ndim - 1)
        return (None,) * len(node.shapes)

    def _stored(self, operand: Ref) -> tuple[str | None, bool]:
        """The parameter that an operand is, and whether it is transposed; None for anything else."""
        before = self.old.nodes.get(operand.name)
        if before is not None and base(before) == "t":
            return self._stored(before.arguments["self"])[0], True
        leaf = self.old.leaves.get(operand.name)
        return (leaf.name if leaf is not None and leaf.kind == "parameter" else None), False

    def _takes(self, own: Map, operand: Any) -> bool:
        """Whether a tensor that is added behind a weight may take a shift up."""
        free = self.old.is_weight(operand) and operand.name not in self.symmetric
        return free and own.weighted and own.is_shifted and not own.is_scaled

    def _check_rounding(self, node: Node, own: Map) -> None:
        """A spread of about 0 makes shifts that differences of rounded numbers cannot hold."""
        eps = max(torch.finfo(leaf.tensor.dtype).eps for leaf in self.old.leaves.values() if leaf.is_weight)
        if float(own.shift.abs().max()) > max(_LOST / eps, 4.0):
            self._stop(node, own.shifted_by)

    def _record(self, node: Node, leaf: str, shift: Tensor, sources: frozenset[str], axis: int | None) -> None:
        """b' = b + shift, which must be the same along all axes that b has not.  axis: of b, where it has one."""
        value = self.old.value(leaf)
        full = [1] * (shift.ndim - value.ndim) + list(value.shape)
        if axis is not None:
            full = [value.numel() if place == axis else 1 for place in range(shift.ndim)]
        axes = [place for place, size in enumerate(full) if size == 1]
        first = shift.mean(axes, keepdim=True) if axes else shift
        if not _equal(first.expand_as(shift), shift):
            self._stop(node, sources)
        self._set(leaf, node, value + first.reshape(value.shape), sources)

    def _set(self, leaf: str, node: Node, value: Tensor, sources: frozenset[str]) -> None:
        self.made.setdefault(leaf, {})[node.name] = value, sources


# ---- arithmetic -------------------------------------------------------------------------------------------------
def _equal(one: Tensor, two: Tensor) -> bool:
    """Up to the rounding of sums in float64."""
    size = float(torch.maximum(one.abs(), two.abs()).max()) if one.numel() else 0.0
    return bool(((one - two).abs() <= _SAME * size).all())


def _affine(graph: Graph, node: Node, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """a and c of a batch norm, to be broadcast."""
    arguments = node.arguments
    mean, variance = (graph.number(arguments[name]) for name in ("running_mean", "running_var"))
    weight, bias = (arguments.get(name) for name in ("weight", "bias"))
    a = (variance + float(arguments["eps"])).rsqrt() * (1.0 if weight is None else graph.number(weight))
    c = (0.0 if bias is None else graph.number(bias)) - a * mean
    return a.reshape(shape), c.reshape(shape)
