"""A draft becomes a result: captured again from scratch, judged, and reported.

A draft says of itself how T acts on its hidden spaces, and none of that is believed. The module is exported, its own
graph is captured, inference runs on that, and the passport, which says how weights transform, is proved with the rest.
So a fault of a method cannot approve itself.

    Draft --deployed--> Result --judged--> Verdict --reported--> Conversion
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import Finding
from chiralize.graph import rewrite
from chiralize.graph.run import Call
from chiralize.infer.capture import captured
from chiralize.methods.auto import MeasuredDraft
from chiralize.nn.two_view import TwoView, two_states
from chiralize.problem.mirror import NetworkMirror, WeightAction
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare, without_entry
from chiralize.problem.problem import Draft, Problem
from chiralize.report.records import ConvertReport, Cost
from chiralize.storage.passport import Passport, call_record
from chiralize.verification.judge import judge
from chiralize.verification.measure import on_random_inputs
from chiralize.verification.verdicts import Trial, Verdict

MIRROR = "mirror"
"""The name of the only mirror of a specification that names none."""


@dataclass(frozen=True)
class Result:
    """A draft captured again: the network of its own graph, and the passport by which that is judged."""

    draft: Draft
    network: Network
    passport: Passport


@dataclass(frozen=True)
class Conversion:
    """A finished conversion: a module and, where it can be exported, its program; its passport and its report.

    mirror: T on the result's inputs and outputs, states included.
    """

    module: torch.nn.Module
    program: ExportedProgram | None
    passport: Passport
    mirror: NetworkMirror
    report: ConvertReport

    def with_findings(self, *findings: Finding) -> Conversion:
        """The conversion with more for its report to say."""
        return replace(self, report=replace(self.report, findings=(*self.report.findings, *findings)))


def deployed(problem: Problem, draft: Draft) -> Result:
    """The draft as a network of its own. Nothing is taken over from the graph of the original."""
    network = problem.network
    args, kwargs = example_call(network, doubled=draft.is_average)
    if draft.program is not None:
        graph = captured(draft.program, args, kwargs)
        after = replace(network, module=draft.module, program=draft.program, captured=graph, findings=())
    else:
        with _under_names_of(network.module, draft.module):
            after = prepare(draft.module, args, kwargs, network.spec)
        after = replace(after, module=draft.module)
    passport = Passport(network.spec, draft.method, draft.form, draft.action.hidden, draft.action.exchanged)
    return Result(draft, after, replace(passport, entry=network.entry, inputs=call_record(args, kwargs)))


def example_call(network: Network, doubled: bool) -> Call:
    """The example of a network; `doubled`: with the states of both views side by side."""
    actions = iter(network.resolved.representations("input"))

    def fit(leaf: Any) -> Any:
        """One argument, twice as wide if it is a state of both views."""
        is_state = isinstance(leaf, torch.Tensor) and next(actions) is None
        return two_states(leaf) if is_state and doubled else leaf

    args, kwargs = pytree.tree_map(fit, network.example)
    return tuple(args), dict(kwargs)


@contextmanager
def _under_names_of(original: torch.nn.Module, module: torch.nn.Module) -> Iterator[None]:
    """Let a two-view module take its inputs under the original's names meanwhile, as an export writes them down."""
    if not isinstance(module, TwoView):
        yield
        return

    def forward(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        """The forward of both views, under the signature that it is given below."""
        return TwoView.forward(self, *args, **kwargs)  # type: ignore[arg-type]

    with suppress(ValueError, TypeError):  # a signature that Python cannot show
        first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        known = inspect.signature(original.forward)
        forward.__signature__ = known.replace(parameters=[first, *known.parameters.values()])  # type: ignore[attr-defined]
    module.forward = types.MethodType(forward, module)  # bound, so that a copy runs itself
    try:
        yield
    finally:
        del module.forward


def judged(problem: Problem, result: Result) -> Mapping[str, Verdict]:
    """The verdicts on a result, under every mirror, as if nothing were known of it but its passport."""
    request = problem.request
    trial = Trial(tolerance=request.tolerance)
    trial = trial if request.samples is None else replace(trial, samples=request.samples)
    trial = replace(trial, real=_real(problem, result))
    request.progress("verifying the result")
    return {MIRROR: judge(result.network, result.passport, trial=trial, progress=request.progress)}


def _real(problem: Problem, result: Result) -> Sequence[Call]:
    """The calls of the user that a result is judged on; none where it takes the states of both views."""
    takes_both = result.draft.is_average and None in problem.network.resolved.representations("input")
    return () if problem.inputs is None or takes_both else problem.inputs.judged()


def reported(
    problem: Problem, name: str, measured: MeasuredDraft, result: Result, verdicts: Mapping[str, Verdict]
) -> Conversion:
    """The conversion with its report; figures of it go into the passport, by which `verify` compares the file."""
    network, draft, figures = problem.network, measured.draft, measured.figures
    count, macs = network.parameter_count, network.macs
    verdict = verdicts[MIRROR]
    free = (
        count if verdict.repmap is None or draft.is_average else verdict.repmap.free_parameters(result.network.graph())
    )
    cost = Cost(count, free, macs, (2 if draft.is_average else 1) * macs + draft.macs)
    report = ConvertReport(
        name,
        draft.method,
        draft.form,
        cost,
        verdicts,
        draft.choices,
        draft.moved,
        figures.measured,
        figures.degeneracy,
        (*draft.findings, *problem.findings),
        None if problem.request.force else problem.max_drift,
    )
    passport = stamped(result.passport, report, result.network, verdict)
    module = rewrite.with_modes(without_entry(draft.module))
    return Conversion(module, result.network.program, passport, verdict.mirror, report)


def stamped(passport: Passport, report: ConvertReport, network: Network, verdict: Verdict) -> Passport:
    """The passport with the figures of the report: residual and bound, gap and rho, odd shares.

    odd_random: the share of each output of the result that is odd on random inputs, which `verify` draws again.
    """
    figures: dict[str, Any] = {}
    if verdict.numeric.outputs:
        worst = verdict.numeric.worst
        figures |= {"residual": worst.residual, "bound": worst.bound, "dtype": verdict.numeric.dtype}
    if report.measured is not None:
        figures |= {"gap": report.measured.gap, "rho": report.measured.rho}
    if report.degeneracy is not None:
        figures["odd"] = list(report.degeneracy.odd_before)
        sides = on_random_inputs(network, verdict.mirror).degeneracy
        figures["odd_random"] = list(sides.odd_after) if sides is not None else []
    return replace(passport, figures={**passport.figures, **figures})


def handed_back(problem: Problem, name: str, verdict: Verdict, before: Passport | None = None) -> Conversion:
    """An equivariant network as it is, with a report and a passport.

    before: the passport that came with it: what it says of the original stays.
    """
    network, repmap = problem.network, verdict.repmap
    passport = before or Passport(network.spec, "unchanged", "original", {}, {})
    passport = replace(passport, entry=network.entry, inputs=call_record(*network.example))
    if repmap is not None:
        action = WeightAction.of(network, repmap)
        passport = replace(passport, hidden=action.hidden, exchanged=action.exchanged)
    count, macs = network.parameter_count, network.macs
    cost, findings = Cost(count, count, macs, macs), (*network.findings, *problem.findings)
    report = ConvertReport(name, "unchanged", "original", cost, {MIRROR: verdict}, findings=findings)
    module, program = network.holding({})
    passport = stamped(passport, report, network, verdict)
    return Conversion(rewrite.with_modes(without_entry(module)), program, passport, verdict.mirror, report)
