"""Mirrors that commute: their orbits, what commutes with them, and projections that do not disturb each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chiralize.errors import NotAnInvolutionError, RepresentationSizeError
from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.orbits import Orbits, entry_apart, invariants, product
from chiralize.symmetry.representation import Representation, TensorRepresentation

LAWS = settings(max_examples=40, deadline=None)


@st.composite
def commuting(draw: st.DrawFn, count: int = 2) -> list[SignedPermutation]:
    """Signed involutions that commute, of one size, without a word of the package: a group acts on orbits G / H with a
    character, entries are shuffled, and signs changed by a diagonal that is the same for all.
    """
    blocks: list[list[np.ndarray]] = []
    for _ in range(draw(st.integers(1, 4))):
        moves = [draw(st.booleans()) for _ in range(count)]
        free = [number for number, moved in enumerate(moves) if moved]
        size = 2 ** len(free)
        matrices = []
        for number in range(count):
            matrix = np.zeros((size, size))
            bit = 1 << free.index(number) if number in free else 0
            sign = 1 if number in free else draw(st.sampled_from([1, -1]))
            for entry in range(size):
                matrix[entry ^ bit, entry] = sign
            matrices.append(matrix)
        if len(free) > 1 and draw(st.booleans()):  # two mirrors that do the same here
            matrices[free[1]] = matrices[free[0]].copy()
        blocks.append(matrices)
    size = sum(len(matrices[0]) for matrices in blocks)
    order = np.array(draw(st.permutations(range(size))))
    signs = np.array(draw(st.lists(st.sampled_from([1, -1]), min_size=size, max_size=size)))
    actions = []
    for number in range(count):
        whole = np.zeros((size, size))
        start = 0
        for matrices in blocks:
            stop = start + len(matrices[number])
            whole[start:stop, start:stop] = matrices[number]
            start = stop
        whole = (signs[:, None] * whole * signs[None, :])[order][:, order]
        partner = np.abs(whole).argmax(1)
        actions.append(SignedPermutation(partner, whole[np.arange(size), partner].astype(int)))
    return actions


@given(commuting())
@LAWS
def test_the_order_of_commuting_mirrors_does_not_matter(mirrors: list[SignedPermutation]) -> None:
    first, second = mirrors
    assert entry_apart(first, second) is None
    both = product(first, second)
    assert np.array_equal(both.matrix(), first.matrix() @ second.matrix())
    assert np.array_equal(both.matrix(), second.matrix() @ first.matrix())


@given(commuting(), commuting())
@LAWS
def test_projections_do_not_disturb_each_other(out: list[SignedPermutation], into: list[SignedPermutation]) -> None:
    """P_A P_B = P_B P_A bit for bit, and the result is left alone by A, by B and by A B."""
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(out[0].size, into[0].size)))
    reps = [TensorRepresentation((Representation.of(o), Representation.of(i))) for o, i in zip(out, into, strict=True)]
    one = reynolds.project(reynolds.project(weight, reps[0]), reps[1])
    other = reynolds.project(reynolds.project(weight, reps[1]), reps[0])
    assert torch.allclose(one, other, rtol=0, atol=1e-15)
    for o, i in (*zip(out, into, strict=True), (product(*out), product(*into))):
        turned = torch.from_numpy(o.matrix() @ one.numpy() @ i.matrix())
        assert torch.equal(turned, one)
    singular = np.linalg.matrix_rank(_averaging(out, into))
    assert invariants(reps) == singular


def _averaging(out: list[SignedPermutation], into: list[SignedPermutation]) -> np.ndarray:
    """The projection onto what both mirrors leave alone, as a matrix on the entries of a weight."""
    size = out[0].size * into[0].size
    whole = np.eye(size)
    for o, i in zip(out, into, strict=True):
        whole = whole @ (np.eye(size) + np.kron(o.matrix(), i.matrix())) / 2
    return whole


@given(commuting(count=3))
@LAWS
def test_orbits_hold_every_entry_once(mirrors: list[SignedPermutation]) -> None:
    orbits = Orbits(mirrors[0].size, mirrors)
    entries: list[int] = []
    for kind in orbits.kinds:
        for way in kind.ways:
            entries += orbits.partner[way, kind.bases].tolist()
    assert sorted(entries) == list(range(orbits.size))


@given(commuting(), st.randoms(use_true_random=False))
@LAWS
def test_what_is_unfolded_commutes(mirrors: list[SignedPermutation], random: object) -> None:
    """Any involution of the orbits, in any way and with any signs, is a mirror that commutes with the others."""
    orbits = Orbits(mirrors[0].size, mirrors)
    rng = np.random.default_rng(random.randrange(1 << 30))  # type: ignore[attr-defined]
    chosen = []
    for kind in orbits.kinds:
        count = len(kind.bases)
        partner = np.arange(count)
        shuffled = rng.permutation(count)
        for left, right in zip(shuffled[::2], shuffled[1::2], strict=False):
            partner[left], partner[right] = right, left
        sign, way = rng.choice([-1, 1], count), rng.choice(kind.ways, count)
        sign, way = sign[np.minimum(partner, np.arange(count))], way[np.minimum(partner, np.arange(count))]
        chosen.append((kind, SignedPermutation(partner, sign), way))
    mirror = orbits.unfolded(chosen)
    for other in mirrors:
        assert entry_apart(mirror, other) is None


def test_mirrors_that_do_not_commute_are_found() -> None:
    swap, turn = SignedPermutation.of([(0, 1)], size=2), SignedPermutation.of(negated=[0], size=2)
    assert entry_apart(swap, turn) == 0
    with pytest.raises(NotAnInvolutionError, match="do not commute"):
        product(swap, turn)
    with pytest.raises(NotAnInvolutionError):
        Orbits(2, [swap, turn])
    with pytest.raises(RepresentationSizeError):
        entry_apart(swap, SignedPermutation.identity(3))


def test_characters_are_an_orthonormal_basis_of_free_orbits() -> None:
    left, front = SignedPermutation.halves(8), SignedPermutation.of([(0, 2), (1, 3), (4, 6), (5, 7)], size=8)
    orbits = Orbits(8, [left, front])
    (kind,) = orbits.kinds
    assert orbits.are_free
    rows = [orbits.character(kind.bases, number) for number in range(4)]
    basis = np.concatenate(rows)
    assert np.allclose(basis @ basis.T, np.eye(8))
    for number, part in enumerate(rows):
        assert np.allclose(part @ left.matrix(), part * (-1 if number & 1 else 1))
        assert np.allclose(part @ front.matrix(), part * (-1 if number & 2 else 1))
