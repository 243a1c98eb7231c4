"""The trained network as evidence: how well its own answers fit T, compared with neighbouring mirrors.

A network that learned a task whose mirror is T answers T x nearly with T of its answer to x, though nothing holds it to
that: the gap between the two, in units of the spread of its answers, is 0.1 to 0.25 for networks that know both sides.
Under a mirror that is not its own the two have nothing in common.

    gap of T     RMS(f(x) - T f(T x)) / spread of f(x), the largest of all outputs
    ratio        of another mirror O: RMS(f(x) - O f(O x)) / RMS(f(x) - T f(T x)), on the entries where the two differ

The ratio is taken on those entries alone, since two mirrors mostly agree on most: where O exchanges the wrists and T
does not, all other joints are mirrored alike by both, and would hide the difference (`disputed_entries`).

Example: 17 joints of one coordinate, of which O and T predict 2 differently. f(x) is 0.2 from T f(T x) on 15 of them
and 1.2 on those two; from O f(O x) it is 0.2 throughout. The gaps are 0.45 and 0.2, and the ratio is 0.2 / 1.2 = 0.17.

`mirror_evidence` calls `compare`, and `judging` makes sentences of the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from math import inf

import torch

from chiralize.graph.mirror import FITS, NetworkMirror
from chiralize.symmetry.action import act
from chiralize.verification.evidence.against_names import against_names, places_against_names
from chiralize.verification.evidence.answers import Answers, of_stacks, relative_rms
from chiralize.verification.evidence.disputed_entries import NOT_WORSE, disputed
from chiralize.verification.evidence.mirrors import (
    Key,
    inputs_beside,
    share_moved,
    swaps,
    tells_something,
    whole_key,
)
from chiralize.verification.evidence.records import AgainstNames, Candidate, Comparison, MirrorGap
from chiralize.verification.evidence.skeleton_changes import NO_SWAP

_ALL = 0.999
"""The share of what answers vary by from which on it is all."""
_FEW = 0.25
"""The share of the answers that T moves, up to which it leaves (nearly) all as they are (decision 0026)."""
_FAR_WORSE = 1.25
"""A mirror whose gap on the first inputs is so many times that of T is not run on the others; where T does not fit, one
whose gap is no smaller."""


def gap_of(mirror: NetworkMirror, answers: Answers) -> float:
    """RMS(f(x) - T f(T x)) in units of the spread of f(x), or of its displacements; the largest of all outputs.

    Raises ModelRunError.
    """
    return _gap(answers, _by(mirror, answers))


def _gap(answers: Answers, by_mirror: Mapping[int, Sequence[torch.Tensor]]) -> float:
    """`gap_of` a mirror by which T f(T x) is known."""
    return max((relative_rms(apart, answers.unit(index)) for index, apart in _apart(answers, by_mirror)), default=0.0)


def whole_gap_of(mirror: NetworkMirror, answers: Answers) -> float:
    """The same of forecasts alone, in units of the spread of f(x). Raises ModelRunError."""
    largest = 0.0
    for index, apart in _apart(answers, _by(mirror, answers)):
        if index in answers.displaced:
            largest = max(largest, relative_rms(apart, answers.spreads[index]))
    return largest


def _apart(answers: Answers, by_mirror: Mapping[int, Sequence[torch.Tensor]]) -> Iterator[tuple[int, float]]:
    """The sum of squares of f(x) - T f(T x), of every output that can tell something."""
    for index, stacks in by_mirror.items():
        pairs = zip(answers.plain(index), stacks, strict=True)
        yield index, sum(float((one - other).square().sum()) for one, other in pairs)


def moved_by(mirror: NetworkMirror, answers: Answers) -> float:
    """RMS(T y - y) of the answers y about their mean, in units of their spread: the output that T moves most."""
    most = 0.0
    for index in answers.indices:
        action = of_stacks(mirror.outputs[index])
        apart = 0.0
        for stack in answers.plain(index):
            about_mean = stack - answers.centers[index]
            apart += float((act(about_mean, action) - about_mean).square().sum())
        most = max(most, relative_rms(apart, answers.spreads[index]))
    return most


def compare(
    answers: Answers,
    mirror: NetworkMirror,
    candidates: Iterable[Candidate],
    most_runs: int,
    tell: Callable[[int], None] = lambda runs: None,
    is_as_right: Callable[[NetworkMirror], bool] = lambda other: False,
) -> Comparison:
    """The gap of T, and of every other mirror beside it, in their order.

    most_runs: mirrors that need more than so many different mirrored inputs are left out; those that differ in the
    outputs alone need none.  tell: called with the number of mirrors so far that the network is run for.
    is_as_right: whether a mirror that comes nearer is one of the same world, as T is.
    """
    measured: dict[Key, MirrorGap] = {}
    skeletons: dict[Key, list[str]] = {}
    against: dict[str, AgainstNames] = {}
    as_right = set[str]()
    given = whole_key(mirror)
    by_mirror = _by(mirror, answers)
    given_gap = _gap(answers, by_mirror)
    known = cache(partial(places_against_names, mirror))  # most often no mirror comes nearer
    # Where runs are costly the first inputs come alone: a mirror that is far worse than T there is not run on the rest.
    # Where T itself does not fit there, it is no yardstick, and any mirror that is not nearer is dropped.
    first, limit = {}, 1.0
    if answers.first is not None:
        first = _by(mirror, answers.first)
        limit = _FAR_WORSE if _gap(answers.first, first) <= FITS else 1.0

    def noted() -> Iterator[Candidate]:
        """Note the skeletons that every mirror belongs to, also where it was measured already."""
        for candidate in candidates:
            if candidate.skeleton:
                skeletons.setdefault(whole_key(candidate.mirror), []).append(candidate.skeleton)
            yield candidate

    for key, candidate in _new(answers, mirror, noted(), most_runs, {given}, tell):
        compared = None
        if answers.first is not None:
            compared = _compared(answers.first, mirror, first, candidate)
        if compared is None or compared.ratio < limit:
            compared = _compared(answers, mirror, by_mirror, candidate)
        # How it stands beside T: `judging` trusts less what moves less of the inputs.
        other = candidate.mirror
        is_about_another = other.inputs == mirror.inputs and other.outputs == mirror.outputs
        is_without = swaps(mirror) and not swaps(other)
        # Of one that swaps nothing at all names say nothing: it is left to `remedies`.
        if compared.ratio < 1.0 and candidate.name != NO_SWAP and (what := against_names(other, known())):
            against[candidate.name] = what
        if compared.ratio < 1.0 and is_as_right(other):
            as_right.add(candidate.name)
        measured[key] = replace(
            compared,
            inputs=inputs_beside(other, mirror),
            recenters=is_about_another,
            swaps_nothing=is_without,
        )
    # After the loop, since a skeleton may name a mirror that was measured under another name before.
    others = [replace(other, skeletons=tuple(skeletons.get(key, ()))) for key, other in measured.items()]
    answers_stay = all(share_moved(mirror.outputs[index]) <= _FEW for index in answers.indices)
    same = tuple(skeletons.get(given, ()))
    return Comparison(given_gap, tuple(others), same, answers_stay, against=against, as_right=frozenset(as_right))


def _by(mirror: NetworkMirror, answers: Answers) -> dict[int, list[torch.Tensor]]:
    """T f(T x) of every output that can tell something."""
    return {index: answers.turned_back(mirror, index) for index in answers.indices}


def gaps(
    answers: Answers, mirror: NetworkMirror, candidates: Iterable[Candidate], most_runs: int, seen: Collection[Key]
) -> Iterator[tuple[str, float]]:
    """The names of other mirrors and their gaps alone, which take half the time of a comparison with T.

    seen: mirrors that are left out, by `whole_key`.  most_runs: as for `compare`.
    """
    for _, candidate in _new(answers, mirror, candidates, most_runs, {*seen, whole_key(mirror)}):
        yield candidate.name, gap_of(candidate.mirror, answers)


def _new(
    answers: Answers,
    mirror: NetworkMirror,
    candidates: Iterable[Candidate],
    most_runs: int,
    seen: set[Key],
    tell: Callable[[int], None] = lambda runs: None,
) -> Iterator[tuple[Key, Candidate]]:
    """Those whose fit is evidence, each once; to be measured before the next one is asked for.

    One that is dropped after the first inputs counts as the share of a run that these are.

    seen: keys of mirrors that are left out.  Those that come are added, in place.  tell: as for `compare`.
    """
    runs, tried = 0.0, 0
    for candidate in candidates:
        key = whole_key(candidate.mirror)
        if key in seen or not tells_something(candidate.mirror, mirror):
            continue
        is_new = not answers.knows(candidate.mirror)
        if is_new:
            if runs >= most_runs:
                continue  # not the end: later ones may differ in the outputs alone, and cost nothing
            tried += 1
            tell(tried)
        seen.add(key)
        yield key, candidate
        if is_new:  # by now it has been run, on the first inputs or on all
            runs += answers.share_run(candidate.mirror)


def _compared(
    answers: Answers, mirror: NetworkMirror, by_mirror: Mapping[int, Sequence[torch.Tensor]], candidate: Candidate
) -> MirrorGap:
    """How well another mirror fits, compared with the given one: its gap, and its ratio where that is smallest.

    by_mirror: T f(T x) of every output, by the given one.  The ratio is 1 at least where another output fits worse
    under it, or where both predict the same. Raises ModelRunError.
    """
    name, other = candidate.name, candidate.mirror
    by_other = _by(other, answers)
    best = MirrorGap(name, _gap(answers, by_other), inf)
    worst = 0.0
    for index in answers.indices:
        predicted = by_mirror[index], by_other[index]
        sums = disputed(answers, index, (mirror.outputs[index], other.outputs[index]), predicted)
        if sums.given == sums.here == 0.0:
            continue  # both predict the same, or both exactly: this output tells nothing
        worst = max(worst, sums.ratio)
        if sums.ratio < best.ratio:
            # Squares a number, of these entries and of all: whether they vary beside the others.
            of_all, count = answers.unit(index), sum(plain.numel() for plain in answers.plain(index))
            share = relative_rms(sums.spread / sums.numbers, of_all / count)
            here, given = relative_rms(sums.here, sums.spread), relative_rms(sums.given, sums.spread)
            is_of_all = sums.spread >= _ALL * of_all
            best = MirrorGap(name, best.gap, sums.ratio, here, given, is_of_all=is_of_all, numbers=sums.numbers)
            best = replace(best, share=share)
    # A mirror is better only if no output speaks against it, however well it fits another one.
    if worst > NOT_WORSE or best.ratio == inf:
        return replace(best, ratio=max(worst, 1.0))
    return best
