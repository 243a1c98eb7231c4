"""`verify`: both verdicts on a network as it stands, and what speaks for the mirror itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Call
from chiralize.problem.mirror import free_share
from chiralize.problem.network import Subject
from chiralize.problem.request import number
from chiralize.report import VerifyReport
from chiralize.storage.passport import Passport
from chiralize.verification.drift import measure, random_inputs
from chiralize.verification.evidence import recalled
from chiralize.verification.judge import Verdict, in_own_precision, judge
from chiralize.verification.mirror_evidence import ask_network, outside_evidence
from chiralize.verification.verdicts import Degeneracy

_WITNESSES = 8


@exclusive
def verify(
    subject: Subject,
    name: str,
    passport: Passport | None = None,
    *,
    samples: int = 8,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
) -> VerifyReport:
    """Everything that `chiralize verify` says.

    Raises UsageError for fewer samples than 1, and the refusal where a network that passes cannot be proved.
    """
    samples = int(number("samples", samples))
    verdict = judge(subject, passport, samples=samples, real=real, tolerance=tolerance)
    if verdict.numeric.passed and verdict.unproved is not None and not verdict.run_only:
        raise verdict.unproved
    degeneracy = _left_and_right(subject, verdict, passport) if verdict.numeric.passed else None
    notes = subject.notes + ((f"no proof: {verdict.unproved.facts}",) if verdict.unproved else ())
    equivariant = subject.module if verdict.numeric.passed and not verdict.mirror.states else None
    known = passport.mirror_fit if passport is not None else None
    network = recalled(known) if known is not None else None
    if network is None and not verdict.numeric.passed:  # an equivariant one fits T exactly, whatever T is worth
        network = ask_network(subject, real)
    found = outside_evidence(subject, verdict.mirror, real, equivariant, network)
    own = in_own_precision(subject, verdict, None, samples, real, tolerance) if verdict.numeric.passed else None
    return VerifyReport(name, verdict.numeric, verdict.certificate, degeneracy, found, notes, own)


def _left_and_right(subject: Subject, verdict: Verdict, passport: Passport | None) -> Degeneracy:
    """What the network still tells left from right by, beside what its original did if the passport says so."""
    calls = random_inputs(subject.args, subject.kwargs, _WITNESSES // 2, 1, subject.around)
    _, found = measure(subject.module, subject.module, verdict.mirror, calls, "", probes=0)
    found = replace(found, free_share=free_share(subject, verdict.repmap))
    before = tuple(passport.figures.get("odd", ())) if passport is not None else ()
    return replace(found, odd_before=before) if len(before) == len(found.odd_after) else found
