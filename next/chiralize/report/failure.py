"""The error that a failed report raises, with the figures that show it.

run    proof    error
nan    any      ModelRunError: nothing can be compared
ok     breaks   VerdictsDisagreeError
fails  holds    VerdictsDisagreeError
fails  breaks   EquivarianceError, also where there is no proof
ok     none     the reason why there is none
ok     holds    DegenerateError where left and right are lost, else none
"""

from __future__ import annotations

from chiralize.errors import (
    ChiralizeError,
    DegenerateError,
    EquivarianceError,
    ModelRunError,
    UnsupportedError,
    VerdictsDisagreeError,
)
from chiralize.report.findings import off, why_unproved
from chiralize.report.records import Report
from chiralize.verification.verdicts import Standing, Verdict


def raise_for_failure(report: Report) -> None:
    """Raise the error of the first mirror whose verdicts failed, or of lost sides; return where everything passed.

    Raises ModelRunError, VerdictsDisagreeError, EquivarianceError, DegenerateError, UnsupportedError.
    """
    for name, verdict in report.verdicts.items():
        under = f" under {name}" if len(report.verdicts) > 1 else ""
        if not verdict.passed:
            raise error_of(verdict, f"{report.model}{under}")
    if report.degeneracy is not None and report.degeneracy.collapsed:
        index = report.degeneracy.collapsed[0]
        before, after = report.degeneracy.odd_before[index], report.degeneracy.odd_after[index]
        facts = f"the share of its variance that the mirror negates fell from {before:.3g} to {after:.3g}"
        raise DegenerateError(f"{report.model}, output {index}", facts, "use --method average, or convert it again")


def error_of(verdict: Verdict, where: str) -> ChiralizeError:
    """The error of a verdict that did not pass."""
    if any(not output.finite for output in verdict.numeric.outputs):
        return ModelRunError(where, f"{off(verdict)}: nothing can be compared", "give examples that it was made for")
    if verdict.standing is Standing.DISAGREE:
        facts = f"the proof says {_proof(verdict)}, running it says {_figures(verdict)}"
        return VerdictsDisagreeError(
            where, facts, "convert it again where weights changed since; else report the model"
        )
    if verdict.standing is Standing.UNPROVED:
        if verdict.unproved is not None:
            return verdict.unproved
        facts = f"it is equivariant where it is run, and not proved: {why_unproved(verdict)}"
        return UnsupportedError(where, facts, "accept it as run with --accept-unproved, or convert it")
    facts = f"{_figures(verdict)}; worst at {verdict.numeric.worst.worst or 'no single entry'}"
    return EquivarianceError(where, facts, "chiralize convert makes it exact")


def _proof(verdict: Verdict) -> str:
    """The outcome of the proof in a clause."""
    proof = verdict.certificate
    if proof is not None and proof.passed:
        return f"that all {proof.ops} ops and {proof.weights} weights commute with the mirror"
    return why_unproved(verdict)


def _figures(verdict: Verdict) -> str:
    """`max |F(Tx) - T F(x)| = 3.1e-2, bound 4.7e-6 (float32, 8 runs)`"""
    numeric = verdict.numeric
    worst = numeric.worst
    figures = f"max |F(Tx) - T F(x)| = {worst.residual:.1e}, bound {worst.bound:.1e}"
    return f"{figures} ({numeric.dtype}, {numeric.samples} runs)"
