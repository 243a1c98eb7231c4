"""The one sentence that a report opens with, from its records: what a person can act on, true of the worst known.

All formats print the same sentence, and the standing that colours them comes with it. A sentence is clauses in the
order of their weight, each "" where it has nothing to say, such as

    converted with warnings: equivariant; its error within a few percent of the original's (rho 0.58); one pass, 0.51 of
    the multiplications; the mirror is not confirmed: give --calibration real inputs
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chiralize.errors import Caution
from chiralize.errors.words import listed, when
from chiralize.problem.two_samples import TWO_AND_MORE
from chiralize.report.aligned import alignment_sentence
from chiralize.report.cautions import cautions_of, data_cautions
from chiralize.report.confirming import confirmed_or_not, unconfirmed
from chiralize.report.distance import GIVEN_NOISE, distance
from chiralize.report.document import if_known, milliseconds, plain, plural, short
from chiralize.report.loop_words import loop_sentence
from chiralize.report.passes import passes_in_words
from chiralize.report.records import (
    AuditReport,
    BenchReport,
    ConvertReport,
    PlanReport,
    Report,
    VerifyReport,
)
from chiralize.verification.verdicts import Judgement

Standing = Literal["good", "warning", "failed"]
WITHOUT_INPUTS = "it was converted without real inputs"


@dataclass(frozen=True)
class Verdict:
    """The result of a command in one sentence.

    sentence: in plain words, without a full stop.  warnings: reasons for caution.
    standing: failed where the report did not pass, warning where it did but there are reasons for caution.
    """

    sentence: str
    standing: Standing
    warnings: tuple[Caution, ...] = ()


def verdict_of(report: Report) -> Verdict:
    """The sentence, the standing and the warnings of a report."""
    warnings = cautions_of(report)
    if isinstance(report, VerifyReport):
        sentence = _verified(report, warnings)
    elif isinstance(report, ConvertReport):
        sentence = _converted(report, warnings)
    elif isinstance(report, PlanReport):
        sentence = _planned(report, warnings)
    elif isinstance(report, AuditReport):
        sentence = _audited(report, warnings)
    else:
        sentence = _timed(report)
    # an audit judges, but nothing in it can fail
    standing: Standing = "warning" if warnings else "good"
    if not report.passed:
        standing = "warning" if isinstance(report, AuditReport) else "failed"
    return Verdict(sentence, standing, warnings)


# ---- verify ---------------------------------------------------------------------------------------------------
def _verified(report: VerifyReport, warnings: tuple[Caution, ...]) -> str:
    """The sentence on a verification."""
    with_warnings = when(warnings, ", with warnings")
    samples = plural(report.numeric.samples, "sample")
    failure = _failure(report.judgement)
    constant = report.circumstances.constant
    # A network that answers the same to everything passes any numeric verdict: then the run is no evidence.
    if failure and constant and report.numeric.passed:
        head = f"NOT proved equivariant, and running it shows nothing: {constant}"
    elif failure:
        head = failure
    elif report.judgement.is_collapsed:
        head = f"{_what(report)}, but degenerate: left and right are lost"
    elif report.certificate is None:
        ran = _ran(report)
        head = f"{_what(report)}{under(report.judgement)}{with_warnings}, but only by running it on {ran}: no proof"
    else:
        head = f"{_what(report)}{under(report.judgement)}{with_warnings}: proved op by op, and run on {samples}"
    # whether T is the right mirror is asked only where there are records of it, of when the file was converted
    in_doubt = ""
    if report.evidence.fit is not None and not failure:
        in_doubt = unconfirmed(report.evidence, False, WITHOUT_INPUTS)
    return _sentence(head, _unclaimed(report), in_doubt, *_briefs(warnings))


def _ran(report: VerifyReport) -> str:
    """What a network was run on, of which nothing is proved: what random inputs do not reach, they do not show."""
    given = report.circumstances.given
    if not given:
        return f"{plural(report.numeric.samples, 'random sample')}"
    return f"{plural(given, 'sample')} of yours and on random ones"


def _what(report: VerifyReport | ConvertReport) -> str:
    """`equivariant`, with the names of the outputs if it does not hold for all of them."""
    if report.claims is None:
        return "equivariant"
    return f"equivariant in {report.claims.words}"


def _unclaimed(report: VerifyReport | ConvertReport) -> str:
    """A clause on the outputs that are not claimed; "" where there are none."""
    if report.claims is None:
        return ""
    clause = f"nothing is claimed of {report.claims.names}"
    moved = [f"{part.name} by {plain(part.error or 0.0)} of its spread" for part in report.claims.moved]
    return clause + when(moved, f", and its answers are others than the original's ({listed(moved)})")


def _failure(judged: Judgement) -> str:
    """Why a network is not equivariant, "" where both verdicts passed."""
    # the run before the proof: it says what is off, and by how much
    numeric, certificate = judged.numeric, judged.certificate
    if numeric is not None and not numeric.passed:
        if not numeric.outputs:
            return "NOT equivariant as far as known: nothing was run"
        worst = numeric.worst
        if not all(output.finite for output in numeric.outputs):
            return "NOT equivariant as far as known: its answers are not finite"
        if numeric.layout:
            return f"NOT equivariant: its answers depend on how its inputs lie in memory ({numeric.layout})"
        return f"NOT equivariant: {worst.title} is off by {short(worst.residual)}, bound {short(worst.bound)}"
    if certificate is not None and not certificate.passed:
        where = when(certificate.where, f" at {certificate.where}")
        return f"NOT proved equivariant for all inputs: the proof breaks{where}"
    return ""


# ---- convert --------------------------------------------------------------------------------------------------
def _converted(report: ConvertReport, warnings: tuple[Caution, ...]) -> str:
    """The sentence on a conversion."""
    with_warnings = when(warnings, " with warnings")
    if report.way.unchanged and not report.passed:
        return _sentence(f"NOT {_proof(report)}", *_briefs(warnings))
    if report.way.unchanged:
        comma = "," if warnings else ""
        what = _what(report) if report.judgement.certificate is not None else _proof(report)
        head = f"already {what}, unchanged{comma}{with_warnings}"
        return _sentence(head, _unclaimed(report), *_briefs(warnings))
    head = f"NOT converted as it should be: {_reason(report)}"
    if report.passed:
        head = f"converted{with_warnings}: {_proof(report)}"
    # measured on inputs of the user's: then more of them are not what is missing
    measured = report.drift is not None and not (report.drift.noise or report.drift.built_in)
    return _sentence(
        head,
        _unclaimed(report),
        distance(report, data_cautions(report.notes)).words,
        passes_in_words(report),
        loop_sentence(report.rollout),
        report.way.why_average,
        confirmed_or_not(report.evidence, measured, report.rollout),
        *_briefs(warnings),
        *_to_know(report),
    )


def _proof(report: ConvertReport) -> str:
    """How far it is known that the result is equivariant."""
    if report.judgement.numeric is None and report.judgement.certificate is None:
        return "not judged"
    if report.judgement.certificate is None:
        return f"{_what(report)}{under(report.judgement)} by running alone, without a proof"
    return f"{_what(report)}{under(report.judgement)}"


def under(judged: Judgement) -> str:
    """The mirrors by name, where there are several: those with a proof of their own, since products follow from them;
    all where nothing was proved.
    """
    proved = [mirror.name for mirror in judged.mirrors if mirror.certificate is not None]
    names = proved or [mirror.name for mirror in judged.mirrors]
    if names:
        return f" under {', '.join(names)}"
    return ""


def _reason(report: ConvertReport) -> str:
    """Why a result that was written by `force` should not have been."""
    failure = _failure(report.judgement)
    if failure:
        return failure
    if report.judgement.is_collapsed:
        return "equivariant, but left and right are lost"
    if report.rollout is not None and report.rollout.is_lost:
        return "equivariant, but it does worse in its environment"
    near = report.nearness
    bounds = (("--max-drift", near.max_drift), ("--max-shift", near.max_shift))
    in_force = ", ".join(f"{option} {plain(bound)}" for option, bound in bounds if bound is not None)
    return f"equivariant, but too far from the original ({in_force})"


def _to_know(report: ConvertReport) -> list[str]:
    """Facts that have to be known before the result is put to use."""
    # weights alone are often handed on, without the buffers beside them: those have to go along
    facts: list[str] = []
    changed = {entry.kind for entry in report.changes.moved if entry.distance > 0}
    if "statistic" in changed and not report.is_one_piece:
        facts.append("normaliser statistics changed: deploy them together with the weights")
    if "table" in changed and not report.is_one_piece:
        facts.append("tables of positions changed: deploy them together with the weights")
    if report.form == "dense":
        facts.append("other widths: its weights do not fit the original's class")
    if any(note.startswith(TWO_AND_MORE) for note in report.notes):
        facts.append("exported, it takes two samples and more, not one")
    return facts


# ---- the others -----------------------------------------------------------------------------------------------
def _planned(report: PlanReport, warnings: tuple[Caution, ...]) -> str:
    """The sentence on a plan: whether it can be converted, else how many ops are in the way, and the first of them."""
    if report.constant:
        return f"NOT to be converted as it is: {report.constant}"
    if not report.blocked:
        return _sentence(f"can be converted{when(warnings, ', with warnings')}", *_briefs(warnings))
    ways = f"{plural(len(report.blocked), 'op')} in the way"
    return _sentence(ways, report.blocked[0].splitlines()[0], *_briefs(warnings))


def _audited(report: AuditReport, warnings: tuple[Caution, ...]) -> str:
    """The sentence on an audit: the gap, the advice, and what to do next unless another clause says it already."""
    head, remedy = f"gap {plain(report.network.gap)}", ""
    if report.advice:
        head, remedy = f"{head}: {report.advice.kind}", f"next: {report.advice.remedy}"
    in_doubt = _unconfirmed_by_audit(report, warnings)
    # "the mirror is not confirmed: give --calibration real inputs" has the remedy in it already
    if report.advice and in_doubt.endswith(report.advice.remedy):
        remedy = ""
    return _sentence(
        head,
        alignment_sentence(report.alignments),
        loop_sentence(report.rollout),
        in_doubt,
        *_briefs(warnings),
        remedy,
    )


def _unconfirmed_by_audit(report: AuditReport, warnings: tuple[Caution, ...]) -> str:
    """A clause where inputs were random or the network is untrained; "" for a network that fits T, right or wrong."""
    if report.advice and report.advice.kind == "equivariant":
        return ""
    # leanings and data are of the user's inputs, and there are none of random ones
    is_real = bool(report.leanings or report.data) and all(caution.brief != GIVEN_NOISE for caution in warnings)
    if is_real and report.evidence.fit is None:
        return ""
    return confirmed_or_not(report.evidence, is_real, report.rollout)


def _timed(report: BenchReport) -> str:
    """The sentence on times, those of the largest batch."""
    if report.rollout:
        return _rolled(report)
    row = report.rows[-1]
    spread = f"quartiles {row.low:.2f}-{row.high:.2f}"
    head = f"{report.chiral} takes {row.ratio:.2f} of its time at batch {row.batch} ({spread})"
    even = when(row.low <= 1.0 <= row.high, "no difference can be shown")
    average = if_known(row.to_average, "{:.2f} of its flip average's".format)
    return _sentence(head, even, average)


def _rolled(report: BenchReport) -> str:
    """The sentence on times of single steps along a sequence."""
    original, chiral = report.rollout[0], report.rollout[-1]
    head = f"{report.chiral} takes {milliseconds(chiral.seconds)} a step, {milliseconds(chiral.slow)} at its slowest"
    before = f"the original {milliseconds(original.seconds)} and {milliseconds(original.slow)}"
    mirror = (
        f"it commutes with the mirror up to {chiral.residual:.1g} of its answers, the original {original.residual:.1g}"
    )
    return _sentence(head, before, mirror)


def _briefs(warnings: tuple[Caution, ...]) -> tuple[str, ...]:
    """The short forms, each once."""
    return tuple(dict.fromkeys(caution.brief for caution in warnings))


def _sentence(*clauses: str) -> str:
    """The clauses, without empty ones and without those that an earlier one holds word for word.

    A warning may say what a clause said: ("apart: too wide", "", "too wide") becomes "apart: too wide".
    """
    distinct: list[str] = []
    for clause in clauses:
        if clause and not any(clause in earlier for earlier in distinct):
            distinct.append(clause)
    return "; ".join(distinct)
