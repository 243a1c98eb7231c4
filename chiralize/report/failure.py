"""The error that a failed verification raises: `VerifyReport.raise_for_failure`, `assert_equivariant` of the plugin.

run    proof    error
nan    any      ModelRunError: nothing can be compared
ok     breaks   VerdictsDisagreeError; ModelRunError where the answers are the same for all inputs
fails  holds    VerdictsDisagreeError
fails  breaks   EquivarianceError, also where there is no proof
ok     holds    DegenerateError where left and right were lost, else none
"""

from __future__ import annotations

from dataclasses import replace

from chiralize.errors import DegenerateError, EquivarianceError, ModelRunError, VerdictsDisagreeError
from chiralize.errors.words import percent, when
from chiralize.report.document import plain, short
from chiralize.report.records import VerifyReport
from chiralize.verification.verdicts import (
    CertificateVerdict,
    Degeneracy,
    Judgement,
    NumericVerdict,
    OfMirror,
    OutputResidual,
)

_CONTIGUOUS = "let forward not ask for strides or memory format, or begin with x = x.contiguous()"


def raise_for_failure(report: VerifyReport) -> None:
    """Raise the error of the first verdict that failed; return where everything passed, as `report.passed` says.

    Of several mirrors every one counts, and so do their products: the error names the first that failed.

    Raises ModelRunError (there are no numbers to compare, or the same for all inputs), VerdictsDisagreeError (one
    verdict passed, the other failed), EquivarianceError (the network does not commute with T), DegenerateError (left
    and right were lost).
    """
    failed = [mirror for mirror in report.judgement.mirrors if not mirror.passed]
    # Answers that are wrong come before sides that are lost, whatever the order of the mirrors.
    for mirror in sorted(failed, key=_is_equivariant):
        judged = Judgement(mirror.numeric, mirror.certificate, mirror.degeneracy)
        _raise_first(replace(report, judgement=judged), f", under {mirror.name}")
    _raise_first(report, "")


def _is_equivariant(mirror: OfMirror) -> bool:
    """Whether both verdicts under one mirror passed, be the sides lost or not."""
    return mirror.numeric.passed and (mirror.certificate is None or mirror.certificate.passed)


def _raise_first(report: VerifyReport, under: str) -> None:
    """Raise as `raise_for_failure`, of the verdicts in front alone.  under: which mirror that is, for titles."""
    # Answers that are no numbers come first: they fail any comparison, whatever the network is like.
    beyond = dict.fromkeys(f"{axis} {size}" for axis, size in report.numeric.beyond)
    sizes = when(beyond, f", with {', '.join(beyond)}")
    for output in report.numeric.outputs:
        if not output.finite:
            raise ModelRunError(
                output.title,
                f"the network's answers are not finite, so that nothing can be compared: {output.worst}{sizes}",
                "give examples that it was made for (--example), few of their numbers 0; "
                "or look where it makes nan or inf",
            )
    proof = report.certificate
    if report.numeric.passed and proof is not None and not proof.passed:
        raise _broken_proof(report, proof, under)
    if not report.numeric.passed:
        raise _off(report, proof, under)
    degeneracy = report.judgement.degeneracy
    if degeneracy is not None and degeneracy.collapsed:
        raise _lost_sides(degeneracy, under)


def _broken_proof(report: VerifyReport, proof: CertificateVerdict, under: str) -> ModelRunError | VerdictsDisagreeError:
    """The error where it ran as it should and the proof breaks. A network that answers the same to everything runs so
    under any T: then no verdict contradicts the other.
    """
    known = report.circumstances
    if known.constant:
        where = when(proof.where, f" at {proof.where}")
        facts = f"{known.constant}. So running it shows nothing of the mirror, and the certificate breaks{where}"
        return ModelRunError(f"{report.model}{under}", f"{facts} ({proof.broken})", known.remedy)
    return VerdictsDisagreeError(
        f"{proof.where or report.model}{under}",
        f"the certificate breaks here ({proof.broken}), but {_figures(report)}",
        "do not use it as symmetric: these inputs may not show what the proof sees. Where weights changed after "
        "the conversion, write it again; else raise --samples, and report the model if nothing shows",
    )


def _off(
    report: VerifyReport, proof: CertificateVerdict | None, under: str
) -> EquivarianceError | VerdictsDisagreeError:
    """The error where a residual is above its bound; another one where the proof says that it cannot be."""
    title = f"{report.numeric.worst.title}{under}"
    if proof is not None and proof.passed:
        return VerdictsDisagreeError(
            title,
            f"the certificate proves all {proof.ops} ops, but {_figures(report)}",
            "trust neither: --tolerance widens the bound where sums lose digits; what decides by rounding (topk "
            "between equal scores) has no exact mirror; else report the model",
        )
    remedy = report.circumstances.remedy or "chiralize convert makes it exact"
    if report.numeric.layout:  # the same numbers in another memory order get other answers: no conversion mends that
        remedy = _CONTIGUOUS
    return EquivarianceError(title, _figures(report) + _first_node(report), remedy)


def _lost_sides(degeneracy: Degeneracy, under: str) -> DegenerateError:
    """The error of the first output that no longer tells left from right."""
    index = degeneracy.collapsed[0]
    before, after = degeneracy.odd_before[index], degeneracy.odd_after[index]
    return DegenerateError(
        f"output {index}{under}",
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
