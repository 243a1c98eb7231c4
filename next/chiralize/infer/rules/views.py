"""How do ops transform that only lay the same entries out differently: views, permutations, copies, casts, fills?

Entries stay what they are, so the representation only has to be written for the new axes. "17 3" viewed as "51" has the
product of both axes; back again, an axis of 51 known entries is factored, and an unknown one becomes a product of two
unknowns (`Solver.regroup`). Repeated entries make an axis of copies, which may be permuted at will: who reads them says
how (`expand`).

An axis is a tuple of terms, the slowest first; the empty tuple has one entry. With J on 3 joints and C on 4 channels:

    x                     (J,) (C,)         shape 3 4
    x.reshape(12)         (J, C)            one axis of two terms
    x.permute(1, 0)       (C,) (J,)
    x.reshape(3, 1, 4)    (J,) () (C,)
    x.expand(2, 3, 4)     (V,) (J,) (C,)    V unknown on 2 copies
    x.flip(1)             (J,) (R C R,)     R reverses the 4 channels

None of these demands anything of J and C. What can go wrong is a view that cuts through the middle of a term: 3 x 4
seen as 2 x 6 keeps the second joint in no one piece. It passes where J and C together are a product of that shape.

`ones_like(x)` is the same tensor whatever is permuted in it, and zeros are, whatever is negated. So the answer of
fills is no representation but a `Uniform`; every reader gets unknown axes of its own for it, which fit what it needs.
A view or a selection of such a tensor is one again (`keeps_one_number`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod

import torch

from chiralize.graph.traits import Copy, Filled, Layout, Movement, Transpose
from chiralize.infer.algebra import even_of, left_alone, stretched, widened
from chiralize.infer.rule import Answer, Call, Operand, Uniform, describe, rule
from chiralize.infer.symbolic import Axis, Conflict, SymbolicRepresentation, Var, trivial


# ---- one repeated number ------------------------------------------------------------------------------------------
def keeps_one_number(apply: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    """The rule of an op that takes entries or lays them out anew: of one repeated number it makes that number again."""

    @wraps(apply)
    def decide(call: Call) -> Answer:
        """That number, or what the rule says of other tensors."""
        operand = call.operands[0]
        if operand.zero:
            return Uniform(call.shape, True)
        # All axes are unknowns that live for this run alone. A tensor without axes has none that could show it.
        terms = [term for axis in operand.rep.axes for term in axis]
        if terms and all(isinstance(term, Var) and term.id in call.solver.passing for term in terms):
            return Uniform(call.shape, False)
        return apply(call)

    return decide


_NUMBERS = {"zeros_like": 0, "new_zeros": 0, "ones_like": 1, "new_ones": 1}
_FILLS = "one number everywhere: any representation without signs, any at all for zero"


@rule("fill.Scalar fill.Tensor", _FILLS)
@rule("full_like zeros_like ones_like", _FILLS, Filled())
@rule("new_zeros new_ones new_full", _FILLS, Filled(sizes="size"))
def fill(call: Call) -> Answer:
    """A tensor of one repeated number. Raises Conflict for a number that is computed."""
    # `ones_like` has its number in its name; `fill.Tensor` has a tensor of one entry, which has to be a constant.
    default = _NUMBERS.get(call.target.split(".")[1])
    value = call.get("value", call.get("fill_value", default))
    if isinstance(value, Operand) and value.constant is not None and value.constant.numel() == 1:
        value = value.constant.item()
    if value is None or isinstance(value, Operand):
        raise Conflict("a fill value that is computed from the input")
    return Uniform(call.shape, value == 0)


describe("empty_like rand_like randn_like", Filled())
describe("new_empty zeros ones full empty.memory_format", Filled(sizes="size"))


# ---- copies -------------------------------------------------------------------------------------------------------
@rule(
    "clone contiguous detach alias lift_fresh_copy _to_copy to.dtype to.dtype_layout to.device",
    "`... -> ...`; to truth values `... -> |...|`, to other types without a minus `+... -> +...`",
    Copy(),
)
@rule("_conj conj resolve_conj resolve_neg _neg_view", "`... -> ...`")
def cast(call: Call) -> Answer:
    """The same numbers, maybe in another type; whether one is true does not depend on its sign."""
    # Types without a minus, such as bytes, are looked after in `OpRule.outputs`, for all rules.
    if call.dtypes[:1] == (torch.bool,):
        return even_of(call.operands[0].rep, call.solver)
    return call.operands[0].rep


@rule(
    "copy",
    "`a, b -> b`: the second tensor in the shape of the first",
    Movement(),
    incomplete="copies along a new axis could be swapped",
)
def copy(call: Call) -> Answer:
    """The second tensor in the shape of the first."""
    return stretched(call.representations("src")[0], call.shape)


@rule("view_as_complex", "`... 1p -> ...`")
def view_as_complex(call: Call) -> Answer:
    """Real and imaginary parts side by side along a last axis, which the mirror leaves alone, as one number each.

    A sign that negates the imaginary part alone (a conjugate) is no sign of the complex number.
    """
    rep = call.source
    call.solver.trivial(rep.axes[-1])
    return SymbolicRepresentation(rep.axes[:-1], rep.sign)


@rule("view_as_real", "`... -> ... 1p`")
def view_as_real(call: Call) -> Answer:
    """Complex numbers as real and imaginary parts along a last axis."""
    rep = call.source
    return SymbolicRepresentation((*rep.axes, trivial(2)), rep.sign)


# ---- layouts ------------------------------------------------------------------------------------------------------
@rule(
    "reshape",
    "`(a b) c -> a (b c)`: factors keep their order, merged axes split where the mirror is a product",
    Layout(sizes="shape"),
)
@keeps_one_number
def reshape(call: Call) -> Answer:
    """The same entries in the same order under another shape."""
    # Axes of no entries have no factors to lay out, and nothing can be moved.
    if prod(call.shape) == 0:
        return left_alone(call.shape)
    rep, solver = call.source, call.solver
    return solver.representation(SymbolicRepresentation(tuple(solver.regroup(rep.axes, call.shape)), rep.sign))


@rule("permute", "`a b -> b a`", Transpose())
@keeps_one_number
def permute(call: Call) -> Answer:
    """Axes in another order."""
    rep = call.operands[0].rep
    return SymbolicRepresentation(tuple(rep.axes[dim] for dim in call["dims"]), rep.sign)


_EXPANDED = "a stretched axis is (copies, a), the copies permuted at will"
_SWAPPED = "copies of a longer axis could be swapped with each other"


@rule("expand", _EXPANDED, Movement(sizes="size"), incomplete=_SWAPPED)
@rule("repeat", _EXPANDED, Movement(), incomplete=_SWAPPED)
@keeps_one_number
def expand(call: Call) -> Answer:
    """The same values several times; the copies of one entry are all alike."""
    rep = call.source
    axes: list[Axis] = []
    for position, (size, axis) in enumerate(zip(call.shape, widened(rep, len(call.shape)).axes, strict=True)):
        old = prod(term.size for term in axis)
        if old == 0 or size % old:
            raise Conflict(f"{old} entries repeated to {size}")
        # The axis is copies x entries: repeat lays whole tensors one behind the other, so that copies change slowest.
        axes.append((*copies(call, position, size // old), *axis))
    return SymbolicRepresentation(tuple(axes), rep.sign)


def copies(call: Call, name: object, size: int) -> Axis:
    """An axis of copies of one thing, which may be permuted at will: readers say how."""
    # An unknown of this place in the graph is the same at every run. Outside a graph nobody could decide on it.
    if call.key and size > 1:
        return call.solver.unknown_at(call.at(name), size)
    return trivial(size)


@rule("flip roll", "`a -> a'`: the same mirror seen in the new order", Layout())
@keeps_one_number
def flip(call: Call) -> Answer:
    """The entries of an axis in reversed or rotated order. Raises Conflict where a flattened tensor is rotated."""
    rep = call.source
    dims = call.axes(call["dims"], len(rep.axes))
    if not dims:
        raise Conflict("a flattened tensor is rotated")
    for dim, shift in zip(dims, call.get("shifts", [None] * len(dims)), strict=True):
        # Entry k of the result is entry order[k]: the same T in the new order, which `pick` gives.
        entries = list(range(rep.shape[dim]))
        # `flip` has no shifts. Rolled by 1, (0, 1, 2, 3) becomes (3, 0, 1, 2): the first entry is number -1 modulo 4.
        if shift is None:
            order = entries[::-1]
        else:
            first = -shift % max(len(entries), 1)
            order = entries[first:] + entries[:first]
        rep = rep.with_axis(dim, call.solver.pick(rep.axes[dim], order))
    return rep
