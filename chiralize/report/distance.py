"""How far a result is from its original, in words that promise no more than what was measured.

rho is the distance from the original's flip average in units of half the original's gap. What a rho means for the
error in use is known for inputs like those in use, for the whole length of a stateful network's roll-outs, and for
originals that know both sides (the conversions of benchmarks/accuracy/results.csv). Elsewhere rho promises nothing, and
where none was measured the distance is "unknown".

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
from chiralize.report.document import plain
from chiralize.report.records import ConvertReport
from chiralize.verification.asymmetry.advice import ASYMMETRIC, UNEVEN
from chiralize.verification.leaning import Lean, lean_of
from chiralize.verification.verdicts import Drift

SAME = 0.01
NEAR = 1.25
FAR = 2.0
"""Up to which rho a result is the same, near, or apart; see above."""
GIVEN_NOISE = "the calibration inputs look like random numbers"
UNKNOWN = "its distance from the original is unknown"
_NO_PROMISE = "which promises nothing of its error"

Kind = Literal["same", "near", "apart", "far", "unknown"]


@dataclass(frozen=True)
class Distance:
    """A word for how far a result is from its original.

    words: for the headline.  reason: why it promises nothing of the error in use, "" where it may.
    is_measured: whether anything was measured that would tell.
    """

    kind: Kind
    words: str
    reason: str = ""
    is_measured: bool = True


def distance(report: ConvertReport, of_inputs: Sequence[Caution] = ()) -> Distance:
    """The word for the distance of a converted network from its original.

    of_inputs: what the calibration inputs were warned of: figures measured on such inputs promise nothing.
    """
    drift = report.drift
    if report.method == "unchanged":
        return Distance("same", "the same answers as the original's")
    # 1. Nothing was measured, or nothing that counts: single calls of a network whose errors add up in its state.
    if drift is None and report.is_average:
        return Distance("same", "the same answers as the original's flip average, by construction")
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
        return Distance("same", f"the same answers as the original's flip average {rho}")
    if not drift.is_telling:
        return _unknown(f"only random inputs were measured (rho {plain(drift.rho)} on them): give --calibration inputs")
    if given_noise(report) and drift.rho <= NEAR:  # a large rho is bad even on noise
        return _promising_nothing(drift, GIVEN_NOISE)
    return _measured(drift, rho, of_inputs, _on_condition(report))


def _on_condition(report: ConvertReport) -> str:
    """`, if that learned both sides`: what nothing shows, and a small error depends on; "" where something does."""
    return when(report.evidence.are_sides_unknown, ", if that learned both sides")


def given_noise(report: ConvertReport) -> bool:
    """Whether a result was fitted to and measured on calibration inputs that are as good as random numbers.

    Of an average any inputs show that it is one.
    """
    drift, fit = report.drift, report.evidence.fit
    if drift is None or fit is None or fit.real or report.is_average:
        return False
    return not (drift.noise or drift.built_in)


def _measured(drift: Drift, rho: str, of_inputs: Sequence[Caution], condition: str) -> Distance:
    """The word for the distance, by rho.  condition: on which a good one depends.

    A large rho is bad on any inputs. A small one promises something only where the inputs are good and the original
    knows both sides.
    """
    if not drift.rho <= FAR:  # inf and nan, too
        return Distance("far", f"far from the original {rho}: fine-tune before use")
    if drift.rho > NEAR:
        return Distance("apart", f"apart from the original {rho}: compare the error before use")
    if drift.is_narrow:
        return _promising_nothing(drift, f"the {drift.inputs} are narrow")
    if of_inputs:
        return _promising_nothing(drift, of_inputs[0].brief)
    if not drift.gap <= UNEVEN:
        return _promising_nothing(drift, wide_gap(drift.gap))
    lean = lean_of(drift)
    if lean is not None:
        return _promising_nothing(drift, leaning(lean))
    if drift.built_in:
        return Distance("near", f"near the original's flip average {rho}")
    if off := _furthest_off(drift):
        share = f"off the original's flip average by {percent(off)} of the spread of its answers at most"
        return Distance("near", f"{share} {rho}{condition}")
    alike = when(drift.beyond is None or not drift.beyond.foretells, " on inputs like those given")
    return Distance("near", f"its error within a few percent of the original's{alike} {rho}{condition}")


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
