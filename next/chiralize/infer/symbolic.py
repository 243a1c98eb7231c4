"""Representations that are not known yet: symbolic terms for the axes of a tensor.

An axis is a Kronecker product of terms, slowest first:

    Known(T)      a signed permutation
    Var(id, n)    an unknown involution on n entries (a hidden space, or a factor of one)
    Abs(var)      the unknown without its signs, |T|
    Sum(axes)     a direct sum: concatenated axes, or the gates of a recurrent cell, |H| + |H| + H + |H|

The empty product is an axis of size 1; a term of size 1 is a sign. A tensor is a `SymbolicRepresentation`: its axes and
an overall sign, 1, -1 or an `OpenSign`. `evaluate` turns it into numbers once every unknown has been given a value.

Inference writes these, and `infer/solver` solves equations between them. Of linear(8 -> 6) on flat poses, H unknown:

    weight "out in"     (Var(3, 6),), (Known(joints), Known(coords))        hidden units     (Var(3, 6),)
    behind abs          (Abs(Var(3, 6)),)                                   a single one     (), sign OpenSign({4})
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from math import prod
from types import MappingProxyType

import numpy as np

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation


class Wait(Exception):  # noqa: N818
    """Nothing can be said before something else is known: the rule is run again when more is."""


class Conflict(Exception):  # noqa: N818
    """Two demands on an axis cannot both hold. The text says which, for a message with the user's line.

    negated: the demand was "no signs", and some entries carry one.  site: whose demand it was, where that is known.
    """

    def __init__(self, reason: str, *, negated: bool = False, site: str = "") -> None:
        self.negated = negated
        self.site = site
        super().__init__(reason)


@dataclass(frozen=True)
class Known:
    """A signed permutation."""

    action: SignedPermutation

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.action.size


@dataclass(frozen=True)
class Var:
    """An unknown involution on `size` entries."""

    id: int
    size: int


@dataclass(frozen=True)
class Abs:
    """An unknown involution without its signs."""

    var: Var

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.var.size


@dataclass(frozen=True)
class Sum:
    """Direct sum of axes."""

    parts: tuple[Axis, ...]

    @property
    def size(self) -> int:
        """Number of entries of all parts together."""
        return sum(map(axis_size, self.parts))


@dataclass(frozen=True)
class OpenSign:
    """A product of unknown signs, and maybe -1: what a single entry of an unknown axis carries.

    unknowns: ids of unknowns of size 1. Comparing it with a number raises Wait: rules ask `sign < 0` before they go on,
    and inference then comes back to the op when more is known.
    """

    unknowns: frozenset[int]
    known: int = 1

    def __mul__(self, other: Sign) -> Sign:
        if isinstance(other, int):
            return OpenSign(self.unknowns, self.known * other)
        unknowns, known = self.unknowns ^ other.unknowns, self.known * other.known  # a sign twice is none
        if unknowns:
            return OpenSign(unknowns, known)
        return known

    __rmul__ = __mul__

    def __neg__(self) -> OpenSign:
        return OpenSign(self.unknowns, -self.known)

    def __lt__(self, other: int) -> bool:
        raise Wait("a sign that is not known yet")

    def __gt__(self, other: int) -> bool:
        raise Wait("a sign that is not known yet")


Sign = int | OpenSign
Term = Known | Var | Abs | Sum
Axis = tuple[Term, ...]
Assignment = Mapping[int, SignedPermutation]


@dataclass(frozen=True)
class SymbolicRepresentation:
    """How the mirror acts on a tensor, as far as it is known."""

    axes: tuple[Axis, ...]
    sign: Sign = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor that T acts on."""
        return tuple(map(axis_size, self.axes))

    @property
    def parity(self) -> int:
        """The overall sign as a number. Raises Wait before it is known."""
        if isinstance(self.sign, OpenSign):
            raise Wait("a sign that is not known yet")
        return self.sign

    def with_axis(self, index: int, axis: Axis) -> SymbolicRepresentation:
        """The same with one axis replaced."""
        axes = list(self.axes)
        axes[index] = axis
        return SymbolicRepresentation(tuple(axes), self.sign)


def axis_size(axis: Axis) -> int:
    """Number of entries of an axis."""
    return prod(term.size for term in axis)


@lru_cache(maxsize=4096)
def trivial(size: int) -> Axis:
    """The axis that the mirror leaves alone."""
    if size != 1:
        return (Known(SignedPermutation.identity(size)),)
    return ()


def known_axis(action: SignedPermutation) -> Axis:
    """An axis with the given action (a size-1 axis without sign is the empty product)."""
    if action.size == 1 and action.is_sign_free:
        return ()
    return (Known(action),)


def lower(representation: TensorRepresentation) -> SymbolicRepresentation:
    """A concrete representation as symbolic terms, its factors kept apart and lone signs pulled to the front."""
    sign = representation.sign
    axes: list[Axis] = []
    for axis in representation.axes:
        terms: list[Term] = []
        for factor in axis.factors:
            if factor.size == 1:
                sign *= int(factor.sign[0])
            else:
                terms.append(Known(factor))
        axes.append(tuple(terms))
    return SymbolicRepresentation(tuple(axes), sign)


def signed(axis: Axis, sign: Sign) -> Axis:
    """The axis times a sign."""
    signs = list[Term]()
    # unknown signs become unknowns of size 1, a known one a factor of one negated entry; sorted, so that equal axes
    # are written alike
    if isinstance(sign, OpenSign):
        signs += [Var(key, 1) for key in sorted(sign.unknowns)]
        sign = sign.known
    if sign < 0:
        signs.append(Known(-SignedPermutation.identity(1)))
    return (*signs, *axis)


def sign_of(term: Term) -> Sign:
    """The sign by which a term of size 1 multiplies its only entry."""
    match term:
        case Known(action):
            return int(action.sign[0])
        case Var(id=key):
            return OpenSign(frozenset({key}))
        case Abs():  # |T| of one entry
            return 1
        case Sum(parts):  # of size 1: of one part
            return prod(map(sign_of, parts[0]), start=1)


def bare(axis: Axis) -> tuple[Axis, Sign]:
    """The terms of an axis that are longer than 1, and the product of the signs that all others are."""
    terms = tuple(term for term in axis if term.size != 1)
    return terms, prod(sign_of(term) for term in axis if term.size == 1)


def variables(axes: Iterable[Axis]) -> Iterator[Var]:
    """Every unknown that occurs, in order, with repetitions."""
    for axis in axes:
        for term in axis:
            match term:
                case Var() | Abs():
                    yield var_of(term)
                case Sum(parts):
                    yield from variables(parts)
                case Known():
                    pass


def unknowns_in(axes: Iterable[Axis]) -> set[int]:
    """The numbers of the unknowns that occur."""
    return {var.id for var in variables(axes)}


def var_of(term: Var | Abs) -> Var:
    """The unknown of a term T or |T|."""
    return term if isinstance(term, Var) else term.var


def is_known(axis: Axis) -> bool:
    """True where no unknown occurs."""
    for term in axis:
        if type(term) is not Known and not (type(term) is Sum and all(map(is_known, term.parts))):
            return False
    return True


def part_ends(term: Term) -> list[int]:
    """Where the parts of a direct sum end; any other term is one part."""
    return [*accumulate(map(axis_size, term.parts))] if isinstance(term, Sum) else [term.size]


# ---- axes without unknowns -------------------------------------------------------------------------------------------
def action_of(axis: Axis, assignment: Assignment = MappingProxyType({})) -> SignedPermutation:
    """The signed permutation of a whole axis. Raises KeyError for an unknown without a value."""
    actions = [_term_action(term, assignment) for term in axis]
    if actions:
        return actions[0].kronecker(*actions[1:])
    return SignedPermutation.identity(1)


def _term_action(term: Term, assignment: Assignment) -> SignedPermutation:
    match term:
        case Known(action):
            return action
        case Var(id=key):
            return assignment[key]
        case Abs(var):
            return abs(assignment[var.id])
        case Sum(parts):
            actions = [action_of(part, assignment) for part in parts]
            return actions[0].direct_sum(*actions[1:])


def restricted(axis: Axis, entries: Sequence[int]) -> Axis:
    """A known axis on the chosen entries, in their order. Raises Conflict where they are not closed under the mirror.

    Of 3 entries with 0 and 1 exchanged, [1, 0] are closed and exchanged, [0, 2] are not: entry 0 goes to 1.
    """
    whole = action_of(axis)
    action = whole.restrict(entries)
    if action is not None:
        return known_axis(action)
    chosen = Counter(entries)
    inside = next(entry for entry in entries if chosen[int(whole.partner[entry])] != chosen[entry])
    partner = int(whole.partner[inside])
    raise Conflict(
        f"the choice of {len(entries)} out of {whole.size} entries is not closed under the mirror: "
        f"entry {inside} is in it {chosen[inside]} times, its partner {partner} {chosen[partner]} times"
    )


def difference(x: SignedPermutation, y: SignedPermutation) -> str:
    """The first entry at which two actions differ, in words."""
    entry = int(np.argmax((x.partner != y.partner) | (x.sign != y.sign)))
    ours, theirs = (f"{'-' if action.sign[entry] < 0 else ''}{int(action.partner[entry])}" for action in (x, y))
    return f"two different mirrors meet on an axis of {x.size} entries: entry {entry} goes to {ours} and to {theirs}"


def evaluate(representation: SymbolicRepresentation, assignment: Assignment) -> TensorRepresentation:
    """The concrete representation. Raises KeyError for an unknown without a value."""
    axes = list[Representation]()
    for axis in representation.axes:
        axes.append(Representation.of(*(_term_action(term, assignment) for term in axis)))
    sign = representation.sign
    if isinstance(sign, OpenSign):
        sign = sign.known * prod(int(assignment[key].sign[0]) for key in sign.unknowns)
    return TensorRepresentation(tuple(axes), sign)
