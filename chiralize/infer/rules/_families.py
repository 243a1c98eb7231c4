"""Constructors for families of op rules, so that most ops are one line of data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chiralize.infer.products import element_product, equal_sum
from chiralize.infer.registry import Call, Operand, OpRule, Results, Sample, Uniform, demand_plain, register
from chiralize.infer.rules import _equation
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import SymbolicRepresentation

Samples = Sequence[Sample] | Mapping[str, Sequence[Sample]]


def rule(
    name: str,
    *targets: str,
    statement: str,
    samples: Samples,
    **rest: Any,
) -> Callable[[Callable[[Call], Results]], OpRule]:
    """Register the decorated function as the rule of the given overloads. rest: of the rule's fields."""

    def decorate(apply: Callable[[Call], Results]) -> OpRule:
        return register(OpRule(name, targets, statement, apply, spread(samples, targets), **rest))

    return decorate


def spread(samples: Samples, targets: Sequence[str]) -> Mapping[str, Sequence[Sample]]:
    """The same samples for every overload, unless they are given one by one."""
    return samples if isinstance(samples, Mapping) else dict.fromkeys(targets, samples)


def equation(
    name: str,
    *targets: str,
    names: Sequence[str],
    text: str,
    samples: Samples,
    bare: str = "",
    factors: Sequence[str] = (),
    incomplete: str = "",
    macs: Callable[[Call], int] | None = None,
) -> OpRule:
    """A rule that is an axis equation over the arguments called `names`.

    bare: the weaker equation that holds where the last of them is absent, or known to be zero (no bias).
    factors: the arguments of which it is a product, with the last of all added to it if there is a bare equation.
    """

    def apply(call: Call) -> Results:
        if vanishes(call, factors, names[-1] if bare else ""):
            return Uniform(call.shape, True)
        return apply_equation(call, names, text, bare)

    statement = f"`{text}`" + (f"; without {names[-1]} `{bare}`" if bare else "")
    return register(OpRule(name, targets, statement, apply, spread(samples, targets), incomplete, macs))


def apply_equation(call: Call, names: Sequence[str], text: str, bare: str = "") -> Results:
    """The constraints of an equation on a call; absent arguments drop out of it. Other outputs are no part of it."""
    given = [call.get(name) for name in names]
    if bare:
        given[-1] = unless_zero(given[-1])
    chosen = bare if bare and given[-1] is None else text
    parsed = _equation.parse(chosen)
    present = [
        (pattern, operand) for pattern, operand in zip(parsed.inputs, given, strict=False) if operand is not None
    ]
    reduced = _equation.Equation(parsed.text, tuple(pattern for pattern, _ in present), parsed.outputs)
    outputs = _equation.apply(reduced, [operand for _, operand in present], call)
    return outputs[0] if len(call.shapes) == 1 else (*outputs, *[None] * (len(call.shapes) - len(outputs)))


def vanishes(call: Call, factors: Sequence[str], added: str) -> bool:
    """Whether a product is zero, since one of its factors is and nothing is added to it."""
    return unless_zero(call.get(added)) is None and any(tensor(call[name]).zero for name in factors)


def unless_zero(operand: Operand | None) -> Operand | None:
    """A tensor that is added; None where it holds nothing but zeros, which fit anything."""
    return None if operand is not None and operand.zero else operand


_PARITIES = {"odd": "`... -> ...` (odd)", "even": "`c -> |c|` (even)", "plain": "`+... -> +...`"}


# ---- pointwise ----------------------------------------------------------------------------------------------------
def odd(call: Call) -> SymbolicRepresentation:
    """f(-x) = -f(x): any representation passes."""
    return call.operands[0].rep


def even(call: Call) -> SymbolicRepresentation:
    """f(-x) = f(x): signs are lost."""
    return even_of(call.operands[0], call.solver)


def even_of(operand: Operand, solver: Solver) -> SymbolicRepresentation:
    """The representation of an operand without its signs."""
    return SymbolicRepresentation(tuple(solver.absolute(axis) for axis in solver.representation(operand.rep).axes))


def plain(call: Call) -> SymbolicRepresentation:
    """Neither: no entry may carry a sign."""
    return plain_of(call.operands[0], call)


def plain_of(operand: Operand, call: Call) -> SymbolicRepresentation:
    """The representation of an operand, of which no entry may carry a sign. Raises Conflict."""
    rep = call.solver.representation(operand.rep)
    demand_plain(rep, call)
    return rep


def pointwise(
    parity: Callable[[Call], SymbolicRepresentation],
    name: str,
    *targets: str,
    samples: Samples,
    **rest: Any,
) -> OpRule:
    """A function applied entry by entry, of the given parity (`odd`, `even` or `plain`). rest: of the rule's fields."""
    return register(OpRule(name, targets, _PARITIES[parity.__name__], parity, spread(samples, targets), **rest))


def summed(call: Call) -> SymbolicRepresentation:
    """Tensors that are added: equal representations; a number added demands that nothing carries a sign."""
    operands = call.operands
    rep = equal_sum(operands, call.shape, call.solver)
    if len(operands) == 1 and _adds_number(call):
        demand_plain(call.solver.representation(rep), call)
    return rep


def _adds_number(call: Call) -> bool:
    return any(
        isinstance(value, (int, float, complex)) and value != 0
        for key, value in call.arguments.items()
        if key != "alpha"
    )


def multiplied(call: Call) -> SymbolicRepresentation:
    """Tensors that are multiplied: permutations agree, signs multiply; a number changes nothing."""
    return element_product(call.operands, call.shape, call.solver)


def joint_plain(call: Call) -> SymbolicRepresentation:
    """A function of several tensors, entry by entry, neither odd nor even: equal and without signs."""
    rep = call.solver.representation(equal_sum(call.operands, call.shape, call.solver))
    demand_plain(rep, call)
    return rep


def tensor(value: Any) -> Operand:
    """The argument as a tensor operand."""
    assert isinstance(value, Operand)
    return value
