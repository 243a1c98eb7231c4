"""The search for a propagation that comes to rest: one plain attempt, and repairs where it is refused.

A rule that refuses may be right, or may have met what a guess made earlier has spoiled. So an attempt is repeated with
one more thing taken for granted, a `Repair`, and a repair stays if the attempt then comes further in the graph:

    x[:, :3] and x[:, 4:] are joined again     take the join as one list of the entries of x
    a bias along channels that change sign     let it be zero
    stack of branches with other weights       leave open which of them the mirror exchanges
    entry 5 of an unknown axis of 17           take the axis for the joints
    many signs that nothing decides            settle them one by one, since one may decide others

Each attempt is a whole `Propagation` from the start, since nothing is ever unbound. `Inference` runs the search when it
is made, and goes on with the last attempt, `now`. A repair may be wrong: the last run of all rules
(`Inference.finish`) finds that out, and refuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from chiralize.errors import NegatedChannelsError, NeverEquivariantError, UnsupportedError
from chiralize.infer.canonical import parts_joined_with, with_selections
from chiralize.infer.given import Known, Repair
from chiralize.infer.propagation import Propagation
from chiralize.infer.registry import Result
from chiralize.infer.spaces import added_weights
from chiralize.symmetry.symbolic import (
    Axis,
    SymbolicRepresentation,
    Var,
    is_known,
    known_axis,
    trivial,
    variables,
)

_TRIALS = 16
"""Of each kind of repair so many are tried after a refusal, those nearest to the op that refused."""
_MOST_ATTEMPTS = 300
"""Propagations for one network; networks of the field take one to five. Over 600 ops each takes a tenth of a second."""


def described(outputs: Iterable[Result]) -> Iterator[SymbolicRepresentation]:
    """The outputs of an op of which a rule says how they transform."""
    return (output for output in outputs if isinstance(output, SymbolicRepresentation))


class Search:
    """Attempts on one network, of which `now` is the last that was not taken back.

    positions: where each node stands in the graph as it was captured.  attempts: propagations so far.
    """

    now: Propagation

    def __init__(self, known: Known) -> None:
        self.known = known
        self.captured = known.captured
        self.attempts = 0
        self.positions = {node.name: position for position, node in enumerate(self.captured.nodes)}

    def search(self) -> None:
        """Propagate. Where that fails, try the repairs that let the propagation get further.

        Raises the refusal of the plain attempt where nothing helps: errors of repairs speak of guesses that the user
        never made.
        """
        repair = Repair(self._zero_already())
        first = self._refusal_with(repair)
        # Usually the plain attempt is not refused, and nothing is repaired.
        if first is not None:
            repair = self._repaired(repair, first)
        self._open_waiting(repair)
        self._leave_unread()

    def _repaired(self, repair: Repair, first: UnsupportedError) -> Repair:
        """The repairs with which a propagation is not refused. Raises `first` where none helps.

        first: the refusal of the plain attempt.  A repair that helps stays, and the next ones are tried on top of it.
        """
        refusal: UnsupportedError | None = first
        reached = self._reached()
        while refusal is not None:
            for trial in self._repairs(refusal, repair):
                if self.attempts >= _MOST_ATTEMPTS:
                    first.facts += f" (the search for repairs ended after {self.attempts} attempts)"
                    raise first
                refusal = self._refusal_with(trial)
                more = self._reached() - reached
                # To take axes for the joints is progress even where it comes no further: the attempt may meet more
                # axes of that kind, and all of them are needed. There are finitely many, so the search ends.
                if refusal is None or more > 0 or (more == 0 and trial.singles != repair.singles):
                    repair, reached = trial, self._reached()
                    break
            else:
                raise first
        return repair

    def _leave_unread(self) -> None:
        """Runs of an axis that one weight alone has and no value computed from inputs carries, such as positions beyond
        the example's length, are no hidden space: T leaves them alone, and longer inputs read them as they read others.
        What a rule still waits for may be carried later.
        """
        # A waiting rule may still carry such an axis to a value.
        if self.now.waiting:
            return
        # Unknowns that occur once in all weights, and in no value that depends on the inputs.
        weights = Counter[Var]()
        for leaf in self.captured.weights:
            weights.update(self._unknown(self.now.leaves[leaf.name]))
        carried: set[Var] = set()
        for name, outputs in self.now.nodes.items():
            # A slice of a table of positions is a value, too, and says no more of the axis than the table does.
            if name not in self.now.captured.fixed:
                carried.update(*map(self._unknown, described(outputs)))
        for var, count in weights.items():
            # One that occurs in two weights ties them to each other: the unit that one writes, the other reads.
            if count == 1 and var.size > 1 and var not in carried:
                self.now.solver.bind(var, trivial(var.size))

    def _unknown(self, rep: SymbolicRepresentation) -> Iterator[Var]:
        """The unknowns of a representation, each as often as it occurs."""
        for axis in rep.axes:
            yield from variables((self.now.solver.resolve(axis),))

    def _open_waiting(self, repair: Repair) -> None:
        """Leave open the joins of exchanged branches that still wait for their parts: later ops may determine the
        whole.

        Where they do not, the whole is taken to be the joints, in the orders in which readers take its entries. An
        attempt counts if it is not refused and the whole is known after it; else what was before is restored.
        """
        tried: set[str] = set()
        while names := [name for name in self.now.waiting_joints if name not in tried]:
            if self.attempts >= _MOST_ATTEMPTS:
                return  # an op that still waits is refused at its own line
            before, name = self.now, names[0]
            tried.add(name)
            # Without a guess first: what later ops say of the whole is no guess.
            for whole in (None, *islice(before.likely_wholes(name), _TRIALS)):
                wholes = repair.wholes if whole is None else {**repair.wholes, name: whole}
                trial = replace(repair, joints=(*repair.joints, name), wholes=wholes)
                refusal = self._refusal_with(trial)
                if refusal is None and is_known(self.now.solver.resolve(self.now.wholes[name])):
                    repair = trial
                    break
                self.now = before

    def _reached(self) -> int:
        """How far the propagation came, counted in the graph as it was captured.

        Repairs change the graph (`with_selections` drops nodes), so positions in it cannot be compared. Outputs are
        counted behind all nodes.
        """
        behind_nodes = self.now.index - len(self.now.captured.nodes)
        # The index of the propagation runs over nodes and then over outputs.
        if behind_nodes < 0:
            return self.positions[self.now.at]
        return len(self.positions) + behind_nodes

    def _refusal_with(self, repair: Repair) -> UnsupportedError | None:
        """Propagate anew; returns the error that stops it, None if it comes to rest."""
        self.attempts += 1
        # Lists are made of joins in the captured graph anew each time, whatever the last attempt had.
        known = replace(self.known, captured=with_selections(self.captured, repair.selections))
        self.now = Propagation(known, repair)
        try:
            self.now.settle()
        except (NeverEquivariantError, NegatedChannelsError) as error:
            return error
        return None

    def _repairs(self, refusal: UnsupportedError, repair: Repair) -> list[Repair]:
        """Repairs that might help, those nearest to the node that refused first."""
        nodes = self.captured.until(refusal.at)[::-1]
        trials: list[Repair] = []
        # One sign may decide others, which at once were all taken to be 1.
        if self.now.at_once:
            trials.append(replace(repair, one_by_one=True))
        trials += [replace(repair, singles=singles) for singles in self._singles(repair)]
        parts = parts_joined_with(refusal.at, self.now.captured)
        # Only where the refusing node takes a part that is joined again: other joins are none of its business.
        if parts:
            trials.append(replace(repair, selections=repair.selections | parts))
        # A bias along negated channels can only be zero. That gives up numbers of the network, so it is tried only
        # where signs are what stops it.
        if isinstance(refusal, NegatedChannelsError):
            biases = chain.from_iterable(added_weights(node, self.captured) for node in nodes)
            nonzero = (name for name in biases if name not in repair.zero)
            of = self.now.partners.of
            trials += [replace(repair, zero=repair.zero | {name, of(name)}) for name in islice(nonzero, _TRIALS)]
        # Joins that stand before the refusing node and are not left open yet.
        closed = [node for node in nodes if node.name not in repair.joints]
        joints = (node.name for node in closed if self.now.partners.has_branches(node))
        return trials + [replace(repair, joints=(*repair.joints, name)) for name in islice(joints, _TRIALS)]

    def _singles(self, repair: Repair) -> Iterator[Mapping[str, Axis]]:
        """Axes of which nothing is known but that entries or parts are read, as the joints, all of one size at once."""
        for action in self.known.actions():
            labels = [label for label, size in self.now.solver.singles.items() if size == action.size]
            if not repair.singles.keys() >= set(labels):
                yield {**repair.singles, **dict.fromkeys(labels, known_axis(action))}

    def _zero_already(self) -> frozenset[str]:
        """Weights of which it is given that the mirror negates them whole: T w = -w, so that they are zero."""
        given = {name for name, rep in self.known.given.items() if rep.sign < 0 and replace(rep, sign=1).is_trivial}
        return frozenset(leaf.name for leaf in self.captured.weights if given & set(leaf.names))
