"""Constructors for families of op rules, so that most ops are one line of data.

pointwise(odd, "tanh-like", "tanh sin neg", sample(normal(3, 4)))      three ops by their parity
@rule(...) @op(...) def f(call): ...                                   any other rule
apply_equation(call, ("input", "weight"), "... i, o i -> ... o")       the body of a rule that is an equation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chiralize.graph.traits import Pointwise, Trait
from chiralize.infer.products import equal_sum
from chiralize.infer.registry import Call, Operand, OpRule, Result, Results, Sample, Uniform, demand_plain, register
from chiralize.infer.rules import _equation
from chiralize.infer.solver.unify import Solver
from chiralize.symmetry.symbolic import SymbolicRepresentation

Apply = Callable[[Call], Results]


@dataclass(frozen=True)
class Sampled:
    """A function with the overloads whose rule it is, each with the calls that the oracle tries.

    incomplete: why correct pairs of representations are refused, where the oracle finds some.
    traits: by overload, what kind of op it is.
    """

    apply: Apply
    samples: Mapping[str, Sequence[Sample]]
    incomplete: str = ""
    traits: Mapping[str, Trait] = field(default_factory=dict)


def op(names: str, *samples: Sample, trait: Trait | None = None) -> Callable[[Apply | Sampled], Sampled]:
    """Say which ops the function below is the rule of, with samples; `rule` stands above all of these.

    names: overloads without "aten.", between spaces; one without a dot is the overload called `default`.
    trait: what kind of op they are, for all that walks through graphs; without samples the line says no more.
    """

    def decorate(function: Apply | Sampled) -> Sampled:
        """The function with these samples before those that it has already."""
        sampled = function if isinstance(function, Sampled) else Sampled(function, {})
        given = overloads(names)
        if trait is not None:
            sampled = replace(sampled, traits={**sampled.traits, **dict.fromkeys(given, trait)})
        if not samples:
            return sampled
        # Decorators run from the bottom up: samples of lines above come before those of lines below.
        rows = {name: (*samples, *sampled.samples.get(name, ())) for name in given}
        others = {name: row for name, row in sampled.samples.items() if name not in rows}
        return replace(sampled, samples={**rows, **others})

    return decorate


def incomplete(reason: str) -> Callable[[Sampled], Sampled]:
    """Say why the rule refuses correct pairs of representations; stands between `rule` and `op`."""
    return lambda sampled: replace(sampled, incomplete=reason)


def overloads(names: str) -> tuple[str, ...]:
    """The full names of overloads: `add.Tensor tanh` are `aten.add.Tensor` and `aten.tanh.default`."""
    full: list[str] = []
    for name in names.split():
        full.append(f"aten.{name}" if "." in name else f"aten.{name}.default")
    return tuple(full)


def rule(name: str, statement: str, trait: Trait | None = None, **fields: Any) -> Callable[[Sampled], OpRule]:
    """Register the function below, with the ops that `op` gives it.

    trait: of ops that `op` gives none.  fields: further ones of the rule.
    """

    def decorate(sampled: Sampled) -> OpRule:
        """The rule in the table."""
        samples = sampled.samples
        traits = dict.fromkeys(samples, trait) if trait is not None else {}
        traits |= sampled.traits
        return register(
            OpRule(name, tuple(samples), statement, sampled.apply, samples, sampled.incomplete, **fields, traits=traits)
        )

    return decorate


def apply_equation(call: Call, names: Sequence[str], text: str, bare: str = "", factors: Sequence[str] = ()) -> Results:
    """The constraints of an axis equation over the arguments called `names`; absent ones drop out of it.

    bare: the weaker equation that holds where the last of them is absent, or known to be zero (no bias).
    factors: the arguments of which it is a product, with the last of all added to it if there is a bare equation.
    """
    if vanishes(call, factors, names[-1] if bare else ""):
        return Uniform(call.shape, True)
    # A bias of zeros is as good as none, and forbids no signs.
    given = [call.get(name) for name in names]
    if bare:
        given[-1] = unless_zero(given[-1])
    parsed = _equation.parse(bare if bare and given[-1] is None else text)
    # Arguments that are absent take their pattern with them: a norm without weights, a linear layer without bias.
    patterns: list[_equation.Pattern] = []
    operands: list[Operand] = []
    for pattern, operand in zip(parsed.inputs, given, strict=False):
        if operand is not None:
            patterns.append(pattern)
            operands.append(operand)
    reduced = _equation.Equation(parsed.text, tuple(patterns), parsed.outputs)
    outputs = _equation.apply(reduced, operands, call)
    return first_outputs(call, *outputs)


def first_outputs(call: Call, *outputs: Result) -> Results:
    """A rule's answer that says nothing of the outputs behind `outputs`."""
    if len(call.shapes) == 1:
        return outputs[0]
    return (*outputs, *[None] * (len(call.shapes) - len(outputs)))


def vanishes(call: Call, factors: Sequence[str], added: str) -> bool:
    """Whether a product is zero, since one of its factors is and nothing is added to it."""
    return unless_zero(call.get(added)) is None and any(tensor(call[name]).zero for name in factors)


def unless_zero(operand: Operand | None) -> Operand | None:
    """A tensor that is added; None where it holds nothing but zeros, which fit anything."""
    if operand is not None and operand.zero:
        return None
    return operand


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
    parity: Callable[[Call], SymbolicRepresentation], name: str, ops: str, *samples: Sample, **fields: Any
) -> OpRule:
    """A function applied entry by entry, of the given parity (`odd`, `even` or `plain`). fields: of the rule."""
    return rule(name, _PARITIES[parity.__name__], trait=Pointwise(), **fields)(op(ops, *samples)(parity))


def joint_plain(call: Call) -> SymbolicRepresentation:
    """A function of several tensors, entry by entry, neither odd nor even: equal and without signs."""
    rep = call.solver.representation(equal_sum(call.operands, call.shape, call.solver))
    demand_plain(rep, call)
    return rep


def representations(call: Call, *names: str) -> list[SymbolicRepresentation]:
    """How the tensor arguments called `names` transform, as far as is known by now; of all of them without names."""
    operands = [tensor(call[name]) for name in names] if names else call.operands
    return [call.solver.representation(operand.rep) for operand in operands]


def per_axis(numbers: Sequence[int] | int, count: int) -> list[int]:
    """An option as a number for each of `count` axes; one number holds for all."""
    listed = list(numbers) if isinstance(numbers, Sequence) else [numbers]
    if len(listed) == 1:
        return listed * count
    return listed


def tensor(value: Any) -> Operand:
    """The argument as a tensor operand."""
    assert isinstance(value, Operand)
    return value
