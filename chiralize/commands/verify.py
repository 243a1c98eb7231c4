"""`verify`: both verdicts on a network as it stands, and what speaks for the mirror itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Call
from chiralize.problem.mirror import free_share
from chiralize.problem.network import Network
from chiralize.problem.request import number
from chiralize.report import VerifyReport
from chiralize.storage.passport import Passport
from chiralize.verification.drift import measure, random_inputs
from chiralize.verification.evidence.judging import recalled
from chiralize.verification.judge import Verdict, in_own_precision, judge
from chiralize.verification.mirror_evidence import ask_network, outside_evidence
from chiralize.verification.verdicts import Degeneracy

_WITNESSES = 8


@exclusive
def verify(
    network: Network,
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
    verdict = judge(network, passport, samples=samples, real=real, tolerance=tolerance)
    if verdict.numeric.passed and verdict.unproved is not None and not verdict.run_only:
        raise verdict.unproved
    degeneracy = _left_and_right(network, verdict, passport) if verdict.numeric.passed else None
    notes = network.notes + ((f"no proof: {verdict.unproved.facts}",) if verdict.unproved else ())
    equivariant = network.module if verdict.numeric.passed and not verdict.mirror.states else None
    known = passport.mirror_fit if passport is not None else None
    asked = recalled(known) if known is not None else None
    if asked is None and not verdict.numeric.passed:  # an equivariant one fits T exactly, whatever T is worth
        asked = ask_network(network, real)
    found = outside_evidence(network, verdict.mirror, real, equivariant, asked)
    own = in_own_precision(network, verdict, None, samples, real, tolerance) if verdict.numeric.passed else None
    return VerifyReport(name, verdict.numeric, verdict.certificate, degeneracy, found, notes, own)


def _left_and_right(network: Network, verdict: Verdict, passport: Passport | None) -> Degeneracy:
    """What the network still tells left from right by, beside what its original did if the passport says so."""
    calls = random_inputs(network.args, network.kwargs, _WITNESSES // 2, 1, network.around)
    _, found = measure(network.module, network.module, verdict.mirror, calls, "", probes=0)
    found = replace(found, free_share=free_share(network, verdict.repmap))
    before = tuple(passport.figures.get("odd", ())) if passport is not None else ()
    return replace(found, odd_before=before) if len(before) == len(found.odd_after) else found
