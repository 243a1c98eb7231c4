"""Tensors of one repeated number."""

from __future__ import annotations

import torch

from chiralize.infer.registry import Call, Operand, Results, Sample, Uniform, normal
from chiralize.infer.rules._families import rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Var

_x = normal(3, 4)


def repeated(call: Call) -> Uniform | None:
    """What a selection or a view of one repeated number is: that number again; None for anything else."""
    operand = call.operands[0]
    terms = [term for axis in operand.rep.axes for term in axis]
    if operand.zero:
        return Uniform(call.shape, True)
    is_open = bool(terms) and all(isinstance(term, Var) and term.id in call.solver.passing for term in terms)
    return Uniform(call.shape, False) if is_open else None


@rule("fill", "aten.fill.Scalar", "aten.fill.Tensor", "aten.full_like.default", "aten.zeros_like.default",
      "aten.ones_like.default", "aten.new_zeros.default", "aten.new_ones.default", "aten.new_full.default",
      statement="one number everywhere: any representation without signs, any at all for zero",
      samples={"aten.fill.Scalar": [Sample((_x, 2.0))], "aten.fill.Tensor": [Sample((_x, torch.tensor(2.0)))],
               "aten.full_like.default": [Sample((_x, 2.0))], "aten.zeros_like.default": [Sample((_x,))],
               "aten.ones_like.default": [Sample((_x,))], "aten.new_zeros.default": [Sample((_x, [2, 4]))],
               "aten.new_ones.default": [Sample((_x, [2, 4]))], "aten.new_full.default": [Sample((_x, [2, 4],
                   2.0))]})  # fmt: skip
def fill(call: Call) -> Results:
    """A tensor of one repeated number."""
    name = call.target.split(".")[1]
    default = 0 if "zeros" in name else 1 if "ones" in name else None
    value = call.get("value", call.get("fill_value", default))
    if isinstance(value, Operand):
        value = value.constant.item() if value.constant is not None and value.constant.numel() == 1 else None
    if value is None:
        raise Conflict("a fill value that is computed from the input")
    return Uniform(call.shape, value == 0)
