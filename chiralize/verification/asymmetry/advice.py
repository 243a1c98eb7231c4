"""Whether a network should be converted, in plain words and with the figures that say so.

Measured on networks trained on real motion capture (docs/decisions/0015-audit.md): a gap of 0.09 to 0.13 when mirrored
copies were among the training samples, 0.15 to 0.2 without, 0.54 to 0.72 where everybody faced one side. Few samples or
few steps make it as large, by noise that a flip average takes out. A network that knows one side better spreads its
answers to the two kinds of inputs unlike, or leans: a part of the difference is the same for all inputs.

`audit` measures a network and its data and calls `advise`. The gravest reason comes first:

    unknown             no answer is a number, or none changes with the inputs, or a gap above 0.5 on random inputs
    equivariant         gap 1e-5 at most: nothing to convert
    wrong mirror        real inputs refute T, or something speaks against T and the gap is above 0.5
    one-sided data      85 % of the samples can be told from mirrored ones
    convert             gap 0.25 at most, no lean; on random inputs, where gaps are wider, 0.5 at most
    uneven              gap up to 0.5, or a lean
    one-sided network   gap above 0.5, with signs of a side; without such signs it is noise
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chiralize.body.tensors import ConversionSpec
from chiralize.errors.words import when
from chiralize.graph.mirror import FITS, MirrorFit
from chiralize.verification.asymmetry.lean import LEANING, would_show
from chiralize.verification.asymmetry.records import Advice, Asymmetry, DataGap, Leaning, Spread
from chiralize.verification.asymmetry.uneven import AVERAGE
from chiralize.verification.evidence.remedies import first_with_figures, rival_in_words, sides_first
from chiralize.verification.verdicts import Evidence

EQUIVARIANT = 1e-5
"""A gap up to which a network commutes with T already, in float32."""
UNEVEN = 0.25
"""A gap above what networks have that learned both sides."""
UNEVEN_FORECASTS = 0.45
"""The same in units of what forecasts add to the last frame; under the right mirror they had at most 0.42."""
ASYMMETRIC = 0.5
"""A gap from which on answers to both views have little in common."""
ONE_SIDED = 0.85
"""The share of samples that can be told from mirrored ones, from which on data show one side (decision 0015)."""

WORSE = "its flip average, and so an equivariant result, may do the task worse"
EXPLAINED = "its flip average, and so an equivariant result, may err more than it does"
_REDUCE = "`reduce` (where `chiralize plan` allows it)"
_USUAL, _USUAL_OF_FORECASTS = "0.1 to 0.25", "0.1 to 0.4"
_OF_FORECASTS = " in units of what it adds to the last frame"
_UNEVENLY = (
    f"where it was not trained with mirrored copies, train it so, or {_REDUCE} with --calibration, which learns from "
    f"unmirrored answers alone; where it was, convert by {AVERAGE}, which stops at no gap; compare the error on "
    "labelled samples either way (a graph recogniser with a gap of 0.41 lost 4 of 61 points to its flip average)"
)
_LEANING = (
    f"train it with mirrored copies, or train the result on under the mirror; else {_REDUCE} with --calibration, which "
    "learns from unmirrored answers alone"
)
_NOISE = (
    "convert, and compare the error on labelled samples: a mirror that is not its own looks like this, too (lifters "
    "trained on 100 to 1,000 poses, with gaps of 0.5 to 0.7, gained 7 to 8 % by their flip average)"
)
_LOOK_AT_TRAINING = (
    "see whether the network is badly trained or knows one side only, since no other mirror that was tried fits"
)
_MIXES_OR_MENDS = (
    "A flip average mixes good answers with bad ones where one side was never seen, and mends both where both are "
    "noisy (a scorer of exercises with a gap of 0.82 on its training clips was right in 79 % in place of 75 %)"
)
_CLEARLY_BETTER = " clearly better"
_NOT_ITS_MIRROR = "T does not look like the mirror of this network"
_HANDED = (
    "see first whether the task itself has sides (right-hand traffic, a handed tool), since no mirror that was tried "
    "fits: such a network is best left as it is; else "
)
_CORRECT = "correct the specification before anything is converted"
_OF_STILL = "check its weights and the arguments of its class, or give inputs that differ more from each other"
_GAIT = ". What a policy of uneven gait sees leans, too, whatever it is told to do"
_NO_SIDE = 5.0
"""Means of an entry and of its mirror image that are so many spreads apart are seldom those of one side."""
ASK = (
    "`chiralize convert --rollout` lets a policy's environment decide, and `audit --rollout` shows its flip average "
    "there; where there is none, "
)
ADD_IMAGES = (
    "add the mirror images of the inputs (`Mirror`) to --calibration and take `--method reduce`, if it was trained on "
    "both sides; else "
)
_ASK_ENVIRONMENT = f"{ASK}{ADD_IMAGES}train it with mirrored copies"
_SETTLE = "settle whether T is its mirror"


def advise(
    measured: Asymmetry,
    evidence: Evidence,
    real: bool,
    data: Sequence[DataGap] = (),
    leaning: Leaning | None = None,
    is_policy: bool = False,
    spec: ConversionSpec | None = None,
    labels: Sequence[Leaning] = (),
) -> Advice:
    """Whether to convert a network with such gaps: the gravest reason that applies.

    Forecasts are judged by what they add to the last frame.

    real: the inputs are the user's, not random ones.  leaning: of all samples.  is_policy: it may be one.
    evidence: without what answers to random inputs speak against, which says nothing of the mirror.
    spec: the one that T is of.  labels: the leanings of every label, where the user gave labels.
    """
    # Nothing to say, and nothing to do.
    if not measured.outputs or (evidence.still and measured.plain_gap > EQUIVARIANT):
        return _unknown(evidence.still)
    if measured.plain_gap <= EQUIVARIANT:
        return _nothing_to_convert(measured)
    # From here on the outputs of one kind, forecasts or others, in units of their own.
    shares = dict(evidence.displaced)
    measured = measured.gravest(shares, UNEVEN, UNEVEN_FORECASTS)
    is_forecast = any(output.index in shares for output in measured.outputs)
    unit, usual = (_OF_FORECASTS, _USUAL_OF_FORECASTS) if is_forecast else ("", _USUAL)
    gap = f"gap {measured.gap:.2g}{unit}; {usual} is what networks have that learned both sides"
    # A refuted T before one-sided data, which are named as another cause: data may well look one-sided under a wrong T.
    is_one_sided = leaning is not None and leaning.side is not None and leaning.side >= ONE_SIDED
    if evidence.fit is not None and evidence.fit.is_refuted and evidence.warnings:
        return _of_wrong_mirror(evidence, gap, leaning if is_one_sided else None, spec)
    if is_one_sided and leaning is not None:
        return _of_one_sided_data(_one_sided_data(measured, data, leaning, labels), evidence, is_policy)
    # By the gap. On random inputs one below 0.5 is good news, and a wider one none at all.
    if measured.gap <= ASYMMETRIC:
        if real and (measured.undecided_gap > (UNEVEN_FORECASTS if is_forecast else UNEVEN) or measured.lean > LEANING):
            return _of_policy(measured, evidence) if is_policy else _uneven(measured, gap, evidence)
        return _sensible(gap, real, evidence)
    if evidence.warnings:
        return _of_wrong_mirror(evidence, gap, None, spec)
    if not real:
        text = f"random inputs tell nothing of the mirror: on them the gap is very large ({gap})"
        return Advice("unknown", text, "give --calibration real inputs")
    return _of_policy(measured, evidence) if is_policy else _asymmetric(measured, gap, leaning)


def _sensible(gap: str, real: bool, evidence: Evidence) -> Advice:
    """Advice on a network whose answers to both views are near each other."""
    basis = when(not real, ", as far as random inputs tell")
    text = f"converting is sensible{basis}: the network nearly commutes with T ({gap})"
    if evidence.warnings:
        doubt = f"{text}, if T is its mirror: {evidence.warnings[0]}"
        return Advice("convert", doubt, f"{_settle(evidence.fit)}, then convert")
    fit = evidence.fit
    if real and fit is not None and (fit.answers_stay or not fit.trained):
        text += ", if T is its mirror, which its answers do not show"
    return Advice("convert", text, "convert")


def _unknown(still: str) -> Advice:
    """Advice on answers that tell nothing: they are no numbers, or hardly change with the inputs (`still`)."""
    if still:
        return Advice("unknown", f"nobody can say: {still}", _OF_STILL)
    text = "nobody can say: no output is a floating-point number, whose distance to another could be told"
    return Advice("unknown", text, "give the network that answers with scores or coordinates")


def _of_wrong_mirror(evidence: Evidence, gap: str, leaning: Leaning | None, spec: ConversionSpec | None) -> Advice:
    """Advice where the network refutes T. leaning: of data that show one side, which may be the cause.

    Partners by name whose sides it answers unlike refute nothing, and are said to be uneven.
    """
    if evidence.fit is not None and evidence.fit.unlike and not evidence.fit.misplaced:
        text = f"the network treats left and right unequally ({gap}): {'; '.join(evidence.warnings[:2])}"
        return Advice("uneven", text, sides_first(evidence.fit) or _CORRECT)
    better = evidence.fit is not None and bool(evidence.fit.better)
    reason = "another mirror fits this network better than T does" if better else _NOT_ITS_MIRROR
    text = f"{reason} ({gap}): {evidence.warnings[0]}"
    if leaning is not None:
        text += f". Or T is right, and the data are one-sided: {_side_in_words(leaning)}"
    return Advice("wrong mirror", text, _what_to_correct(evidence.fit, spec))


def _what_to_correct(fit: MirrorFit | None, spec: ConversionSpec | None) -> str:
    """The mirror that comes clearly nearer than T first, with its gap; the network's training where there is none."""
    if fit is None or not fit.is_refuted:  # something else speaks against T: names, bones, the inputs
        rival = rival_in_words(fit)
        is_handed = fit is not None and bool(fit.nearest) and fit.nearest_gap > FITS
        return when(is_handed, _HANDED) + when(rival, f"look at the nearest mirror first ({rival}); ") + _CORRECT
    if of_sides := sides_first(fit):
        return of_sides
    if fit.fits_another or fit.nearest_is_first:
        return f"{first_with_figures(fit, spec)}; {_CORRECT}"
    others = f" (the nearest: {rival_in_words(fit)})" if fit.has_a_nearer else _CLEARLY_BETTER
    return f"{_LOOK_AT_TRAINING}{others}; else {_CORRECT}"


def _settle(fit: MirrorFit | None) -> str:
    """The advice to settle which mirror is right, with the gap of the nearest other one."""
    rival = rival_in_words(fit)
    return _SETTLE + when(rival, f" ({rival})")


def of_single_calls(measured: Asymmetry) -> Advice:
    """Advice on a network that carries states, of which only single calls were measured."""
    if measured.plain_gap <= EQUIVARIANT:
        return _nothing_to_convert(measured)
    text = (
        f"nobody can say: the network carries states from call to call, and the gap of single calls "
        f"({measured.gap:.2g}) tells little of that along sequences"
    )
    return Advice("unknown", text, "give --calibration sequences, (sequence, time, ...)")


def _of_policy(measured: Asymmetry, evidence: Evidence) -> Advice:
    """Advice on a wide gap of a policy. Six published ones with 0.2 to 0.5 and leans of up to 0.2 lost nothing by their
    flip average, a Walker with a gait of its own 0.8 of its return (docs/decisions/0077-published-policies.md).
    """
    lean = when(measured.lean > LEANING, f" and a lean of {measured.lean:.2g}")
    doubt = when(evidence.warnings, f". Or T is not its mirror: {''.join(evidence.warnings[:1])}")
    return Advice(
        "uneven",
        f"the network answers x and its mirror image differently, with a gap of {measured.gap:.2g}{lean}. A policy "
        "with such figures may walk as well on its flip average, or not at all, and only its environment tells; a "
        "network of another kind knows one side only, or little as yet. Or these inputs are not scaled as in "
        f"training{doubt}",
        when(evidence.warnings, f"{_settle(evidence.fit)} first; then ") + _ASK_ENVIRONMENT,
    )


def _nothing_to_convert(measured: Asymmetry) -> Advice:
    """Advice on a network that is equivariant as it is."""
    text = f"the network commutes with the mirror already (gap {measured.gap:.2g})"
    return Advice("equivariant", text, "there is nothing to convert; `chiralize verify` proves it")


def _uneven(measured: Asymmetry, gap: str, evidence: Evidence) -> Advice:
    """Advice on a network whose answers to both views differ more than usual, or lean, but have much in common."""
    doubt = first = ""
    if evidence.warnings:
        doubt = f", or T is not its mirror: {evidence.warnings[0]}"
        first = f"{_settle(evidence.fit)} first; then "
    if measured.lean > LEANING:
        text = f"the network {leaning_in_words(measured.lean)} ({gap}): {WORSE}{doubt}"
        return Advice("uneven", text, first + _LEANING)
    # Without a sign of a side the gap is noise, unless something speaks against T.
    signs = _signs(measured)
    if not signs:
        advice = _without_signs(measured, gap)
        is_noise = advice.is_noise and not evidence.warnings
        return replace(advice, text=advice.text + doubt, remedy=first + advice.remedy, is_noise=is_noise)
    return Advice(
        "uneven",
        f"the network treats left and right unequally: {EXPLAINED} ({gap}; {signs[0]}){doubt}",
        first + _UNEVENLY,
    )


def _asymmetric(measured: Asymmetry, gap: str, leaning: Leaning | None) -> Advice:
    """Advice on a network whose answers to both views have little in common."""
    signs = _signs(measured)
    if not signs:
        return _without_signs(measured, gap)
    side = "" if leaning is None or leaning.side is None else f", though the data show both ({_side_in_words(leaning)})"
    return Advice(
        "one-sided network",
        f"the network answers its two sides differently{side}: {gap}, and {' and '.join(signs)}. It knows one side "
        f"better, or little of either, or this is not its mirror. {_MIXES_OR_MENDS}",
        f"train it with mirrored copies; or compare the error of {AVERAGE} on labelled samples; or {_REDUCE} with "
        "--calibration (poses of the side it knows), --distill and --force, which learns from unmirrored answers alone",
    )


def _signs(measured: Asymmetry) -> list[str]:
    """Findings that rule out noise as the cause of the gap."""
    signs: list[str] = []
    if measured.spread is not None and measured.spread.differs:
        signs.append(spread_in_words(measured.spread))
    if measured.lean > LEANING:
        signs.append(f"it {leaning_in_words(measured.lean)}")
    return signs


def _one_sided_data(
    measured: Asymmetry, data: Sequence[DataGap], leaning: Leaning, labels: Sequence[Leaning]
) -> Advice:
    """Advice on data that show one side: whether the network knows that side only, or both all the same."""
    if data:
        most = f", most in {data[0].label} (mean {data[0].mean:.2g}, mirrored {data[0].mirrored:.2g})"
    else:
        most = ""
    text = f"the data themselves are one-sided: {_side_in_words(leaning)}{most}. The task may not be symmetric"
    if measured.gap > ASYMMETRIC and _signs(measured):
        return Advice(
            "one-sided data",
            f"{text}, and the network knows that side only (gap {measured.gap:.2g}), or was trained on inputs of "
            "another unit, scale or order: converting would average two different answers",
            f"{_check_first(data)}where the task is symmetric, {_REDUCE} with --calibration (these data), --distill "
            "and --force, which carries the answers over to the other side; else do not convert",
        )
    return Advice(
        "one-sided data",
        f"{text}. The network's own gap is {measured.gap:.2g}",
        f"{_check_first(data)}{_by_label(labels)}with data of both sides, or where the task is symmetric all the same, "
        "convert",
    )


def _by_label(labels: Sequence[Leaning]) -> str:
    """Which labels lean, where there are labels; else that `--labels` tells."""
    if not labels:
        return "see by label (`--labels`) what leans; "
    leaning = [one for one in labels if (one.side or 0.0) >= ONE_SIDED]
    if len(leaning) < len(labels) or len(labels) == 1:
        return ""
    return "every label leans, so that no single one is to blame (the place of the camera or of a sensor may be); "


def _check_first(data: Sequence[DataGap]) -> str:
    """What to look at where an entry hardly varies, and its mirror image is another number: that is seldom a side."""
    if not data or data[0].gap < _NO_SIDE:
        return ""
    most = data[0]  # they come in order, the widest gap first
    return (
        f"check the order of the joints and of the numbers, pairs and signs: {most.label} is {most.mean:.3g} in "
        f"nearly all inputs and {most.mirrored:.3g} in their mirror images, {most.gap:.2g} spreads apart; "
    )


def _of_one_sided_data(advice: Advice, evidence: Evidence, is_policy: bool) -> Advice:
    """The same for a policy, which an environment tells most of; and where T is in doubt, with the doubt before it."""
    if is_policy:
        advice = replace(advice, text=advice.text + _GAIT, remedy=_ASK_ENVIRONMENT)
    if not evidence.warnings:
        return advice
    text = f"T may not be its mirror: {evidence.warnings[0]}. Or {advice.text}"
    return replace(advice, text=text, remedy=f"{_settle(evidence.fit)} first; then {advice.remedy}")


def spread_in_words(spread: Spread) -> str:
    """How much more or less the answers to mirrored inputs spread, in words."""
    more = "more" if spread.ratio > 1 else "less"
    return f"its answers to mirrored inputs spread {abs(spread.ratio - 1):.1%} {more}"


def leaning_in_words(lean: float) -> str:
    """What a lean is, as a predicate."""
    return (
        f"leans to one side: in the mean over all inputs its answers to the two sides are {lean:.2g} of their spread "
        "apart, which is no noise"
    )


def _without_signs(measured: Asymmetry, gap: str) -> Advice:
    """Advice on a gap without signs of a side, which is noise if there are enough samples for such signs to show."""
    differently = f"the network answers x and its mirror image differently ({gap})"
    # A lean of 0.12 stands out of a gap of 0.8 from 90 samples on, out of one of 0.4 from 24 on.
    if not would_show(measured.gap, measured.samples):
        few = "sample is" if measured.samples == 1 else "samples are"
        text = f"{differently}, and {measured.samples} {few} too few to tell noise of training from a better side"
        return Advice("uneven", text, "give hundreds of samples to tell the two apart")
    noise = (
        "That is the noise of training on few samples or for few steps, of inputs unlike those in training, or of "
        "layers that know no left and right, and a flip average removes it"
    )
    text = f"{differently}, yet its answers vary as much on either side. {noise}"
    return Advice("uneven", text, _NOISE, is_noise=True)


def _side_in_words(leaning: Leaning) -> str:
    """How many samples can be told from mirrored ones, in words."""
    side = leaning.side or 0.0
    return f"{100 * side:.0f} % of {leaning.samples:,} samples can be told from mirrored ones, 50 % is symmetric"
