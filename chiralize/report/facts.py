"""The three or four figures that a page shows large, under its verdict. Of a conversion these are, for example:

Equivariant                 Error, beside the original's        Multiplications
proved for all inputs       0.97 to 1.02 times                  0.51 of the original's
31 ops checked              rho 0.42; what such networks had    1 pass

`html` alone shows them; text and JSON have the tables. Each function takes one figure out of a report and decides its
tone, the colour that it gets. A figure that cannot be told from what was measured says so, and is `unsure`.
"""

from __future__ import annotations

from dataclasses import dataclass

from chiralize.report.cautions import data_cautions
from chiralize.report.distance import distance
from chiralize.report.document import plain, plural, short
from chiralize.report.loop_words import share_in_words
from chiralize.report.meaning import factors
from chiralize.report.passes import samples_timed
from chiralize.report.records import AuditReport, ConvertReport, Report, VerifyReport
from chiralize.verification.asymmetry.advice import ASYMMETRIC, UNEVEN
from chiralize.verification.verdicts import Judgement


@dataclass(frozen=True)
class Fact:
    """A figure. name: what it is of.  value: large.  note: small, below it.  tone: good, bad, unsure or plain."""

    name: str
    value: str
    note: str = ""
    tone: str = "plain"


def facts_of(report: Report) -> list[Fact]:
    """What a report says, in the order in which it is asked; nothing of plans and benchmarks, which are tables."""
    if isinstance(report, ConvertReport):
        return [_equivariant(report.judgement), _distance(report), *_cost(report)]
    if isinstance(report, VerifyReport):
        return [_equivariant(report.judgement), *_residual(report)]
    if isinstance(report, AuditReport):
        return _audit(report)
    return []


def _equivariant(judged: Judgement) -> Fact:
    """Whether both verdicts passed, and whether that is a proof."""
    # From what counts most: a failure, then a result that lost its sides, and only then how sure the yes is.
    numeric, proof = judged.numeric, judged.certificate
    if numeric is None and proof is None:
        return Fact("Equivariant", "not judged", tone="unsure")
    if not judged.passed:
        return Fact("Equivariant", "no", "the tables say where it fails", "bad")
    if judged.is_collapsed:
        return Fact("Equivariant", "yes, but degenerate", "left and right are lost", "bad")
    if proof is None:
        return Fact("Equivariant", "as far as it was run", "no proof", "unsure")
    return Fact("Equivariant", "proved for all inputs", f"{plural(proof.ops, 'op')} checked", "good")


def _residual(report: VerifyReport) -> list[Fact]:
    """The residual of the worst output, with its bound; nothing where no output was run."""
    if not report.numeric.outputs:
        return []
    worst = report.numeric.worst
    tone = "good" if worst.passed else "bad"
    return [Fact("Off by", short(worst.residual), f"bound {short(worst.bound)}, {report.numeric.dtype}", tone)]


def _distance(report: ConvertReport) -> Fact:
    """What networks with such a rho had for an error; unknown where rho is no prediction."""
    how_far = distance(report, data_cautions(report.notes))
    name = "Error, beside the original's"
    drift = report.drift
    if how_far.kind == "unknown":
        return Fact(name, "unknown", how_far.reason, "unsure")
    if report.way.unchanged:
        return Fact(name, "the same answers", "", "good")
    if how_far.kind == "same" and how_far.reason:
        return Fact(name, "that of its flip average", how_far.reason, "unsure")
    if drift is None:
        return Fact(name, "that of its flip average", "", "good")
    # From here on there is a rho: its kind (near, apart, far, ...) gives the tone, its size the range of the error.
    tone = {"apart": "unsure", "far": "bad"}.get(how_far.kind, "good")
    rho = f"rho {plain(drift.rho)}"
    if how_far.reason:
        return Fact(name, "unknown", f"{rho}; {how_far.reason}", tone)
    # Drawn people are not the user's data: how near is said, without a range of the error.
    if drift.built_in:
        return Fact(name, "near, on built-in poses", f"{rho}; not measured on yours", "unsure")
    low, high = factors(drift.rho, drift.steps > 1)  # along sequences of a recurrent network others are known
    return Fact(name, f"{low:.2f} to {high:.2f} times", f"{rho}; what such networks had{how_far.condition}", tone)


def _cost(report: ConvertReport) -> list[Fact]:
    """Multiplications with the number of passes, and the time where it was measured.

    Without counts of both networks, the passes are what is known of the cost.
    """
    cost, facts = report.cost, []
    passes = plural(report.passes, "pass").replace("passs", "passes")  # `plural` adds an s
    if cost.macs_before and cost.macs_after:
        ratio = cost.macs_after / cost.macs_before
        facts.append(Fact("Multiplications", f"{ratio:.2f} of the original's", passes))
    else:
        facts.append(Fact("Cost", passes))
    if cost.times:
        facts.append(Fact("Time, here", f"{cost.times[-1].ratio:.2f} of the original's", samples_timed(cost)))
    return facts


def _audit(report: AuditReport) -> list[Fact]:
    """The gap, the advice, and what the policy returns."""
    gap = report.network.gap
    tone, word = "good", "0.1 to 0.25 are usual on real inputs"
    # What is wide on real inputs is usual on random ones: there a gap is neither good nor bad.
    if gap > UNEVEN:
        tone, word = ("bad", "very large") if gap > ASYMMETRIC else ("unsure", "large")
    if not report.is_of_given_data:
        tone, word = "plain", "on random inputs, where 0.6 to 0.9 are usual"
    facts = [Fact("Gap of left and right", plain(gap), word, tone)]
    if report.advice is not None:
        facts.append(Fact("Advice", report.advice.kind, tone="good" if report.passed else "unsure"))
    if report.rollout is not None:
        value, note = share_in_words(report.rollout)
        facts.append(Fact("In the loop", value, note))
    return facts
