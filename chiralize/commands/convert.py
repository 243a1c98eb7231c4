"""`convert`: make a network equivariant by one method, judge the result from scratch, and guard what is handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial

import torch

from chiralize.commands.guard import (
    guard,
    refuse_far,
    refuse_forgetful,
    refuse_graph,
    refuse_other_calls,
    stamped,
    why_no_weights,
)
from chiralize.commands.judging import deploy_and_judge, real_calls
from chiralize.commands.one_sided import refuse_one_sided, refuse_one_sided_sequences
from chiralize.commands.records import Conversion
from chiralize.commands.reporting import report_of
from chiralize.commands.unchanged import draft_as_it_is, judge_as_it_is, unchanged
from chiralize.graph.dtypes import rounding
from chiralize.graph.isolation import exclusive
from chiralize.graph.rewrite import with_modes
from chiralize.methods.auto import first_accepted
from chiralize.methods.best import Measured, best
from chiralize.methods.refine.refine import keeper
from chiralize.methods.registry import method_of
from chiralize.methods.targets import aimed
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.problem.asking import check_request
from chiralize.problem.data import checks
from chiralize.problem.data.cutting import check
from chiralize.problem.data.drawn import supplied
from chiralize.problem.data.scattered import with_scattered
from chiralize.problem.network import Network, without_entry
from chiralize.problem.problem import Problem
from chiralize.problem.request import FORMS, ON_BLOCKED, Progress, Request
from chiralize.verification.beyond import REMEMBERED, other_inputs, widened
from chiralize.verification.drift import random_inputs
from chiralize.verification.figures import Figures, Others, with_dead_inputs, with_those_beyond
from chiralize.verification.judge import in_own_precision
from chiralize.verification.mirror_evidence import ask_network, refuse_wrong_mirror
from chiralize.verification.verdicts import Evidence

__all__ = ["FORMS", "ON_BLOCKED", "Conversion", "Progress", "Request", "convert"]

Rounded = Callable[[], Mapping[int, float] | None]
"""What the original rounds away in its own precision, by output; measured when it is asked for."""


@exclusive
@torch.inference_mode(False)
@torch.enable_grad()
def convert(network: Network, name: str, request: Request) -> Conversion:
    """Make the network equivariant and judge the result.

    Raises MethodUnavailableError, UnsupportedError (an op refuses), EquivarianceError (the result failed a verdict),
    and, unless forced, DriftError and DegenerateError.
    """
    if request.product == "graph":
        refuse_graph(network)
    method = method_of(request.method)
    check_request(request, method)
    check(request.calibration)
    problem = Problem.of(network, request, method)
    rounded = cache(partial(_rounding, problem))
    request.progress("looking whether it is equivariant already")
    verdict = judge_as_it_is(problem)
    if verdict is not None and request.form in BLOCKS and verdict.repmap is not None:
        as_it_is = Measured(draft_as_it_is(network, verdict), Figures())
        return _finished(problem, name, as_it_is, Evidence(), rounded, tuple)
    if verdict is not None:
        return unchanged(network, name, verdict, request.samples)

    problem = checks.judged(problem)
    request.progress("asking the network whether this is its mirror")
    evidence = ask_network(network, problem.batches.given)
    refuse_wrong_mirror(problem, name, evidence)
    refuse_one_sided(problem, name, evidence)
    problem = with_scattered(aimed(supplied(problem)))
    keeper(problem)  # a file that is none is told before anything is fitted
    rounded = cache(partial(_rounding, problem))
    others = cache(partial(other_inputs, network, problem.batches.given))

    def attempt(candidate: str, problem: Problem) -> Conversion:
        problem = problem if problem.request.mix == request.mix else widened(problem)
        return _finished(problem, name, best(problem, method_of(candidate)), evidence, rounded, others)

    if method.drafts is not None:
        request.progress(f"converting by {method.name}")
        return attempt(method.name, problem)
    objection = partial(_objection, request.product)
    conversion, notes = first_accepted(problem, attempt, objection, lambda: REMEMBERED in dict(others()))
    refuse_one_sided_sequences(problem, name, conversion.report.drift)
    return replace(conversion, report=replace(conversion.report, notes=(*conversion.report.notes, *notes)))


def _finished(
    problem: Problem, name: str, measured: Measured, evidence: Evidence, rounded: Rounded, others: Others
) -> Conversion:
    """A draft in its form, judged from scratch, held to the bounds, and with its report.

    Raises EquivarianceError and the like where a verdict fails; DriftError and DegenerateError beyond the bounds.
    """
    network, request, draft = problem.network, problem.request, measured.draft
    figures = with_dead_inputs(problem, draft, measured.figures)
    figures = with_those_beyond(problem, draft, figures, others)
    refuse_forgetful(network, draft.converted.module)
    refuse_far(problem, name, draft.converted.method, figures)  # before it costs more time
    judged = deploy_and_judge(problem, draft)
    report = report_of(problem, name, judged, figures, evidence)
    refuse_other_calls(network, judged.verdict)
    guard(problem, report, judged.verdict)
    real = real_calls(problem, judged.draft.converted)
    own_precision = in_own_precision(judged.network, judged.verdict, rounded(), request.samples, real)
    report = replace(report, own_precision=own_precision)
    module = with_modes(without_entry(judged.draft.converted.module))
    passport = stamped(judged.passport, report)
    return Conversion(module, judged.network.program, passport, report, judged.verdict.mirror)


def _objection(product: str, conversion: Conversion, is_last: bool) -> str:
    """Why `auto` does not take a result that passed, "" where it does. is_last: nothing else can be tried."""
    own = conversion.report.own_precision
    if own is not None and not own.passed and not is_last:
        worst = own.worst
        return f"in {own.dtype}, in which it runs, it is off by {worst.residual:.2g} (bound {worst.bound:.2g})"
    if product == "weights":
        return why_no_weights(conversion.module, conversion.report)
    if product == "graph" and conversion.program is None and not is_last:
        return "it cannot be exported, and a graph is asked for"
    return ""


def _rounding(problem: Problem) -> Mapping[int, float] | None:
    """What the original rounds away in the precision in which it runs."""
    network, request = problem.network, problem.request
    request.progress("looking at what the original rounds away")
    drawn = random_inputs(network.args, network.kwargs, request.samples, 0, network.around)
    return rounding(network.module, [*drawn, *problem.batches.given[-8:]])
