"""The warnings of a report, taken from its records, in the words in which every format prints them.

A `Caution` has a topic (mirror, precision, drift, sides, loop, constants, states, data), a text with figures and what
to do, and a brief form for the first line. `verdict` puts the briefs into its sentence; a report with any has the
standing "warning", unless it failed.
"""

from __future__ import annotations

from chiralize.errors import Caution
from chiralize.errors.words import listed, percent, when
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.rewrite import Moved
from chiralize.report.distance import (
    GIVEN_NOISE,
    NEAR,
    UNKNOWN_AVERAGE,
    distance,
    given_noise,
    is_fitted,
    leaning,
    wide_gap,
)
from chiralize.report.document import plain, short
from chiralize.report.loop_cautions import loop_cautions
from chiralize.report.particulars import Changes
from chiralize.report.records import AuditReport, ConvertReport, PlanReport, Report, VerifyReport
from chiralize.verification.asymmetry.advice import ASYMMETRIC, EXPLAINED, UNEVEN
from chiralize.verification.evidence.even_inputs import EVEN
from chiralize.verification.evidence.free_inputs import ASKED
from chiralize.verification.evidence.remedies import rival_in_words
from chiralize.verification.leaning import Lean, is_noise, lean_of
from chiralize.verification.verdicts import Degeneracy, Drift, Evidence, NumericVerdict

WARNING = "warning: "
"""The beginning of those notes on the user's data that warn."""
_STILL = "the original answers nearly the same to everything, so that nothing confirms the mirror"
_COLLAPSED = "an output of the original hardly changes with the inputs"
_OF_A_RIVAL = "in doubt"
"""What a warning says that another mirror raises."""
_PAIRS = 2  # that a brief names


def cautions_of(report: Report) -> tuple[Caution, ...]:
    """All warnings of a report, the gravest topic first.

    Inputs that are nearly their own mirror images come before all: what is blamed on T or on the network is theirs.
    """
    return tuple(sorted(_by_topic(report), key=lambda caution: caution.brief != EVEN))


def _by_topic(report: Report) -> tuple[Caution, ...]:
    """All warnings of a report, those of the mirror first."""
    if isinstance(report, ConvertReport):
        return _of_conversion(report)
    if isinstance(report, VerifyReport):
        judged = report.judgement
        sides, precision = side_cautions(judged.degeneracy), precision_cautions(judged.own_precision)
        return (*mirror_cautions(report.evidence), *precision, *sides, *data_cautions(report.notes))
    if isinstance(report, AuditReport):
        return (*mirror_cautions(report.evidence), *loop_cautions(report.rollout), *data_cautions(report.notes))
    if isinstance(report, PlanReport):
        return data_cautions(report.notes)
    return ()


def _of_conversion(report: ConvertReport) -> tuple[Caution, ...]:
    """Those of a conversion: a wrong mirror makes all that follows worthless, remarks on the inputs come last."""
    return (
        *mirror_cautions(report.evidence),
        *precision_cautions(report.judgement.own_precision),
        *drift_cautions(report),
        *side_cautions(report.judgement.degeneracy),
        *loop_cautions(report.rollout),
        *constant_cautions(report.changes),
        *state_cautions(report.changes),
        *data_cautions(report.notes),
    )


# ---- the mirror -----------------------------------------------------------------------------------------------
def mirror_cautions(evidence: Evidence) -> tuple[Caution, ...]:
    """A warning for everything that speaks against the mirror."""
    # one brief for all of them: the first line has it once
    gravest = sorted(evidence.warnings, key=lambda text: ASKED in text)  # a question comes after what was found
    brief = _doubt(evidence.fit, *gravest[:1])
    doubts = [Caution("mirror", text, brief) for text in evidence.warnings]
    if evidence.still:
        doubts.insert(0, Caution("mirror", evidence.still, _STILL))
    if evidence.collapsed:
        doubts.append(Caution("mirror", evidence.collapsed, _COLLAPSED))
    return tuple(doubts)


def _doubt(fit: MirrorFit | None, warning: str = "") -> str:
    """The doubt about the mirror in a few words: another one, no symmetry at all, or what else warns of it."""
    if fit is not None and fit.better:
        where = when(not fit.real, " on random inputs")
        # the nearest one has its gap known; of others that fit better it is the first
        name = fit.nearest if fit.nearest in fit.better else fit.better[0]
        figures = when(name == fit.nearest, f" (gap {plain(fit.nearest_gap)}, {plain(fit.gap)} with T)")
        return f"another mirror fits better{where}: {name}{figures}"
    if fit is not None and fit.unlike:
        return f"the original answers the two sides of {listed(fit.unlike, _PAIRS)} unlike (gap {plain(fit.gap)})"
    if fit is not None and fit.is_refuted:
        return f"the original has nothing of this symmetry (gap {plain(fit.gap)})"
    rival = rival_in_words(fit)
    if fit is not None and ASKED in warning and is_fitted(fit):
        return f"the network fits the mirror; say of {warning.partition(' is `free`')[0]} whether it belongs to sides"
    if rival and _OF_A_RIVAL in warning:
        return f"the mirror is doubtful ({rival})"
    return f"the mirror is doubtful: {warning.partition('; ')[0]}"


# ---- the answers ----------------------------------------------------------------------------------------------
def drift_cautions(report: ConvertReport) -> tuple[Caution, ...]:
    """Warnings of a result that is further from the original than it should be, or at an unknown distance."""
    # 1. Nothing was measured; or the result is the flip average, and nothing says how good that is.
    how_far = distance(report, data_cautions(report.notes))
    texts: list[Caution] = []
    if not how_far.is_measured:
        texts.append(Caution("drift", how_far.words))
    drift = report.drift
    if how_far.kind == "same" and report.method != "unchanged":
        texts += _unknown_average(drift, report.evidence, _in_use(report))
    if drift is None or not drift.outputs:
        return tuple(texts)
    # 2. What the figures say of the original, of the inputs, and of the result.
    texts += _one_sided(drift, report.is_average, _in_use(report))
    if drift.is_narrow and drift.beyond is not None:
        brief = f"the {drift.inputs} are narrow"
        texts.append(Caution("drift", f"{brief}: on {drift.beyond.what} rho is {plain(drift.beyond.rho)}", brief))
    if given_noise(report):
        text = f"{GIVEN_NOISE}: what is measured on them says little of the inputs in use"
        texts.append(Caution("drift", text, GIVEN_NOISE))
    return (*texts, *_too_far(drift, report.nearness.max_drift))


def _too_far(drift: Drift, max_drift: float | None) -> tuple[Caution, ...]:
    """A warning of a rho above the bound that is in force: what the user asked for, else what is near."""
    limit, bound = NEAR, plain(NEAR)
    if max_drift is not None:
        limit, bound = max_drift, f"--max-drift {plain(max_drift)}"
    if drift.rho <= limit:  # nan is above any limit
        return ()
    text = f"rho is above {bound}: the result is further from the original's flip average than it should be"
    return (Caution("drift", text),)


def _in_use(report: ConvertReport) -> str:
    """Where it shows what the result does in use."""
    if report.rollout is not None:
        return "The roll-out says what it does there"
    return "`--rollout` shows what a policy does in its environment, labelled samples what anything else does"


def _unknown_average(drift: Drift | None, evidence: Evidence, in_use: str) -> tuple[Caution, ...]:
    """A warning about a flip average that was measured on no inputs of the kind that the network gets in use.

    A result is the average on any inputs. Whether the average does its task well is known on real inputs only.
    """
    if drift is not None and drift.is_telling:
        return ()
    if drift is None or not drift.outputs:
        seen = ""
    else:
        seen = f" (on random ones the gap is {plain(drift.gap)})"
    if evidence.lacks_time:
        why = f"samples without a time were given, and single calls of a network that keeps a state tell little{seen}"
        remedy = "give --calibration sequences, (sequence, time, ...)"
    else:
        why = f"no real inputs were given, on which its answers to x and to T x could be compared{seen}"
        remedy = "give --calibration inputs"
    return (Caution("drift", f"{UNKNOWN_AVERAGE}: {why}; {remedy}. {in_use}", UNKNOWN_AVERAGE),)


def _one_sided(drift: Drift, is_average: bool, in_use: str) -> tuple[Caution, ...]:
    """Warnings about an original whose answers to the two views differ, unless they differ by noise or in single steps
    only.

    is_average: the result is the flip average of the original, in which the noise of the two views is averaged.
    in_use: where it shows what the result does.
    """
    if not drift.is_telling:
        return ()
    lean, cautions = lean_of(drift), list[Caution]()
    if drift.unsettled_gap > UNEVEN and not (is_average and is_noise(drift)):
        cautions.append(_wide_gap(drift))
    if lean is not None:
        text = (
            f"the original leans to one side ({lean.where}): in the mean over these inputs its two views are "
            f"{plain(lean.lean)} of the spread of its answers apart{_of_whole(lean)}. Noise of training mostly cancels "
            "there; a habit of one side does not, and with one the result may do the task worse than the original. "
            f"Inputs of one side alone show a lean, too. {in_use}; where training had no mirrored copies, these mend "
            "it, or training the result on under the mirror"
        )
        cautions.append(Caution("drift", text, leaning(lean)))
    return tuple(cautions)


def _of_whole(lean: Lean) -> str:
    """The lean of the output that a joint belongs to, as a clause; "" where the output itself leans."""
    return "" if lean.whole is None else f" (of the whole output {plain(lean.whole)})"


def _wide_gap(drift: Drift) -> Caution:
    """The warning of an original with a gap wider than usual."""
    gap = drift.unsettled_gap
    usual = f"({plain(gap)}; 0.1 to 0.25 are usual)"
    if gap > ASYMMETRIC:
        why = "it knows one side better, saw little, has another mirror, or other inputs than these"
        return Caution("drift", f"the original's gap is very large {usual}: {why}", wide_gap(gap))
    return Caution("drift", f"the original's gap is large {usual}: {EXPLAINED}", wide_gap(gap))


def side_cautions(degeneracy: Degeneracy | None) -> tuple[Caution, ...]:
    """Warnings of a left and right that were lost, and of inputs that are ignored."""
    if degeneracy is None:
        return ()
    texts: list[Caution] = []
    if degeneracy.dead_inputs:
        names = listed(degeneracy.dead_inputs)
        brief = f"it ignores {len(degeneracy.dead_inputs)} input entries"
        texts.append(Caution("sides", f"inputs that only the original reacts to: {names}", brief))
    if degeneracy.collapsed:
        outputs = ", ".join(f"output {index}" for index in degeneracy.collapsed)
        texts.append(Caution("sides", f"{outputs} lost the difference between left and right"))
    return tuple(texts)


def precision_cautions(verdict: NumericVerdict | None) -> tuple[Caution, ...]:
    """A warning of a result that is equivariant in float64 only."""
    if verdict is None or verdict.passed or not verdict.outputs:
        return ()
    worst = verdict.worst
    off = f"off by {short(worst.residual)}"
    text = f"in {verdict.dtype}, in which it runs, the result is {off} (bound {short(worst.bound)})"
    return (Caution("precision", text, f"{off} in {verdict.dtype}"),)


# ---- what was changed -----------------------------------------------------------------------------------------
def constant_cautions(changes: Changes) -> tuple[Caution, ...]:
    """A warning of constants that conversion changed."""
    changed = [entry for entry in changes.moved if entry.kind == "constant" and entry.distance > 0]
    if not changed:
        return ()
    return (Caution("constants", f"constants were changed: {amounts(changed)}", "constants were changed"),)


def state_cautions(changes: Changes) -> tuple[Caution, ...]:
    """A warning of stored states that had to be made symmetric."""
    changed = [entry for entry in changes.states if entry.distance > 0]
    if not changed:
        return ()
    text = f"the result starts from another stored state than the original: {amounts(changed)} made symmetric"
    return (Caution("states", text, "stored states were made symmetric"),)


def data_cautions(notes: tuple[str, ...]) -> tuple[Caution, ...]:
    """The remarks on the user's inputs that warn: each begins with what is wrong, then a colon and the figures."""
    texts = [note.removeprefix(WARNING) for note in notes if note.startswith(WARNING)]
    return tuple(Caution("data", text, text.partition(":")[0]) for text in texts)


def amounts(moved: list[Moved]) -> str:
    """`bn.running_mean (23.0 %), ...`, the furthest first."""
    ordered = sorted(moved, key=lambda entry: (-entry.distance, entry.name))
    return listed([f"{entry.name} ({percent(entry.distance)})" for entry in ordered])
