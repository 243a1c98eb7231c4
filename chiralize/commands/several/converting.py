"""`convert` where the specification names several mirrors: every step once for each of them.

The steps are those of `commands.convert`. What differs:

    asking      the network is asked about each mirror by itself; remarks add up, and the first refusal ends all
    drafting    one mirror after the other, with choices that commute (`methods.several`)
    `auto`      widths are smaller (`_WIDTHS`), and there is no second try with inputs beside narrow ones
    judging     both verdicts under each mirror, the numeric one under their products, too

`problem` is that of the first mirror throughout, `networks` the original under each, by the mirror's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from chiralize.commands.guard import stamped, unproved_form, why_no_weights
from chiralize.commands.one_sided import are_sides_unknown, recalled, refuse_by_answers, with_consequence, with_sides
from chiralize.commands.records import Conversion, Trial
from chiralize.commands.several.as_it_is import unchanged_for_all
from chiralize.commands.several.figures import AllFigures, figures_of_all, free_share_of_all, refuse_far_from_all
from chiralize.commands.several.judging import Verdicts, evidence_of_all, judge_each, odd_by_mirror
from chiralize.errors import CaptureError, ChiralizeError, ExportError
from chiralize.graph.rewrite import with_modes
from chiralize.graph.running import Call
from chiralize.infer import macs_of
from chiralize.infer.capture import capture
from chiralize.methods.auto import NO_FAULT_OF_A_CANDIDATE, is_whatever_the_width
from chiralize.methods.registry import method_of
from chiralize.methods.ruled_out import refuse_ruled_out, with_inferred
from chiralize.methods.several.stages import draft_for_all
from chiralize.methods.targets import aimed
from chiralize.methods.within_minutes import are_too_many, with_fewer_inputs
from chiralize.nn.deploy.export import try_export
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.nn.deploy.several import Hidden, formed_for_all
from chiralize.problem.asking import check_request
from chiralize.problem.data import checks
from chiralize.problem.data.cutting import check
from chiralize.problem.data.drawn import supplied
from chiralize.problem.data.scattered import remark_on, with_scattered
from chiralize.problem.network import Network
from chiralize.problem.preparation import without_entry
from chiralize.problem.problem import Method, Problem
from chiralize.problem.readings.remark import reading_first
from chiralize.problem.request import Request
from chiralize.problem.result import Converted, Draft
from chiralize.problem.several import refuse_unsuited, under_each
from chiralize.report import ConvertReport, Cost, VerifyReport, raise_for_failure
from chiralize.report.loop_words import objection_in_the_loop
from chiralize.report.particulars import Changes, Nearness, Way
from chiralize.storage.calls import call_record
from chiralize.storage.passport import Passport
from chiralize.verification.judge import in_own_precision
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.mixing import mixing_notes
from chiralize.verification.verdicts import Evidence, Judgement

_WIDTHS = (0.25, 0.354, 0.5)
"""Shares of the units that `auto` tries for two mirrors. Each unit is in the result four times, once for each view.
With a quarter of the units the result has the original's sizes and a quarter of its products. With half of them it has
twice the units and the original's products.
"""
_REAL = 8
"""Calls of the user that verdicts are run on."""
Networks = Mapping[str, Network]


def convert_for_all(
    network: Network, name: str, request: Request, trial: Trial | None = None, passport: Passport | None = None
) -> Conversion:
    """Make the network equivariant under every mirror that its specification names, and judge the result under each.

    Steps and exceptions as in `convert`.  trial: decides between the candidates of `auto`, beside the bounds.
    passport: of a file that was converted before.
    """
    # Refusals that ask the request and the specification alone.
    method = method_of(request.method)
    check_request(request, method)
    check(network, request.calibration)
    refuse_unsuited(network)
    network = network.with_notes(*mixing_notes(network))
    # Each of them is the network as if it had one mirror, so that functions for one mirror apply.
    networks = under_each(network)
    problem = Problem.of(next(iter(networks.values())), request, method)
    # Step 1. Where blocks are asked for, an equivariant network is converted as any other.
    as_it_is = None if request.form in BLOCKS else unchanged_for_all(problem, networks, name, passport)
    if as_it_is is not None:
        return as_it_is
    # Step 2, of the first mirror; what inference refuses under others ends the drafting of `methods.several`.
    problem = with_inferred(problem)
    if method.drafts is not None:
        refuse_ruled_out(problem, method)
    problem = checks.judged(problem)
    # Step 3, for each mirror.
    asked: dict[str, Evidence] = {}
    for mirror, under in networks.items():
        request.progress(f"checking {mirror} against the network")
        asked[mirror] = ask_network(under, problem.batches.given)
        remembered, seen = recalled(under), replace(problem, network=under)
        named = f"{name} under {mirror}"
        refuse_by_answers(seen, named, asked[mirror], remembered, is_tried=trial is not None)
        warned = with_sides(seen, remembered, is_tried=trial is not None)
        # Of `with_sides` the remarks alone are taken, not the side that would be fitted to for one mirror.
        problem = problem.with_batches(remarks=warned.batches.remarks)
        asked[mirror] = replace(asked[mirror], are_sides_unknown=are_sides_unknown(under, remembered))
    # Step 4: inputs to fit on.
    problem = aimed(supplied(problem))
    problem = with_fewer_inputs(problem) if are_too_many(problem) else with_scattered(problem)
    finish = _Finish(name, problem.network, networks, asked, network.resolved.spec.name)

    def attempt(problem: Problem, method: Method) -> Conversion:
        """The draft of one method, finished and tried."""
        conversion = finish(problem, draft_for_all(problem, networks, method))
        return conversion if trial is None else trial(conversion, problem.request.force)

    if method.drafts is not None:
        return attempt(problem, method)
    return _first_accepted(problem, len(networks), attempt)


def _first_accepted(problem: Problem, mirrors: int, attempt: Callable[[Problem, Method], Conversion]) -> Conversion:
    """`auto`: the narrowest width that passes; else the average over all views."""
    notes: list[str] = []
    candidates = _candidates(problem, mirrors)
    is_settled = False
    for position, (method, width) in enumerate(candidates):
        # The refusal of the first width holds for all widths, and its note has been written.
        if is_settled and method == "reduce":
            continue
        request = replace(problem.request, width=width)
        is_last = position == len(candidates) - 1
        # Before the last candidate there is a better one to come, so that bounds are held to.
        request = replace(request, force=request.force and is_last)
        tried = f"{method} at width {width:g}" if width else method
        problem.request.progress(f"converting by {tried}")
        asked = replace(problem, request=request)
        try:
            conversion = attempt(asked, method_of(method))
            fault = why_no_weights(conversion.module, conversion.report) if request.keeps_sizes else ""
            fault = fault or ("" if is_last else objection_in_the_loop(conversion.report.rollout))
            if not fault:
                report = conversion.report
                return replace(conversion, report=replace(report, notes=(*report.notes, *notes)))
        except NO_FAULT_OF_A_CANDIDATE:
            raise
        except ChiralizeError as error:
            # Of weights alone the error below names all candidates, not the last one only.
            if is_last and not request.keeps_sizes:
                raise
            fault = f"{error.where}: {error.facts}"
            is_settled = is_whatever_the_width(error)
        notes.append(f"{tried} was not taken: {fault}")
    facts = f"no result for all mirrors fits the original's class: {'; '.join(notes)}"
    raise ExportError("-o", facts, "write a .pt2 or an .onnx, or give --calibration inputs")


def _candidates(problem: Problem, mirrors: int) -> list[tuple[str, float | None]]:
    """The widths to try, in order. Those for two mirrors are halved for each further mirror, which keeps the cost the
    same.
    """
    request = problem.request
    # Each further mirror doubles the copies of a unit: 0.25 for two mirrors, 0.125 for three.
    widths = [width * 0.5 ** (mirrors - 2) for width in _WIDTHS]
    if request.keeps_sizes:
        widths = widths[:1]
    if request.width is not None:
        widths = [request.width]
    reduced: list[tuple[str, float | None]] = []
    if problem.batches.inputs:
        reduced += [("reduce", width) for width in widths]
    return [*reduced, ("match" if request.keeps_sizes else "average", None)]


@dataclass(frozen=True)
class _Finish:
    """Makes conversions of drafts: deploys, judges under every mirror, applies the bounds, reports.

    original: the network under the first mirror. asked: how well it fits each mirror.
    """

    name: str
    original: Network
    networks: Networks
    asked: Mapping[str, Evidence]
    body: str

    def __call__(self, problem: Problem, draft: Draft) -> Conversion:
        """The conversion that a draft becomes.

        Raises EquivarianceError and the like where a verdict fails; DriftError and DegenerateError beyond the bounds.
        """
        # What is far from the average over all views is refused before it is exported, which takes time.
        figures = figures_of_all(problem, self.networks, draft)
        figures = figures.with_free_share(free_share_of_all(self.original, draft.converted))
        refuse_far_from_all(problem, self.name, draft.converted.method, figures)
        dense = draft
        # Figures above are of dense weights; here the draft gets its form. How mirrors act on the weights of that form
        # is said anew, a table for each mirror in the order of `networks`.
        draft, representations = formed_for_all(problem, draft, self._representations(draft.converted))
        hidden = dict(zip(self.networks, representations, strict=True))
        problem.request.progress("exporting the result")
        program = draft.program or try_export(draft.converted.module, self.original)
        # From scratch: export, capture, verdicts under every mirror. A file that will be a graph is judged as one.
        results = self._captured_again(replace(draft, program=program), problem.request.product == "graph")
        passport = self._passport(draft.converted, hidden)
        problem.request.progress("verifying under every mirror")
        real = problem.batches.given[-_REAL:]
        samples = problem.request.samples
        passports = {mirror: passport.under(mirror) for mirror in self.networks}
        verdicts = judge_each(results, passports, samples=samples, real=real)
        # A form that fails is refused by its own name: with dense weights the result may be fine.
        is_reshaped = draft is not dense and draft.converted.form in BLOCKS
        if is_reshaped and not all(verdict.passed for verdict in verdicts.each.values()):
            raise unproved_form(draft.converted.form, verdicts.main)
        report = self._report(problem, draft.converted, figures, verdicts, next(iter(results.values())))
        raise_for_failure(VerifyReport(self.name, Judgement(verdicts.numeric, verdicts.main.certificate)))
        # Averages are handed over on the numeric verdict alone.
        if verdicts.main.unproved is not None and not report.is_average:
            raise verdicts.main.unproved
        first = next(iter(results.values()))
        own_precision = in_own_precision(first, next(iter(verdicts.each.values())), None, samples, real)
        report = replace(report, judgement=replace(report.judgement, own_precision=own_precision))
        module = with_modes(without_entry(draft.converted.module))
        by_mirror = odd_by_mirror(results, verdicts, passport)
        passport = stamped(passport, report, (), by_mirror, self.original.floors)
        return Conversion(module, program, passport, verdicts.main.mirror, report)

    def _representations(self, converted: Converted) -> Sequence[Hidden]:
        """How every mirror acts on the weights of the result, the last mirror last; nothing is said of an average's."""
        if converted.is_average:
            return [{} for _ in self.networks]
        return (*converted.action.earlier, converted.action.hidden)

    def _captured_again(self, draft: Draft, as_program: bool) -> dict[str, Network]:
        """The result under every mirror, with a graph that is captured from its program: nothing is taken over."""
        original, module, program = self.original, draft.converted.module, draft.program
        # A reason is kept for the case that there is no graph: the certificate is asked and answers with it.
        why = original.origin.problem or CaptureError(
            draft.converted.method, "it cannot be exported", "use it as a module"
        )
        captured = None
        if program is not None and original.captured is not None:
            captured = capture(program, original.args, original.kwargs)
        results: dict[str, Network] = {}
        for name, network in self.networks.items():
            origin = replace(network.origin, problem=why)
            handover = replace(network.handover, as_program=as_program)
            # Mirrors differ in representations alone; module, program and graph are the same for all.
            result = replace(network, module=module, program=program, captured=captured)
            results[name] = replace(result, origin=origin, handover=handover)
        return results

    def _passport(self, converted: Converted, hidden: Mapping[str, Hidden]) -> Passport:
        """What the file says of itself: how every mirror acts on its weights; the first one's table stands twice."""
        spec = self.original.resolved.spec
        first = next(iter(hidden.values()))
        passport = Passport(spec, converted.method, converted.form, first, self.original.handover.entry)
        return replace(passport, mirrors=hidden, inputs=call_record(*self.original.example))

    def _report(
        self, problem: Problem, converted: Converted, figures: AllFigures, verdicts: Verdicts, result: Network
    ) -> ConvertReport:
        """The report, under the first mirror or the first that failed, with a row for every one."""
        request, batches = problem.request, problem.batches
        real: Sequence[Call] = batches.given[-5:]
        notes = [*with_consequence(batches.remarks, converted.is_average), *converted.notes]
        if batches.scattered and (converted.fitted or request.distill):
            notes.append(remark_on(batches))
        if not batches.given and converted.fitted:
            notes.append(f"fitted without data: {batches.origin}")
        macs, views = self.original.macs, 2 ** len(self.networks)
        after = views * macs
        # An average runs the original once for each view; anything else is counted in its own graph.
        if not converted.is_average:
            after = macs_of(result.captured) if result.captured is not None else 0
        return ConvertReport(
            self.name,
            Way(converted.method, converted.form, views),
            Cost(self.original.parameter_count, result.parameter_count, macs, after),
            changes=Changes(converted.choices, converted.moved, converted.fitted),
            nearness=Nearness(figures.drift, problem.max_drift, request.max_shift),
            judgement=Judgement(
                verdicts.numeric,
                verdicts.main.certificate,
                next(iter(figures.degeneracies.values())),
                mirrors=verdicts.records(figures.degeneracies),
            ),
            evidence=evidence_of_all(self.networks, self.asked, real, result),
            notes=reading_first(tuple(notes)),
        )
