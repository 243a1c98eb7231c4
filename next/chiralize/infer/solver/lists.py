"""How do the positions of a constant list move when the entries that it names do?

Position k of a list L names entry L[k]. Where the mirror takes entry e to p(e), positions move by an involution q with

    L[q(k)] = p(L[k])

and carry the signs of the entries named. Where an entry is named several times there are several such q, and which is
right depends on who reads the result: x[children] - x[parents] needs the same q for both lists. So the positions are an
unknown that readers may bind; a value is checked against all lists that share it, and chosen to fit them all where no
reader decides.

With p = (1 2) and L = [0, 0, 1, 2], positions 2 and 3 are exchanged; positions 0 and 1, which both name entry 0, may
stay or be exchanged. If another list [3, 4, 5, 6] with p = (3 4)(5 6) is read beside it, they are exchanged.

Rules of indices, gathers and writes come here by `along` and `together`, and call `decided` at their end.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from chiralize.infer.solver.unify import Solver
from chiralize.infer.solver.unknowns import NOTES
from chiralize.infer.symbolic import Axis, Conflict, Wait, action_of, axis_size, is_known, known_axis
from chiralize.symmetry.involution import SignedPermutation

if TYPE_CHECKING:
    from chiralize.infer.rule import Call


@dataclass(frozen=True)
class Tie:
    """The demand of a list on its positions: position q(k) has the label `images[k]`, and k carries `signs[k]`.

    labels: what every position names, an entry or a tuple of entries.  wanted: a pairing to try first.
    axis: the positions, as an unknown that readers may bind.
    """

    axis: Axis
    labels: tuple[Hashable, ...]
    images: tuple[Hashable, ...]
    signs: tuple[int, ...]
    wanted: SignedPermutation | None = None

    def fits(self, action: SignedPermutation) -> bool:
        """Whether an action on the positions is one that the list allows."""
        partner = action.partner.tolist()
        return (
            len(partner) == len(self.labels)
            and all(self.labels[partner[k]] == image for k, image in enumerate(self.images))
            and tuple(action.sign.tolist()) == self.signs
        )


@dataclass(frozen=True)
class Part:
    """Entries that a list takes from an axis that is not known yet, and the unknown axis of its positions."""

    axis: Axis
    positions: Axis
    entries: tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """One list of one call, by a key that is the same at every run of the call's rule."""

    solver: Solver
    key: str

    @staticmethod
    def of(call: Call, name: str) -> Place:
        """A list of a call. name: tells several lists of one call apart."""
        return Place(call.solver, f"{call.key}[{name}]")

    def positions(self, size: int) -> Axis:
        """The unknown axis of the positions of the list."""
        return self.solver.positions(self.key, size)

    def tie(self, demand: Tie | Part) -> None:
        """Note what the list demands of its positions; rules that read what lists demand run again if that is new."""
        if self.solver.tied.get(self.key) != demand:
            self.solver.tied[self.key] = demand
            self.solver.watch.moved.add(NOTES)


def along(call: Call, axis: Axis, entries: Sequence[int], name: str = "list") -> Axis:
    """Positions of a constant list of entries of one axis. Raises Conflict where it is not closed under the mirror.

    name: tells several lists of one call apart.  Raises Wait for an empty list of an unknown axis.
    """
    solver = call.solver
    axis = solver.resolve(axis)
    size = axis_size(axis)
    chosen = [entry % size for entry in entries]
    # All entries in their order are the axis itself, known or not.
    if chosen == list(range(size)):
        return axis
    if not is_known(axis):
        return _of_unknown(call, axis, chosen, name)
    if len(set(chosen)) == len(chosen):
        return solver.pick(axis, chosen)
    action = action_of(axis)
    labels = np.array(chosen)
    # x[parents] has an entry for every joint, its parent: where partners have partners for parents, positions move as
    # the joints do. x - x[parents] needs that.
    fitting = len(chosen) == size and np.array_equal(labels[action.partner], action.partner[labels])
    wanted = abs(action) if fitting else None
    images, signs = action.partner[labels].tolist(), action.sign[labels].tolist()
    tie = Tie((), tuple(chosen), tuple(images), tuple(signs), wanted)
    return settled(call, tie, name, f"the choice of {len(chosen)} out of {size} entries")


def together(call: Call, axes: Sequence[Axis], lists: Sequence[Sequence[int]], name: str = "list") -> Axis:
    """Positions of lists that are read side by side, an entry of every axis for each. Raises Conflict.

    x[rows, columns]: position k names (rows[k], columns[k]), and its signs are the product of both.
    """
    solver, slot = call.solver, Place.of(call, name)
    resolved = [solver.resolve(axis) for axis in axes]
    unknown = [axis for axis in resolved if not is_known(axis)]
    # A part without entries teaches nothing of the axis. It makes `decided` wait until the axis is known.
    if unknown:
        positions = slot.positions(len(lists[0]))
        slot.tie(Part(unknown[0], positions, ()))
        return positions
    actions = [action_of(axis) for axis in resolved]
    rows: list[list[int]] = []
    images: list[list[int]] = []
    signs = np.ones(len(lists[0]), np.int64)
    for action, entries in zip(actions, lists, strict=True):
        row = np.array(entries, np.int64) % action.size
        rows.append(row.tolist())
        images.append(action.partner[row].tolist())
        signs = signs * action.sign[row]
    tie = Tie((), tuple(zip(*rows, strict=True)), tuple(zip(*images, strict=True)), tuple(signs.tolist()))
    return settled(call, tie, name, f"the choice of {len(tie.labels)} entries of {len(axes)} axes")


def decided(call: Call) -> None:
    """At the end of a rule: waits while positions of its lists are open (its results are known to readers by then).

    The first time it does not: only a rule that comes to its end hands its result, with the open positions, to readers.
    """
    solver, prefix = call.solver, f"{call.key}["
    solver.watch.seen.add(NOTES)
    for key, tie in solver.tied.items():
        if key.startswith(prefix) and not is_known(solver.resolve(tie.axis)):
            if key in solver.handed:
                raise Wait("a list of entries: nothing says yet which of them are partners")
            solver.handed.add(key)
            solver.watch.moved.add(NOTES)


def settled(call: Call, tie: Tie, name: str, words: str) -> Axis:
    """The positions of a list; an unknown while readers may still decide between several pairings.

    words: what the list is called in messages. Raises Conflict where no pairing fits.
    """
    solver, slot = call.solver, Place.of(call, name)
    only = _paired([tie])
    if only is None:
        raise Conflict(f"{words} is not closed under the mirror{_missing(tie)}")
    # Without repetitions there is just one pairing.
    if len(set(tie.labels)) == len(tie.labels):
        return known_axis(only)
    axis = slot.positions(len(tie.labels))
    slot.tie(replace(tie, axis=axis))
    # A reader has decided: that is taken, if the list allows it.
    if is_known(axis):
        if not tie.fits(action_of(axis)):
            raise Conflict(f"{words} is read with another mirror than the one that moves it")
        return axis
    # No reader has. Lists whose positions have become one unknown are paired together, or they could contradict.
    if solver.lists_choose:
        ties = [other for other in solver.tied.values() if isinstance(other, Tie)]
        shared = [other for other in ties if solver.resolve(other.axis) == axis]
        chosen = _paired(shared)
        if chosen is None:
            raise Conflict(f"{words} and another list are read side by side, and no mirror fits both")
        solver.equal(axis, known_axis(chosen))
        return solver.resolve(axis)
    return axis


def _of_unknown(call: Call, axis: Axis, chosen: Sequence[int], name: str) -> Axis:
    """A list of entries of an axis that is not known yet: other lists may cover the rest of its entries.

    Then the axis follows from their positions, once readers know these: h[[0, 2]] and h[[1, 3]] with exchanged
    positions say that h has the pairs (0 2) and (1 3). Returns the positions.
    """
    solver, slot = call.solver, Place.of(call, name)
    if not chosen:
        raise Wait("an index into an axis that is not known yet")
    positions = slot.positions(len(chosen))
    slot.tie(Part(axis, positions, tuple(chosen)))
    parts = [part for part in solver.tied.values() if isinstance(part, Part) and solver.resolve(part.axis) == axis]
    action = _learnt(parts, axis_size(axis), solver)
    if action is None:
        return positions
    solver.equal(axis, known_axis(action))
    return along(call, axis, chosen, name)


def _learnt(parts: Sequence[Part], size: int, solver: Solver) -> SignedPermutation | None:
    """The action on an axis of which every entry is in some list with known positions.

    As a last resort entries that no list takes are left alone.
    """
    partner, sign = np.full(size, -1, np.int64), np.ones(size, np.int64)  # -1: nothing is known of an entry
    for part in parts:
        positions = solver.resolve(part.positions)
        if is_known(positions) and part.entries:
            entries = np.array(part.entries)
            action = action_of(positions)
            partner[entries], sign[entries] = entries[action.partner], action.sign
    if solver.lists_choose and all(is_known(solver.resolve(part.positions)) for part in parts):
        partner = np.where(partner < 0, np.arange(size), partner)
    if (partner < 0).any():
        return None
    if not (np.array_equal(partner[partner], np.arange(size)) and np.array_equal(sign[partner], sign)):
        raise Conflict("lists of entries of one axis are read with mirrors that do not agree")
    return SignedPermutation(partner, sign)


def _paired(ties: Sequence[Tie]) -> SignedPermutation | None:
    """An action on the positions that every list allows: the copies of an entry go to those of its image, in order.

    ties: lists of one length, read side by side. None where no action fits them all.
    """
    # A position has one sign, whoever reads it.
    if len({tie.signs for tie in ties}) > 1:
        return None
    # A pairing that a list wants comes before copies in order, if all other lists allow it.
    for tie in ties:
        if tie.wanted is not None:
            action = SignedPermutation(tie.wanted.partner, np.array(tie.signs))
            if all(other.fits(action) for other in ties):
                return action
    # Positions that have the same labels in all lists are copies of each other. The copies of a label go to those of
    # its image, the first to the first and so on, so there have to be as many.
    labels = list(zip(*(tie.labels for tie in ties), strict=True))
    images = list(zip(*(tie.images for tie in ties), strict=True))
    positions: dict[Hashable, list[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(label, []).append(position)
    partner = np.empty(len(labels), np.int64)
    for copies in positions.values():
        images_of_copies = positions.get(images[copies[0]], [])
        if len(images_of_copies) != len(copies) or len({images[position] for position in copies}) > 1:
            return None
        partner[copies] = images_of_copies
    signs = np.array(ties[0].signs)
    if not (np.array_equal(partner[partner], np.arange(len(labels))) and np.array_equal(signs[partner], signs)):
        return None
    return SignedPermutation(partner, signs)


def _missing(tie: Tie) -> str:
    """Which entry lacks its partner, in words."""
    for label, image in zip(tie.labels, tie.images, strict=True):
        count, count_of_image = tie.labels.count(label), tie.labels.count(image)
        if count != count_of_image:
            return f": entry {label} is in it {count} times, its partner {image} {count_of_image} times"
    return ""
