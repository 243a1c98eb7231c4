"""`verify`: both verdicts on a network as it stands, under each of its mirrors.

    run      |F(T x) - T F(x)| is rounding, on random inputs
    proof    every op obeys a rule and every weight is what the mirror makes of it: for all inputs

Neither says that T is the right mirror. A passport tells the proof how hidden values transform, and the proof checks
that; how much of the answers told left from right when the file was written is read off it, too.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chiralize.commands.finish import MIRROR
from chiralize.errors import ChiralizeError
from chiralize.problem.checks import findings_on
from chiralize.problem.inputs import inputs_of
from chiralize.problem.network import Network
from chiralize.problem.request import Progress, silent
from chiralize.report.records import VerifyReport
from chiralize.storage.passport import Passport
from chiralize.verification.judge import judge
from chiralize.verification.measure import Figures, on_random_inputs
from chiralize.verification.verdicts import Degeneracy, Trial, Verdict


def verify(
    network: Network,
    name: str,
    passport: Passport | None = None,
    *,
    trial: Trial,
    data: Any = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Judge a network as it stands. passport: of its file, where it was converted before.  data: inputs of the user."""
    if data is not None:
        inputs, _ = inputs_of(network, data)
        network = network.with_findings(*findings_on(network, inputs))
        trial = replace(trial, real=inputs.judged())
    progress("verifying")
    verdict = judge(network, passport, trial=trial, progress=progress)
    progress("measuring how much of the answers tells left from right")
    figures = _figures(network, verdict)
    sides = _since_it_was_written(figures.degeneracy, passport) if verdict.passed else None
    return VerifyReport(name, {MIRROR: verdict}, figures.measured, sides, network.findings)


def _figures(network: Network, verdict: Verdict) -> Figures:
    """Gaps and odd shares on random inputs; none where the answers cannot be compared."""
    if not all(output.finite for output in verdict.numeric.outputs):
        return Figures()
    try:
        return on_random_inputs(network, verdict.mirror)
    except ChiralizeError:  # the verdict says what is wrong with its answers
        return Figures()


def _since_it_was_written(now: Degeneracy | None, passport: Passport | None) -> Degeneracy | None:
    """The odd shares now beside those in the passport; None where either is not known."""
    before = passport.figures.get("odd_random") if passport is not None else None
    if now is None or not isinstance(before, list) or len(before) != len(now.odd_after):
        return None
    return Degeneracy(tuple(map(float, before)), now.odd_after)
