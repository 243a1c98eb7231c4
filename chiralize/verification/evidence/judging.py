"""From the gaps of T and of other mirrors to a judgement: does the network fit T, fit another better, or tell nothing?

The bounds are measured (docs/decisions/0026-a-wrong-mirror-must-not-pass.md).

`mirror_evidence` hands in a `Comparison` of T with other mirrors. Out come a `MirrorFit`, the figures, and sentences:

    refuted       T has a gap of 0.95 and more, or another mirror fits clearly better: a warning, the conversion stops
    in doubt      another mirror comes nearer by more than chance: a warning
    wide          T has a gap above 0.5, and none fits better: a note, nothing is confirmed
    fits          a check, with the gap and that of the nearest other mirror

Example: T has a gap of 1.2, the mirror "y negated instead of x" one of 0.2, on all entries. Its ratio of 0.17 is below
0.7 (`CLEARLY`), and 0.2 is below 0.5 (`FITS`): it fits clearly better, and T is refuted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, sqrt

from scipy.special import fdtri

from chiralize.errors.words import listed, when
from chiralize.graph.mirror import CLEARLY, FITS, NOTHING_IN_COMMON, AgainstNames, Corrected, MirrorFit
from chiralize.verification.evidence.answers import FEWEST_ROWS
from chiralize.verification.evidence.as_right import as_right, as_right_in_words
from chiralize.verification.evidence.names import BY_NAMES
from chiralize.verification.evidence.records import (
    ALONG_WIDTHS,
    AT_ANOTHER_CELL,
    AT_THE_LEAST,
    AT_THE_MIDDLE,
    Comparison,
    MirrorGap,
    is_about_a_block,
    is_about_another_point,
    is_one_change,
    point_to_check,
)
from chiralize.verification.verdicts import Evidence

CLEARLY_OF_FEW = 0.5
"""What stands for `CLEARLY` where there are fewer than `FEWEST_ROWS` samples, and on noise."""
DOUBTFUL, _OF_LESS, _OF_CELLS, _OF_MEANS, _OF_LEAST = 0.9, 0.8, 0.6, 0.7, 0.5
"""A neighbour whose gap is less than so much of the gap of T stops nothing, but the report says that T is in doubt. One
that moves less leaves out what the network does not do quite alike on both sides: of 34 pairs of corners of vertebrae
one unswapped had 0.88 of the gap of the right mirror. One about the mean of the inputs had so little of the gap of the
right mirror for 3 of 63 networks on pixels, all trained without mirrored copies on what lay to one side. One about the
point of the least gap had 0.65 to 0.8 of it for six networks without such copies; as the middle of a picture, in place
of a number that is none, it is held to no more than others are.
"""
MUCH = 0.3
"""A mirror whose gap is so small a share of that of T fits, if it tells anything of the answers."""
APART = 0.3
"""A gap of T, on the entries that the two predict differently, below which another mirror has to fit twice as well.
Under a wrong mirror answers are about a spread apart, unless the network hardly changes its input: then every mirror
has a small gap (a forecaster that nearly repeats the last pose had 0.16 with its own and 0.11 with another one). One
that moves the inputs less stops nothing there (0.23 and 0.10): such inputs are more like those that the network knows.
"""
TELLS = 1.05
"""Another mirror whose gap is less than so many times that of T fits as well: the network cannot tell the two apart."""
TELLS_NOTHING = 1.0
"""A neighbour that predicts its entries worse than their mean does neither fits nor raises a doubt: entries that
hardly move are as far apart under any mirror (the wrists of a humanoid that walks, 1.4 and 1.7).
"""
_SELDOM = 5e-4
"""How often one of two equally wrong mirrors may seem clearly better by chance: some dozens of them are tried."""
_AT_TIMES = 0.05
"""The same for a doubt."""
_FAINT = 0.05
"""Entries whose spread is less than this share of that of their output hardly vary beside the others: in units of so
small a spread noise is a doubt (blendshapes with spreads of 0.005 beside some of 0.22)."""
_OPPOSITE = sqrt(3.0)
"""A gap of T from which answers go against what T predicts: of answers that have nothing in common it is sqrt 2, of
opposite ones 2, and sqrt 3 where their correlation is -1/2. Noise does not do that.
"""
SMALL = 0.02
"""A gap that nobody needs to explain: the network is as good as equivariant."""
_AS_GOOD = 1.1
"""A shipped skeleton with a gap of at most so many times the least fits about as well as the best."""
_EQUALLY = 1e-3
"""The share by which one change may leave a wider gap than several and still count as equal to them."""
_ABOUT = 1.5
"""Mirrors with ratios of up to so many times the least fit about as well as the best of those that refute T."""
_DIGITS = 6
"""Decimals of gaps that count in their order."""
_NAMED = 3
"""Mirrors that a sentence names."""


@dataclass(frozen=True)
class Basis:
    """The inputs and the network that a comparison rests on.

    real: real inputs, not noise.  trained: the network is not plainly untrained.  rows: samples.
    away: what to look at first where the inputs are not about the point that T mirrors them at, ending in `; then `.
    collapsed: which outputs hardly vary, in a sentence, or "".
    beside: warnings of points that T mirrors answers at, and whether the specification gives these.
    displaced: of outputs that are forecasts, by position, the spread of what they add to the last frame, in shares of
    their own: there it is the unit of gaps.  sided: warnings of conditions that answers lean with.
    """

    real: bool
    trained: bool
    rows: int
    away: str = ""
    collapsed: str = ""
    beside: Mapping[str, bool] = field(default_factory=dict)
    displaced: tuple[tuple[int, float], ...] = ()
    sided: tuple[str, ...] = ()

    @property
    def unit_in_words(self) -> str:
        """What gaps are counted in, with what is usual."""
        if self.rows < FEWEST_ROWS:
            return _UNITS_OF_FEW
        return _UNITS_OF_FORECASTS if self.displaced else _UNITS


def judged(comparison: Comparison, basis: Basis) -> Evidence:
    """How well T fits the network, in figures and in sentences."""
    # Those that refute T: clearly better, of these the best, without those that fit since they move little.
    gap = comparison.gap
    finite = [other for other in comparison.others if _counts(other)]
    of_the_world = as_right(finite, comparison, basis.real, bool(basis.displaced))
    tried = [other for other in finite if other.name not in comparison.against and other not in of_the_world]
    clearly = [other for other in tried if _is_clearly_better(gap, other, basis)]
    better = _best(_without_still_ones([other for other in clearly if not _may_fit_for_moving_less(other)]))
    better = _with_the_point(gap, _with_lesser_ones(better, clearly), tried)
    better.sort(key=_nearness)
    # What goes against names comes in their place where it alone explains the answers.
    unlike = _unlike(better, comparison, basis)
    if unlike:
        better, comparison = [], replace(comparison, corrected=None)
    # The figures, with the nearest mirror: of those that refute T where there are some, else of all.
    nearest = min(better or tried, key=_nearness, default=_NO_OTHER)
    names = tuple(other.name for other in better)
    skeletons = _fitting_skeletons(comparison)
    stay = comparison.answers_stay
    of_a_part = next((other.name for other in better if other.here <= FITS < other.gap), "")
    fit = MirrorFit(gap, nearest.name, nearest.gap, basis.real, basis.trained, skeletons, names, stay, partly=of_a_part)
    fit = replace(fit, against=_all_against(unlike, comparison.against))
    if basis.real and not fit.is_refuted and not better:
        fit = replace(fit, doubt=_doubt(gap, tried))
    if comparison.corrected is not None:
        changes, changed_gap = comparison.corrected.names, comparison.corrected.gap
        # Pairs that are crossed take four changes, or one. And where another output has the widest gap, several changes
        # leave the same one: the ratios tell them apart.
        is_one = len(changes) == 1 or is_one_change(nearest.name)
        if better and nearest.gap <= ((1.0 + _EQUALLY) if is_one else DOUBTFUL) * changed_gap:
            changes, changed_gap = (nearest.name,), nearest.gap
        fit = replace(fit, corrected=Corrected(changes, changed_gap))
    # The sentences. Whatever an untrained network answers, it has no mirror that T could contradict.
    if not basis.trained:
        return Evidence(fit=fit, notes=(_UNTRAINED,))
    checks, warnings, notes = _sentences(fit, tried, better, basis.unit_in_words)
    if unlike and not fit.fits_another:
        checks, warnings, notes = (), (*warnings, _against_names(unlike, comparison)), ()
    if warnings and basis.away and not fit.is_refuted:  # else it is the first thing to do
        warnings = (*warnings, basis.away.removesuffix("; then "))
    beside = [text for text, is_given in basis.beside.items() if not (is_given and fit.is_refuted)]
    sided = [when(fit.fits_another, "or T is right in all else, and ") + text for text in basis.sided]
    warnings = (*warnings, *beside, *sided)
    by_names = next((other for other in tried if other.name.startswith(BY_NAMES)), _NO_OTHER)
    mislead = fit.is_confirmed and not fit.is_wide and gap <= CLEARLY_OF_FEW * by_names.gap
    notes = (*notes, *(() if warnings else as_right_in_words(of_the_world)))
    return Evidence(checks, warnings, fit, notes, names_mislead=mislead)


def _counts(other: MirrorGap) -> bool:
    """Whether a mirror that was tried has a gap; about the mean of the inputs it counts where it raises a doubt."""
    return isfinite(other.gap) and (not is_about_another_point(other.name) or _raises_doubt(other))


def _unlike(better: Sequence[MirrorGap], comparison: Comparison, basis: Basis) -> list[MirrorGap]:
    """Mirrors against names that fit clearly better than T, the one first where T is furthest off.

    No specification is mended by them: they tell of a network that answers two sides unlike, or of joints in another
    order. None where T is hardly off beside what the output varies by, and none where one of `better`, or several
    changes at once, bring all answers about as near: an output that is no pose at all needs no habit.
    """
    telling = list[MirrorGap]()
    for other in comparison.others:
        is_against = other.name in comparison.against and isfinite(other.gap)
        if basis.real and is_against and other.apart > _FAINT and not _may_fit_for_moving_less(other):
            telling.append(other)
    clearly = [other for other in telling if _is_clearly_better(comparison.gap, other, basis)]
    corrected = comparison.corrected
    reached = [other.gap for other in better]
    if corrected is not None and corrected.names:
        reached.append(corrected.gap)
    if min((other.gap for other in clearly), default=inf) > CLEARLY * min(reached, default=inf):
        return []
    return sorted(clearly, key=lambda other: -other.apart)


def _all_against(unlike: Sequence[MirrorGap], against: Mapping[str, AgainstNames]) -> AgainstNames:
    """What mirrors do against names all together, in their order."""
    unswapped, misplaced = dict[str, None](), dict[str, None]()
    for other in unlike:
        unswapped |= dict.fromkeys(against[other.name].unswapped)
        misplaced |= dict.fromkeys(against[other.name].misplaced)
    return AgainstNames(tuple(unswapped), tuple(misplaced))


def _against_names(unlike: Sequence[MirrorGap], comparison: Comparison) -> str:
    """What it says that mirrors against names fit better than T; entries of one side that it would pair first."""
    of_one_side = [other for other in unlike if comparison.against[other.name].misplaced]
    if of_one_side:
        return f"{_MISPLACED}: {of_one_side[0].words}"
    names = listed(_all_against(unlike, comparison.against).unswapped, _NAMED)
    first = unlike[0]
    return (
        f"the network answers the two sides of {names} unlike, which T pairs as their names say: of the first its gap "
        f"is {first.given:.3g}, and {first.here:.3g} where both keep their places. {_HABIT}; of all answers its gap is "
        f"{comparison.gap:.3g}"
    )


def _nearness(other: MirrorGap) -> tuple[float, float]:
    """The key that other mirrors are ordered by, the nearest first; those that rounding alone parts stay in order."""
    return round(other.gap, _DIGITS), round(other.ratio, _DIGITS)


def _is_clearly_better(gap: float, other: MirrorGap, basis: Basis) -> bool:
    """Whether another mirror fits much better than T, whose gap is given."""
    if ALONG_WIDTHS in other.name and gap <= FITS:
        return False  # some networks commute with both
    if is_about_another_point(other.name):
        return False  # whoever stood on one side of all pictures is seen about another point than the right one
    # Where T itself is near, a mirror that leaves the inputs nearer to known ones has a smaller gap for that alone.
    is_near = other.given < APART and other.inputs != "same"  # of the same inputs no nearness to known ones tells
    is_measured_well = basis.real and basis.rows >= FEWEST_ROWS and not is_near
    least = min(CLEARLY if is_measured_well else CLEARLY_OF_FEW, by_chance(other.numbers, _SELDOM))
    # One that fits badly itself proves nothing, but for one that leaves less than a third of the gap, or where answers
    # are the opposite of what T predicts.
    fits = other.here <= FITS or (
        basis.real and other.here < TELLS_NOTHING and (other.ratio <= MUCH or other.given >= _OPPOSITE)
    )
    # Where T is as good as exact beside what the output varies by, nothing needs another mirror: entries hardly move.
    return min(gap, other.apart) > SMALL and other.ratio <= least and fits


def _may_fit_for_moving_less(other: MirrorGap) -> bool:
    """Whether a mirror that fits better than T does not tell that T is wrong, since it leaves more of the inputs."""
    return other.moves_less and other.given < APART


def _with_lesser_ones(better: Sequence[MirrorGap], clearly: Sequence[MirrorGap]) -> list[MirrorGap]:
    """Those that refute T; where there are any, one that moves less and brings all answers much nearer is the one.

    clearly: all that fit much better than T.
    """
    nearest = min((other.gap for other in better), default=0.0)
    # Not one that swaps nothing: a network that nearly repeats its input fits that in any case.
    lesser = [other for other in clearly if other.moves_less and not other.swaps_nothing]
    least = min(lesser, key=lambda other: other.gap, default=None)
    if least is not None and least not in better and least.gap <= CLEARLY * nearest:
        return [least]
    return list(better)


def _with_the_point(gap: float, better: Sequence[MirrorGap], tried: Sequence[MirrorGap]) -> list[MirrorGap]:
    """Those that refute T; T about the mean of the inputs alone, where it leaves clearly less than any of them.

    Mirrors that pair joints otherwise make up for a part of what a wrong point does, and one that turns the sign of a
    block for its point: that of a block counts where it leaves no more than they do. It refutes T only beside others,
    or where the gap of T does.
    """
    is_refuted = bool(better) or gap >= NOTHING_IN_COMMON
    least = min((other.gap for other in better), default=FITS if is_refuted else 0.0)
    about = [other for other in tried if is_about_another_point(other.name) and other.gap <= CLEARLY * least]
    about += [other for other in tried if is_about_a_block(other.name) and other.gap <= (1.0 + _EQUALLY) * least]
    return sorted(about, key=_nearness)[:1] or list(better)


def by_chance(numbers: int, how_often: float) -> float:
    """The ratio that two gaps of so many numbers each fall below so often where both mirrors are as far from right.

    The root of an F ratio: two answers of a score are a chance, hundreds of answers are not. Once in 2,000 times
    (`_SELDOM`) it is below 0.022 of 2 numbers, 0.65 of 60 and 0.90 of 1,000.
    """
    return sqrt(float(fdtri(numbers, numbers, how_often))) if numbers else 0.0


def _without_still_ones(better: Sequence[MirrorGap]) -> list[MirrorGap]:
    """Those that fit, without those that move too little to tell where one that moves more fits about as well.

    A network that nearly repeats its input fits every mirror that leaves the inputs where it knows them: one that
    negates nothing where T lies about another point, one that swaps nothing where something else about T is wrong.
    """
    # Without those that swap nothing, where one that swaps fits about as well.
    swapping = min((other.ratio for other in better if not other.swaps_nothing), default=inf)
    better = [other for other in better if not other.swaps_nothing or swapping > _ABOUT * other.ratio]
    # Without those that move less, where T about another point fits about as well.
    recentered = min((other.ratio for other in better if other.recenters), default=inf)
    left_out = [
        other for other in better if other.moves_less and not other.recenters and recentered <= _ABOUT * other.ratio
    ]
    return [other for other in better if other not in left_out]


def _best(better: Sequence[MirrorGap]) -> list[MirrorGap]:
    """Those that fit about as well as the best of them, the best first.

    More than the best are kept: where T is wrong in one place, a mirror that corrects only a part of it fits better as
    well. A ratio is of the entries that a mirror changes alone, which are few where it corrects answers and leaves the
    inputs wrong: one that brings all entries clearly nearer is the one.
    """
    ordered = sorted(better, key=lambda other: other.ratio)
    best = [other for other in ordered if other.ratio <= _ABOUT * ordered[0].ratio]
    # By the gap on all entries, of those that move as much as T: one clearly nearer than all of the best takes it.
    of_all = min((other for other in ordered if not other.moves_less), key=lambda other: other.gap, default=None)
    if of_all is not None and of_all.gap < DOUBTFUL * min(other.gap for other in best):
        return [of_all]
    return best


def _fitting_skeletons(comparison: Comparison) -> tuple[str, ...]:
    """The shipped skeletons with another mirror than T that fits about as well as the best of them, and clearly better
    than T.

    Skeletons with the mirror T are left out: the user has tried that mirror, under whatever name.
    """
    fits: dict[str, float] = {}
    for other in comparison.others:
        fits.update(dict.fromkeys(other.skeletons, other.gap))
    # Of T as well where it is a shipped skeleton's: another has to fit about as well as that, too.
    gap_of_same = comparison.gap if comparison.same else inf
    least = min(gap_of_same, *fits.values()) if fits else inf
    most = min(FITS, _AS_GOOD * least, CLEARLY * comparison.gap)
    return tuple(name for name, reached in fits.items() if reached <= most)


_NO_OTHER = MirrorGap("", 0.0)
_HABIT = (
    "No pair is wrong for that: it is the habit of one actor, or data of one side, or the joints are in another order "
    "than their names"
)
_MISPLACED = (
    "the network does not answer as the names of the joints say, which may be in another order: it would pair joints "
    "that are no left and right"
)
_SCORES = (
    "no measurement contradicts T, but T leaves (nearly) all answers as they are, and such answers fit many mirrors"
)
_NOT_BY_THE_NETWORK = (
    f"the network does not confirm T, which may be right: a mirror that fits has a gap of {FITS} at most"
)
_UNTRAINED = (
    "the network is untrained (all of its weights are as an initialisation leaves them), so that its answers cannot "
    "tell whether T is its mirror"
)
_UNITS = "in units of the spread of its answers; 0.1 to 0.25 are usual, 1 and more is what another mirror gives"
_UNITS_OF_FORECASTS = (
    "in units of the spread of what it adds to the last frame; 0.1 to 0.4 are usual, 1 and more is what another mirror "
    "gives"
)
_UNITS_OF_FEW = "in units of the size of its answers, since there are too few samples to have a spread"


def _sentences(
    fit: MirrorFit, tried: Sequence[MirrorGap], better: Sequence[MirrorGap], units: str
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The judgement as checks, warnings and notes.

    tried: all mirrors with a finite gap.  better: those that refute T.  units: what gaps are counted in, in words.
    """
    if not fit.real and not better:
        unconfirmed = "the mirror is not confirmed: that takes real inputs; on random ones the gap"
        return (), (), (f"{unconfirmed} ({_both_gaps(fit)}) does not show which mirror is right",)
    # What refutes T: its own gap, then several changes that are wrong only together, then single other mirrors.
    warnings: list[str] = []
    if fit.real and fit.gap >= NOTHING_IN_COMMON:
        warnings.append(
            f"the network has nothing of this symmetry: its answer to T x is {fit.gap:.3g} away from T of its answer "
            f"to x ({units})"
        )
        is_explained = fit.changes or fit.against
        if not better and fit.has_a_nearer and not is_explained:
            figures = f"{fit.nearest_gap:.3g} with {fit.nearest}"
            if fit.nearest_is_first:
                warnings.append(f"another mirror comes much nearer: {figures}, {fit.gap:.3g} with T")
            else:
                warnings.append(f"another mirror comes nearer, though it does not fit either: {figures}")
    if len(fit.changes) > 1:  # each of the others is wrong itself
        warnings.append(
            f"{len(fit.changes)} things in the specification are wrong at once: its gap is {fit.corrected.gap:.3g} "
            f"after all of these changes, {fit.gap:.3g} with T: {changes_in_words(fit.changes)}"
        )
        return (), tuple(warnings), ()
    warnings += [_better(other, fit.real) for other in better[:_NAMED]]
    if len(better) > _NAMED:
        more = len(better) - _NAMED
        they_fit = "mirror fits" if more == 1 else "mirrors fit"
        warnings.append(f"and {more} more {they_fit} the network better than T does")
    if warnings:
        if fit.skeletons:
            warnings.append(f"shipped skeletons of this size whose mirror fits: {', '.join(fit.skeletons)}")
        return (), tuple(warnings), ()
    return _of_t(fit, tried, units)


def _of_t(
    fit: MirrorFit, tried: Sequence[MirrorGap], units: str
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The judgement where nothing refutes T: in doubt, not confirmed, or fitting."""
    if fit.doubt:
        first = point_to_check(fit.doubt)
        return (), (f"T is in doubt: {fit.doubt}, not clearly enough to tell which is right{first}",), ()
    beside = f"; of {len(tried)} other mirrors the nearest, with {fit.nearest}, has {fit.nearest_gap:.3g}"
    others = _as_good(tried)
    figures = f"its gap is {fit.gap:.3g} ({units})" + (beside if tried else "") + others
    if fit.answers_stay:
        # Scores change little under every mirror that moves little of what they are made from.
        return (), (), (f"the mirror is not confirmed: {_SCORES}: {figures}",)
    if fit.is_wide:
        return (), (), (f"{_NOT_BY_THE_NETWORK}: {figures}",)
    too = when(others, ", and other mirrors as well as T")
    return (f"the network fits T{too}: {figures}",), (), ()


def _doubt(gap: float, tried: Sequence[MirrorGap]) -> str:
    """The gaps of the mirror that raises most doubt about T, whose own is given; "" where none does."""
    doubtful = [other for other in tried if _raises_doubt(other)]
    if gap <= SMALL or not doubtful:
        return ""
    return min(doubtful, key=lambda other: other.ratio).words


def _raises_doubt(other: MirrorGap) -> bool:
    """Whether another mirror comes nearer than T by more than chance explains, on entries that it predicts, and
    that vary beside the others.
    """
    if ALONG_WIDTHS in other.name:
        return False
    least = [DOUBTFUL, by_chance(other.numbers, _AT_TIMES)]
    if AT_ANOTHER_CELL in other.name:
        least.append(_OF_CELLS)
    if is_about_another_point(other.name) and AT_THE_MIDDLE not in other.name:
        least.append(_OF_LEAST if AT_THE_LEAST in other.name else _OF_MEANS)
    if other.moves_less:
        least.append(_OF_LESS)
    is_nearer = other.ratio < min(least)
    return is_nearer and other.here < TELLS_NOTHING and (other.share > _FAINT or other.given >= _OPPOSITE)


def changes_in_words(names: Sequence[str]) -> str:
    """Several changes as a list to work through."""
    return "; ".join(f"({number}) {name}" for number, name in enumerate(names, 1))


def _as_good(tried: Sequence[MirrorGap]) -> str:
    """The mirrors that fit the network as well as T."""
    equal = [other.name for other in sorted(tried, key=lambda other: other.ratio) if other.ratio < TELLS]
    if not equal:
        return ""
    return f"; it cannot tell T from the mirror with {listed(equal, _NAMED)}"


def _better(other: MirrorGap, real: bool) -> str:
    """The warning of a mirror that refutes T."""
    return when(not real, "on noise ") + f"another mirror fits the network better: {other.words}"


def _both_gaps(fit: MirrorFit) -> str:
    """The gap of T, and that of the nearest other mirror if there is one.

    Where T does not fit, one that is as far off is left out: to name it would be to suspect it.
    """
    is_as_far = fit.is_refuted and fit.nearest_gap >= DOUBTFUL * fit.gap
    return f"{fit.gap:.3g} with T" + when(fit.nearest and not is_as_far, f", {fit.nearest_gap:.3g} with {fit.nearest}")


def recalled(fit: MirrorFit) -> Evidence:
    """Evidence about a converted network whose original was asked before it was converted.

    fit: from its file. The result itself cannot be asked: it fits whatever T was put into it.
    """
    figures = f"the original's gap was {_both_gaps(fit)}"
    if fit.is_refuted:
        fits = when(fit.skeletons, f"; shipped skeletons whose mirror fits: {', '.join(fit.skeletons)}")
        return Evidence(warnings=(f"it was converted although T does not fit the original: {figures}{fits}",), fit=fit)
    if not fit.trained:
        return Evidence(fit=fit, notes=("it was converted untrained, which cannot tell whether T is its mirror",))
    if not fit.real:
        return Evidence(fit=fit, notes=("the mirror was not confirmed: it was converted without real inputs",))
    if fit.answers_stay:
        return Evidence(fit=fit, notes=(f"the mirror was not confirmed: {_SCORES}; {figures}",))
    if fit.doubt or (fit.nearest and fit.gap > SMALL and fit.nearest_gap < _OF_LESS * fit.gap):
        text = fit.doubt or figures
        return Evidence(warnings=(f"T was in doubt when the original was converted: {text}",), fit=fit)
    if fit.is_wide:
        return Evidence(fit=fit, notes=(f"nothing confirmed T when the original was converted: {figures}",))
    return Evidence((f"T fitted the original when it was converted: {figures}",), fit=fit)
