"""`convert`: make a network equivariant, judge the result from scratch, and hand over only what passes.

    Network + Request -> Problem -> Draft -> Judged -> Conversion

The docstring of `convert` has the steps. Each is a function elsewhere (`problem/`, `methods/`, `verification/`). Here
is their order, in which cheap refusals come before costly steps. `_converted` goes as far as a draft, `_Finish` makes a
conversion of it. A named method has one draft; `auto` hands `attempt` to `methods.auto`, which calls it for one
candidate after another.

For another kind of request the same steps are wrapped: outputs that are claimed in part (`commands.completing`),
several mirrors (`commands.several`), a policy whose environment decides (`trial`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial

import torch

from chiralize.commands.better_target import of_better_target
from chiralize.commands.companions import with_companions
from chiralize.commands.completing import adapted, completed, why_beside
from chiralize.commands.guard import (
    guard,
    refuse_far,
    refuse_forgetful,
    refuse_graph,
    refuse_other_calls,
    stamped,
    why_no_weights,
)
from chiralize.commands.judging import deploy_and_judge, last_calls, real_calls
from chiralize.commands.naming_widths import with_widths
from chiralize.commands.one_sided import (
    are_sides_unknown,
    recalled,
    refuse_by_answers,
    refuse_one_sided_sequences,
    with_even_inputs,
    with_sides,
)
from chiralize.commands.records import Conversion, Trial
from chiralize.commands.reporting import report_of
from chiralize.commands.scripts import why_no_script
from chiralize.commands.several.converting import convert_for_all
from chiralize.commands.unchanged import draft_as_it_is, judge_as_it_is, unchanged, with_earlier
from chiralize.errors import NeverEquivariantError
from chiralize.graph.dtypes import rounding
from chiralize.graph.isolation import exclusive
from chiralize.graph.rewrite import with_modes
from chiralize.methods.auto import first_accepted, refuse_weights_alone, why_two_passes
from chiralize.methods.best import Measured, best
from chiralize.methods.known_side import on_known_side
from chiralize.methods.refine.ready import refuse_untrainable
from chiralize.methods.refine.refine import keeper
from chiralize.methods.registry import method_of
from chiralize.methods.ruled_out import refuse_ruled_out, why_ruled_out, with_inferred
from chiralize.methods.targets import aimed
from chiralize.methods.within_minutes import are_too_many, forecast, with_fewer_inputs
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.problem.answered import refuse_silent
from chiralize.problem.asking import check_request
from chiralize.problem.cost import affordable_samples, draws
from chiralize.problem.data import checks
from chiralize.problem.data.cutting import check
from chiralize.problem.data.drawn import supplied
from chiralize.problem.data.posed import with_poses
from chiralize.problem.data.scattered import with_scattered
from chiralize.problem.network import Network
from chiralize.problem.preparation import without_entry
from chiralize.problem.problem import Method, Problem
from chiralize.problem.progress import Progress
from chiralize.problem.request import FORMS, ON_BLOCKED, Request
from chiralize.problem.sampling import naming_the_mean
from chiralize.problem.two_samples import refuse_squeezed
from chiralize.report.loop_words import objection_in_the_loop
from chiralize.storage.passport import Passport
from chiralize.verification.beyond import REMEMBERED, other_inputs, widened
from chiralize.verification.drift import random_inputs
from chiralize.verification.figures import Figures, Others, on_random_inputs, with_dead_inputs, with_those_beyond
from chiralize.verification.judge import Verdict, in_own_precision
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.mixing import mixing_notes
from chiralize.verification.verdicts import Evidence

_WORK_OF_ROUNDING = 5e9  # multiplications of random calls in float64, which takes several times as long

__all__ = ["FORMS", "ON_BLOCKED", "Conversion", "Progress", "Request", "convert"]


@exclusive
@torch.inference_mode(False)
@torch.enable_grad()
def convert(
    network: Network, name: str, request: Request, trial: Trial | None = None, passport: Passport | None = None
) -> Conversion:
    """Make the network equivariant and judge the result. The steps, in their order:

    1. Look whether the network is equivariant already. Then it is handed back, in the form that was asked for.
    2. Infer how every tensor transforms. Refuse what the method cannot do, before the network is run on many inputs.
    3. Ask the network whether the mirror is its own, and whether it knows both sides. If not, refuse.
    4. Supply inputs to fit on: those of the user, drawn ones, scattered ones, built-in poses beside them.
    5. Let the method propose what becomes of the hidden spaces, fill in weights, and refine them (`best`).
    6. Deploy the draft: give it its form, and capture it again.
    7. Judge what was captured, as if nothing were known of it, and hold it to the bounds.
    8. Try it in use, if there is a `trial` such as roll-outs in an environment.
    9. Report.

    Where the specification names several mirrors, every step is taken once for each (`commands.several`).

    The method `auto` goes through steps 5 to 9 with one candidate after another, until one passes.

    Where only some outputs are claimed to be equivariant, all of this is done to these, and the rest is put back.

    passport: of a file that was converted before, by which it is judged in step 1.

    Raises MethodUnavailableError, UnsupportedError (an op refuses), EquivarianceError (the result failed a verdict),
    and, unless forced, DriftError and DegenerateError.
    """
    with naming_the_mean(network.handover.advice):
        if network.handover.partial is not None:
            conversion = completed(network, _converted(network, name, adapted(network, request)), request)
            if (why := why_beside(network, request)) and conversion.report.is_average:
                way = replace(conversion.report.way, why_average=why)
                conversion = replace(conversion, report=replace(conversion.report, way=way))
        else:
            conversion = with_companions(_converted(network, name, request, trial, passport), network)
    # Mostly a trial has been asked of each candidate; not where a network was equivariant already, or is claimed in
    # part.
    if trial is None or conversion.report.rollout is not None:
        return conversion
    return trial(conversion, request.force)


def _converted(
    network: Network, name: str, request: Request, trial: Trial | None = None, passport: Passport | None = None
) -> Conversion:
    """The steps of `convert`. trial: decides between the candidates of `auto`, beside the bounds."""
    # What forward keeps outside of its graph would be lost in a graph, whatever the steps below find.
    if request.product == "graph":
        refuse_graph(network)
    refuse_silent(network, name, request.force)
    if network.others.further:
        return convert_for_all(network, name, request, trial, passport)
    method = method_of(request.method)
    check_request(request, method)
    refuse_untrainable(network, request, method)
    check(network, request.calibration)
    refuse_squeezed(network, name)
    network = network.with_notes(*mixing_notes(network))
    problem = Problem.of(network, request, method)

    request.progress(f"checking whether it is equivariant already{forecast(problem)}")
    verdict = judge_as_it_is(problem, passport)
    if verdict is not None:
        return _as_it_is(problem, name, verdict, passport)

    # Before the network is run on many inputs: an op or a constant that rules out every draft.
    problem = with_inferred(problem)
    _refuse_ruled_out(problem, method)
    # Inputs are looked at first: on those of another unit or kind no mirror fits.
    problem, evidence = _asked(checks.judged(problem), name, trial)

    # `auto` goes on where one pass is ruled out, to the average; nothing is fitted then.
    refusal = why_ruled_out(problem, method)
    problem = _with_inputs(problem, is_fitted=refusal is None, is_tried=trial is not None)
    keeper(problem)  # a checkpoint that cannot be used is refused before anything is fitted
    finish = _Finish.of(problem, name, evidence)
    failures: list[Exception] = [] if refusal is None else [with_widths(network, refusal)]

    def attempt(candidate: str, problem: Problem) -> Conversion:
        """The best draft of one method, finished. Raises the error of that draft, with its remedy."""
        try:
            _refuse_ruled_out(problem, method_of(candidate))
            # A candidate of `auto` that failed at narrow inputs comes again with more beside them (`methods.auto`).
            if problem.request.mix != request.mix:
                problem = widened(problem)
            conversion = finish(problem, best(problem, method_of(candidate)))
            return conversion if trial is None else trial(conversion, problem.request.force)
        except NeverEquivariantError as error:
            failures.append(with_widths(problem.network, error))
            raise failures[-1] from error
        except Exception as error:
            failures.append(error)
            raise

    # A named method is the only candidate; a policy that leans has it tried with two targets.
    if method.drafts is not None:
        request.progress(f"converting by {method.name}")
        return of_better_target(problem, partial(attempt, method.name))
    objection = partial(_objection, request.product)
    # `auto`: one candidate after another through `attempt`, until one has no objection.
    conversion, notes = first_accepted(problem, attempt, objection, lambda: REMEMBERED in dict(finish.others()))
    report = conversion.report
    if trial is None:
        refuse_one_sided_sequences(problem, name, report.drift)
    # An average that nobody named: the headline says what kept `auto` from one pass.
    why = why_two_passes(failures, request) if report.is_average else ""
    way = replace(report.way, why_average=why)
    return replace(conversion, report=replace(report, notes=(*report.notes, *notes), way=way))


def _asked(problem: Problem, name: str, trial: Trial | None) -> tuple[Problem, Evidence]:
    """What the network says of the mirror, and the problem with what it says of the sides that it knows.

    Raises MirrorError and OneSidedError.
    """
    network, batches = problem.network, problem.batches
    evidence = ask_network(network, batches.given, batches.sequences, problem.request.progress)
    remembered = recalled(network)
    problem = with_even_inputs(problem, evidence)
    refuse_by_answers(problem, name, evidence, remembered, is_tried=trial is not None)
    return with_sides(problem, remembered, is_tried=trial is not None), replace(
        evidence, are_sides_unknown=are_sides_unknown(network, remembered)
    )


def _with_inputs(problem: Problem, is_fitted: bool, is_tried: bool) -> Problem:
    """The problem with inputs to fit on and to measure with; where nothing will be fitted, with the latter alone."""
    problem = supplied(problem)
    if is_fitted:
        problem = aimed(problem, is_tried)
        # More inputs than `auto` can fit on within minutes: fewer are taken, and none are made beside them.
        if are_too_many(problem):
            return on_known_side(with_fewer_inputs(problem))
        return on_known_side(with_poses(with_scattered(problem)))
    if problem.batches.are_built_in:
        problem = aimed(problem)  # which tells whether they suit the network
    return on_known_side(problem)


def _refuse_ruled_out(problem: Problem, method: Method) -> None:
    """Raises UnsupportedError, with its remedy, where graph and specification rule out every draft of a method.

    `auto` and files of weights alone: where they rule out all candidates.
    """
    if method.drafts is None:
        refuse_weights_alone(problem)
        return
    try:
        refuse_ruled_out(problem, method)
    except NeverEquivariantError as error:
        raise with_widths(problem.network, error) from error


def _as_it_is(problem: Problem, name: str, verdict: Verdict, passport: Passport | None) -> Conversion:
    """A network that is equivariant already: as it is, or with its weights in blocks if these are asked for."""
    network, request = problem.network, problem.request
    if request.form in BLOCKS and verdict.repmap is not None:
        finish = _Finish.of(problem, name, Evidence())
        conversion = finish(problem, Measured(draft_as_it_is(network, verdict), Figures()))
        return replace(conversion, passport=with_earlier(conversion.passport, network, verdict, passport))
    return unchanged(network, name, verdict, request.samples, passport)


@dataclass(frozen=True)
class _Finish:
    """Makes conversions of drafts: deploys, judges, applies the bounds, reports.

    evidence: how well the original fits the mirror. rounded: the rounding of the original in its own precision, by
    output. others: inputs of other kinds than those given. The last two are the same for every draft, and are computed
    when the first one needs them.
    """

    name: str
    evidence: Evidence
    rounded: Callable[[], Mapping[int, float] | None]
    others: Others

    @staticmethod
    def of(problem: Problem, name: str, evidence: Evidence) -> _Finish:
        """For the drafts of this problem."""
        others = partial(other_inputs, problem.network, problem.batches)
        return _Finish(name, evidence, cache(partial(_rounding, problem)), cache(others))

    def __call__(self, problem: Problem, measured: Measured) -> Conversion:
        """The conversion that a draft becomes.

        Raises EquivarianceError and the like where a verdict fails; DriftError and DegenerateError beyond the bounds.
        """
        network, request, draft = problem.network, problem.request, measured.draft
        # Figures of the draft as it is: a form changes how weights are written, not what they compute.
        figures = with_dead_inputs(problem, draft, measured.figures)
        figures = with_those_beyond(problem, draft, figures, self.others)
        refuse_forgetful(network, draft.converted.module)
        refuse_far(problem, self.name, draft.converted.method, figures)  # before it costs more time
        judged = deploy_and_judge(problem, draft)
        report = report_of(problem, self.name, judged, figures, self.evidence)
        refuse_other_calls(network, judged.verdict)
        # After this nothing is refused. What is left costs time: the verdict in the result's own precision, and the odd
        # share for the passport.
        guard(problem, report, judged.verdict)
        real = real_calls(problem, judged.draft.converted)
        own_precision = in_own_precision(judged.network, judged.verdict, self.rounded(), request.samples, real)
        report = replace(report, judgement=replace(report.judgement, own_precision=own_precision))
        odd_random = on_random_inputs(judged.network, judged.verdict.mirror, judged.passport.example)[1].odd_after
        module = with_modes(without_entry(judged.draft.converted.module))  # forward again, from here on
        passport = stamped(judged.passport, report, odd_random, least_sizes=network.floors)
        return Conversion(module, judged.network.program, passport, judged.verdict.mirror, report)


def _objection(product: str, conversion: Conversion, is_last: bool) -> str:
    """Why `auto` does not take a result that passed, "" where it does. is_last: no candidate is left."""
    precise = conversion.report.judgement.own_precision
    # The verdict was in float64. A candidate that loses it to rounding in float32 is passed over while others are left;
    # of the last one it is a warning of the report.
    if precise is not None and not precise.passed and not is_last:
        worst = precise.worst
        return f"in {precise.dtype}, in which it runs, it is off by {worst.residual:.2g} (bound {worst.bound:.2g})"
    if not is_last and (unsure := objection_in_the_loop(conversion.report.rollout)):
        return unsure
    if product == "script":
        return why_no_script(conversion)
    if product == "weights":
        return why_no_weights(conversion.module, conversion.report)
    if product == "graph" and conversion.program is None and not is_last:
        return "it cannot be exported, and a graph is asked for"
    return ""


def _rounding(problem: Problem) -> Mapping[int, float] | None:
    """By how much rounding moves every output of the original, in the precision in which it runs; by position.

    None where that cannot be told. Measured on random inputs, two samples at least, and on the last ones of the user.
    """
    network, request = problem.network, problem.request
    request.progress("measuring the rounding error of the original")
    calls = max(1, affordable_samples(network, _WORK_OF_ROUNDING, 2) // max(network.rows, 1))
    drawn = random_inputs(network.args, network.kwargs, min(draws(network, request.samples), calls), 0, network.around)
    return rounding(network.module, [*drawn, *last_calls(problem)])
