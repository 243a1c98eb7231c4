"""The offset that an output should have, put into a bias before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chiralize.graph.model import Node, Ref
from chiralize.graph.passes.centering.graph import Choices, Graph, Offset
from chiralize.graph.passes.centering.operations import (
    BIAS,
    IDENTITY,
    NORMS,
    PLACES,
    PLAIN,
    SUMS,
    base,
    run,
    signs,
    without_constants,
)


class Stuck(Exception):  # noqa: N818 - a signal within this package
    """There is no place on this way that an offset could be put in."""


def put_in(graph: Graph, choices: Choices, extra: Mapping[str, Offset], name: str, own: Offset) -> dict[str, Offset]:
    """`extra` with what the operations before the value `name` have to add so that it gets the offset. Raises Stuck."""
    node = graph.nodes.get(name)
    if node is None:
        raise Stuck
    own = _in_shape_of(graph, name, own)
    kind = base(node)
    bias = node.arguments.get(BIAS.get(kind, "bias")) if kind in BIAS or kind in NORMS else None
    if graph.is_leaf(bias):
        return {**extra, name: extra[name] + own if name in extra else own}
    if kind in SUMS:
        return _into_sum(graph, choices, extra, node, own)
    if kind in IDENTITY:
        return put_in(graph, choices, extra, node.reads[0].name, own)
    if kind in ("mul", "div"):
        first, second = node.arguments["self"], node.arguments["other"]
        if graph.fixed(first) or not graph.fixed(second) or not bool(torch.as_tensor(graph.number(second) != 0).all()):
            raise Stuck
        factor = graph.number(second)
        return put_in(graph, choices, extra, first.name, own.times(1 / factor if kind == "mul" else factor))
    if kind in PLAIN:
        return _before(graph, choices, extra, node, own)
    raise Stuck


def _in_shape_of(graph: Graph, name: str, own: Offset) -> Offset:
    """An offset behind a value, for the value itself: the same wherever an op repeats it. Raises Stuck."""
    shape = graph.zero(name).value.shape
    cut = (0,) * (own.value.ndim - len(shape)) + tuple(map(slice, shape))
    found = Offset(own.value[cut], own.size[cut], own.weighted)
    if bool(((own.value - found.value).abs() > 4 * graph.eps * own.size).any()):
        raise Stuck
    return found


def _into_sum(
    graph: Graph, choices: Choices, extra: Mapping[str, Offset], node: Node, own: Offset
) -> dict[str, Offset]:
    """Into a constant what it holds itself, into a weight that holds about that; the rest into what came before."""
    operands = list(zip((node.arguments["self"], node.arguments["other"]), signs(node), strict=True))
    fixed = [item for item in operands if graph.fixed(item[0])]
    weight = bool(fixed) and graph.is_weight(fixed[0][0])
    key = f"{node.name} out"
    if weight and key not in choices:
        choices[key] = graph.near(fixed[0], own)
    if weight and choices[key]:
        return {**extra, node.name: own}
    level = graph.level(fixed[0], own) if fixed else None
    if level is not None:
        extra, own = {**extra, node.name: level}, own + level.times(-1.0)
        if own.vanishes(graph.eps):
            return extra
    for operand, sign in operands:
        if not graph.fixed(operand):
            try:
                return put_in(graph, choices, extra, operand.name, own.times(1 / sign))
            except Stuck:
                continue
    if weight:
        return {**extra, node.name: own}
    raise Stuck


def _before(graph: Graph, choices: Choices, extra: Mapping[str, Offset], node: Node, own: Offset) -> dict[str, Offset]:
    """Through an operation that moves numbers: whatever it reads gets what it makes of it."""
    refs = [ref for key, value in node.arguments.items() if key not in PLACES
            for ref in (value if isinstance(value, (list, tuple)) else [value])]  # fmt: skip
    names = list(dict.fromkeys(ref.name for ref in refs if isinstance(ref, Ref) and ref.name in graph.data))
    moving = {name: graph.zero(name).value.requires_grad_() for name in names}

    def pick(name: str, given: Mapping[str, Tensor]) -> Any:
        if name in given:
            return given[name]
        if name in graph.data:
            raise Stuck
        value = graph.value(name)
        return torch.zeros_like(value) if value.is_floating_point() else value

    changed = without_constants(node)
    result = run(node, lambda name: pick(name, moving), changed, gradients=True)
    if not isinstance(result, Tensor) or not result.requires_grad:
        raise Stuck
    found = torch.autograd.grad(result, list(moving.values()), own.value, allow_unused=True)
    parts = {name: graph.zero(name).value if grad is None else grad for name, grad in zip(names, found, strict=True)}
    if not torch.allclose(run(node, lambda name: pick(name, parts), changed), own.value, rtol=1e-12, atol=0.0):
        raise Stuck
    out = dict(extra)
    for name, part in parts.items():
        if bool(part.any()):
            out = put_in(graph, choices, out, name, Offset(part, part.abs(), own.weighted))
    return out
