"""`verify`: both verdicts on a network as it stands, and the evidence for the mirror itself.

    numeric        |f(T x) - T f(x)| is rounding, on random inputs and on some of the user's
    certificate    every op obeys a rule and every weight is what the mirror makes of it: for all inputs

Neither says that T is the right mirror; that is what the evidence is for. A passport tells the proof how hidden values
transform, and the proof checks that. Two figures are read off it, since the original is not at hand: how well T fitted
it, and how much of its answers told left from right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chiralize.commands.completing import claims_of
from chiralize.commands.other_mirror import remedy_of_other_mirror
from chiralize.commands.several.verifying import verify_for_all
from chiralize.commands.sides import compared_with_the_file
from chiralize.errors import ChiralizeError, UsageError
from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Call
from chiralize.problem.constant_answers import asked_again
from chiralize.problem.data.cutting import check
from chiralize.problem.data.judged import judged_on
from chiralize.problem.mirror import free_share
from chiralize.problem.network import Network
from chiralize.problem.partial import as_run
from chiralize.problem.progress import Progress, silent
from chiralize.problem.request import number
from chiralize.report import VerifyReport
from chiralize.report.body import bodies_of
from chiralize.report.particulars import Circumstances, JointGap
from chiralize.storage.onnx_network import OnnxNetwork
from chiralize.storage.passport import Passport
from chiralize.verification.evidence.judging import recalled
from chiralize.verification.figures import on_random_inputs
from chiralize.verification.judge import Verdict, in_own_precision, judge
from chiralize.verification.mirror_evidence import ask_network, outside_evidence
from chiralize.verification.mixing import mixing_notes
from chiralize.verification.numeric import REAL
from chiralize.verification.onnx import MOST
from chiralize.verification.verdicts import Degeneracy, Drift, Evidence, Judgement


@exclusive
def verify(
    network: Network,
    name: str,
    passport: Passport | None = None,
    *,
    samples: int | None = None,
    real: Sequence[Call] = (),
    tolerance: float | None = None,
    progress: Progress = silent,
) -> VerifyReport:
    """Judge a network as it stands, and collect what speaks for or against the mirror.

    real: inputs of the user, some of which are run beside random ones.
    Raises UsageError for fewer samples than 1, and the refusal where a network that passes cannot be proved.
    """
    if samples is not None:
        samples = int(number("samples", samples))
    check(network, real, differ=False)
    network = asked_again(network, real)
    if real and passport is not None and passport.is_average and None in network.resolved.inputs:
        facts = "an average of both views takes states of its own, which no inputs of the original hold"
        raise UsageError("--calibration", facts, "leave it out: such a network is run on random inputs")
    # A few of the user's inputs are run; the evidence below may look at all of them.
    run_on = judged_on(network, real, MOST if isinstance(network.module, OnnxNetwork) else REAL)
    given = sum(map(network.samples_in, run_on))
    if network.others.further:
        report = verify_for_all(network, name, passport, samples, run_on, tolerance, progress)
        return replace(report, circumstances=Circumstances(given))
    report = _verify_one(network, name, passport, samples, real, run_on, tolerance, progress)
    known = Circumstances(given)
    # Answers that are always the same pass under any mirror: said beside the verdict.
    if network.behaviour.constant.is_all:
        known = Circumstances(given, network.behaviour.constant.facts, network.behaviour.constant.remedy)
    elif passport is not None and not report.numeric.passed:
        known = Circumstances(given, remedy=remedy_of_other_mirror(network, passport.converted_for))
    return replace(report, circumstances=known)


def _verify_one(
    network: Network,
    name: str,
    passport: Passport | None,
    samples: int | None,
    real: Sequence[Call],
    run_on: Sequence[Call],
    tolerance: float | None,
    progress: Progress,
) -> VerifyReport:
    """The report under the only mirror that there is. run_on: those of the real inputs that the verdicts are run on."""
    progress("verifying")
    # Of a network that is claimed in part only claimed entries are judged.
    claims, network = claims_of(network), as_run(network)
    bodies = bodies_of(network.resolved.output_tensors)
    verdict = judge(network, passport, samples=samples, real=run_on, tolerance=tolerance, progress=progress)
    # A verdict that failed needs no proof; one that passed and might have been proved is not given without.
    if verdict.numeric.passed and verdict.unproved is not None and not verdict.run_only:
        raise verdict.unproved
    notes = (*network.notes, *mixing_notes(network), *verdict.notes(run_on))
    asked: Evidence | None = None
    # The file remembers how well T fitted its original; the result itself fits T whether that is right or wrong.
    if passport is not None and passport.mirror_fit is not None:
        asked = recalled(passport.mirror_fit)
    # Not equivariant: where it fails, joint by joint, and whether another mirror is nearer.
    if not verdict.numeric.passed:
        # An equivariant network fits T exactly, right or wrong: only others are compared with other mirrors.
        asked = asked or ask_network(network, real, progress=progress)
        evidence = outside_evidence(network, verdict.mirror, real, None, asked)
        judgement = Judgement(verdict.numeric, verdict.certificate)
        return VerifyReport(name, judgement, evidence, notes, claims, _asymmetric_joints(network, verdict), bodies)
    # Equivariant: whether it still tells left from right, and what single precision adds.
    progress("measuring how much of the output is odd")
    degeneracy, joints = _left_and_right(network, verdict, passport)
    equivariant = network.module if not verdict.mirror.states else None
    evidence = outside_evidence(network, verdict.mirror, real, equivariant, asked)
    progress("verifying in its own precision")
    own_precision = in_own_precision(network, verdict, None, samples, run_on, tolerance)
    judgement = Judgement(verdict.numeric, verdict.certificate, degeneracy, own_precision)
    return VerifyReport(name, judgement, evidence, notes, claims, joints, bodies)


def _left_and_right(
    network: Network, verdict: Verdict, passport: Passport | None
) -> tuple[Degeneracy, tuple[JointGap, ...]]:
    """How much of the answers tells left from right, and how much did when the file was written.

    Also the gap of every joint, which is rounding.
    """
    drift, degeneracy = compared_with_the_file(network, verdict.mirror, passport)
    return replace(degeneracy, free_share=free_share(network, verdict.repmap)), _joints(drift)


def _asymmetric_joints(network: Network, verdict: Verdict) -> tuple[JointGap, ...]:
    """Gaps of the joints of a network that failed; none where its answers cannot be compared."""
    if not all(output.finite for output in verdict.numeric.outputs):
        return ()
    try:
        return _joints(on_random_inputs(network, verdict.mirror)[0])
    except ChiralizeError:  # the verdict says what is wrong with its answers
        return ()


def _joints(drift: Drift) -> tuple[JointGap, ...]:
    """The gap of every joint of every output that has joints."""
    gaps: list[JointGap] = []
    for output in drift.outputs:
        gaps += [JointGap(output.index, joint.name, joint.gap) for joint in output.joints]
    return tuple(gaps)
