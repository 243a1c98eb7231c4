"""The report of a conversion, put together from the records of its steps.

It is put together before the bounds are applied, as `guard` reads the figures off it. The verdict in the result's own
precision and times are added later.
"""

from __future__ import annotations

from dataclasses import replace

from chiralize.commands.judging import Judged
from chiralize.commands.one_sided import with_consequence
from chiralize.infer import macs_of
from chiralize.methods.registry import methods
from chiralize.methods.targets import FITTED
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.problem.data import posed
from chiralize.problem.data.scattered import remark_on
from chiralize.problem.mirror import free_share, mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.readings.remark import reading_first
from chiralize.problem.result import Converted
from chiralize.problem.stateful import mirror_of_calls
from chiralize.report import ConvertReport, Cost
from chiralize.report.body import bodies_of
from chiralize.report.particulars import Changes, Nearness, Way
from chiralize.verification.figures import Figures
from chiralize.verification.mirror_evidence import outside_evidence
from chiralize.verification.verdicts import Evidence, Judgement

_SHOWN = 5
"""Calls of the user from which poses are made that are symmetric by the names of their joints."""


def report_of(problem: Problem, name: str, judged: Judged, figures: Figures, asked: Evidence) -> ConvertReport:
    """The report of a conversion, but for what is measured after the verdicts.

    asked: what the network itself said of the mirror.
    """
    network, request, verdict = problem.network, problem.request, judged.verdict
    converted, degeneracy = judged.draft.converted, figures.degeneracy
    if degeneracy is not None and not converted.is_average:
        degeneracy = replace(degeneracy, free_share=free_share(judged.network, verdict.repmap, network))
    mirror = mirror_if_known(network, judged.draft.repmap)
    # Evidence from outside runs the result on poses that are symmetric by the names of their joints; that needs a
    # result that takes the calls of the original.
    same_calls = mirror is not None and not mirror.states and None not in network.resolved.inputs
    equivariant = converted.module if same_calls else None
    named = mirror or mirror_of_calls(network)  # states have no names
    evidence = outside_evidence(network, named, problem.batches.given[-_SHOWN:], equivariant, asked)
    remarks = problem.batches.remarks
    if converted.is_average:
        # What was aimed at says nothing of an average, which was not fitted.
        remarks = tuple(remark for remark in remarks if not remark.startswith(FITTED))
    notes = (*with_consequence(remarks, converted.is_average), *_notes(problem, converted))
    if verdict.unproved:
        notes = (*notes, f"no proof: {verdict.unproved.facts}")
    if problem.batches.scattered and (converted.fitted or request.distill):
        notes = (*notes, remark_on(problem.batches))
    if problem.batches.posed and (converted.fitted or request.distill):
        notes = (*notes, posed.remark_on(problem))
    states = tuple(moved for moved in converted.moved if moved.kind == "state")
    weights = tuple(moved for moved in converted.moved if moved.kind != "state")
    return ConvertReport(
        name,
        Way(converted.method, converted.form),
        _cost(network, converted, judged.network),
        changes=Changes(converted.choices, weights, converted.fitted, states),
        nearness=Nearness(figures.drift, problem.max_drift, request.max_shift),
        judgement=Judgement(verdict.numeric, verdict.certificate, degeneracy),
        evidence=evidence,
        notes=reading_first(notes),
        bodies=bodies_of(network.resolved.output_tensors),
    )


def _notes(problem: Problem, converted: Converted) -> tuple[str, ...]:
    """The notes of the steps. A first note says for what drawn inputs were used, if there were any."""
    request, batches = problem.request, problem.batches
    known = methods().get(converted.method)
    chosen_by_inputs = known is not None and known.is_fitted or request.distill
    if not batches.drawn or converted.is_average or not chosen_by_inputs:
        return converted.notes
    share = f"for {request.mix:.0%} " if batches.given else "without data, "
    done = "fitted" if converted.fitted or request.distill else "pairs chosen"
    if batches.are_built_in:
        remedy = "--calibration poses.npz fits and measures on yours"
        return (
            f"{done} {share}on built-in poses ({batches.origin}), where rho is measured, too; {remedy}",
            *converted.notes,
        )
    return (f"{done} {share}on samples of a Gaussian: {batches.origin}", *converted.notes)


def _cost(network: Network, converted: Converted, after: Network) -> Cost:
    """Parameters and multiplications of a call, of the network that the user handed in and of the result."""
    before, macs = network.as_given, network.macs
    macs_after = 2 * macs if converted.is_average else macs + converted.macs
    # Blocks do fewer products than the weights that they stand for: they are counted in the graph of the result.
    if converted.form in BLOCKS and after.captured is not None:
        macs_after = macs_of(after.captured)
    return Cost(before.parameter_count, after.parameter_count, before.macs, macs_after, samples=before.rows)
