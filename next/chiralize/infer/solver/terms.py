"""What is said of an axis without solving anything: the ways in which a rule can fail, and terms without unknowns.

A rule that raises `Wait` is run again when more is known. One that raises `Conflict` ends the attempt, and
`records.refusal` makes of it the error that the user reads, at the line where the op stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from chiralize.infer.symbolic import Abs, Axis, Known, Sum, Term, Var, axis_size, known_axis, variables
from chiralize.infer.symbolic import Wait as Wait
from chiralize.symmetry.involution import SignedPermutation


class Conflict(Exception):  # noqa: N818
    """Two demands on an axis cannot both hold. The text says which, for a message with the user's line.

    negated: the demand was "no signs", and some entries carry one.  site: whose demand it was, where that is known.
    sized: an axis of another size would do.
    """

    def __init__(self, reason: str, *, negated: bool = False, site: str = "", sized: bool = False) -> None:
        self.negated = negated
        self.sized = sized
        self.site = site
        super().__init__(reason)


def product(axis: Axis) -> SignedPermutation:
    """The action on a whole axis without unknowns."""
    actions = [term.action for term in axis if isinstance(term, Known)]
    if actions:
        return actions[0].kronecker(*actions[1:])
    return SignedPermutation.identity(1)


def direct_sum(parts: Sequence[Axis]) -> SignedPermutation:
    """The action on a concatenation of axes without unknowns."""
    actions = [product(part) for part in parts]
    return actions[0].direct_sum(*actions[1:])


def unknowns_in(axes: Iterable[Axis]) -> set[int]:
    """The numbers of the unknowns that occur."""
    return {var.id for var in variables(axes)}


def var_of(term: Var | Abs) -> Var:
    """The unknown of a term T or |T|."""
    if isinstance(term, Var):
        return term
    return term.var


def part_ends(term: Term) -> list[int]:
    """Where the parts of a direct sum end; any other term is one part."""
    if not isinstance(term, Sum):
        return [term.size]
    ends, total = [], 0
    for part in term.parts:
        total += axis_size(part)
        ends.append(total)
    return ends


def restricted(axis: Axis, entries: Sequence[int]) -> Axis:
    """A known axis on the chosen entries, in their order. Raises Conflict where they are not closed under the mirror.

    Of 3 entries with 0 and 1 exchanged, [1, 0] are closed and exchanged, [0, 2] are not: entry 0 goes to 1.
    """
    whole = product(axis)
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
    ours, theirs = _image_of(entry, x), _image_of(entry, y)
    return f"two different mirrors meet on an axis of {x.size} entries: entry {entry} goes to {ours} and to {theirs}"


def _image_of(entry: int, action: SignedPermutation) -> str:
    """Where an entry goes, with the sign that it takes on: "5", "-5"."""
    sign = "-" if action.sign[entry] < 0 else ""
    return f"{sign}{int(action.partner[entry])}"
