"""What is to be said of a report: its first line, its tone, and its findings in the order of their weight.

The first line has the verdict, then the price, then the first doubt. Decisions are taken on the records:

    equivariant and proved, in one pass by match; rho 0.83; the mirror is not confirmed
    not equivariant: output 0 is off by 3.1e-02, bound 4.7e-06
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from chiralize.errors import Finding
from chiralize.report.records import ConvertReport, Report, VerifyReport
from chiralize.verification.verdicts import Standing, Verdict

Tone = Literal["good", "warning", "failed"]
_LEVELS = ("refusal", "doubt", "note")

_KINDS = {"given": "held-out inputs", "noise": "random inputs", "poses": "drawn poses"}
"""What figures were measured on, in words."""


def findings(report: Report) -> tuple[Finding, ...]:
    """Everything that is to be said beside the figures, refusals first, then doubts, then notes; each once."""
    beside = (*report.findings, *(finding for verdict in report.verdicts.values() for finding in verdict.findings))
    every = dict.fromkeys((*_on_sides(report), *beside))
    return tuple(sorted(every, key=lambda finding: _LEVELS.index(finding.level)))


def doubts(report: Report) -> tuple[Finding, ...]:
    """The findings that say that something is wrong or risky."""
    return tuple(finding for finding in findings(report) if finding.level != "note")


def tone(report: Report) -> Tone:
    """How a report stands: failed, passed with doubts, or good."""
    if not report.passed:
        return "failed"
    return "warning" if doubts(report) else "good"


def sentence(report: Report) -> str:
    """The first line: the verdict, the price, and the first doubt."""
    parts = [_head(report), *_price(report)]
    brief = next((finding.brief for finding in doubts(report) if finding.brief), "")
    if brief and report.passed:
        parts.append(brief)
    return "; ".join(parts)


def _head(report: Report) -> str:
    """What the verdicts say, and of a conversion how the result answers."""
    head = _verdict(report.worst)
    if isinstance(report, VerifyReport) or not report.worst.passed:
        return head
    if report.is_unchanged:
        return f"{head} as it was, and handed back unchanged"
    if report.is_average:
        return f"{head}, as the average of both views in two passes"
    return f"{head}, in one pass by {report.method}"


def _verdict(verdict: Verdict) -> str:
    """Both verdicts under one mirror."""
    runs = f"equivariant on {verdict.numeric.samples} runs"
    match verdict.standing:
        case Standing.PROVED:
            return "equivariant and proved"
        case Standing.RUN:
            return f"{runs}; such a file allows no proof"
        case Standing.UNPROVED:
            return f"{runs}; not proved: {why_unproved(verdict)}"
        case Standing.DISAGREE:
            return f"run and proof disagree: {why_unproved(verdict)}"
        case Standing.FAILED:
            return f"not equivariant: {off(verdict)}"


def why_unproved(verdict: Verdict) -> str:
    """Where the proof ends, and why; "" where it is complete."""
    if verdict.certificate is not None:
        where = verdict.certificate.where
        return f"{where or 'the network'}: {verdict.certificate.broken}"
    if verdict.unproved is not None:
        return f"{verdict.unproved.where}: {verdict.unproved.facts}"
    return "there is no graph"


def off(verdict: Verdict) -> str:
    """The worst output and how far it is off: `output 0 is off by 3.1e-02, bound 4.7e-06`."""
    if not verdict.numeric.outputs:
        return "nothing could be compared"
    worst = verdict.numeric.worst
    if not worst.finite:
        return f"{worst.title} is not finite"
    return f"{worst.title} is off by {worst.residual:.1e}, bound {worst.bound:.1e}"


def _price(report: Report) -> Iterator[str]:
    """How far a result of one pass is from the original's average of both views."""
    if isinstance(report, ConvertReport) and report.measured is not None and not report.is_average:
        rho = report.measured.rho
        if rho is not None and not report.is_unchanged:
            yield f"rho {rho:.2f} on {report.measured.samples} {_KINDS[report.measured.kind]}"


def _on_sides(report: Report) -> Iterator[Finding]:
    """Outputs that no longer tell left from right, and inputs that the result ignores."""
    degeneracy = report.degeneracy
    if degeneracy is None:
        return
    for index in degeneracy.collapsed:
        before, after = degeneracy.odd_before[index], degeneracy.odd_after[index]
        facts = f"output {index} no longer tells left from right: its odd share fell from {before:.3f} to {after:.3f}"
        yield Finding("sides", "refusal", facts, "use --method average", "left and right are lost")
    if degeneracy.dead_inputs:
        dead, live = len(degeneracy.dead_inputs), degeneracy.live_inputs
        facts = f"the result ignores {dead} of {live} input entries that the original reacts to"
        yield Finding("sides", "doubt", facts, "", f"{dead} of {live} inputs are ignored")
