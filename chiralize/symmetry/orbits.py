"""Orbits of an axis under several mirrors that commute, and the mirrors that commute with all of them.

Let A1, A2, ... be signed involutions that commute. They generate a group of at most 2^k elements, each a signed
permutation and an involution. Its orbits are what one entry is taken to: {u, A u}, or {u} where A leaves it there.
A signed involution B commutes with all of them exactly where it takes whole orbits to whole orbits of the same kind:

    B u = e g v,   e = +-1, g in the group        then  B (h u) = e h g v  for every h,  and  B B = 1

The kind of an orbit is which elements leave its entries at their place, and with which sign. So B is an involution of
the orbits, with a sign and a way g for each: the search for hidden pairs goes on in the quotient.

On four entries with A = (0 1) and entry 3 negated there are three kinds: {0, 1} is moved, {2} stays, {3} stays with a
minus. With A = (0 1)(2 3) there is one, bases 0 and 2; the B that swap its orbits are (0 2)(1 3) and (0 3)(1 2), the
ways 0 and 1, each with either sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from chiralize.errors import NotAnInvolutionError, RepresentationSizeError
from chiralize.symmetry.involution import IntArray, SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation

Array = npt.NDArray[np.floating]


def product(first: SignedPermutation, second: SignedPermutation) -> SignedPermutation:
    """The first after the second, for two that commute. Raises NotAnInvolutionError where they do not."""
    apart = entry_apart(first, second)
    if apart is not None:
        facts = f"two mirrors do not commute at entry {apart}: one after the other, twice, is not the identity"
        raise NotAnInvolutionError("signed permutation", facts, "give mirrors that commute")
    return SignedPermutation(second.partner[first.partner], first.sign * second.sign[first.partner])


def entry_apart(first: SignedPermutation, second: SignedPermutation) -> int | None:
    """The first entry at which two signed permutations do not commute; None where they do.

    Raises RepresentationSizeError where they act on axes of different sizes.
    """
    if first.size != second.size:
        facts = f"mirrors of {first.size} and of {second.size} entries on one axis"
        raise RepresentationSizeError("signed permutation", facts, "match the sizes")
    # (A B x)[i] = s_A[i] s_B[A i] x[B A i], and the same with A and B exchanged
    one, other = second.partner[first.partner], first.partner[second.partner]
    sign, other_sign = first.sign * second.sign[first.partner], second.sign * first.sign[second.partner]
    apart = np.flatnonzero((one != other) | (sign != other_sign))
    if len(apart) == 0:
        return None
    return int(apart[0])


def invariants(representations: Sequence[TensorRepresentation]) -> float:
    """Dimension of the tensors that several commuting mirrors leave alone: the mean of their group's traces."""
    # overall signs of all group elements, in the order in which `Orbits` makes them: without mirror k, then with it
    signs = np.ones(1)
    for representation in representations:
        signs = np.concatenate([signs, representation.sign * signs])
    # the trace on a tensor is the product of those on its axes: the signs of the entries that stay at their place
    traces = signs
    for axes in zip(*(representation.axes for representation in representations), strict=True):
        orbits = Orbits(axes[0].size, [axis.action for axis in axes])
        traces = traces * (orbits.sign * (orbits.partner == np.arange(orbits.size))).sum(1)
    return float(traces.mean())


@dataclass(frozen=True, eq=False)
class Kind:
    """Orbits that are alike. bases: an entry of each.  ways: elements of the group, each of which takes the base to
    another entry, the identity first.
    """

    bases: IntArray
    ways: tuple[int, ...]


class Orbits:
    """The orbits of an axis under commuting mirrors. Elements of the group are numbers: bit k stands for mirror k.

    partner, sign: of every element, "element entry".

    Raises NotAnInvolutionError where the mirrors do not commute.
    """

    def __init__(self, size: int, mirrors: Sequence[SignedPermutation]) -> None:
        self.size, self.count = size, len(mirrors)
        # 1, A, then B, B A, ...: element number e has the mirrors whose bits are set, and e ^ f is their product
        elements = [SignedPermutation.identity(size)]
        for mirror in mirrors:
            elements += [product(mirror, element) for element in elements]
        self.partner = np.stack([element.partner for element in elements])
        self.sign = np.stack([element.sign for element in elements])

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        """Every kind of orbit, in the order of the entries."""
        # The base of an orbit is its smallest entry. The kind is which elements leave it there, and with which sign.
        bases = np.flatnonzero(self.partner.min(0) == np.arange(self.size))
        stays = np.where(self.partner[:, bases] == bases, self.sign[:, bases], 0)
        kinds: list[Kind] = []
        for stay in dict.fromkeys(map(tuple, stays.T.tolist())):
            members = bases[(stays.T == np.array(stay)).all(1)]
            # elements that take the base to one entry differ by one that leaves it there: the first of them is the way
            images = self.partner[:, members[0]].tolist()
            ways = tuple(way for way, image in enumerate(images) if image not in images[:way])
            kinds.append(Kind(members, ways))
        return tuple(kinds)

    @property
    def are_free(self) -> bool:
        """Whether every element but the identity moves every entry."""
        return all(len(kind.ways) == len(self.partner) for kind in self.kinds)

    def entries(self, bases: Sequence[int] | IntArray) -> list[int]:
        """The entries of free orbits: the bases, then the images of all of them, element by element."""
        return [int(entry) for row in self.partner for entry in row[np.asarray(bases, dtype=np.int64)]]

    def character(self, bases: IntArray, number: int) -> Array:
        """Rows of the isotypic basis, "orbit entry": of free orbits, on which mirror k acts as -1 if bit k is set."""
        rows = np.zeros((len(bases), self.size))
        for element in range(len(self.partner)):
            parity = -1 if bin(element & number).count("1") % 2 else 1
            rows[np.arange(len(bases)), self.partner[element, bases]] = parity * self.sign[element, bases]
        return rows / len(self.partner) ** 0.5

    # ---- mirrors that commute with all of them --------------------------------------------------------------
    def folded(self, kind: Kind, scores: Array) -> list[Array]:
        """How well orbits fit as each other's image, "orbit orbit", for every way in which they can be.

        scores: of entries, "entry entry", symmetric; they count with the signs of the group.
        """
        folded: list[Array] = []
        for way in kind.ways:
            total = np.zeros((len(kind.bases),) * 2)
            # B takes element e of one orbit to element e ^ way of the other: all of these pairs have to fit
            for element in kind.ways:
                other = element ^ way
                rows, columns = self.partner[element, kind.bases], self.partner[other, kind.bases]
                signs = np.outer(self.sign[element, kind.bases], self.sign[other, kind.bases])
                total += signs * scores[np.ix_(rows, columns)]
            folded.append(total)
        return folded

    def is_sign_free(self, kind: Kind, way: int) -> npt.NDArray[np.bool_]:
        """Whether to take one orbit to another in this way negates nothing, "orbit orbit"."""
        free = np.ones((len(kind.bases),) * 2, np.bool_)
        for element in kind.ways:
            signs = np.outer(self.sign[element, kind.bases], self.sign[element ^ way, kind.bases])
            free &= signs > 0
        return free

    def unfolded(self, chosen: Sequence[tuple[Kind, SignedPermutation, IntArray]]) -> SignedPermutation:
        """The mirror of the axis that takes orbits to orbits.

        chosen: for every kind an involution of its orbits, and the way of each (the same for both of a pair).
        """
        partner, sign = np.arange(self.size), np.ones(self.size, np.int64)
        for kind, action, ways in chosen:
            targets = kind.bases[action.partner]
            for element in kind.ways:
                at, other = self.partner[element, kind.bases], element ^ ways
                partner[at] = self.partner[other, targets]
                sign[at] = action.sign * self.sign[element, kind.bases] * self.sign[other, targets]
        return SignedPermutation(partner, sign)
