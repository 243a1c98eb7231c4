"""`convert`: make a network equivariant by one method, judge the result from scratch, and guard what is handed over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from torch.export import ExportedProgram

from chiralize.commands.guard import (
    guard,
    refuse_far,
    refuse_forgetful,
    refuse_graph,
    refuse_other_calls,
    stamped,
    unproved_form,
    why_no_weights,
)
from chiralize.commands.one_sided import refuse_one_sided, refuse_one_sided_sequences
from chiralize.errors import CaptureError, MethodUnavailableError, ModelRunError, UnsupportedError, UsageError
from chiralize.graph.copies import give_back, is_large
from chiralize.graph.dtypes import rounding
from chiralize.graph.isolation import exclusive
from chiralize.graph.mirror import Mirror
from chiralize.graph.model import CapturedModel
from chiralize.graph.rewrite import with_modes
from chiralize.graph.running import Call
from chiralize.infer import macs_of
from chiralize.infer.capture import capture
from chiralize.infer.records import RepMap
from chiralize.methods.auto import first_accepted
from chiralize.methods.candidates import candidates as made
from chiralize.methods.refine.refine import distilled, keeper, refined
from chiralize.methods.statistics import refuse_changed_statistics, with_statistics
from chiralize.methods.targets import aimed
from chiralize.nn.deploy.export import fitted, try_export
from chiralize.nn.deploy.form import formed
from chiralize.nn.deploy.layers import BLOCKS
from chiralize.nn.two_view import TwoView
from chiralize.problem.data import checks
from chiralize.problem.data.batches import check, in_one
from chiralize.problem.data.drawn import supplied
from chiralize.problem.data.scattered import told_of, with_scattered
from chiralize.problem.mirror import (
    exchanged_weights,
    free_share,
    hidden_representations,
    mirror_at_rest,
    mirror_if_known,
)
from chiralize.problem.network import Subject, left
from chiralize.problem.request import FORMS, HELD_OUT, MAX_DRIFT, METHODS, ON_BLOCKED, Options, Progress
from chiralize.problem.result import Converted
from chiralize.problem.stateful import carried_of, mirror_of_calls
from chiralize.report import ConvertReport, Cost
from chiralize.storage.passport import Passport
from chiralize.verification import numeric
from chiralize.verification.beyond import REMEMBERED, Kinds, furthest, other_inputs, widened
from chiralize.verification.drift import measure, measure_along, random_inputs
from chiralize.verification.judge import Verdict, in_own_precision, judge
from chiralize.verification.mirror_evidence import ask_network, outside_evidence, refuse_wrong_mirror
from chiralize.verification.verdicts import Degeneracy, Drift, Evidence

__all__ = ["FORMS", "MAX_DRIFT", "METHODS", "ON_BLOCKED", "Conversion", "Options", "Progress", "convert"]

Figures = tuple[Drift | None, Degeneracy | None]
Rounded = Callable[[], Mapping[int, float] | None]
Others = Callable[[], Kinds]
Found = tuple[Converted, ExportedProgram | None, RepMap | None, Figures]
_RANDOM = 16
_KEPT = 0.6
_NOT_TRAINED = "not trained: a lifted network keeps the original's weights"


@dataclass(frozen=True)
class Conversion:
    """A finished conversion: the network as a module and, where it can be exported, as a program; and its report.

    mirror: T on the result's inputs and outputs, states included.
    """

    module: torch.nn.Module
    program: ExportedProgram | None
    passport: Passport
    report: ConvertReport
    mirror: Mirror | None = None


@exclusive
@torch.inference_mode(False)
@torch.enable_grad()
def convert(subject: Subject, name: str, options: Options) -> Conversion:
    """Make the network equivariant and judge the result.

    Raises MethodUnavailableError, UnsupportedError (an op refuses), EquivarianceError (the result failed a verdict),
    and, unless forced, DriftError and DegenerateError.
    """
    if options.product == "graph":
        refuse_graph(subject)
    method = _method(options)
    options.progress("looking whether it is equivariant already")
    verdict = _already(subject, options)
    if verdict is not None and not (options.form in BLOCKS and verdict.repmap):
        return _unchanged(subject, name, verdict, options.samples)
    if verdict is not None:
        found, rounded = _as_it_is(subject, verdict), partial(_rounding, subject, options)
        return _finished(subject, name, found, options, Evidence(), rounded, tuple)
    options = checks.judged(subject, options)
    options.progress("asking the network whether this is its mirror")
    network = ask_network(subject, options.calibration)
    refuse_wrong_mirror(name, network, method, options.force)
    refuse_one_sided(subject, name, network, options)
    options = with_scattered(subject, aimed(subject, supplied(subject, options)))
    keeper(subject, options)  # a file that is none is told before anything is fitted
    rounded = cache(partial(_rounding, subject, options))
    others = cache(partial(other_inputs, subject, options.calibration))
    if method != "auto":
        options.progress(f"converting by {method}")
        return _finished(subject, name, _best(subject, method, options), options, network, rounded, others)

    mixed = options.mix

    def attempt(method: str, options: Options) -> Conversion:
        options = options if options.mix == mixed else widened(subject, options)
        return _finished(subject, name, _best(subject, method, options), options, network, rounded, others)

    def more_is_known() -> bool:
        return REMEMBERED in dict(others())

    found, notes = first_accepted(options, attempt, partial(_objection, options.product), more_is_known)
    refuse_one_sided_sequences(subject, name, found.report.drift, options)
    return replace(found, report=replace(found.report, notes=(*found.report.notes, *notes)))


def _finished(
    subject: Subject, name: str, found: Found, options: Options, network: Evidence, rounded: Rounded, others: Others
) -> Conversion:
    """A result in its form, judged from scratch, held to the bounds, and with its report.

    rounded: tells what the original rounds away in its own precision.  others: tells inputs beyond those given.
    Raises EquivarianceError and the like where a verdict fails; DriftError and DegenerateError beyond the bounds.
    """
    result, program, repmap, figures = found
    figures = _with_dead_inputs(subject, result, repmap, figures, options)
    figures = _with_those_beyond(subject, result, repmap, figures, others)
    refuse_forgetful(subject, result.module)
    refuse_far(name, result.method, *figures, options)  # before it costs more time
    result, judged = _in_form(subject, result, program, options)
    after, verdict = judged.after, judged.verdict
    report = _report(subject, name, result, after, verdict, repmap, figures, options, network)
    refuse_other_calls(subject, verdict)
    guard(report, verdict, options)
    real = _with_states(options.calibration[-8:], result)
    own = in_own_precision(after, verdict, rounded(), options.samples, real)
    report = replace(report, own_precision=own)
    module = with_modes(left(result.module))
    return Conversion(module, after.program, stamped(judged.passport, report), report, verdict.mirror)


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


def _rounding(subject: Subject, options: Options) -> Mapping[int, float] | None:
    """What the original rounds away in the precision in which it runs."""
    options.progress("looking at what the original rounds away")
    drawn = random_inputs(subject.args, subject.kwargs, options.samples, 0, subject.around)
    return rounding(subject.module, [*drawn, *options.calibration[-8:]])


@dataclass(frozen=True)
class _Judged:
    """A result captured again from scratch, its passport, and the verdicts on it."""

    after: Subject
    passport: Passport
    verdict: Verdict

    @property
    def proved(self) -> bool:
        proof = self.verdict.certificate
        return self.verdict.numeric.passed and proof is not None and proof.passed


def _in_form(
    subject: Subject, result: Converted, program: ExportedProgram | None, options: Options
) -> tuple[Converted, _Judged]:
    """The result in its form, and the verdicts on it; dense again where no proof reaches blocks that `auto` chose."""
    shaped, own, captured = formed(subject, result, program, options)
    refuse_forgetful(subject, shaped.module)
    try:
        judged = _judged(subject, shaped, own, captured, options)
        if shaped is not result and not judged.proved:
            raise unproved_form(shaped.form, judged.verdict)
    except UnsupportedError as error:
        if shaped is result or options.form != "auto":
            raise
        dense = replace(result, notes=(*result.notes, f"dense weights: {error.facts}"))
        return dense, _judged(subject, dense, program, None, options)
    return shaped, judged


def _judged(
    subject: Subject,
    result: Converted,
    program: ExportedProgram | None,
    captured: CapturedModel | None,
    options: Options,
) -> _Judged:
    """captured: the graph of the program, where it was captured from that already."""
    options.progress("exporting the result")
    give_back()
    program = program or try_export(result.module, subject)
    options.progress("verifying")
    after = _as_subject(subject, result, program, captured)
    passport = Passport(
        subject.resolved.spec, result.method, result.form, result.hidden, subject.entry, {}, result.exchanged,
        result.averaged,
    )  # fmt: skip
    verdict = judge(after, passport, samples=options.samples, real=_with_states(options.calibration[-8:], result))
    return _Judged(after, passport, verdict)


def _best(subject: Subject, method: str, options: Options) -> Found:
    """The candidate with the least loss, of the first two or of as many as it takes to keep what is odd; of imposed
    layouts and large networks the first that does.
    """
    best: Found | None = None
    for place, (result, program, repmap) in enumerate(made(subject, method, options)):
        options.progress("measuring the drift")
        figures = _measure(subject, result, repmap, options)
        loss = _loss(result, *figures)
        if any(loss[:3]):  # whole inputs may be among what it loses
            figures = _with_dead_inputs(subject, result, repmap, figures, options)
            loss = _loss(result, *figures)
        if best is None or loss < _loss(best[0], *best[3]):
            best = result, program, repmap, figures
        if (place or method == "project" or is_large(subject.module)) and not any(_loss(best[0], *best[3])[:2]):
            break
    assert best is not None
    result, program, repmap, figures = _imitating(subject, best, options)
    refuse_changed_statistics(result, subject, options)
    return with_statistics(result, subject), program, repmap, figures


def _imitating(subject: Subject, found: Found, options: Options) -> Found:
    """A result of one pass, all of its weights brought closer to the original together."""
    result, program, repmap, figures = found
    if result.form == "two-view":
        told = (_NOT_TRAINED,) if options.distill or options.rounds else ()
        return replace(result, notes=(*result.notes, *told)), program, repmap, figures
    drift = figures[0]
    nearer, program = refined(subject, result, program, drift.rho if drift is not None else 0.0, options)
    if options.distill:
        nearer, program = distilled(subject, nearer, program, options)
    if nearer is result:
        return found
    return nearer, program, repmap, _measure(subject, nearer, repmap, options)


def _method(options: Options) -> str:
    if options.method not in METHODS:
        raise MethodUnavailableError(
            "--method", f"{options.method!r} is not in this version", f"use one of {', '.join(METHODS)}"
        )
    if options.form not in FORMS:
        raise MethodUnavailableError(
            "--form", f"{options.form!r} is not in this version", f"use one of {', '.join(FORMS)}"
        )
    if options.on_blocked not in ON_BLOCKED:
        raise UsageError("--on-blocked", f"{options.on_blocked!r} is not known", f"use one of {', '.join(ON_BLOCKED)}")
    if options.on_blocked == "average" and options.method == "reduce":
        raise UsageError("--on-blocked", "reduce cannot average a part", "use --method match, or --on-blocked lift")
    if options.form == "dense" and options.method not in ("auto", "reduce"):
        raise UsageError("--form", f"dense goes with --method reduce, not {options.method}", "leave --form out")
    options.refuse_idle()
    check(options.calibration)
    return options.method


# ---- a network that needs nothing -----------------------------------------------------------------------------------
def _already(subject: Subject, options: Options) -> Verdict | None:
    """The verdict on the original, if both sides of it pass: rounding inside a network can hide from the examples that
    it is lopsided. One that draws random numbers answers twice differently.
    """
    if subject.captured is not None and subject.captured.drawing:
        return None
    if subject.captured is None and None in (*subject.resolved.inputs, *subject.resolved.outputs):
        return None
    quick = mirror_if_known(subject, None)
    if quick is not None:
        if numeric.plainly_differs(subject.module, quick, subject.args, subject.kwargs):
            return None
        once = numeric.judge(
            subject.module, quick, subject.args, subject.kwargs, samples=1, batches=(), depth=100, strides=False
        )
        if not once.passed:
            return None
    verdict = judge(subject, samples=options.samples, real=options.calibration[-8:])
    return verdict if verdict.passed else None


def _as_it_is(subject: Subject, verdict: Verdict) -> Found:
    """An equivariant network that is to have another form."""
    graph, repmap = subject.graph(), verdict.repmap
    assert repmap is not None
    module, program = subject.holding({})
    hidden, exchanged = hidden_representations(graph, repmap), exchanged_weights(graph, repmap)
    return Converted(module, "unchanged", "folded", (), (), hidden, exchanged), program, repmap, (None, None)


def _unchanged(subject: Subject, name: str, verdict: Verdict, samples: int) -> Conversion:
    repmap = verdict.repmap
    graph = subject.graph() if repmap is not None else None
    hidden = hidden_representations(graph, repmap) if graph and repmap else {}
    exchanged = exchanged_weights(graph, repmap) if graph and repmap else {}
    passport = Passport(subject.resolved.spec, "unchanged", "original", hidden, subject.entry, exchanged=exchanged)
    count = sum(parameter.numel() for parameter in subject.module.parameters())
    macs = sum(repmap.macs.values()) if repmap is not None else 0
    found = outside_evidence(subject, verdict.mirror, (), None if verdict.mirror.states else subject.module)
    report = ConvertReport(
        name, "unchanged", "original", Cost(count, count, macs, macs), numeric=verdict.numeric,
        certificate=verdict.certificate, evidence=found, notes=subject.notes, unchanged=True,
        own_precision=in_own_precision(subject, verdict, None, samples),
    )  # fmt: skip
    module, program = subject.holding({})
    return Conversion(with_modes(left(module)), program, stamped(passport, report), report, verdict.mirror)


# ---- the result, captured again -------------------------------------------------------------------------------------
def _as_subject(
    subject: Subject, result: Converted, program: ExportedProgram | None, captured: CapturedModel | None
) -> Subject:
    """The result with a graph of its own, captured from its program, for its verdicts."""
    args, kwargs = fitted(subject, result.form == "two-view")
    resolved = subject.resolved
    if result.form == "two-view":
        resolved = replace(
            resolved,
            input_tensors=tuple(_doubled(own) for own in resolved.input_tensors),
            output_tensors=tuple(_doubled(own) for own in resolved.output_tensors),
        )
    problem = subject.problem or CaptureError(result.method, "the result cannot be exported", "use it as a module")
    if captured is None and program is not None and subject.captured is not None:
        captured = capture(program, args, kwargs)
    return replace(
        subject, module=result.module, args=args, kwargs=kwargs, resolved=resolved, program=program, captured=captured,
        problem=problem,
    )  # fmt: skip


def _doubled(own: Any) -> Any:
    return replace(own, shape=(*own.shape[:-1], 2 * own.shape[-1])) if own.representation is None else own


def _with_states(calls: Sequence[Call], result: Converted) -> Sequence[Call]:
    """Real inputs for the verdict; a lifted network with states takes other sizes, so only random ones are used."""
    module = result.module
    return () if isinstance(module, TwoView) and any(module.input_states) else calls


# ---- measures and guard ---------------------------------------------------------------------------------------------
def _loss(result: Converted, drift: Drift | None, degeneracy: Degeneracy | None) -> tuple[bool, bool, bool, float]:
    """Candidates that are refused, that lose much of what is odd, or whole inputs of a layer, come last; the others go
    by rho.

    The bound on what is kept lies above one half, since few samples measure it: with just a half, some show more.
    """
    refused = degeneracy is not None and (bool(degeneracy.collapsed) or degeneracy.ignores_much)
    little = degeneracy is not None and degeneracy.kept < _KEPT
    return refused, little, result.lost > 0, drift.rho if drift else 0.0


def _held_out(subject: Subject, options: Options) -> tuple[Sequence[Call], str]:
    if options.inputs:
        return options.held_out, options.source
    count = affordable(subject, _RANDOM)
    around = subject.around
    return random_inputs(subject.args, subject.kwargs, count, 1, around), str(around)


def affordable(subject: Subject, most: int) -> int:
    """How many runs of the network to spend on a figure: fewer for costly ones, never below 4."""
    work = macs_of(subject.captured) if subject.captured is not None else 0
    work = work or sum(parameter.numel() for parameter in subject.module.parameters()) * subject.rows
    return max(4, min(most, int(2e10 / max(work, 1))))


def _measure(subject: Subject, result: Converted, repmap: RepMap | None, options: Options) -> Figures:
    """Drift and degeneracy on held-out inputs; None where nobody knows T on the original's states."""
    carried = carried_of(subject)
    if options.sequences:
        drift, degeneracy = measure_along(
            subject.module, result.module, mirror_of_calls(subject), options.held_sequences, options.source, carried,
            two_view=result.form == "two-view",
        )  # fmt: skip
    else:
        mirror = mirror_if_known(subject, repmap) or mirror_at_rest(subject)
        if mirror is None:
            return None, None
        inputs, source = _held_out(subject, options)
        compare = partial(measure, subject.module, result.module, mirror, source=source, probes=0)
        try:
            drift, degeneracy = compare(inputs if options.inputs else in_one(subject, inputs))
        except ModelRunError:  # the result takes the batch that it was traced at
            drift, degeneracy = compare(inputs)
    zeroed, forced = tuple(own.name for own in result.moved if own.zeroed), repmap.forced if repmap else ()
    degeneracy = replace(degeneracy, forced=forced, zeroed=zeroed, tables=result.tables)
    return replace(drift, noise=not options.inputs, stateful=bool(carried)), degeneracy


def _with_those_beyond(
    subject: Subject, result: Converted, repmap: RepMap | None, figures: Figures, others: Others
) -> Figures:
    """With how far what was fitted on given inputs is from the original on others."""
    drift, degeneracy = figures
    mirror = mirror_if_known(subject, repmap)
    if drift is None or drift.stateful or mirror is None or not result.fitted or result.form == "two-view":
        return figures
    return replace(drift, beyond=furthest(subject.module, result.module, mirror, others())), degeneracy


def _with_dead_inputs(
    subject: Subject, result: Converted, repmap: RepMap | None, figures: Figures, options: Options
) -> Figures:
    """The entries that only the original reacts to: looked for where it matters, since that takes a run for each."""
    drift, degeneracy = figures
    mirror = mirror_if_known(subject, repmap)
    if mirror is None or degeneracy is None or result.form == "two-view":
        return figures
    few = _held_out(subject, options)[0][:1]
    found = measure(subject.module, result.module, mirror, few, "", probes=1)[1]
    return drift, replace(degeneracy, dead_inputs=found.dead_inputs, live_inputs=found.live_inputs)


def _report(
    subject: Subject,
    name: str,
    result: Converted,
    after: Subject,
    verdict: Verdict,
    repmap: RepMap | None,
    figures: Figures,
    options: Options,
    network: Evidence,
) -> ConvertReport:
    drift, degeneracy = figures
    if degeneracy is not None and result.form != "two-view":
        degeneracy = replace(degeneracy, free_share=free_share(after, verdict.repmap, subject))
    mirror = mirror_if_known(subject, repmap)
    inputs = options.calibration[-HELD_OUT:]
    same_calls = mirror is not None and not mirror.states and None not in subject.resolved.inputs
    equivariant = result.module if same_calls else None
    evidence = outside_evidence(subject, mirror, inputs, equivariant, network)
    notes = result.notes + ((f"no proof: {verdict.unproved.facts}",) if verdict.unproved else ())
    if options.drawn and result.form != "two-view" and (result.method in ("reduce", "match") or options.distill):
        share = f"for {options.mix:.0%} " if options.calibration else "without data, "
        done = "fitted" if result.fitted or options.distill else "pairs chosen"
        notes = (f"{done} {share}on samples of a Gaussian: {options.origin}", *notes)
    if options.scattered and (result.fitted or options.distill):
        notes = (*notes, told_of(options.scattered))
    notes = (*options.remarks, *notes)
    return ConvertReport(
        name, result.method, result.form, _cost(subject, result, after), choices=result.choices,
        moved=tuple(own for own in result.moved if own.kind != "state"),
        states=tuple(own for own in result.moved if own.kind == "state"),
        drift=drift, max_drift=options.bound, numeric=verdict.numeric, certificate=verdict.certificate,
        degeneracy=degeneracy, evidence=evidence, notes=notes, fitted=result.fitted, max_shift=options.max_shift,
    )  # fmt: skip


def _cost(subject: Subject, result: Converted, after: Subject) -> Cost:
    """Parameters and multiplications of a call, before and after."""
    old, new = (sum(parameter.numel() for parameter in own.module.parameters()) for own in (subject, after))
    macs = macs_of(subject.captured) if subject.captured is not None else 0
    if result.form in BLOCKS and after.captured is not None:
        return Cost(old, new, macs, macs_of(after.captured))
    return Cost(old, new, macs, 2 * macs if result.form == "two-view" else macs + result.macs)
