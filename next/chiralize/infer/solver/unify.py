"""Which axes are equal, and up to which sign? Unification of symbolic axes: who must transform like whom.

The solver keeps one binding per unknown. `same` makes two axes equal, splitting products (views) and direct sums
(concatenations) as needed; `sign_free` and `trivial` state what a single axis must be. Constraints that cannot be
decided while something is unknown are left open: the rules are run again until nothing moves, and the last run, with
every unknown given a value, checks them all. So a binding is a choice, and soundness rests on that last run alone.

Signs. A factor of -1 may be moved freely between the axes of one tensor. `same` therefore returns the sign that is
left over after comparing, and lets an unknown absorb it where it can. Signs may be unknown, too: then they are tied by
`positive`, linear equations over the field of two elements.

Parts. A part of an axis has a representation of its own if the mirror takes the part to itself. So to cut an unknown
axis, for a slice or a concatenation, is a claim about the mirror.

Small cases, with H an unknown on 6 entries and swap = (0 1) on 2:

    same(H, A x B)            H is A x B, where A has 2 entries and B has 3
    same(H, A + B)            H is A + B, where A has 2 entries and B has 4: the mirror mixes no parts
    same(swap, -swap)         returns -1: equal up to a sign, for the caller to put somewhere
    same(H x B, C x D)        with C on 3 entries, D on 4: H is C x K for a new unknown K on 2, then K x B is D
    regroup([H], [2, 3])      a view of 6 entries as 2 x 3: H is A x B, [A, B] is returned
    cut(H, [2, 6])            the first 2 entries and the other 4: H is A + B, [A, B] is returned
    cut(A + B, [4, 6])        A on 2 entries, B on 4: an end inside B, which is C + D; [A + C, D] is returned
    cut(K x swap, [4, 8])     each of the 4 entries of K stands for two: K is cut at 2 and 4
    cut((0 3) (1 4), [3, 6])  Conflict: the mirror exchanges the halves
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import gcd

from chiralize.infer.solver.unknowns import NOTES, Unknowns
from chiralize.infer.symbolic import (
    Abs,
    Axis,
    Conflict,
    Known,
    OpenSign,
    Sign,
    Sum,
    Term,
    Var,
    Wait,
    action_of,
    axis_size,
    bare,
    difference,
    is_known,
    known_axis,
    part_ends,
    restricted,
    signed,
    var_of,
)
from chiralize.symmetry.involution import SignedPermutation


class Solver(Unknowns):
    """Equality of axes, axes as products of factors, and axes as sums of parts."""

    def positions(self, key: str, size: int) -> Axis:
        """The unknown axis of the positions of a list: what lists at other places say of it may count, too."""
        self.watch.seen.add(NOTES)
        return self.unknown_at(key, size, signed=True)

    # ---- defaults -----------------------------------------------------------------------------------------
    def default(self, axis: Axis, value: Axis) -> None:
        """Give an unknown a value for the case that nothing else decides on it; rules that know better come first."""
        self.defaults.append((axis, value))

    def take_defaults(self) -> None:
        """Give unknowns without a value their defaults, where they still can take them."""
        for axis, value in self.defaults:
            if not is_known(self.resolve(axis)):
                with suppress(Conflict, Wait):  # the rule itself will say where it refuses
                    self.same(axis, value)
        self.defaults = []

    # ---- equality -----------------------------------------------------------------------------------------
    def equal(self, left: Axis, right: Axis) -> None:
        """Make two axes equal, signs included. Raises Conflict where they cannot be."""
        if not self.positive(self.same(left, right)):
            raise Conflict("two axes that must agree differ by a sign", negated=True)

    def paired(self, left: Axis, right: Axis, key: str) -> Sign:
        """The sign by which two axes differ that meet. Raises Conflict where they cannot be equal up to a sign.

        Where one of them is not known, neither is the sign; it belongs to the place called `key`, if that has a name.
        """
        a, b = self.resolve(left), self.resolve(right)
        # Both known, or the same unknown: the sign can be read off, and nothing has to be left open.
        if not key or (is_known(a) and is_known(b)) or bare(a)[0] == bare(b)[0]:
            return self.same(a, b)
        # `same` by itself would let the unknown axis take a sign of 1 for granted, and a reader may show that it is -1.
        sign = self.sign_at(key)
        if not self.positive(self.same(a, b, sign)):
            raise Conflict("two axes that must agree differ by a sign", negated=True)
        return self.decided(sign)

    def same(self, left: Axis, right: Axis, sign: Sign = 1) -> Sign:
        """Make `left` equal to `sign` times `right`; returns the sign that no unknown could absorb.

        Raises Conflict where the axes cannot be equal up to a sign.
        """
        a, b = self.resolve(left), self.resolve(right)
        # Before anything is bound: an axis of 3 entries would else be split for one of 4 that can never fit.
        if axis_size(a) != axis_size(b):
            raise Conflict(f"axes of {axis_size(a)} and {axis_size(b)} entries")
        # Invariant: what is left of the first axis has to be `sign` times what is left of the second. Terms are
        # compared from the front, and taken away in pairs of the same size.
        while True:
            (a, one), (b, other) = bare(a), bare(b)
            sign = self.decided(sign * one * other)
            if not (a and b):
                break
            a, b = self._level(a, b)
            # An unknown that has just got its value may begin with a sign: the next round takes that out first.
            if 1 not in (a[0].size, b[0].size):
                sign = self._same_term(a[0], b[0], sign)
                a, b = a[1:], b[1:]
            a, b = self.resolve(a), self.resolve(b)
        if a or b:
            raise Conflict("axes are products of different sizes")
        return sign

    def _level(self, a: Axis, b: Axis) -> tuple[Axis, Axis]:
        """Both axes with a first term of the same size. Raises Conflict, Wait where the longer one does not split."""
        if a[0].size == b[0].size:
            return a, b
        # (2 x 3) and (3 x 2) have no factors in common and may be the same action all the same.
        if is_known(a) and is_known(b):
            return known_axis(action_of(a)) or a[:1], known_axis(action_of(b)) or b[:1]
        # The longer first term is the one that splits; the sides are exchanged back.
        if a[0].size < b[0].size:
            b, a = self._level(b, a)
            return a, b
        # A direct sum that fills its axis is compared part by part, with the other side cut at the same entries. To
        # write it as a product would demand that all its rows are the same.
        if isinstance(a[0], Sum) and is_known(b):
            if len(a) == 1:
                return a, known_axis(action_of(b))
            return tuple(self.split(a, b[0].size)) + a[1:], b
        return self.resolve(tuple(self.split(a, b[0].size)) + a[1:]), self.resolve(b)

    def _same_term(self, a: Term, b: Term, sign: Sign) -> Sign:
        """Make a term equal to `sign` times one of its size; returns the sign that is left over."""
        if a == b:
            return sign
        match a, b:
            case (Known(x), Known(y)):
                return self._same_known(x, y, sign)
            # T = s |T|: T carries no signs, and s belongs to something else.
            case (Var(), Abs(var)) | (Abs(var), Var()) if var in (a, b) and isinstance(sign, OpenSign):
                self.sign_free((var,))
                return sign
            # An unknown that lives for one run only must not become the value of one that stays.
            case (Var(), Var()) if b.id in self.passing:
                return self._bind_signed(b, a, sign)
            case (Var(), _):
                return self._bind_signed(a, b, sign)
            case (_, Var()):
                return self._bind_signed(b, a, sign)
            case (Sum(), Sum() | Known()) | (Known(), Sum()):
                return self._same_sums(a, b, sign)
            # |T| = A says nothing of the signs of T. That there are none is a guess, for the last resort.
            case (Abs(var), Known(x)) | (Known(x), Abs(var)) if x.is_sign_free:
                if not self.last_resort:
                    raise Wait("an axis without signs is known, and the signs of what it was made from are not")
                self.bind(var, (Known(x),))
                return sign
            case _:  # |T| against something: decided when T is known
                return sign

    def _same_known(self, x: SignedPermutation, y: SignedPermutation, sign: Sign) -> Sign:
        """The sign that is left over between two actions. Raises Conflict where they differ by more than a sign."""
        if x == y:
            return sign
        if x == -y:
            return -sign
        raise Conflict(difference(x, y), site=self._orderer(x, y))

    def _bind_signed(self, var: Var, term: Term, sign: Sign) -> Sign:
        """Give an unknown the value `sign` times a term, and return 1; or the term, and return the sign.

        An unknown absorbs a sign if it may carry one. A sign of -1 can be written only into a known term, so between
        two unknowns it waits; as a last resort it is left to the caller.
        """
        if sign != 1 and var.id not in self.demanded_sign_free:
            if isinstance(term, Known) or isinstance(sign, OpenSign):
                self.bind(var, times((term,), sign))
                return 1
            if not self.last_resort:
                raise Wait("two axes differ by a sign, and neither is known yet")
        self.bind(var, (term,))
        return sign

    def _same_sums(self, a: Term, b: Term, sign: Sign) -> Sign:
        """All parts differ by the same sign, which the known parts determine."""
        ends = sorted(set(part_ends(a)) | set(part_ends(b)))
        pairs = zip(self.cut((a,), ends), self.cut((b,), ends), strict=True)
        # Known parts first: an unknown part would absorb a sign, and hide that all others need one.
        first, *rest = sorted(pairs, key=_openness)
        left_over = self.same(*first, sign)
        for left, right in rest:
            if not self.positive(self.same(left, right, sign * left_over)):
                raise Conflict("parts of a concatenation differ by a sign", negated=True)
        return self.decided(left_over)

    # ---- products -----------------------------------------------------------------------------------------
    def split(self, terms: Sequence[Term], first: int) -> list[Term]:
        """Write the first term as (size `first`) x rest. Raises Conflict or Wait where that is impossible.

        Returns the factors in the place of this one term; callers add the terms behind it.
        """
        term = terms[0]
        # For all kinds of terms alike: 6 entries are no 4 x something.
        if term.size % first:
            raise Conflict(f"an axis of {term.size} entries does not split at {first}")
        match term:
            # A known action is looked at: (0 2) (1 3) on 4 entries is (0 1) x 1, and (0 3) is no product.
            case Known(action):
                factors = action.factor(first)
                if factors is None:
                    raise Conflict(f"the mirror on {term.size} entries is no product of {first} x {term.size // first}")
                return [Known(factors[0]), Known(factors[1])]
            # |T| of a product is the product of |A| and |B|, so the unknown under the bars is what splits.
            case Var() | Abs():
                var = var_of(term)
                parts = self.fresh(first) + self.fresh(var.size // first)
                self._pass_on(var, (parts,))
                self.bind(var, parts)
                return list(self.absolute(parts) if isinstance(term, Abs) else parts)
            case Sum():
                return self._split_sum(term, term.size // first)

    def _split_sum(self, term: Sum, rest: int) -> list[Term]:
        """A direct sum of rows of `rest` entries: every row is the same axis, up to signs and order of the rows.

        Parts of 4 and 6 entries as 5 rows of 2: the first part has 2 rows, the second 3, and the factor of 2 entries
        has to be the same in both. Returns the terms of (A + B) x row, A on 2 rows and B on 3.
        """
        # Every part consists of whole rows.
        if all(end % rest == 0 for end in part_ends(term)):
            blocks = list(term.parts)
        # Every row consists of whole parts: parts of 1, 1, 2 entries as rows of 2.
        elif set(range(rest, term.size, rest)) <= set(part_ends(term)):
            blocks = self.cut((term,), list(range(rest, term.size + 1, rest)))
        # Parts of 6 and 2 entries as rows of 4 are neither. Cut into four parts of 2 they are the latter, but to cut
        # them is a guess: the mirror may mix the entries of a part.
        elif self.last_resort and (common := gcd(rest, *part_ends(term))) > 1:
            finer = self.cut((term,), list(range(common, term.size + 1, common)))
            return self._split_sum(Sum(tuple(finer)), rest)
        else:
            raise Wait(f"a concatenation that ends at {part_ends(term)} is viewed as rows of {rest}")
        rows = [self.regroup([block], [axis_size(block) // rest, rest]) for block in blocks]
        heads: list[Axis] = []
        # All tails become the first one. The sign by which one differs belongs to the rows of its block.
        for head, tail in rows:
            heads.append(times(head, self.same(tail, rows[0][1])))
        return [*self.concatenate(heads), *self.resolve(rows[0][1])]

    def regroup(self, axes: Sequence[Axis], sizes: Sequence[int]) -> list[Axis]:
        """Lay the factors of some axes, in order, out over axes of new sizes (a view).

        Row-major order makes this possible: axes that stand side by side are one axis, the Kronecker product of all.
        Returns an axis for every size. Raises Conflict where a factor lies across a boundary, Wait while it may.
        """
        # One row of factors, the slowest first, from which new axes take as many as they have room for.
        queue = tuple(term for axis in axes for term in self.resolve(axis))
        out: list[Axis] = []
        for size in sizes:
            taken: Axis = ()
            while axis_size(taken) != size:
                queue = self._fit(self.resolve(queue), size // max(axis_size(taken), 1))
                taken, queue = (*taken, queue[0]), queue[1:]
            out.append(taken)
        # A sign of +1 may be left behind; anything else would be lost.
        for term in queue:
            if term.size != 1 or not isinstance(term, Known) or not term.action.is_sign_free:
                raise Conflict("a view leaves entries or a sign over")
        return out

    def _fit(self, queue: Axis, room: int) -> Axis:
        """The queue with a first term whose size divides `room`, the entries that the new axis has left."""
        if not queue:
            raise Conflict("a view changes the number of entries")
        size = queue[0].size
        # A term without entries fits anywhere; `room % 0` would be an error.
        if size == 0 or room % size == 0:
            return queue
        # A term of 6 entries for 4 that are left: the first 2 of it fit.
        common = gcd(size, room)
        if common > 1:
            return (*self.split(queue, common), *queue[1:])
        # A term of 3 for 2 that are left, with one of 2 behind it: as one term of 6 it may split the other way round.
        if len(queue) > 1 and isinstance(queue[0], Known) and isinstance(queue[1], Known):
            return self._fit((Known(queue[0].action.kronecker(queue[1].action)), *queue[2:]), room)
        if is_known(queue):
            raise Conflict(f"an axis of {size} entries is viewed across a boundary at {room}")
        raise Wait(f"an axis of {size} entries that is not known yet is viewed across a boundary at {room}")

    # ---- parts --------------------------------------------------------------------------------------------
    def cut(self, axis: Axis, ends: Sequence[int]) -> list[Axis]:
        """Write the axis as a direct sum with parts ending at `ends`. Raises Conflict where the mirror mixes parts.

        ends: ascending, the last one the size of the axis. Returns an axis for every part. Raises Wait while too little
        is known.
        """
        axis = self.resolve(axis)
        starts = [0, *ends[:-1]]
        # The whole axis is its only part: nothing is claimed of it, and nothing can be refused.
        if len(ends) == 1:
            return [axis]
        # Whether the mirror mixes the parts of a known axis can be seen: `restricted` refuses it.
        if is_known(axis):
            return [restricted(axis, range(*run)) for run in zip(starts, ends, strict=True)]
        # A sign of the whole, s (A + B), is s A + s B: it goes into every part.
        entries, sign = bare(axis)
        if len(entries) < len(axis):
            return [signed(part, sign) for part in self.cut(entries, ends)]
        # Of a product the first factor is cut: 4 x 3 entries that end at 6 are 2 rows of 3.
        lead, rest = axis[0], axis[1:]
        inner = axis_size(rest)
        if inner > 1:
            # An end inside a row would cut the other factor, which has to be the same in all rows.
            if any(end % inner for end in ends):
                raise Wait("a merged axis is cut inside a factor")
            rows = self.cut((lead,), [end // inner for end in ends])
            return [self.resolve(row + rest) for row in rows]
        match lead:
            case Var():
                return self._cut_var(lead, starts, ends)
            case Abs(var):
                return [self.absolute(part) for part in self._cut_var(var, starts, ends)]
            case Sum(parts):
                return self._cut_sum(parts, ends)
            case Known():  # not reached, since an axis of this term alone is known; all kinds of terms are listed
                return [restricted((lead,), range(*run)) for run in zip(starts, ends, strict=True)]

    def _cut_var(self, var: Var, starts: Sequence[int], ends: Sequence[int]) -> list[Axis]:
        """An unknown as a direct sum: that is a claim, that the mirror exchanges nothing between the parts.

        For parts of an ordinary hidden axis it is made at once. It is doubtful where single entries are read, or where
        the axis has as many entries as the body has joints: entry 3 may be a joint, and have a partner. Then it waits
        for the last resort, unless a repair says what the axis is (`likely`).
        """
        sizes = [end - start for start, end in zip(starts, ends, strict=True)]
        label = self.labels.get(var.id, "an unnamed axis")
        if 1 in sizes or var.size in self.exchanging:
            self.singles[label] = var.size
            # A repair says what the axis is, and it is bound as a whole: the next run cuts a known axis.
            likely = self.likely.get(label, ())
            if axis_size(likely) == var.size:
                self.bind(var, likely)
                self.watch.guessed = True
            if self.watch.guessed or not self.last_resort:
                raise Wait("a single entry of an unknown axis" if 1 in sizes else "a part of an unknown axis")
            # A guess without evidence, which the report names.
            if 1 in sizes:
                self.forced.append(label)
        # A single entry may be negated, which its readers decide. What fits anything fits without a sign, too.
        fits = var.id in self.passing
        parts: list[Axis] = []
        for size in sizes:
            parts.append(self.fresh(size) if size != 1 or fits else self.unknown_sign())
        self._pass_on(var, parts)
        self.bind(var, (Sum(tuple(parts)),))
        return [self.resolve(part) for part in parts]

    def _cut_sum(self, parts: Sequence[Axis], ends: Sequence[int]) -> list[Axis]:
        """A direct sum with parts that end elsewhere: parts are cut where one ends inside, and joined up to an end.

        Parts of 4 and 6 entries that are to end at 2, 4, 10 become 2, 2, 6. Parts of 2, 2, 6 that are to end at 4, 10
        become 4, 6.
        """
        out: list[Axis] = []
        pending: list[Axis] = []
        # Where the part begins, and how many entries the pieces have so far.
        start, stretched = 0, 0
        for part in parts:
            stop = start + axis_size(part)
            inside = [end for end in ends if start < end < stop]
            pieces = [part]
            if inside:
                pieces = self.cut(part, [end - start for end in [*inside, stop]])
            for piece in pieces:
                pending.append(piece)
                stretched += axis_size(piece)
                if stretched in ends:
                    out.append(self.concatenate(pending))
                    pending = []
            start = stop
        return out

    def pick(self, axis: Axis, entries: Sequence[int]) -> Axis:
        """The axis of the chosen entries. Raises Wait while unknown, Conflict where not closed under the mirror."""
        axis = self.resolve(axis)
        if not is_known(axis):
            raise Wait("an index into an axis that is not known yet")
        return restricted(axis, entries)


def _openness(pair: Iterable[Axis]) -> int:
    """How many of two axes are not known."""
    return sum(not is_known(axis) for axis in pair)


def times(axis: Axis, sign: Sign) -> Axis:
    """The axis times a sign. Raises Wait where an axis that is not known would be negated."""
    if isinstance(sign, OpenSign):
        return signed(axis, sign)
    if sign < 0 and not is_known(axis):
        raise Wait("a sign has to go into an axis that is not known yet")
    return negated(axis) if sign < 0 else axis


def negated(axis: Axis) -> Axis:
    """The same known axis with every sign changed."""
    if axis:
        return known_axis(-action_of(axis))
    return (Known(-SignedPermutation.identity(1)),)
