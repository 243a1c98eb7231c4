"""Values and weights of a network as those of its symmetric counterpart: T a'(x) = a'(T x) for any network."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from chiralize.infer.symbolic import Abs, Axis, Known, Sum, SymbolicRepresentation, Var, trivial
from chiralize.methods.reduce.lifting import Lifting, halves, matched, pairs_and_fixed
from chiralize.symmetry.involution import SignedPermutation
from tests.support.oracle import action_matrix, kronecker
from tests.support.small_body import normal, turned
from tests.support.strategies import involutions

HIDDEN = 5
POSE_T = SignedPermutation.of([(1, 3), (2, 4)], size=6).kronecker(SignedPermutation.of([], [0], size=2))


@st.composite
def liftings(draw: st.DrawFn, size: int = HIDDEN) -> Lifting:
    """What is kept of one space, key 0: some units in pairs and some alone, or all of them matched."""
    if draw(st.booleans()):
        return Lifting([matched(0, draw(involutions(size, size)))])
    order = draw(st.permutations(range(size)))
    pairs = draw(st.integers(1, size))
    fixed = draw(st.integers(0, size - pairs))
    return Lifting([pairs_and_fixed(0, size, order[:pairs], order[pairs : pairs + fixed])])


UNITS = Var(0, HIDDEN)
AXES: list[Axis] = [
    (UNITS,),
    (Abs(UNITS),),
    (Sum(((Abs(UNITS),), (UNITS,), (Abs(UNITS),))),),
    (UNITS, Known(halves(2))),
    (Known(SignedPermutation.of([(0, 2)], [1], size=3)), UNITS),
    trivial(4),
    (Known(POSE_T),),
]
REPRESENTATIONS = st.builds(
    lambda axes, sign: SymbolicRepresentation(tuple(axes), sign),
    st.lists(st.sampled_from(AXES), min_size=1, max_size=3),
    st.sampled_from([1, -1]),
)


def acted(lifting: Lifting, rep: SymbolicRepresentation, value: Tensor) -> Tensor:
    """T of the new tensor, as one matrix per axis."""
    new = lifting.representation(rep)
    for place, axis in enumerate(new.axes):
        matrix = torch.from_numpy(kronecker(*(action_matrix(factor) for factor in axis.factors)))
        value = torch.tensordot(matrix, value.movedim(place, 0), 1).movedim(0, place)
    return value * new.sign


@given(lifting=liftings(), rep=REPRESENTATIONS)
def test_values_turn_with_their_views(lifting: Lifting, rep: SymbolicRepresentation) -> None:
    """x and T x exchanged: the lifted value is acted on. What no hidden space occurs in stays the plain one."""
    plain, other = normal(*rep.shape, seed=1), normal(*rep.shape, seed=2)
    value = lifting.value(plain, other, rep)
    if not lifting.holds(rep):
        assert torch.equal(value, plain)
        return
    assert value.shape == lifting.representation(rep).shape
    torch.testing.assert_close(acted(lifting, rep, value), lifting.value(other, plain, rep), rtol=0, atol=1e-12)


@given(lifting=liftings(), rep=REPRESENTATIONS, readers=st.sets(st.integers(0, 2)))
def test_weights_are_invariant(lifting: Lifting, rep: SymbolicRepresentation, readers: set[int]) -> None:
    weight = lifting.weight(normal(*rep.shape, seed=3), rep, frozenset(readers))
    torch.testing.assert_close(acted(lifting, rep, weight), weight, rtol=0, atol=1e-12)


@given(order=st.permutations(range(HIDDEN)))
def test_all_units_in_pairs_are_the_flip_average(order: list[int]) -> None:
    """w2 relu(w1 x + b1) + b2 with lifted weights, T on poses written out; nothing is fitted."""
    lifting = Lifting([pairs_and_fixed(0, HIDDEN, order, [])])
    pose, units = (Known(POSE_T),), (UNITS,)
    shapes = (((units, pose), {1}), ((units,), set()), ((pose, units), {1}), ((pose,), set()))
    reps = [(SymbolicRepresentation(tuple(axes)), frozenset(readers)) for axes, readers in shapes]  # type: ignore[arg-type]
    plain = [normal(*rep.shape, seed=seed) for seed, (rep, _) in enumerate(reps)]
    lifted = [lifting.weight(weight, rep, readers) for weight, (rep, readers) in zip(plain, reps, strict=True)]

    def net(weights: list[Tensor], x: Tensor) -> Tensor:
        w1, b1, w2, b2 = weights
        return ((x.flatten(1) @ w1.T + b1).relu() @ w2.T + b2).unflatten(1, (6, 2))

    x = normal(7, 6, 2, seed=9)
    wanted = (net(plain, x) + turned(net(plain, turned(x)))) / 2
    torch.testing.assert_close(net(lifted, x), wanted, rtol=0, atol=1e-11)


def test_kept_units_do_what_they_did() -> None:
    """Pairs hold a(x) and a(T x); units alone hold the average of both; dropped ones are gone."""
    lifting = Lifting([pairs_and_fixed(0, HIDDEN, [3, 0], [4])])
    plain, other = normal(2, HIDDEN, seed=1), normal(2, HIDDEN, seed=2)
    value = lifting.value(plain, other, SymbolicRepresentation((trivial(2), (UNITS,))))
    wanted = torch.cat([plain[:, [3, 0]], other[:, [3, 0]], (plain + other)[:, [4]] / 2], 1)
    torch.testing.assert_close(value, wanted, rtol=0, atol=1e-14)


def test_matched_units_are_averaged_once() -> None:
    """However many spaces a value lies in; beside units that are doubled, and in what no space touches, too."""
    swap = halves(2)
    lifting = Lifting([matched(1, swap), matched(2, swap), pairs_and_fixed(0, HIDDEN, list(range(HIDDEN)), [])])
    first, second = (Var(1, 2),), (Var(2, 2),)
    plain, other = normal(2, 2, seed=1), normal(2, 2, seed=2)
    both = SymbolicRepresentation((first, second))
    torch.testing.assert_close(lifting.value(plain, other, both), (plain + other.flip(0, 1)) / 2, rtol=0, atol=1e-14)
    torch.testing.assert_close(lifting.weight(plain, both), (plain + plain.flip(0, 1)) / 2, rtol=0, atol=1e-14)
    plain, other = normal(2, 2 + HIDDEN, seed=1), normal(2, 2 + HIDDEN, seed=2)
    value = lifting.value(plain, other, SymbolicRepresentation((trivial(2), (Sum((first, (UNITS,))),))))
    wanted = torch.cat([(plain[:, :2] + other[:, [1, 0]]) / 2, plain[:, 2:], other[:, 2:]], 1)
    torch.testing.assert_close(value, wanted, rtol=0, atol=1e-14)
