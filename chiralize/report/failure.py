"""The error that a failed verification raises: `VerifyReport.raise_for_failure`, `assert_equivariant` of the plugin.

run    proof    error
nan    any      ModelRunError: nothing can be compared
ok     breaks   VerdictsDisagreeError; ModelRunError where the answers are the same for all inputs
fails  holds    VerdictsDisagreeError
fails  breaks   EquivarianceError, also where there is no proof
ok     holds    DegenerateError where left and right were lost, else none
"""

from __future__ import annotations

from chiralize.errors import DegenerateError, EquivarianceError, ModelRunError, VerdictsDisagreeError
from chiralize.errors.words import percent, when
from chiralize.report.document import plain, short
from chiralize.report.records import VerifyReport
from chiralize.verification.verdicts import NumericVerdict, OutputResidual

_CONTIGUOUS = "let forward not ask for strides or memory format, or begin with x = x.contiguous()"


def raise_for_failure(report: VerifyReport) -> None:
    """Raise the error of the first verdict that failed; return where everything passed.

    Raises ModelRunError (there are no numbers to compare, or the same for all inputs), VerdictsDisagreeError (one
    verdict passed, the other failed), EquivarianceError (the network does not commute with T), DegenerateError (left
    and right were lost).
    """
    proof, known = report.certificate, report.circumstances
    # 1. nan: neither verdict means anything.
    for output in report.numeric.outputs:
        if not output.finite:
            raise ModelRunError(
                output.title,
                f"the network's answers are not finite, so that nothing can be compared: {output.worst}",
                "give examples that it was made for (--example), few of their numbers 0; "
                "or look where it makes nan or inf",
            )
    # 2. The run passes and the proof breaks.
    if report.numeric.passed and proof is not None and not proof.passed:
        if known.constant:
            where = when(proof.where, f" at {proof.where}")
            facts = f"{known.constant}. So running it shows nothing of the mirror, and the certificate breaks{where}"
            raise ModelRunError(report.model, f"{facts} ({proof.broken})", known.remedy)
        raise VerdictsDisagreeError(
            str(proof.where or report.model),
            f"the certificate breaks here ({proof.broken}), but {_figures(report)}",
            "do not use it as symmetric: these inputs may not show what the proof sees. Where weights changed after "
            "the conversion, write it again; else raise --samples, and report the model if nothing shows",
        )
    # 3. The run fails; a proof that holds then contradicts it, and one of the two is a defect.
    if not report.numeric.passed:
        worst = report.numeric.worst
        if proof is not None and proof.passed:
            raise VerdictsDisagreeError(
                worst.title,
                f"the certificate proves all {proof.ops} ops, but {_figures(report)}",
                "trust neither: --tolerance widens the bound where sums lose digits; what decides by rounding (topk "
                "between equal scores) has no exact mirror; else report the model",
            )
        remedy = known.remedy or "chiralize convert makes it exact"
        if report.numeric.layout:
            remedy = _CONTIGUOUS
        raise EquivarianceError(worst.title, _figures(report) + _first_node(report), remedy)
    # 4. Both pass: equivariant, but perhaps because left and right are gone.
    degeneracy = report.judgement.degeneracy
    if degeneracy is not None and degeneracy.collapsed:
        index = degeneracy.collapsed[0]
        before, after = degeneracy.odd_before[index], degeneracy.odd_after[index]
        raise DegenerateError(
            f"output {index}",
            f"the share of its variance that the mirror negates fell from {percent(before)} to {percent(after)} since "
            "the file was written",
            "its weights are others than those that were verified: convert the original again, or train with pairs in "
            "the hidden spaces",
        )


def _figures(report: VerifyReport) -> str:
    """The worst output's residual and bound, and which entry it is, on a line of its own."""
    output = report.numeric.worst
    worst = when(output.worst, f"\n    worst: {output.worst}.")
    return f"{residual_text(output, report.numeric)}.{worst}"


def residual_text(output: OutputResidual, verdict: NumericVerdict) -> str:
    """`max |F(Tx) - T F(x)| = 3.1e-2, bound 4.7e-6 (float32, output scale 1.2, 256 samples)`"""
    return (
        f"max |F(Tx) - T F(x)| = {short(output.residual)}, bound {short(output.bound)} ({verdict.dtype}, "
        f"output scale {plain(output.scale)}, {verdict.samples} samples)"
    )


def _first_node(report: VerifyReport) -> str:
    """Where the proof breaks; "" where there is none, or it does not say."""
    proof = report.certificate
    if proof is None or proof.passed or proof.where is None:
        return ""
    return f"   First node above the bound: {proof.where}: {proof.broken}."
