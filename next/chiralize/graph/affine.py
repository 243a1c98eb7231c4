"""Networks whose coordinates are not counted from the point that they are mirrored at: pixels.

The mirror is affine there, T x = c + R (x - c). With h(u) = f(u + c_in) - c_out, the network f commutes with the
affine T exactly if h commutes with the linear R. So all other steps look at h: the same graph with other biases.

One walk follows by how much every value of f(u + c) differs from that of h(u): its offset. Whatever is linear in an
offset passes it on, until a bias, a mean or a constant takes it up: b' = b + W c. A lifter on pixels with
c = (320, 240), whose first layer is linear, is done after one op. An output that is to differ by c_out gets that from
the last bias before it (`_put_in`). The biases that a method has found for h are turned back into those of f by the
same walk with the new weights (`Centered.restored`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from chiralize.errors import OffsetError
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref, refs_in
from chiralize.graph.offsets import PLACES, REMEDY, Graph, Offset, Walk, is_near, passed_on, run, unfilled
from chiralize.graph.traits import (
    BatchNorm,
    Copy,
    Movement,
    Product,
    Scaling,
    Sum,
    Trait,
    Traits,
)
from chiralize.symmetry.action import Center


@dataclass(frozen=True)
class Centered:
    """A network seen from its centre.

    captured: the graph of h, which all other steps look at.  original: the graph of f.  choices: which of the added
    weights took an offset up.
    """

    captured: CapturedModel
    original: CapturedModel
    inputs: tuple[Center, ...]
    outputs: tuple[Center, ...]
    traits: Traits
    choices: Mapping[str, bool]

    def restored(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of h, by name, as weights of f: biases give back the offsets they took up. Raises OffsetError."""
        leaves = self.original.leaves
        tensors = {leaf.name: values[leaf.names[0]] for leaf in leaves.values() if leaf.names[0] in values}
        # The offsets of the new weights: W' c, and not the W c of the old ones.
        walk = _walked(Graph(self.original, self.traits, tensors), self.inputs, self.outputs, dict(self.choices))
        for name, number in walk.numbers.items():
            constant = self.captured.leaves[f"{name}_centered"].tensor.double()
            if constant.shape != number.shape or not walk.graph.vanishes(constant - number, number.abs()):
                facts = "what is subtracted here is computed from numbers that the conversion changes"
                raise OffsetError(str(self.original.by_name[name].where), facts, REMEDY)
        restored = dict(values)
        for name, taken in walk.shared().items():
            if name in tensors:
                value = (tensors[name].double() - taken.value).to(leaves[name].tensor.dtype)
                restored |= dict.fromkeys(leaves[name].names, value)
        return restored


def center(captured: CapturedModel, inputs: Sequence[Center], outputs: Sequence[Center], traits: Traits) -> Centered:
    """The graph of h(u) = f(u + c_in) - c_out.

    inputs, outputs: c of every tensor, broadcastable to it, None for 0.  traits: by op, what kind of op it is.
    Raises OffsetError at the first operation that needs the offset and is not linear in it.
    """
    choices: dict[str, bool] = {}
    walk = _walked(Graph(captured, traits, {}), tuple(inputs), tuple(outputs), choices)
    leaves = dict(captured.leaves)
    for name, taken in walk.shared().items():
        leaf, old = leaves[name], leaves[name].tensor.detach().double()
        slack = torch.finfo(leaf.tensor.dtype).eps * (old.abs() + taken.size)
        leaves[name] = replace(leaf, tensor=(old + taken.value).to(leaf.tensor.dtype), slack=slack)
    # Where a number or a constant was added (x - 320), coordinates get a constant of their own.
    dtype = next(leaf.tensor.dtype for leaf in leaves.values() if leaf.tensor.is_floating_point())
    nodes: list[Node] = []
    for node in captured.nodes:
        if node.name in walk.numbers:
            name = f"{node.name}_centered"
            leaves[name] = Leaf(name, "constant", (name,), walk.numbers[node.name].to(dtype), node.where, stored=False)
            node = _adding(node, walk, name)
        nodes.append(node)
    shifted = replace(captured, leaves=leaves, nodes=tuple(nodes))
    return Centered(shifted, captured, tuple(inputs), tuple(outputs), traits, choices)


def _adding(node: Node, walk: Walk, name: str) -> Node:
    """x - 320 with a constant in place of the fixed operand, which holds its sign and its factor already."""
    trait = walk.graph.traits[node.target]
    assert isinstance(trait, Sum)
    data = next(operand for operand, _ in trait.terms(node.arguments) if not walk.graph.is_fixed(operand))
    factor = next(sign for operand, sign in trait.terms(node.arguments) if operand == data)
    # k x + constant; k is 1, -1 or alpha.
    arguments = {"self": Ref(name), "other": data, "alpha": int(factor) if factor == int(factor) else factor}
    return replace(node, target="aten.add.Tensor", arguments=arguments)


# ---- the walk ---------------------------------------------------------------------------------------------------
def _walked(graph: Graph, inputs: tuple[Center, ...], outputs: tuple[Center, ...], choices: dict[str, bool]) -> Walk:
    """The offsets of a whole graph. A second walk adds what the first shows that outputs lack. Raises OffsetError."""
    levels, extra = dict[str, Offset | None](), dict[str, Offset]()
    walk = Walk(graph, inputs, extra, choices, levels)
    for index, center in enumerate(outputs):
        lacking = walk.lacking(index, center)
        if lacking is not None:
            with suppress(_StuckError):  # the second walk says that it lacks it still
                extra = _put_in(walk, extra, graph.captured.outputs[index] or "", lacking)
    if extra:
        walk = Walk(graph, inputs, extra, choices, levels)
    for index, center in enumerate(outputs):
        if walk.lacking(index, center) is not None:
            facts = "the point that it is mirrored at cannot be put into a bias of the network"
            remedy = "let the last layer have a bias, or use --method average"
            raise OffsetError(f"output {index}", facts, remedy)
    for leaf, name in graph.captured.mutations.items():
        if walk.offset(Ref(name)) is not None:
            state = graph.leaves[leaf]
            facts = f"state {state.names[0]} keeps coordinates that do not count from where they are mirrored"
            raise OffsetError(str(state.where), facts, REMEDY)
    return walk


# ---- from outputs back to a bias ----------------------------------------------------------------------------------
class _StuckError(Exception):
    """No bias on this way can take an offset: a signal within this file."""


def _put_in(walk: Walk, extra: Mapping[str, Offset], name: str, offset: Offset) -> dict[str, Offset]:
    """`extra` with the offsets that ops before a value have to add so that it gets its own. Raises _StuckError.

    For f(x) = 100 * linear(x) with c = 320 the bias of `linear` has to give 3.2.
    """
    node = walk.graph.nodes.get(name)
    if node is None:
        raise _StuckError
    offset = _once(walk.graph, name, offset)
    trait = walk.graph.traits.get(node.target)
    # Several outputs, or several readers, may want offsets of one op: they add up.
    here = {**extra, name: extra[name] + offset if name in extra else offset}
    if walk.graph.is_bias(_bias(node, trait)):
        return here
    match trait:
        case Sum():
            return _into_sum(walk, extra, node, trait, offset)
        case Copy():
            return _put_in(walk, extra, node.reads[0].name, offset)
        # y = k x: the operand gets offset / k, in x / k it gets offset * k.
        case Scaling():
            first, other = node.arguments["self"], node.arguments["other"]
            if walk.graph.is_fixed(first) or not walk.graph.is_fixed(other):
                raise _StuckError
            factor = torch.as_tensor(walk.graph.number(other), dtype=torch.float64)
            if not bool((factor != 0).all()):
                raise _StuckError
            return _put_in(walk, extra, first.name, offset.times(factor if trait.divides else 1 / factor))
        case Movement():
            return _before(walk, extra, node, trait, offset)
    raise _StuckError


def _bias(node: Node, trait: Trait | None) -> Any:
    """The argument that an op adds to its result, None where it adds nothing."""
    match trait:
        case Product():
            return trait.added(node.arguments)
        case BatchNorm():
            return node.arguments.get("bias")
    return None


def _once(graph: Graph, name: str, offset: Offset) -> Offset:
    """The offset for a value that an op repeats, from the one wanted behind it: the same in all repetitions."""
    shape = graph.zero(name).value.shape
    # The first of all repetitions: index 0 on axes that the value has not, its own sizes on the others.
    first = (0,) * (offset.value.ndim - len(shape)) + tuple(map(slice, shape))
    single = replace(offset, value=offset.value[first], size=offset.size[first])
    if not graph.vanishes(offset.value - single.value, offset.size):
        raise _StuckError
    return single


def _into_sum(walk: Walk, extra: Mapping[str, Offset], node: Node, trait: Sum, offset: Offset) -> dict[str, Offset]:
    """A weight that is near an offset takes it whole, a constant its part; operands before the sum take the rest."""
    graph, terms = walk.graph, trait.terms(node.arguments)
    fixed = next(((operand, sign) for operand, sign in terms if graph.is_fixed(operand)), None)
    has_weight = fixed is not None and graph.is_bias(fixed[0])
    if fixed is not None:
        number = torch.zeros_like(offset.value) + graph.number(fixed[0]) * fixed[1]
        key = f"{node.name} out"
        if has_weight and walk.choices.setdefault(key, is_near(number, offset)):
            return {**extra, node.name: offset}
        level = None if has_weight else passed_on(graph, number, offset)
        if level is not None:
            extra, offset = {**extra, node.name: level}, offset + level.times(-1.0)
            if graph.vanishes(offset.value, offset.size):
                return extra
    for operand, sign in terms:
        if not graph.is_fixed(operand):
            with suppress(_StuckError):
                return _put_in(walk, extra, operand.name, offset.times(1 / sign))
    if has_weight:
        return {**extra, node.name: offset}
    raise _StuckError


def _before(walk: Walk, extra: Mapping[str, Offset], node: Node, trait: Movement, offset: Offset) -> dict[str, Offset]:
    """Put an offset into the values that an op moves: its gradient moves them back."""
    graph = walk.graph
    refs = refs_in(value for key, value in node.arguments.items() if key not in PLACES)
    # Zeros with a gradient; the op is linear in them, so at which values it is run does not matter.
    moving = {ref.name: graph.zero(ref.name).value.requires_grad_() for ref in refs if ref.name in graph.data}

    def result_of(values: Mapping[str, Tensor]) -> Any:
        """The op on these values, and on 0 for all others."""
        return run(node, lambda name: values[name] if name in values else graph.cleared(name), **unfilled(node, trait))

    with torch.enable_grad():
        result = result_of(moving)
    # Several results (split), or an op that moves nothing by its operands.
    if not isinstance(result, Tensor) or not result.requires_grad:
        raise _StuckError
    gradients = torch.autograd.grad(result, list(moving.values()), offset.value, materialize_grads=True)
    parts = dict(zip(moving, gradients, strict=True))
    # Where A only moves or drops entries, A A' offset = offset. Ops that add up or repeat entries fail this test.
    if not torch.allclose(result_of(parts), offset.value, rtol=1e-12, atol=0.0):
        raise _StuckError
    for name, part in parts.items():
        if bool(part.any()):
            extra = _put_in(walk, extra, name, replace(offset, value=part, size=part.abs()))
    return dict(extra)
