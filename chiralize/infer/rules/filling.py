"""Tensors of one repeated number.

`ones_like(x)` is the same tensor whatever is permuted in it, and zeros are, whatever is negated. So the answer of these
rules is no representation but a `Uniform`; every reader gets unknown axes of its own for it, which fit what it needs. A
view or a selection of such a tensor is one again (`keeps_one_number`).
"""

from __future__ import annotations

from functools import wraps

import torch

from chiralize.graph.traits import Filled
from chiralize.infer.registry import Call, Operand, Results, Uniform, describe, normal, sample
from chiralize.infer.rules._families import Apply, op, overloads, rule
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Var

_x = normal(3, 4)


def keeps_one_number(apply: Apply) -> Apply:
    """The rule of an op that takes entries or lays them out anew: of one repeated number it makes that number again."""

    @wraps(apply)
    def decide(call: Call) -> Results:
        """That number, or what the rule says of other tensors."""
        return _repeated(call) or apply(call)

    return decide


def _repeated(call: Call) -> Uniform | None:
    """A selection or a view of one repeated number is that number again; None for any other tensor."""
    operand = call.operands[0]
    terms = [term for axis in operand.rep.axes for term in axis]
    if operand.zero:
        return Uniform(call.shape, True)
    # A tensor without axes has no unknowns that could show that it is one.
    is_open = bool(terms) and all(isinstance(term, Var) and term.id in call.solver.passing for term in terms)
    if not is_open:
        return None
    return Uniform(call.shape, False)


_NUMBERS = {"zeros_like": 0, "new_zeros": 0, "ones_like": 1, "new_ones": 1}


@rule("fill", "one number everywhere: any representation without signs, any at all for zero")
@op("fill.Scalar", sample(_x, 2.0))
@op("fill.Tensor", sample(_x, torch.tensor(2.0)))
@op("full_like", sample(_x, 2.0), trait=Filled())
@op("zeros_like ones_like", sample(_x), trait=Filled())
@op("new_zeros new_ones", sample(_x, [2, 4]), trait=Filled(sizes="size"))
@op("new_full", sample(_x, [2, 4], 2.0), trait=Filled(sizes="size"))
def fill(call: Call) -> Results:
    """A tensor of one repeated number."""
    # `ones_like` has its number in its name; `fill.Tensor` has a tensor of one entry, which has to be a constant.
    default = _NUMBERS.get(call.target.split(".")[1])
    value = call.get("value", call.get("fill_value", default))
    if isinstance(value, Operand):
        if value.constant is not None and value.constant.numel() == 1:
            value = value.constant.item()
        else:
            value = None
    if value is None:
        raise Conflict("a fill value that is computed from the input")
    return Uniform(call.shape, value == 0)


describe(overloads("empty_like rand_like randn_like"), Filled())
describe(overloads("new_empty zeros ones full empty.memory_format"), Filled(sizes="size"))
