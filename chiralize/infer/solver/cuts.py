"""Axes cut into direct sums: slices, splits and concatenations.

A part of an axis has a representation of its own if the mirror takes the part to itself. So to cut an unknown axis is a
claim about the mirror. Of an axis of six entries, H unknown:

    cut(H, [2, 6])              H is A + B with A on 2 entries and B on 4; [A, B] is returned
    cut(A + B, [4, 6])          an end inside B: B is C + D, each on 2; the parts up to 4 are joined, [A + C, D]
    cut(K x (0 1), [4, 8])      each of the 4 entries of K stands for two: K is cut at 2 and 4
    cut((0 3) (1 4), [3, 6])    Conflict: the mirror exchanges the halves

`Solver` adds equality and products, whose terms are cut here before they are compared part by part.
"""

from __future__ import annotations

from collections.abc import Sequence

from chiralize.infer.solver.terms import Wait, restricted
from chiralize.infer.solver.unknowns import Unknowns
from chiralize.symmetry.symbolic import Abs, Axis, Known, Sum, Var, axis_size, bare, is_known, signed


class Cuts(Unknowns):
    """Unknown and known axes taken apart into parts that the mirror does not mix."""

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
                self.guessed = True
            if self.guessed or not self.last_resort:
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
