"""How far a result is from its original, in words that promise no more than what was measured.

rho is the distance from the original's flip average in units of half the original's gap. What a rho means for the
error in use is known for inputs like those in use, for the whole length of a stateful network's roll-outs, and for
originals that know both sides (the conversions of benchmarks/accuracy/results.csv). Elsewhere rho promises nothing, and
where none was measured the distance is "unknown". All of that was seen under right mirrors: beside a doubt about T
nothing is promised, and where nothing confirms T only on the condition that it is the mirror.

`verdict`, `facts`, `cautions` and `parts` all ask `distance`, so that no format promises more than another. The words
for a rho that was measured on good inputs:

    same  <= 0.01 <  near  <= 1.25 <  apart  <= 2 <  far        any other: unknown, with the reason
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chiralize.errors import Caution
from chiralize.errors.words import percent, when
from chiralize.graph.mirror import MirrorFit
from chiralize.report.confirming import NOT_CONFIRMED, confirmed_or_not
from chiralize.report.document import plain
from chiralize.report.records import ConvertReport
from chiralize.storage.assumed import if_assumed_is_right, is_of_arguments
from chiralize.verification.asymmetry.advice import ASYMMETRIC, UNEVEN
from chiralize.verification.evidence.even_inputs import EVEN
from chiralize.verification.evidence.free_inputs import ASKED
from chiralize.verification.leaning import Lean, lean_of
from chiralize.verification.verdicts import Drift, Evidence

SAME = 0.01
NEAR = 1.25
FAR = 2.0
"""Up to which rho a result is the same, near, or apart; see above."""
GIVEN_NOISE = "the calibration inputs look like random numbers"
UNKNOWN = "its distance from the original is unknown"
UNKNOWN_AVERAGE = "nothing is known of whether the flip average does the task"
IN_DOUBT = "the mirror is in doubt"
_IF_RIGHT = "T is its mirror"
_NO_PROMISE = "which promises nothing of its error"

Kind = Literal["same", "near", "apart", "far", "unknown"]


@dataclass(frozen=True)
class Distance:
    """A word for how far a result is from its original.

    words: for the headline.  reason: why it promises nothing of the error in use, "" where it may.
    is_measured: whether anything was measured that would tell.  condition: what a promise of the error hangs on, as a
    clause; "" where it hangs on nothing that is open.
    """

    kind: Kind
    words: str
    reason: str = ""
    is_measured: bool = True
    condition: str = ""


def distance(report: ConvertReport, of_inputs: Sequence[Caution] = ()) -> Distance:
    """The word for the distance of a converted network from its original.

    of_inputs: what the calibration inputs were warned of: figures measured on such inputs promise nothing.
    """
    drift = report.drift
    if report.method == "unchanged":
        return Distance("same", "the same answers as the original's")
    # 1. Nothing was measured, or nothing that counts: single calls of a network whose errors add up in its state.
    if drift is None and report.is_average:
        words = "the same answers as the original's flip average, by construction"
        return Distance("same", words, doubt_of_mirror(report.evidence) or UNKNOWN_AVERAGE)
    if drift is None:
        return _unknown("nothing was measured: no mirror is known of its states")
    if not drift.outputs:
        return _unknown("nothing was measured: no output is a floating-point number")
    if drift.stateful and drift.steps <= 1:
        return _unknown(
            "it keeps a state, and only single calls were measured: give --calibration sequences, each of more frames "
            "than one call reads"
        )
    # 2. Something was: by rho where the inputs are telling.
    rho = f"(rho {plain(drift.rho)})"
    if drift.built_in:
        rho = f"(rho {plain(drift.rho)} on built-in poses, not on yours)"
    # A two-view result runs the original itself on both views, so it is their average on any inputs.
    if drift.rho <= SAME and (report.is_average or drift.is_telling):
        words = f"the same answers as the original's flip average {rho}"
        reason = _why_no_promise(report, drift, of_inputs)
        return Distance("same", words, reason, condition=_on_condition(report, of_inputs))
    if not drift.is_telling:
        return _unknown(f"only random inputs were measured (rho {plain(drift.rho)} on them): give --calibration inputs")
    return _measured(report, drift, rho, of_inputs)


def _measured(report: ConvertReport, drift: Drift, rho: str, of_inputs: Sequence[Caution]) -> Distance:
    """The word for the distance, by rho.

    A large rho is bad on any inputs. A small one promises something only where the inputs are good, the original knows
    both sides, and nothing speaks against T.
    """
    reason, condition = _why_no_promise(report, drift, of_inputs), _on_condition(report, of_inputs)
    if not drift.rho <= FAR:  # inf and nan, too
        return Distance("far", f"far from the original {rho}: fine-tune before use", reason, condition=condition)
    if drift.rho > NEAR:
        words = f"apart from the original {rho}: compare the error before use"
        return Distance("apart", words, reason, condition=condition)
    if reason:
        return _promising_nothing(drift, reason)
    return Distance("near", _near(drift, rho, condition), condition=condition)


def _on_condition(report: ConvertReport, of_inputs: Sequence[Caution]) -> str:
    """What a small error depends on and none of the figures shows: `, if T is its mirror` where nothing confirms that,
    `, if that learned both sides`, `, if shift=0.5 is what it was trained with`; "" where nothing is open.
    """
    conditions = [_open_of_mirror(report), *map(if_assumed_is_right, (caution.text for caution in of_inputs))]
    return when(any(conditions), f", if {' and '.join(filter(None, conditions))}")


def _open_of_mirror(report: ConvertReport) -> str:
    """What is open of the mirror and of the sides that the network learned."""
    drift, evidence = report.drift, report.evidence
    measured = drift is not None and not (drift.noise or drift.built_in)
    is_open = NOT_CONFIRMED in confirmed_or_not(evidence, measured, report.rollout)
    if is_open or any(ASKED in text for text in evidence.warnings):
        return _IF_RIGHT
    return when(evidence.are_sides_unknown, "that learned both sides")


def doubt_of_mirror(evidence: Evidence) -> str:
    """A few words where something speaks against T, so that no figure under it promises anything; else "".

    Not where a network that fits T is only asked about a free input: what is said then hangs on the answer.
    """
    against = [text for text in evidence.warnings if not (ASKED in text and is_fitted(evidence.fit))]
    if against:
        return IN_DOUBT
    return when(evidence.still, "the original answers nearly the same to everything")


def is_fitted(fit: MirrorFit | None) -> bool:
    """Whether the network fits T on real inputs, with a gap of networks that know both sides, and nothing else nearer.

    Scores that stay as they are under T tell too little.
    """
    if fit is None:
        return False
    is_clear = not (fit.answers_stay or fit.doubt or fit.fits_another)
    return fit.is_confirmed and is_clear and fit.gap <= UNEVEN


def given_noise(report: ConvertReport) -> bool:
    """Whether a result was fitted to and measured on calibration inputs that are as good as random numbers.

    Of an average any inputs show that it is one.
    """
    drift, fit = report.drift, report.evidence.fit
    if drift is None or fit is None or fit.real or report.is_average:
        return False
    return not (drift.noise or drift.built_in)


def _why_no_promise(report: ConvertReport, drift: Drift, of_inputs: Sequence[Caution]) -> str:
    """Why the figures promise nothing of the error in use, the gravest reason first; "" where they may.

    The flip average is one on any inputs; whether it does the task is known of inputs like those in use alone.
    """
    briefs = [caution.brief for caution in of_inputs if not is_of_arguments(caution.text)]
    if EVEN in briefs:
        return EVEN
    if doubt := doubt_of_mirror(report.evidence):
        return doubt
    if not drift.is_telling:
        return UNKNOWN_AVERAGE
    if given_noise(report) and drift.rho <= NEAR:  # a large rho is bad even on noise
        return GIVEN_NOISE
    if drift.is_narrow and not report.is_average:
        return f"the {drift.inputs} are narrow"
    if briefs:
        return briefs[0]
    if not drift.unsettled_gap <= UNEVEN:
        return wide_gap(drift.unsettled_gap)
    lean = lean_of(drift)
    return "" if lean is None else leaning(lean)


def _near(drift: Drift, rho: str, condition: str) -> str:
    """The words for a result that is near.  condition: on which a promise depends."""
    if drift.built_in:
        return f"near the original's flip average {rho}"
    if off := _furthest_off(drift):
        return (
            f"off the original's flip average by {percent(off)} of the spread of its answers at most {rho}{condition}"
        )
    alike = when(drift.beyond is None or not drift.beyond.foretells, " on inputs like those given")
    return f"its error within a few percent of the original's{alike} {rho}{condition}"


def _furthest_off(drift: Drift) -> float:
    """The largest drift of any output, where one is near only because the unit of rho has stopped shrinking; else 0.

    Where the gap is smaller than that, the error may be, too: then no rho says what share of it a drift is.
    """
    if not any(output.drift > NEAR * output.gap / 2 for output in drift.outputs):
        return 0.0
    return max(output.drift for output in drift.outputs)


def _unknown(reason: str) -> Distance:
    """The word where nothing was measured that would tell."""
    return Distance("unknown", f"{UNKNOWN}: {reason}", reason, is_measured=False)


def _promising_nothing(drift: Drift, reason: str) -> Distance:
    """The word where rho is known for the inputs that it was measured on, and says nothing of the error in use."""
    inputs = "built-in poses, not on yours" if drift.built_in else "the inputs given"
    return Distance("unknown", f"rho is {plain(drift.rho)} on {inputs}, {_NO_PROMISE}: {reason}", reason)


def leaning(lean: Lean) -> str:
    """A few words on an original whose views are so far apart in the mean."""
    if lean.whole is None:
        return f"the original leans to one side (by {plain(lean.lean)} of its spread)"
    return f"{lean.where} leans to one side (by {plain(lean.lean)} of the spread, the whole by {plain(lean.whole)})"


def wide_gap(gap: float) -> str:
    """A few words on an original whose answers to both views are this far apart."""
    word = "very large" if gap > ASYMMETRIC else "large"
    return f"the original's gap is {word} ({plain(gap)})"
