"""How is a rule written down in one line?

    layer("linear", "input weight bias", "+... i, o i, o -> +... o", bare="... i, o i -> ... o", trait=...)

The names are arguments of the op, the equation is one of `_equation`. A bias that is absent or holds nothing but zeros
adds nothing, and forbids no signs: then the weaker equation `bare` holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.graph.traits import Trait
from chiralize.infer.rule import Answer, Call, Operand, Uniform, rule
from chiralize.infer.rules import _equation
from chiralize.infer.symbolic import Conflict


def layer(
    ops: str,
    names: str,
    text: str,
    *,
    bare: str = "",
    factors: str = "",
    trait: Trait | None = None,
) -> None:
    """Register ops whose rule is an axis equation over the arguments called `names`.

    bare, factors: as in `equation`.
    """
    statement = f"`{text}`; without bias `{bare}`" if bare else f"`{text}`"

    @rule(ops, statement, trait)
    def _apply(call: Call) -> Answer:
        """The constraints of the equation."""
        return equation(call, names, text, bare=bare, factors=factors)


def equation(call: Call, names: str, text: str, *, bare: str = "", factors: str = "") -> Answer:
    """The constraints of an axis equation over the arguments called `names`; absent ones drop out of it.

    bare: the weaker equation that holds where the last of them is absent, or known to be zero (no bias).
    factors: the arguments of which it is a product, with the last of all added to it if there is a bare equation.
    Raises Conflict and Wait.
    """
    operands = [call.get(name) for name in names.split()]
    if bare:
        operands[-1] = unless_zero(operands[-1])
    added = operands[-1] if bare else None
    if added is None and any(tensor(call[name]).zero for name in factors.split()):
        return Uniform(call.shape, True)
    return call.first(*_equation.apply(bare if bare and added is None else text, operands, call))


def unless_zero(operand: Operand | None) -> Operand | None:
    """A tensor that is added; None where it holds nothing but zeros, which fit anything."""
    if operand is not None and operand.zero:
        return None
    return operand


def tensor(value: object) -> Operand:
    """The argument as a tensor operand."""
    assert isinstance(value, Operand)
    return value


def per_axis(numbers: Sequence[int] | int, count: int) -> list[int]:
    """An option as a number for each of `count` axes; one number holds for all."""
    listed = list(numbers) if isinstance(numbers, Sequence) else [numbers]
    if len(listed) == 1:
        return listed * count
    return listed


def demand_eval(call: Call, switch: str, remedy: str) -> None:
    """Whether the argument `switch` leaves out what is random or depends on the batch. Raises Conflict where not."""
    if call.get(switch, False):
        raise Conflict(remedy)
