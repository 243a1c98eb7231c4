"""Going back from an output to the bias that gives it the offset that it should have.

An output whose coordinates are mirrored at c has to be c larger in f than in h. Where offsets of the inputs do not
end up there (they were taken up on the way), some bias before the output must add c. This file looks for it: through
views, copies, scalings and sums, against the direction of the graph. For f(x) = 100 * linear(x) with c = 320 the
bias of `linear` has to give 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.model import Node, refs_in
from chiralize.graph.passes.centering.graph import Choices, Graph, Offset
from chiralize.graph.passes.centering.operations import (
    PLACES,
    run,
    without_constants,
)
from chiralize.graph.traits import BatchNorm, Copy, Movement, Product, Scaling, Sum, Trait


class Stuck(Exception):  # noqa: N818 - a signal within this package
    """No bias on this way can take an offset."""


def put_in(graph: Graph, choices: Choices, extra: Mapping[str, Offset], name: str, offset: Offset) -> dict[str, Offset]:
    """`extra` with the offsets that operations before the value `name` have to add so that it gets its own.

    extra: by operation with a bias, the offset that its result shall have.  Raises Stuck.
    """
    node = graph.nodes.get(name)
    if node is None:
        raise Stuck
    # A value may have been broadcast on the way.
    offset = _in_shape_of(graph, name, offset)
    trait = graph.trait(node)
    # Found: several outputs, or several readers, may want offsets of one op; they add up.
    if graph.is_leaf(_bias(node, trait)):
        return {**extra, name: extra[name] + offset if name in extra else offset}
    match trait:
        case Sum():
            return _into_sum(graph, choices, extra, node, trait, offset)
        case Copy():
            return put_in(graph, choices, extra, node.reads[0].name, offset)
        # y = k x: the operand gets offset / k, in x / k it gets offset * k.
        case Scaling():
            first, factor = _factor(graph, node)
            return put_in(graph, choices, extra, first, offset.times(factor if trait.divides else 1 / factor))
        case Movement():
            return _before(graph, choices, extra, node, trait, offset)
    raise Stuck


def _bias(node: Node, trait: Trait | None) -> Any:
    """The argument that an op adds to its result, None where it adds nothing."""
    match trait:
        case Product():
            return trait.added(node.arguments)
        case BatchNorm():
            return node.arguments.get("bias")
    return None


def _factor(graph: Graph, node: Node) -> tuple[str, Tensor | float]:
    """The operand that is scaled, by name, and the fixed number that multiplies or divides it. Raises Stuck."""
    first, second = node.arguments["self"], node.arguments["other"]
    # The data has to be the first operand, and a factor of 0 would need an infinite offset.
    if graph.fixed(first) or not graph.fixed(second) or not bool(torch.as_tensor(graph.number(second) != 0).all()):
        raise Stuck
    return first.name, graph.number(second)


def _in_shape_of(graph: Graph, name: str, offset: Offset) -> Offset:
    """The offset for a value that an op repeats, from the offset wanted behind it: the same in all repetitions. Raises
    Stuck.
    """
    shape = graph.zero(name).value.shape
    # The first of all repetitions: index 0 on axes that the value has not, its own sizes on the others.
    first = (0,) * (offset.value.ndim - len(shape)) + tuple(map(slice, shape))
    single = replace(offset, value=offset.value[first], size=offset.size[first])
    if bool(((offset.value - single.value).abs() > 4 * graph.eps * offset.size).any()):
        raise Stuck
    return single


def _into_sum(
    graph: Graph, choices: Choices, extra: Mapping[str, Offset], node: Node, trait: Sum, offset: Offset
) -> dict[str, Offset]:
    """Put an offset into a sum.

    A weight that is near the offset takes it whole. A constant takes its own average. An operand that depends on the
    input takes the rest, from operations before it; where none can, a weight takes it.
    """
    terms = trait.terms(node.arguments)
    fixed = [(operand, sign) for operand, sign in terms if graph.fixed(operand)]
    weight = bool(fixed) and graph.is_weight(fixed[0][0]) and not graph.stays(fixed[0][0])
    key = f"{node.name} out"
    # As in the forward pass, choices are made once and repeated when weights are restored.
    if weight and key not in choices:
        choices[key] = graph.near(fixed[0], offset)
    if weight and choices[key]:
        return {**extra, node.name: offset}
    level = graph.level(fixed[0], offset) if fixed else None
    if level is not None:
        extra, offset = {**extra, node.name: level}, offset + level.times(-1.0)
        if offset.vanishes(graph.eps):
            return extra
    # The first operand that has a bias before it takes all of the rest.
    for operand, sign in terms:
        if not graph.fixed(operand):
            with suppress(Stuck):
                return put_in(graph, choices, extra, operand.name, offset.times(1 / sign))
    if weight:
        return {**extra, node.name: offset}
    raise Stuck


def _before(
    graph: Graph, choices: Choices, extra: Mapping[str, Offset], node: Node, trait: Movement, offset: Offset
) -> dict[str, Offset]:
    """Put an offset into the values that an operation moves.

    The gradient of an operation that only moves numbers moves them back, so it gives the offset of every operand.
    """
    refs = refs_in(value for key, value in node.arguments.items() if key not in PLACES)
    # Zeros with a gradient; the op is linear in them, so at which values it is run does not matter.
    moving = {ref.name: graph.zero(ref.name).value.requires_grad_() for ref in refs if ref.name in graph.data}

    def value_of(name: str, values: Mapping[str, Tensor]) -> Tensor:
        """The given value of an operand that is moved, 0 for a constant."""
        if name in values:
            return values[name]
        if name in graph.data:
            raise Stuck
        return graph.cleared(name)

    changed = without_constants(node, trait)
    result = run(node, lambda name: value_of(name, moving), changed, gradients=True)
    # Several results (split), or an op that moves nothing by its operands.
    if not isinstance(result, Tensor) or not result.requires_grad:
        raise Stuck
    gradients = torch.autograd.grad(result, list(moving.values()), offset.value, allow_unused=True)
    parts: dict[str, Tensor] = {}
    for name, gradient in zip(moving, gradients, strict=True):
        parts[name] = graph.zero(name).value if gradient is None else gradient
    # Where A only moves or drops entries, A A' offset = offset. Ops that add up or repeat entries (a mean, an
    # expansion), and padding where an offset is wanted, fail this test and are refused.
    if not torch.allclose(run(node, lambda name: value_of(name, parts), changed), offset.value, rtol=1e-12, atol=0.0):
        raise Stuck
    out = dict(extra)
    for name, part in parts.items():
        if bool(part.any()):
            out = put_in(graph, choices, out, name, replace(offset, value=part, size=part.abs()))
    return out
