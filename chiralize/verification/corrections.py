"""The changes of a specification that together make its mirror fit a network, where several things are wrong at once.

A mirror that is wrong in three places is wrong in two after any one correction. So one change is made after the other,
and the few that bring the network's answers nearest are gone on from. What is named in the end was measured like any
mirror, and fits. In the end every change is left out in turn, and every two: what the rest does not need is not named.

It is a beam search over specifications. Say a shoulder pair is crossed, y is negated instead of x, and a field has the
wrong sign, with a gap of 1.6. Of all single changes the 8 nearest are kept (1.1, 1.2, ...); of all changes of those 8
again (0.5, ...), and so on, up to 5 changes, until the gap needs no explanation. `mirror_evidence` starts it where real
inputs refute T.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, islice
from math import isfinite

from chiralize.body.skeleton.naming import as_sets, infer_pairs
from chiralize.body.tensors import ConversionSpec, ResolvedSpec
from chiralize.errors import ChiralizeError
from chiralize.graph.mirror import FITS, NetworkMirror
from chiralize.verification.evidence.against_names import Place, against_names, places_against_names
from chiralize.verification.evidence.answers import Answers
from chiralize.verification.evidence.fitting import gap_of, gaps, moved_by
from chiralize.verification.evidence.judging import SMALL
from chiralize.verification.evidence.mirrors import Key, whole_key
from chiralize.verification.evidence.neighbours import Neighbour, nearby
from chiralize.verification.evidence.records import Candidate, Comparison, Corrected

MOST_CHANGES = 5
_WIDTH = 8
"""Mirrors to go on from after every change: where half of the signs are wrong, mending one of them shows little."""
_NEARER = 0.95
"""One change more has to leave less than this share of the gap, or it fits these inputs by chance. One that leaves more
when it is taken away again was not needed."""
_FITS_AFTER_SEVERAL = 0.3
"""A gap that several changes have to leave less than: among so many mirrors some come as near as one that is right.
With the specification of another robot of the same size three changes left 0.43 of 1.99."""
_AGAINST_NAMES = 0.15
"""The same where they part joints that are left and right partners by their names. A prior of axes times angles, whose
signs were those of positions, was left 0.29 of 1.2 by three changes that paired shoulders with elbows.
"""
_LEAST_MOVED = 0.25
"""A mirror that moves the answers by less than this share of what T moves them by is no correction: the identity fits
every network. Joints in another order led to one that swaps nothing and turns no sign."""
Resolve = Callable[[ConversionSpec], tuple[ResolvedSpec, NetworkMirror]]
After = Callable[[Sequence[str]], "_Step | None"]
Near = Callable[[ResolvedSpec, dict[str, tuple[ResolvedSpec, NetworkMirror]]], Iterator[Candidate]]


@dataclass(frozen=True)
class _Step:
    """A mirror on the way. names: the changes that lead to it.  gap: what the network is apart under it."""

    names: tuple[str, ...]
    resolved: ResolvedSpec
    mirror: NetworkMirror
    gap: float


def corrected(
    answers: Answers,
    resolved: ResolvedSpec,
    mirror: NetworkMirror,
    first: Comparison,
    resolve: Resolve,
    most_runs: int,
    near: Callable[[ResolvedSpec], Iterator[Neighbour]] = nearby,
) -> Corrected:
    """The changes that together make T fit; none where the mirror that they lead to does not fit either.

    resolved, mirror: the specification as it is, and T.  first: T beside other mirrors.  resolve: fits another
    specification to the same network.  most_runs: as for `compare`, at every step.
    near: the neighbours of a specification, as `nearby` has them.  Raises ModelRunError.
    """
    best = _Step((), resolved, mirror, first.gap)
    steps, seen = [best], {whole_key(mirror)}
    least_moved, known = _LEAST_MOVED * moved_by(mirror, answers), places_against_names(mirror)
    candidates = partial(_candidates, resolve=resolve, near=near)
    # Every round makes one change more. `best` moves on only if that change takes away what chance would not.
    while steps and len(steps[0].names) < MOST_CHANGES and best.gap > SMALL:
        reached = _next(answers, steps, seen, candidates, most_runs, least_moved)
        steps = list(islice(filter(partial(_follows_names, known=known), reached), _WIDTH))
        if steps and steps[0].gap <= _NEARER * best.gap:
            best = steps[0]
        elif best.gap <= FITS:
            break  # one that fits is not improved; one that does not may need two changes at once
    start = _Step((), resolved, mirror, first.gap)
    after = partial(_after, answers=answers, start=start, resolve=resolve, near=near)
    best = _without_needless(answers, start, best, after, least_moved)
    if best.names and best.gap <= _most_left(best, resolved):
        return Corrected(best.names, best.gap)
    return Corrected((), best.gap)


def _without_needless(answers: Answers, start: _Step, best: _Step, after: After, least_moved: float) -> _Step:
    """The fewest of these changes that leave no larger gap, but for what chance explains.

    Of all that one, or two at once, may be left out of, the one with the smallest gap is gone on from. Two, since a
    change may undo another: left out alone, either of them opens the gap again.

    start: T.  best: where the changes lead to.  after: see `_after`.  least_moved: what a mirror has to move answers
    by, or it fits whatever is true.
    """
    known = places_against_names(start.mirror)
    while len(best.names) > 1:
        fewer = list[_Step]()
        for count in range(1, min(3, len(best.names))):
            fewer += filter(None, map(after, combinations(best.names, len(best.names) - count)))
        fitting = list[_Step]()
        for step in fewer:
            is_as_near = moved_by(step.mirror, answers) >= least_moved and _NEARER * step.gap <= best.gap
            if is_as_near and _follows_names(step, known):
                fitting.append(step)
        if not fitting:
            break
        best = min(fitting, key=lambda step: (len(step.names), step.gap))
    return best


def _after(
    names: Sequence[str],
    *,
    answers: Answers,
    start: _Step,
    resolve: Resolve,
    near: Callable[[ResolvedSpec], Iterator[Neighbour]],
) -> _Step | None:
    """Where the changes of these names lead to, one after the other; None where one is no change of what it meets."""
    step = start
    for name in names:
        neighbour = next((one for one in near(step.resolved) if one.name == name), None)
        if neighbour is None:
            return None
        try:
            changed, mirror = resolve(neighbour.spec)
        except ChiralizeError:  # it does not fit the sizes, or is no mirror
            return None
        step = _Step((*step.names, name), changed, mirror, step.gap)
    return replace(step, gap=gap_of(step.mirror, answers))


def _most_left(step: _Step, before: ResolvedSpec) -> float:
    """The gap that these changes may leave to be named: the less, the easier it is to come so near by chance."""
    if len(step.names) == 1:
        return FITS
    body, other = before.spec.skeleton, step.resolved.spec.skeleton
    partners = as_sets(body.pairs) & as_sets(infer_pairs(body.joints).pairs)
    is_against_names = body.joints == other.joints and not partners <= as_sets(other.pairs)
    return _AGAINST_NAMES if is_against_names else _FITS_AFTER_SEVERAL


def _next(
    answers: Answers, steps: Sequence[_Step], seen: set[Key], near: Near, most_runs: int, least_moved: float
) -> list[_Step]:
    """The mirrors that differ from one of these in one more place, those that fit best first.

    Those that swap less are left out where they do not fit, or where what they go on from fits already: under them
    answers are nearer whatever the true mirror is. So are those that move the answers by less than `least_moved`.
    """
    reached = list[_Step]()
    for step in steps:
        others: dict[str, tuple[ResolvedSpec, NetworkMirror]] = {}
        # No change is made twice: the second time it undoes the first, or does nothing.
        candidates = (one for one in near(step.resolved, others) if one.name not in step.names)
        for name, gap in gaps(answers, step.mirror, candidates, most_runs, seen):
            other = others[name]
            # Under a mirror that leaves more in place answers are nearer whatever is true: it counts only where it is
            # the one that fits, and what it was made from did not.
            is_nearer_anyhow = (gap > FITS or step.gap <= FITS) and _swaps_less(other[1], step.mirror)
            is_idle = moved_by(other[1], answers) < least_moved
            if is_idle:
                seen.add(whole_key(other[1]))  # whichever way it is reached
            elif isfinite(gap) and not is_nearer_anyhow:
                seen.add(whole_key(other[1]))
                reached.append(_Step((*step.names, name), *other, gap))
    return sorted(reached, key=lambda step: step.gap)


def _follows_names(step: _Step, known: Collection[Place]) -> bool:
    """Whether a mirror goes against no more names than T does, of the entries `known`: no mistake is mended so."""
    return not against_names(step.mirror, known)


def _swaps_less(other: NetworkMirror, mirror: NetworkMirror) -> bool:
    """Whether a mirror leaves entries of the inputs in their places that the other one swaps."""
    for one, whole in zip(other.inputs, mirror.inputs, strict=True):
        if any((a.action.fixed & ~b.action.fixed).any() for a, b in zip(one.axes, whole.axes, strict=True)):
            return True
    return False


def _candidates(
    resolved: ResolvedSpec,
    others: dict[str, tuple[ResolvedSpec, NetworkMirror]],
    *,
    resolve: Resolve,
    near: Callable[[ResolvedSpec], Iterator[Neighbour]],
) -> Iterator[Candidate]:
    """Mirrors that differ in one place; each is noted in `others`, by its name."""
    for neighbour in near(resolved):
        if neighbour.name in others:
            continue
        try:
            other = resolve(neighbour.spec)
        except ChiralizeError:  # it does not fit the sizes, or is no mirror
            continue
        others[neighbour.name] = other
        yield Candidate(neighbour.name, other[1], neighbour.skeleton)
