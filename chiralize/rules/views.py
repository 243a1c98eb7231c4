"""Ops that only lay the same entries out differently: views, permutations, copies, casts."""

from __future__ import annotations

from chiralize.rules._families import odd, rule, spread
from chiralize.rules._registry import Call, OpRule, Results, Sample, normal, register
from chiralize.rules._solver import Conflict
from chiralize.symbolic import Axis, SymbolicRepresentation

_x = normal(3, 4)

register(
    OpRule(
        "copy", ("aten.clone.default", "aten.contiguous.default", "aten.detach.default", "aten.alias.default",
                 "aten.lift_fresh_copy.default", "aten._to_copy.default", "aten.to.dtype", "aten.to.dtype_layout"),
        "`... -> ...`", odd,
        spread([Sample((_x,))], ("aten.clone.default", "aten.contiguous.default", "aten.detach.default",
                                 "aten.alias.default", "aten.lift_fresh_copy.default"))
        | {"aten._to_copy.default": [Sample((_x,), {"dtype": "float64"})],
           "aten.to.dtype": [Sample((_x, "float64"))],
           "aten.to.dtype_layout": [Sample((_x,), {"dtype": "float64"})]},
    )
)  # fmt: skip


@rule("view", "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.flatten.using_ints",
      "aten.unflatten.int",
      statement="`(a b) c -> a (b c)`: factors keep their order, merged axes split where the mirror does",
      samples={"aten.view.default": [Sample((normal(3, 4), [12])), Sample((normal(12), [3, 4]))],
               "aten.reshape.default": [Sample((normal(3, 4), [2, 6])), Sample((normal(3, 4), [3, 4, 1]))],
               "aten._unsafe_view.default": [Sample((normal(3, 4), [12]))],
               "aten.flatten.using_ints": [Sample((normal(2, 3, 4), 1))],
               "aten.unflatten.int": [Sample((normal(3, 4), 1, [2, 2]))]},
      incomplete="a permutation that is no Kronecker product of the new axes is refused")  # fmt: skip
def view(call: Call) -> Results:
    """The same entries in the same order under another shape."""
    rep = call.solver.representation(call.operands[0].rep)
    return SymbolicRepresentation(tuple(call.solver.regroup(rep.axes, call.shape)), rep.sign)


@rule("permute", "aten.permute.default", "aten.transpose.int", "aten.t.default", "aten.movedim.int",
      statement="`a b -> b a`",
      samples={"aten.permute.default": [Sample((normal(3, 4, 2), [2, 0, 1]))],
               "aten.transpose.int": [Sample((normal(3, 4, 2), 1, -1))],
               "aten.t.default": [Sample((normal(3, 4),))],
               "aten.movedim.int": [Sample((normal(3, 4, 2), 1, 0))]})  # fmt: skip
def permute(call: Call) -> Results:
    """Axes in another order."""
    rep = call.operands[0].rep
    axes = list(rep.axes)
    if "dims" in call.arguments:
        axes = [axes[dim] for dim in call["dims"]]
    elif "source" in call.arguments:
        axes.insert(call.axis(call["destination"], len(axes)), axes.pop(call.axis(call["source"], len(axes))))
    elif len(axes) > 1:
        first, second = (call.axis(call.get(name, other), len(axes)) for name, other in (("dim0", 0), ("dim1", 1)))
        axes[first], axes[second] = axes[second], axes[first]
    return SymbolicRepresentation(tuple(axes), rep.sign)


@rule("squeeze", "aten.squeeze.dim", "aten.squeeze.dims", "aten.squeeze.default", "aten.unsqueeze.default",
      statement="axes of size 1 come and go",
      samples={"aten.squeeze.dim": [Sample((normal(3, 1, 4), 1))], "aten.squeeze.dims": [Sample((normal(3, 1, 4), [1]))],
               "aten.squeeze.default": [Sample((normal(3, 1, 4),))], "aten.unsqueeze.default": [Sample((_x, 1))]})  # fmt: skip
def squeeze(call: Call) -> Results:
    """Axes of size 1 carry nothing (a lone sign belongs to the tensor)."""
    rep = call.solver.representation(call.operands[0].rep)
    filled = iter([axis for axis in rep.axes if axis])
    return SymbolicRepresentation(tuple(next(filled) if size != 1 else () for size in call.shape), rep.sign)


@rule("expand", "aten.expand.default", "aten.repeat.default",
      statement="new or stretched axes are trivial; a repeated axis is (copies, a)",
      samples={"aten.expand.default": [Sample((normal(1, 4), [3, 4])), Sample((normal(4), [2, -1]))],
               "aten.repeat.default": [Sample((normal(3, 4), [2, 1])), Sample((normal(3, 4), [1, 2]))]},
      incomplete="copies could be swapped with each other")  # fmt: skip
def expand(call: Call) -> Results:
    """The same values several times: equal along a new axis, so the mirror may leave that axis alone."""
    rep = call.solver.representation(call.operands[0].rep)
    lead = len(call.shape) - len(rep.axes)
    old_shape = (1,) * lead + rep.shape
    axes: list[Axis] = []
    for size, old, axis in zip(call.shape, old_shape, ((),) * lead + rep.axes, strict=True):
        if size % max(old, 1):
            raise Conflict(f"{old} entries repeated to {size}")
        copies = call.solver.regroup([call.solver.fresh(1)], [1])[0] if size == old else _stretched(size // old)
        axes.append(copies + axis)
    return SymbolicRepresentation(tuple(axes), rep.sign)


def _stretched(copies: int) -> Axis:
    from chiralize.symbolic import trivial

    return trivial(copies)
