"""Axis equations: what is read, and where signs go."""

from __future__ import annotations

import pytest

from chiralize.infer.rule import Call, Operand
from chiralize.infer.rules._equation import Token, apply, parse
from chiralize.infer.solver.unify import Solver
from chiralize.infer.symbolic import Conflict, Known, SymbolicRepresentation, Wait, axis_size, trivial
from chiralize.symmetry.involution import SignedPermutation

SWAP = SignedPermutation.of([(0, 1)], size=2)
SIGNED = SignedPermutation.of(negated=[1], size=2)
LINEAR, NORM = "+... i, o i, o -> +... o", "+b c +..., |c|, c, c, |c| -> +b c +..."


def operand(*actions: SignedPermutation | None, sign: int = 1, solver: Solver | None = None) -> Operand:
    """Known axes; None is an unknown of size 2."""
    axes = tuple((Known(a),) if a is not None else (solver or Solver()).fresh(2) for a in actions)
    return Operand(SymbolicRepresentation(axes, sign))


def run(text: str, solver: Solver, *operands: Operand, shape: tuple[int, ...]) -> SymbolicRepresentation:
    return solver.representation(apply(text, operands, Call("test", {}, (shape,), solver))[0])


def test_tokens() -> None:
    equation = parse("+... i, |c|, 1k -> +o 1t")
    assert equation.inputs[0] == (Token("...", plus=True), Token("i"))
    assert equation.inputs[1] == (Token("c", absolute=True),)
    assert equation.inputs[2] == (Token("k", trivial=True),)
    assert equation.outputs[0] == (Token("o", plus=True), Token("t", trivial=True))
    assert equation.demands_plus
    assert not parse("a -> a").demands_plus


def test_letters_that_may_carry_a_sign_come_in_the_order_in_which_they_are_written() -> None:
    assert parse("a b c d -> d b +c a").signed == ["d", "b", "a"]
    assert parse(LINEAR).summed == {"i"}


@pytest.mark.parametrize("text", ["a b", "ab -> a", "a -> |a", "+ -> a", "a, ; -> a"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no '->'|not an axis"):
        parse(text)


def test_same_letter_ties_axes() -> None:
    solver = Solver()
    weight = operand(None, None, solver=solver)
    out = run("... i, o i -> ... o", solver, operand(SWAP, SIGNED), weight, shape=(2, 2))
    assert out.axes[0] == (Known(SWAP),)
    assert solver.resolve(weight.rep.axes[1]) == (Known(SIGNED),)


def test_plus_refuses_signs() -> None:
    with pytest.raises(Conflict) as caught:
        run("+... i -> +... i", Solver(), operand(SIGNED, SWAP), shape=(2, 2))
    assert caught.value.negated


def test_overall_sign_goes_into_the_summed_axis() -> None:
    solver = Solver()
    weight, bias = operand(None, None, solver=solver), operand(None, solver=solver)
    out = run(LINEAR, solver, operand(SWAP, SWAP, sign=-1), weight, bias, shape=(2, 2))
    assert out.sign == 1
    assert solver.resolve(weight.rep.axes[1]) == (Known(-SWAP),)


def test_overall_sign_waits_for_an_unknown_axis() -> None:
    solver = Solver()
    x = Operand(SymbolicRepresentation((solver.fresh(2),), -1))
    with pytest.raises(Wait):
        run(LINEAR, solver, x, operand(None, None, solver=solver), operand(None, solver=solver), shape=(2,))


def test_negated_weight_and_bias_negate_the_result() -> None:
    """Both are negated: their common sign is the result's, and does not cancel."""
    solver, x, weight = Solver(), operand(SWAP, SWAP), operand(SIGNED, SWAP, sign=-1)
    out = run(LINEAR, solver, x, weight, operand(-SIGNED), shape=(2, 2))
    assert out.sign == 1
    assert out.axes[1] == (Known(-SIGNED),)
    with pytest.raises(Conflict):
        run(LINEAR, Solver(), x, weight, operand(SIGNED), shape=(2, 2))


def test_statistics_may_not_differ_by_a_sign_each() -> None:
    """Mean and bias both negated: two wrongs make no right."""
    x, scale, shift = operand(SWAP, SIGNED), operand(abs(SIGNED)), operand(-SIGNED)
    with pytest.raises(Conflict):
        run(NORM, Solver(), x, scale, shift, shift, scale, shape=(2, 2))


def test_trivial_axis_and_new_size() -> None:
    x = Operand(SymbolicRepresentation(((Known(SWAP),), trivial(5))))
    assert axis_size(run("... 1t -> ... 1t", Solver(), x, shape=(2, 3)).axes[1]) == 3
    with pytest.raises(Conflict):
        run("... 1t -> ... 1t", Solver(), operand(SWAP, SWAP), shape=(2, 1))


def test_wrong_number_of_axes() -> None:
    for text, given in (("a b -> a b", operand(SWAP)), ("a -> a", operand(SWAP, SWAP))):
        with pytest.raises(Conflict):
            run(text, Solver(), given, shape=(2,))
