"""What the solver's parts share: the two ways in which a rule can fail, and terms without unknowns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Axis, Known, Sum, Term, axis_size, known_axis
from chiralize.symmetry.symbolic import Wait as Wait


class Conflict(Exception):  # noqa: N818
    """Two demands on an axis cannot both hold. The text says which, for a message with the user's line.

    negated: the demand was "no signs", and some entries carry one.  place: whose demand it was, where that is known.
    """

    def __init__(self, reason: str, *, negated: bool = False, place: str = "") -> None:
        self.negated = negated
        self.place = place
        super().__init__(reason)


def product(axis: Axis) -> SignedPermutation:
    """The action on a whole axis without unknowns."""
    actions = [term.action for term in axis if isinstance(term, Known)]
    return actions[0].kronecker(*actions[1:]) if actions else SignedPermutation.identity(1)


def direct_sum(parts: Sequence[Axis]) -> SignedPermutation:
    """The action on a concatenation of axes without unknowns."""
    actions = [product(part) for part in parts]
    return actions[0].direct_sum(*actions[1:])


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
    """A known axis on the chosen entries. Raises Conflict where they are not closed under the mirror."""
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
    """The first place where two actions differ, in words."""
    place = next(i for i in range(x.size) if int(x.partner[i]) != int(y.partner[i]) or int(x.sign[i]) != int(y.sign[i]))
    ours, theirs = (f"{'-' if t.sign[place] < 0 else ''}{int(t.partner[place])}" for t in (x, y))
    return f"two different mirrors meet on an axis of {x.size} entries: entry {place} goes to {ours} and to {theirs}"
