"""Hypothesis strategies: signed involutions and representations."""

from __future__ import annotations

from hypothesis import strategies as st

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation


@st.composite
def involutions(draw: st.DrawFn, min_size: int = 1, max_size: int = 8, signed: bool = True) -> SignedPermutation:
    """A signed permutation that is an involution: an order of the entries, cut into pairs and fixed points."""
    size = draw(st.integers(min_size, max_size))
    order = draw(st.permutations(range(size)))
    count = draw(st.integers(0, size // 2))
    pairs = [(order[2 * k], order[2 * k + 1]) for k in range(count)]
    cycles = [*pairs, *((entry,) for entry in order[2 * count :])]
    signs = draw(st.lists(st.booleans() if signed else st.just(False), min_size=len(cycles), max_size=len(cycles)))
    negated = [entry for cycle, minus in zip(cycles, signs, strict=True) if minus for entry in cycle]
    return SignedPermutation.of(pairs, negated, size=size)


def representations(max_factors: int = 3, max_size: int = 4, signed: bool = True) -> st.SearchStrategy[Representation]:
    """A Kronecker product of a few involutions."""
    factors = st.lists(involutions(1, max_size, signed), min_size=1, max_size=max_factors)
    return factors.map(lambda chosen: Representation(tuple(chosen)))


def tensor_representations(max_axes: int = 3) -> st.SearchStrategy[TensorRepresentation]:
    """A representation per axis and an overall sign."""
    axes = st.lists(representations(2, 4), max_size=max_axes)
    return st.builds(lambda chosen, sign: TensorRepresentation(tuple(chosen), sign), axes, st.sampled_from([1, -1]))
