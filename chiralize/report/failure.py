"""The error that a failed verification raises."""

from __future__ import annotations

from chiralize.errors import DegenerateError, EquivarianceError, ModelRunError, VerdictsDisagreeError, percent
from chiralize.report.document import plain, short
from chiralize.report.records import VerifyReport

_CONTIGUOUS = "let forward not ask for strides or memory format, or begin with x = x.contiguous()"


def raise_for_failure(report: VerifyReport) -> None:
    """Raises EquivarianceError (the network does not commute with T), VerdictsDisagreeError (one verdict passed, the
    other failed), ModelRunError (there are no numbers to compare) or DegenerateError (left and right were lost);
    returns where everything passed.
    """
    proof = report.certificate
    broken = next((own for own in report.numeric.outputs if not own.finite), None)
    if broken is not None:
        raise ModelRunError(
            broken.title,
            f"the network's answers are not finite, so that nothing can be compared: {broken.worst}",
            "give examples that it was made for (--example), few of their numbers 0; or look where it makes nan or inf",
        )
    if report.numeric.passed and proof is not None and not proof.passed:
        raise VerdictsDisagreeError(
            str(proof.where or report.model),
            f"the certificate breaks here ({proof.broken}), but {_figures(report)}",
            "trust neither: raise --samples, and report the model if the residual stays within its bound",
        )
    if not report.numeric.passed:
        own = report.numeric.worst
        if proof is not None and proof.passed:
            raise VerdictsDisagreeError(
                own.title,
                f"the certificate proves all {proof.ops} ops, but {_figures(report)}",
                "trust neither: --tolerance widens the bound where sums lose digits; what decides by rounding (topk "
                "between equal scores) has no exact mirror; else report the model",
            )
        remedy = _CONTIGUOUS if report.numeric.layout else "chiralize convert makes it exact"
        raise EquivarianceError(own.title, _figures(report) + _first_node(report), remedy)
    if report.degeneracy is not None and report.degeneracy.collapsed:
        index = report.degeneracy.collapsed[0]
        before, after = report.degeneracy.odd_before[index], report.degeneracy.odd_after[index]
        raise DegenerateError(
            f"output {index}",
            f"the share of its variance that the mirror negates fell from {percent(before)} to {percent(after)}",
            "give the hidden spaces pairs (hidden: {pairing: half}), or use --method lift",
        )


def _figures(report: VerifyReport) -> str:
    verdict = report.numeric
    own = verdict.worst
    worst = f"\n    worst: {own.worst}." if own.worst else ""
    return (
        f"max |F(Tx) - T F(x)| = {short(own.residual)}, bound {short(own.bound)} ({verdict.dtype}, "
        f"output scale {plain(own.scale)}, {verdict.samples} samples).{worst}"
    )


def _first_node(report: VerifyReport) -> str:
    proof = report.certificate
    if proof is None or proof.passed or proof.where is None:
        return ""
    return f"   First node above the bound: {proof.where}: {proof.broken}."
