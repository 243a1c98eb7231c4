"""What is an unknown axis, by now, and what has been demanded of it?

An unknown is a number with a size, `Var(7, 64)`. `bind` gives it a value, once; the value may hold other unknowns, and
`resolve` follows them as far as they are known. Nothing is ever unbound: whoever wants another value starts anew.

    bind(H, A x B)    H[64] is A[4] x B[16]          bind(A, Known(swap halves))
    resolve(H)        (Known(swap halves), B)

What is demanded before a value is known ("no signs", `sign_free`) is remembered, and passed on to the value when it
comes. `unify.Solver` adds what ties two axes together. Both write into `watch` what a rule looks at and what it moves,
so that whoever runs the rules (`run.Run`) knows which of them have something new to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import IntEnum
from math import prod
from typing import Any

from chiralize.infer.symbolic import (
    Abs,
    Axis,
    Conflict,
    Known,
    OpenSign,
    Sign,
    Sum,
    SymbolicRepresentation,
    Term,
    Var,
    action_of,
    bare,
    is_known,
    known_axis,
    sign_of,
    signed,
    trivial,
    unknowns_in,
    var_of,
    variables,
)
from chiralize.symmetry.involution import SignedPermutation

NOTES = -1
"""Stands in `Watch` for all that is noted by name, lists of entries and unknowns of places, beside real unknowns."""


class Leave(IntEnum):
    """What rules may guess: nothing, single entries and parts of unknown axes, the positions of lists as well."""

    NOTHING = 0
    ENTRIES = 1
    LISTS = 2


@dataclass
class Watch:
    """What the rules that ran since it was cleared have done, by the numbers of unknowns.

    seen: those without a value that they looked at.  moved: those that got a value or a demand.  consulted: a rule has
    asked whether it may guess.  guessed: one has guessed what others have to follow before the next guess.
    """

    seen: set[int] = field(default_factory=set)
    moved: set[int] = field(default_factory=set)
    consulted: bool = False
    guessed: bool = False


class Unknowns:
    """Bindings of unknowns, and what is demanded of those still open.

    bindings: values, by the numbers of unknowns.  labels: names for messages, by number: of an axis of a weight.
    demanded_sign_free: unknowns that may carry no signs.  demanded_at: the site that first demanded it.
    ordered_at: the site that last demanded that an unknown of this size is left alone.
    site: where the rule that runs now stands.  leave: what rules may guess now.
    tied: what constant lists demand of their positions; handed: those whose readers know of them (`solver/lists.py`).
    passing: unknowns that live for one run of a rule only (what fits anything); binding them moves nothing.
    defaults: unknowns, each with what it is if nothing else decides.  signs: unknowns of size 1, as they came up.
    exchanging: sizes of the axes of inputs and outputs on which the mirror exchanges entries.  reversing: whether it
    reverses one of these axes, so that axes whose order matters may be reversed, too.
    singles: labels of unknowns of which single entries are read, or parts where they have such a size, with their
    sizes.  forced: those of which an entry was taken to be a fixed point.  likely: what some of them are taken to be.
    """

    def __init__(
        self, exchanging: Set[int] = frozenset(), reversing: bool = False, likely: Mapping[str, Axis] | None = None
    ) -> None:
        self.exchanging, self.reversing, self.likely = exchanging, reversing, likely or {}
        self.bindings: dict[int, Axis] = {}
        self.labels: dict[int, str] = {}
        self.demanded_sign_free: set[int] = set()
        self.demanded_at: dict[int, str] = {}
        self.ordered_at: dict[int, str] = {}
        self.site = ""
        self.leave = Leave.NOTHING
        self.watch = Watch()
        self.tied: dict[str, Any] = {}
        self.handed: set[str] = set()
        self.passing: set[int] = set()
        self.defaults: list[tuple[Axis, Axis]] = []
        self.signs: list[int] = []
        self.singles: dict[str, int] = {}
        self.forced: list[str] = []
        self._by_key: dict[str, Axis] = {}
        self._next = 0

    @property
    def last_resort(self) -> bool:
        """Whether rules may guess, since nothing else moves any more."""
        self.watch.consulted = True
        return self.leave >= Leave.ENTRIES

    @property
    def lists_choose(self) -> bool:
        """Whether lists of entries may, too."""
        self.watch.consulted = True
        return self.leave >= Leave.LISTS

    # ---- unknowns -----------------------------------------------------------------------------------------
    def fresh(self, size: int, label: str = "") -> Axis:
        """A new unknown axis (size 1: the empty product)."""
        if size == 1:
            return ()
        var = Var(self._next, size)
        self._next += 1
        if label:
            self.labels[var.id] = label
        return (var,)

    def fresh_like(self, shape: Sequence[int], label: str = "") -> SymbolicRepresentation:
        """Unknown axes for a tensor of the given shape."""
        axes: list[Axis] = []
        for dim, size in enumerate(shape):
            axes.append(self.fresh(size, f"{label}[{dim}]" if label else ""))
        return SymbolicRepresentation(tuple(axes))

    def fitting(self, shape: Sequence[int], zero: bool = False) -> SymbolicRepresentation:
        """Axes for a tensor of one repeated number: any without signs, and with signs too where it is zero."""
        rep = self.fresh_like(shape)
        fresh = unknowns_in(rep.axes)
        self.passing |= fresh
        # A number that is repeated is the same wherever the mirror moves it. Negated it is another one, unless it is 0.
        if not zero:
            self.demanded_sign_free |= fresh
        return rep

    def _pass_on(self, var: Var, parts: Sequence[Axis]) -> None:
        """Parts of an unknown that exists for one run of a rule only exist no longer either."""
        if var.id in self.passing:
            self.passing |= unknowns_in(parts)

    def _at(self, key: str, axis: Axis) -> Axis:
        """The axis that belongs to a place in the graph: a new one at the first call, the same ever after."""
        # Rules run again and again: a new unknown at each run would forget what readers have said of the last one.
        if key not in self._by_key:
            self._by_key[key] = axis
            self.watch.moved |= {NOTES, *unknowns_in((axis,))}
        return self._by_key[key]

    def unknown_at(self, key: str, size: int, *, signed: bool = False) -> Axis:
        """The unknown plain permutation that belongs to a place in the graph: the same at every call.

        signed: entries may carry signs.
        """
        if key not in self._by_key:
            axis = self._at(key, self.fresh(size))
            if not signed:
                self.sign_free(axis)
        return self.resolve(self._by_key[key])

    def asked_for(self, key: str) -> list[Axis]:
        """The unknown of a place, if a rule has ever asked for it."""
        self.watch.seen.add(NOTES)
        if key in self._by_key:
            return [self.resolve(self._by_key[key])]
        return []

    def unknown_sign(self) -> Axis:
        """An axis of one entry, which the mirror may negate."""
        self.signs.append(self._next)
        self._next += 1
        return (Var(self.signs[-1], 1),)

    def sign_at(self, key: str) -> Sign:
        """The unknown sign that belongs to a place in the graph: the same at every call."""
        if key not in self._by_key:
            self._at(key, self.unknown_sign())
        return self.decided(sign_of(self._by_key[key][0]))

    def decided(self, sign: Sign) -> Sign:
        """The sign with every unknown that has a value replaced."""
        if isinstance(sign, OpenSign):
            for key in sorted(sign.unknowns):
                if key in self.bindings:
                    # Times the unknown itself takes it out of the product, since a sign twice is none.
                    value = map(sign_of, self.resolve(self.bindings[key]))
                    sign = prod((OpenSign(frozenset({key})), *value), start=sign)
                else:
                    self.watch.seen.add(key)
        return sign

    def positive(self, sign: Sign) -> bool:
        """Demand that a sign is 1; False where it is -1. A product of unknown signs gives one of them its value."""
        sign = self.decided(sign)
        if isinstance(sign, OpenSign):
            # a b c = 1 is solved for the newest of them, c = a b, so that the choice is the same at every run.
            key = max(sign.unknowns)
            self.bind(Var(key, 1), signed((), sign * OpenSign(frozenset({key}))))
            return True
        return sign > 0

    def settle_signs(self) -> None:
        """All signs that nothing has decided are 1."""
        # In the order in which they came up, so that the choice is the same at every attempt.
        for key in self.signs:
            if key not in self.bindings:
                self.positive(OpenSign(frozenset({key})))

    def bind(self, var: Var, axis: Axis) -> None:
        """Give an unknown its value, with all that is demanded of it.

        Raises Conflict where the value contains the unknown itself, or carries signs that are forbidden.
        """
        axis = self.resolve(axis)
        if axis == (var,):
            return
        if axis == (Abs(var),):  # T = |T|: no entry carries a sign
            return self.sign_free((var,))
        # With T = A x T, `resolve` would never end.
        if var.id in unknowns_in((axis,)):
            raise Conflict("an axis would have to be a part of itself")
        self.bindings[var.id] = axis
        # What lives for one run of a rule is new in the next one: it would keep all rules running for ever.
        if var.id not in self.passing:
            self.watch.moved.add(var.id)
        if var.id in self.labels:
            self._pass_label_on(self.labels[var.id], axis)
        if var.id in self.demanded_sign_free:
            self.sign_free(axis, self.demanded_at.get(var.id))

    def _pass_label_on(self, label: str, axis: Axis) -> None:
        """Parts of a named unknown are called after it: `fc.weight[0].0`, `fc.weight[0].1`."""
        unknowns = list(variables((axis,)))
        for number, var in enumerate(unknowns):
            self.labels.setdefault(var.id, label if len(unknowns) == 1 else f"{label}.{number}")

    # ---- values -------------------------------------------------------------------------------------------
    def resolve(self, axis: Axis) -> Axis:
        """The axis with every bound unknown replaced by its value."""
        # Most calls are for one unknown, or for known factors of two entries and more: these need no new tuple.
        if len(axis) == 1 and type(axis[0]) is Var:
            return self._resolve_term(axis[0])
        for term in axis:
            if type(term) is not Known or len(term.action.partner) < 2:
                break
        else:
            return axis
        out: list[Term] = []
        for term in axis:
            out.extend(self._resolve_term(term))
        # Several signs become one product, in one order: axes that are equal have to compare as equal.
        if sum(term.size == 1 for term in out) > 1:
            rest, sign = bare(tuple(out))
            return signed(rest, sign)
        return tuple(out)

    def _resolve_term(self, term: Term) -> Axis:
        """The value of a term as far as it is known; an unknown that stays is noted in `watch.seen`."""
        match term:
            case Known(action):
                return known_axis(action)
            case Var(id=key):
                if key in self.bindings:
                    self.bindings[key] = self.resolve(self.bindings[key])  # a chain of values is followed once
                    return self.bindings[key]
                self.watch.seen.add(key)
                return (term,)
            case Abs(var):
                if var.id in self.bindings:
                    return self.absolute(self.bindings[var.id])
                self.watch.seen.add(var.id)
                if var.id in self.demanded_sign_free:
                    return (var,)
                return (term,)
            case Sum(parts):
                return self.concatenate(parts)

    def concatenate(self, parts: Sequence[Axis]) -> Axis:
        """Direct sum of axes, without sums within sums; one known action where all parts are known."""
        flat: list[Axis] = []
        for part in parts:
            resolved = self.resolve(part)
            nested = resolved[0] if len(resolved) == 1 else None
            flat.extend(nested.parts if isinstance(nested, Sum) else (resolved,))
        if len(flat) == 1:
            return flat[0]
        if all(map(is_known, flat)):
            return known_axis(action_of((Sum(tuple(flat)),)))
        return (Sum(tuple(flat)),)

    def representation(self, rep: SymbolicRepresentation) -> SymbolicRepresentation:
        """The representation with every bound unknown replaced; signs common to a whole factor go to the front.

        A tensor of 3 x 2 entries of which T negates every one is the same whether a sign is written at the 3, at the 2
        or before both: in front of all axes there is one way to write it.
        """
        sign = self.decided(rep.sign)
        axes: list[Axis] = []
        # Terms of one entry are signs, and leave their axis. So does the sign of a factor that is negated as a whole.
        for axis in rep.axes:
            terms: list[Term] = []
            for term in self.resolve(axis):
                if term.size == 1:
                    sign *= sign_of(term)
                    continue
                if isinstance(term, Known) and term.action.is_negated:
                    sign = -sign
                    term = Known(-term.action)
                terms.append(term)
            axes.append(tuple(terms))
        return SymbolicRepresentation(tuple(axes), sign)

    # ---- demands on one axis ------------------------------------------------------------------------------
    def sign_free(self, axis: Axis, site: str | None = None) -> None:
        """Demand a plain permutation. Raises Conflict where entries carry a sign.

        site: whose demand it is, if not that of the rule that runs now.
        """
        if site is None:
            site = self.site
        for term in self._unsigned(self._fused(axis)):
            match term:
                case Known(action):
                    if not action.is_sign_free:
                        count = int((action.sign < 0).sum())
                        raise Conflict(f"{count} of {action.size} entries are negated", negated=True, site=site)
                case Var(id=key):
                    if key not in self.demanded_sign_free:
                        self.demanded_sign_free.add(key)
                        self.demanded_at[key] = site
                        self.watch.moved |= {key} - self.passing
                case Sum(parts):
                    for part in parts:
                        self.sign_free(part, site)
                case Abs():
                    pass

    def _unsigned(self, axis: Axis) -> Axis:
        """The axis, of which no entry may carry a sign, without unknown signs: they take what is common to it."""
        if any(isinstance(term, Var) and term.size == 1 for term in axis):
            rep = self.representation(SymbolicRepresentation((axis,)))
            self.positive(rep.sign)
            return rep.axes[0]
        return axis

    def _fused(self, axis: Axis) -> Axis:
        """The axis, as one term where everything is known: (-A) x (-B) carries no signs."""
        axis = self.resolve(axis)
        if is_known(axis):
            return known_axis(action_of(axis))
        return axis

    def trivial(self, axis: Axis) -> None:
        """Demand that the mirror leaves the axis alone. Raises Conflict where it does not."""
        for term in self._fused(axis):
            match term:
                case Known(action):
                    if not action.is_identity:
                        raise Conflict(f"the mirror acts on an axis of {action.size} entries whose order matters here")
                # Where only |T| has to be 1, T could carry signs: that it is 1 as well is a choice.
                case Var() | Abs():
                    var = var_of(term)
                    self.ordered_at[var.size] = self.site
                    self.bind(var, trivial(var.size))
                case Sum(parts):
                    for part in parts:
                        self.trivial(part)

    def _orderer(self, *actions: SignedPermutation) -> str:
        """Which site last demanded that an axis of that size is left alone; empty where no action does so."""
        if any(action.is_identity for action in actions):
            return self.ordered_at.get(actions[0].size, "")
        return ""

    def absolute(self, axis: Axis) -> Axis:
        """The axis without its signs, |T|: how the square of a value moves, or a gate that multiplies it."""
        out: list[Term] = []
        for term in self.resolve(axis):
            match term:
                case Known(action):
                    out.append(Known(abs(action)))
                case Var(size=1):  # a sign
                    pass
                case Var(id=key):
                    out.append(term if key in self.demanded_sign_free else Abs(term))
                case Abs():
                    out.append(term)
                case Sum(parts):
                    out.append(Sum(tuple(self.absolute(part) for part in parts)))
        return self.resolve(tuple(out))
