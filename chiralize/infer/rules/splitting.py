"""One axis cut into several tensors."""

from __future__ import annotations

from chiralize.infer.registry import Call, Results, Sample, normal
from chiralize.infer.rules._families import rule
from chiralize.infer.rules.selection import without

_x = normal(3, 4)


@rule("split", "aten.split.Tensor", "aten.split_with_sizes.default", "aten.chunk.default", "aten.unbind.int",
      "aten.unsafe_split.Tensor", "aten.unsafe_chunk.default",
      statement="`(a + b) -> a, b`",
      samples={"aten.split.Tensor": [Sample((_x, 2, 1))], "aten.split_with_sizes.default": [Sample((_x, [1, 3], 1))],
               "aten.chunk.default": [Sample((_x, 2, 1)), Sample((_x, 2, -1))],
               "aten.unsafe_split.Tensor": [Sample((_x, 2, 1))], "aten.unsafe_chunk.default": [Sample((_x, 2, 1))],
               "aten.unbind.int": [Sample((_x, 1)), Sample((_x, -2))]})  # fmt: skip
def split(call: Call) -> Results:
    """One axis cut into runs."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    unbind = call.target.startswith("aten.unbind")
    sizes = [1 if unbind or shape is None else shape[dim] for shape in call.shapes]
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    parts = [solver.representation(rep.with_axis(dim, part)) for part in solver.cut(rep.axes[dim], ends)]
    return tuple(without(part, dim) for part in parts) if unbind else tuple(parts)
