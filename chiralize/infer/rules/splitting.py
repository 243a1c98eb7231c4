"""One axis cut into several tensors.

The axis has to be a direct sum of the parts: the mirror mixes no two of them. (Where it exchanges whole parts, as the
halves of left and right, `Partners.take` has answered before this rule is asked.)

    axis of 4 with (0 1)(2 3), split(2)     two parts, each with its entries exchanged
    axis of 4 with (0 1)(2 3), unbind       parts of one entry that the mirror exchanges: not for this rule
    axis of 4 not known yet, split(2)       becomes a direct sum of two unknowns of 2
"""

from __future__ import annotations

from itertools import accumulate

from chiralize.graph.traits import Split
from chiralize.infer.products import without_axis
from chiralize.infer.registry import Call, Results, normal, sample
from chiralize.infer.rules._families import op, rule

_x = normal(3, 4)


@rule("split", "`(a + b) -> a, b`", trait=Split())
@op("split.Tensor", sample(_x, 2, 1), trait=Split(lengths="split_size"))
@op("split_with_sizes", sample(_x, [1, 3], 1), trait=Split(lengths="split_sizes"))
@op("chunk", sample(_x, 2, 1), sample(_x, 2, -1))
@op("unbind.int", sample(_x, 1), sample(_x, -2), trait=Split(is_single=True))
@op("unsafe_split.Tensor", sample(_x, 2, 1), trait=Split(lengths="split_size"))
@op("unsafe_chunk", sample(_x, 2, 1))
def split(call: Call) -> Results:
    """One axis cut into runs."""
    solver = call.solver
    rep = solver.representation(call.operands[0].rep)
    dim = call.axis(call.get("dim", 0), len(rep.axes))
    # `unbind` returns parts of one entry without the axis: a sign of that entry goes to the tensor.
    unbind = call.target.startswith("aten.unbind")
    sizes = [1] * len(call.shapes)
    if not unbind:
        sizes = [shape[dim] for shape in call.shapes if shape is not None]
    parts = [
        solver.representation(rep.with_axis(dim, part)) for part in solver.cut(rep.axes[dim], list(accumulate(sizes)))
    ]
    if unbind:
        return tuple(without_axis(part, dim) for part in parts)
    return tuple(parts)
