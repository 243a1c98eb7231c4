"""Networks whose coordinates are not counted from the point that they are mirrored at: pixels.

The mirror is affine there, T x = c + R (x - c). With h(u) = f(u + c_in) - c_out, the network f commutes with the
affine T exactly if h commutes with the linear R. So all other steps look at h: the same graph with other biases. The
offset c is followed through everything that is linear in it until a bias, a mean or a constant takes it up:
b' = b + W c. And the biases that a method has found for h are turned back into those of f, for its new weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chiralize.errors import OffsetError
from chiralize.graph.model import CapturedModel, Leaf, Node, Ref
from chiralize.graph.passes.centering.forward import Addend
from chiralize.graph.passes.centering.graph import Choices, Graph
from chiralize.graph.passes.centering.walk import Shift, walk
from chiralize.graph.traits import Sum, Trait, Traits
from chiralize.symmetry.action import Center

__all__ = ["Centered", "center"]


@dataclass(frozen=True)
class Centered:
    """A network seen from its centre.

    captured: the graph of h, which all other steps look at.  original: the graph of f.  traits: of its ops.
    """

    captured: CapturedModel
    original: CapturedModel
    inputs: tuple[Center, ...]
    outputs: tuple[Center, ...]
    traits: Traits
    choices: Choices

    def restored(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of h, by name, as weights of f: biases give back the offsets they took up. Raises OffsetError."""
        leaves = self.original.leaves.values()
        # The offsets of the new weights: W' c, and not the W c of the old ones. Choices are those of the first walk,
        # so that the same tensors take them up.
        tensors = {leaf.name: values[leaf.names[0]] for leaf in leaves if leaf.names[0] in values}
        shift = walk(self.original, self.inputs, self.outputs, self.traits, tensors, self.choices)
        self._check_numbers(shift)
        restored = dict(values)
        for name, addend in shift.taken.items():
            leaf = self.original.leaves[name]
            if name in tensors:
                value = (tensors[name].double() - addend.value).to(leaf.tensor.dtype)
                restored |= dict.fromkeys(leaf.names, value)
        return restored

    def _check_numbers(self, shift: Shift) -> None:
        """Raise OffsetError where a constant of h would be another with the new weights: f has no place for it."""
        for node in self.original.nodes:
            if node.name not in shift.numbers:
                continue
            constant, number = self.captured.leaves[number_name(node)].tensor, shift.numbers[node.name]
            rounding = 4 * torch.finfo(constant.dtype).eps
            bound = rounding * float(number.abs().max())
            if constant.shape != number.shape or not torch.allclose(constant.double(), number, rounding, bound):
                facts = "what is subtracted here is computed from numbers that the conversion changes"
                remedy = (
                    "subtract a number or a buffer of its own, whose entries are the centre, or use --method average"
                )
                raise OffsetError(str(node.where), facts, remedy)


def center(captured: CapturedModel, inputs: Sequence[Center], outputs: Sequence[Center], traits: Traits) -> Centered:
    """The graph of h(u) = f(u + c_in) - c_out.

    inputs, outputs: c of every tensor, broadcastable to it, None for 0.  traits: by op, what kind of op it is.
    Raises OffsetError at the first operation that needs the offset and is not linear in it.
    """
    shift = walk(captured, tuple(inputs), tuple(outputs), traits, {}, {})
    leaves = dict(captured.leaves)
    for name, addend in shift.taken.items():
        leaves[name] = _moved(leaves[name], addend, shift.eps)
    # Where a number was added (x - 320), or something computed (x - size / 2), only coordinates may be shifted: it
    # becomes a tensor, a new constant.
    dtype = next(leaf.tensor.dtype for leaf in leaves.values() if leaf.tensor.is_floating_point())
    nodes, graph = [], Graph(captured, {}, traits)
    for node in captured.nodes:
        if node.name in shift.numbers:
            leaf = _constant(node, shift.numbers[node.name].to(dtype))
            leaves[leaf.name] = leaf
            node = _reading(node, traits[node.target], leaf, graph)
        nodes.append(node)
    shifted = replace(captured, leaves=leaves, nodes=tuple(nodes))
    return Centered(shifted, captured, tuple(inputs), tuple(outputs), traits, shift.choices)


def _moved(leaf: Leaf, taken: Addend, eps: float) -> Leaf:
    """A bias of h, b' = b + W c, and its slack: how far the rounding of b and of W c may have moved every entry."""
    old = leaf.tensor.detach().double()
    value = old + taken.value
    if not leaf.is_weight:  # the rounding that remains of 320 - 320 becomes 0
        value = torch.where(value.abs() <= 4 * eps * (old.abs() + taken.value.abs()), 0.0, value)
        return replace(leaf, tensor=value.to(leaf.tensor.dtype))
    slack = torch.finfo(leaf.tensor.dtype).eps * old.abs() + taken.rounding
    return replace(leaf, tensor=value.to(leaf.tensor.dtype), slack=slack)


def _constant(node: Node, number: Tensor) -> Leaf:
    """The constant that is added in place of a number: the offset belongs to some coordinates only."""
    name = number_name(node)
    return Leaf(name, "constant", (name,), number, node.where, stored=False)


def number_name(node: Node) -> str:
    """The name of the constant that a node adds in place of a number."""
    return f"{node.name}_centered"


def _reading(node: Node, trait: Trait, leaf: Leaf, graph: Graph) -> Node:
    """x + 3 and 3 - x with a tensor in place of the number, which holds the sign and the factor already.

    x - size / 2 with one in place of what is computed, without its sign.
    """
    assert isinstance(trait, Sum)
    number = Ref(leaf.name)
    for key in ("self", "other"):
        operand = node.arguments[key]
        if isinstance(operand, Ref) and graph.fixed(operand):
            return replace(node, arguments={**node.arguments, key: number})
    arguments = {"self": node.arguments["self"], "other": number, "alpha": 1}
    if trait.is_turned:
        arguments = {"self": number, "other": node.arguments["self"], "alpha": node.arguments.get("alpha", 1)}
    return replace(node, target=trait.of_tensors, arguments=arguments)
