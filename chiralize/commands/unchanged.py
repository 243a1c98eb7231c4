"""Networks that are equivariant already: handed back as they are, or in another form.

Step 1 of `commands.convert`. Looked at from cheap to costly, so that an ordinary network costs one call on each side:

    plainly_differs    one input in the network's own precision: an answer that is a tenth off ends the look
    numeric.judge      one input by the bounds of the numeric verdict
    judge              both verdicts on all inputs, the same that `verify` gives
"""

from __future__ import annotations

from dataclasses import replace

from chiralize.commands.guard import stamped
from chiralize.commands.records import Conversion
from chiralize.commands.sides import written_again
from chiralize.graph.rewrite import with_modes
from chiralize.problem.constant_answers import asked_again, refuse_constant
from chiralize.problem.mirror import mirror_if_known, weight_action
from chiralize.problem.network import Network
from chiralize.problem.preparation import without_entry
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.report import ConvertReport, Cost
from chiralize.report.body import bodies_of
from chiralize.report.particulars import Way
from chiralize.storage.calls import call_record
from chiralize.storage.passport import Passport
from chiralize.verification import numeric
from chiralize.verification.judge import Verdict, in_own_precision, judge, light_rows
from chiralize.verification.mirror_evidence import outside_evidence
from chiralize.verification.verdicts import Judgement


def judge_as_it_is(problem: Problem, passport: Passport | None = None) -> Verdict | None:
    """The verdict on the original where it passes, else None.

    passport: of a file that was converted before. It says how hidden values transform, which the proof needs where
    weights lie in blocks or both views are run; what it says is proved with the rest.

    A cheap look at the examples comes first; it does not suffice, since rounding inside a network can hide from them
    that it is asymmetric. A network that draws random numbers is not judged: it answers twice differently.
    Raises ModelRunError where no answer depends on the inputs, unless forced: any mirror fits such a network.
    """
    network = asked_again(problem.network, problem.batches.given)
    if not problem.request.force:
        refuse_constant(network, "the network", "; --force converts it as it is")
    if network.captured is not None and network.captured.drawing:
        return None
    # T on states follows from the graph: without one nothing can be compared.
    if network.captured is None and None in (*network.resolved.inputs, *network.resolved.outputs):
        return None
    quick = mirror_if_known(network, None)
    # Only where T is known without inference; else the verdicts below infer it.
    if quick is not None:
        if numeric.plainly_differs(network.module, quick, network.args, network.kwargs):
            return None
        once = numeric.judge(
            network.module,
            quick,
            network.args,
            network.kwargs,
            samples=1,
            batches=(),
            depth=100,
            strides=False,
            rows=light_rows(network),
        )
        if not once.passed:
            return None
    verdict = judge(network, passport, samples=problem.request.samples, real=problem.batches.given[-8:])
    if verdict.passed or _is_written_average(verdict, passport):
        return verdict
    return None


def _is_written_average(verdict: Verdict, passport: Passport | None) -> bool:
    """Whether an average was converted before into a file that allows no proof, and commutes with T where it is run.

    Another average of it would run four passes for the same answers. A file of any other kind, whose answers to a few
    inputs may commute by chance, is not taken so.
    """
    return verdict.run_only and verdict.numeric.passed and passport is not None and passport.is_average


def draft_as_it_is(network: Network, verdict: Verdict) -> Draft:
    """An equivariant network as a draft, so that it can be given another form."""
    graph, repmap = network.graph(), verdict.repmap
    assert repmap is not None
    module, program = network.holding({})
    converted = Converted(module, "unchanged", "folded", action=weight_action(graph, repmap))
    return Draft(converted, program, repmap)


def unchanged(
    network: Network, name: str, verdict: Verdict, samples: int | None, before: Passport | None = None
) -> Conversion:
    """An equivariant network as it is, with a report and a passport.

    before: the passport that came with it. What it says of the original stays: its gap and rho, its odd shares.
    """
    repmap = verdict.repmap
    passport = before or Passport(network.resolved.spec, "unchanged", "original", entry=network.handover.entry)
    passport = replace(passport, inputs=call_record(*network.example))
    macs = 0
    if repmap is not None:
        graph, macs = network.graph(), sum(repmap.macs.values())
        action = weight_action(graph, repmap)
        passport = replace(passport, hidden=action.hidden, exchanged=action.exchanged)
    count = network.parameter_count
    evidence = outside_evidence(network, verdict.mirror, (), None if verdict.mirror.states else network.module)
    own_precision = in_own_precision(network, verdict, None, samples)
    report = ConvertReport(
        name,
        Way("unchanged", "original"),
        Cost(count, count, macs, macs),
        judgement=Judgement(verdict.numeric, verdict.certificate, own_precision=own_precision),
        evidence=evidence,
        notes=network.notes,
        bodies=bodies_of(network.resolved.output_tensors),
    )
    module, program = network.holding({})
    passport = with_earlier(stamped(passport, report, least_sizes=network.floors), network, verdict, before)
    return Conversion(with_modes(without_entry(module)), program, passport, verdict.mirror, report)


def with_earlier(passport: Passport, network: Network, verdict: Verdict, before: Passport | None) -> Passport:
    """The passport of a network that is handed on, with figures that it has from an earlier conversion, and odd shares.

    before: the passport that the network came with; one of another mirror says nothing of this one.
    """
    if before is not None and before.converted_for is not None:
        before = None
    passport = with_earlier_figures(passport, before)
    figures = {key: value for key, value in passport.figures.items() if key != "odd_random"}
    odd_random = written_again(network, verdict.mirror, passport, before)
    if odd_random:
        figures["odd_random"] = list(odd_random)
    return replace(passport, figures=figures)


def with_earlier_figures(passport: Passport, before: Passport | None) -> Passport:
    """The passport with those figures of an earlier one that it lacks."""
    if before is None:
        return passport
    return replace(passport, figures={**before.figures, **passport.figures})
