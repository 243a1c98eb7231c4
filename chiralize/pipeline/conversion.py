"""`convert`: make a network equivariant by one method, judge the result from scratch, and guard what is handed over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize import measure, numeric, rewrite
from chiralize.assign import Chooser
from chiralize.capture import capture, export
from chiralize.errors import CaptureError, DegenerateError, DriftError, MethodUnavailableError, UnsupportedError
from chiralize.methods._activations import activation_scores
from chiralize.methods.lift import TwoView
from chiralize.methods.match import FromActivations, FromWeights
from chiralize.methods.project import Imposed
from chiralize.passport import Passport
from chiralize.pipeline.analysis import (
    analyse,
    free_share,
    hidden_representations,
    infer,
    mirror_at_rest,
    mirror_if_known,
)
from chiralize.pipeline.exporting import fitted, try_export
from chiralize.pipeline.verification import Verdict, judge, outside_evidence
from chiralize.records import CapturedModel, Converted, RepMap, Space
from chiralize.report import ConvertReport, Cost, VerifyReport, raise_for_failure
from chiralize.running import Call
from chiralize.subject import Subject, left
from chiralize.symbolic import evaluate
from chiralize.verdicts import Degeneracy, Drift, Evidence

METHODS = ("auto", "lift", "match", "project")
MAX_DRIFT = 1.25
FORMS = ("auto", "folded")
_HELD_OUT = 5
_RANDOM = 16
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a conversion is asked for.

    calibration: unlabelled inputs, the last fifth of which is held out.  max_drift: bound on rho; without one, `auto`
    keeps to 1.25, and methods asked for by name are written whatever it is.
    force: accept drift and degeneracy beyond the bounds.  progress: told what is being done.
    """

    method: str = "auto"
    form: str = "auto"
    calibration: Sequence[Call] = ()
    max_drift: float | None = None
    samples: int = 8
    force: bool = False
    progress: Progress = lambda step: None

    @property
    def bound(self) -> float | None:
        """The bound on rho that is in force."""
        return MAX_DRIFT if self.max_drift is None and self.method == "auto" else self.max_drift


@dataclass(frozen=True)
class Conversion:
    """A finished conversion: the network as a module and, where it can be exported, as a program; and its report."""

    module: torch.nn.Module
    program: ExportedProgram | None
    passport: Passport
    report: ConvertReport


def convert(subject: Subject, name: str, options: Options) -> Conversion:
    """Make the network equivariant and judge the result.

    Raises MethodUnavailableError, UnsupportedError (an op refuses), EquivarianceError (the result failed a verdict),
    and, unless forced, DriftError and DegenerateError.
    """
    method = _method(options)
    options.progress("looking whether it is equivariant already")
    verdict = _already(subject, options)
    if verdict is not None:
        return _unchanged(subject, name, verdict)
    options.progress(f"converting by {method}")
    candidates = _candidates(subject, method, options)
    options.progress("measuring the drift")
    measured = [(*candidate, _measure(subject, candidate[0], candidate[2], options)) for candidate in candidates]
    result, program, repmap, figures = min(measured, key=lambda item: _loss(*item[3]))
    figures = _with_dead_inputs(subject, result, repmap, figures, options)
    options.progress("verifying")
    program = program or try_export(result.module, subject)
    after = _as_subject(subject, result, program)
    passport = Passport(subject.resolved.spec, result.method, result.form, result.hidden, subject.entry)
    verdict = judge(after, passport, samples=options.samples, real=_with_states(options.calibration[-8:], result))
    report = _report(subject, name, result, verdict, repmap, figures, options)
    _guard(report, verdict, options)
    return Conversion(left(result.module), program, _stamped(passport, report), report)


def _method(options: Options) -> str:
    if options.method not in METHODS:
        raise MethodUnavailableError(
            "--method", f"{options.method!r} is not in this version", f"use one of {', '.join(METHODS)}"
        )
    if options.form not in FORMS:
        raise MethodUnavailableError(
            "--form", f"{options.form!r} is not in this version", f"use one of {', '.join(FORMS)}"
        )
    return "lift" if options.method == "auto" else options.method


# ---- a network that needs nothing -----------------------------------------------------------------------------------
def _already(subject: Subject, options: Options) -> Verdict | None:
    """The verdict on the original, if it passes."""
    if subject.captured is None and None in (*subject.resolved.inputs, *subject.resolved.outputs):
        return None
    quick = mirror_if_known(subject, None)
    if quick is not None:
        once = numeric.judge(subject.module, quick, subject.args, subject.kwargs, samples=1, batches=(), depth=100)
        if not once.passed:
            return None
    verdict = judge(subject, samples=options.samples, real=options.calibration[-8:])
    return verdict if verdict.numeric.passed else None


def _unchanged(subject: Subject, name: str, verdict: Verdict) -> Conversion:
    repmap = verdict.repmap
    hidden = hidden_representations(subject.graph(), repmap) if repmap is not None else {}
    passport = Passport(subject.resolved.spec, "unchanged", "original", hidden, subject.entry)
    count = sum(parameter.numel() for parameter in subject.module.parameters())
    macs = sum(repmap.macs.values()) if repmap is not None else 0
    report = ConvertReport(
        name, "unchanged", "original", Cost(count, count, macs, macs), numeric=verdict.numeric,
        certificate=verdict.certificate, notes=subject.notes, unchanged=True,
    )  # fmt: skip
    module = left(rewrite.with_weights(subject.module, {}))
    program = subject.program if subject.from_program else try_export(subject.module, subject)
    return Conversion(module, program, _stamped(passport, report), report)


# ---- the methods ----------------------------------------------------------------------------------------------------
Candidate = tuple[Converted, ExportedProgram | None, RepMap | None]


def _candidates(subject: Subject, method: str, options: Options) -> list[Candidate]:
    """One result, or for `match` two: with fixed points and in pairs only. Which is better is measured."""
    if method == "lift":
        return [(_lift(subject), None, None)]
    subject = _with_activation(subject)
    if method == "project":
        return [_fold(subject, method, Imposed(subject.resolved.spec, _matcher(subject, options, True)))]
    return [_fold(subject, method, _matcher(subject, options, fixed)) for fixed in (True, False)]


def _fold(subject: Subject, method: str, chooser: Chooser) -> Candidate:
    """The same graph with symmetric weights."""
    captured = subject.graph()
    repmap, choices = analyse(subject, chooser)
    held = (*captured.weights, *captured.states)
    concrete = {leaf.name: evaluate(repmap.leaves[leaf.name], {}) for leaf in held}
    values, moved = rewrite.symmetric_weights(captured, concrete)
    program = None
    if subject.from_program and subject.program is not None:
        program = rewrite.program_with_weights(subject.program, values)
        module = program.module()
    else:
        module = rewrite.with_weights(subject.module, values)
    hidden = hidden_representations(captured, repmap)
    return Converted(module, method, "folded", choices, moved, hidden, subject.notes), program, repmap


def _with_activation(subject: Subject) -> Subject:
    """The network with tanh in place of its activations, if the specification asks for it."""
    if subject.resolved.spec.activation != "tanh":
        return subject
    notes, program = subject.notes, subject.program
    module, count = rewrite.with_tanh(subject.module)
    if program is not None:
        program = program if subject.from_program else export(module, subject.args, subject.kwargs)
        program, functional = rewrite.program_with_tanh(program)
        count += functional
        if functional and not subject.from_program:
            notes = (*notes, "activations were called as functions: the result is a graph module")
            subject = replace(subject, from_program=True)
        module = program.module() if subject.from_program else module
    graph = capture(program, subject.args, subject.kwargs) if program is not None else subject.captured
    notes = (*notes, f"{count} activations replaced by tanh")
    return replace(subject, module=module, program=program, captured=graph, notes=notes)


def _matcher(subject: Subject, options: Options, fixed_points: bool) -> Chooser:
    """By activations where inputs are given, else by weights."""
    weights = FromWeights(subject.graph(), fixed_points)
    if not options.calibration:
        return weights

    def choose(spaces: Sequence[Space], repmap: RepMap) -> Any:
        batches = [
            [leaf for leaf in pytree.tree_leaves(call) if isinstance(leaf, torch.Tensor)] for call in _seen(options)
        ]
        scores = activation_scores(subject.graph(), repmap, spaces, subject.resolved.inputs, batches)
        return FromActivations(scores, weights, fixed_points)(spaces, repmap)

    return choose


def _seen(options: Options) -> Sequence[Call]:
    """Calibration inputs that a method may look at; the last fifth is held out."""
    count = len(options.calibration)
    return options.calibration[: max(1, count - count // _HELD_OUT)]


def _lift(subject: Subject) -> Converted:
    own_buffers = bool(subject.captured.mutations) if subject.captured else True
    resolved = subject.resolved
    module = TwoView(subject.module, resolved.inputs, resolved.outputs, own_buffers=own_buffers)
    module.training = False  # a program's module refuses eval(); it is in that mode already
    states = [own.where for own in resolved.input_tensors if own.representation is None]
    notes = tuple(f"{where}: the states of both views, twice as large on its last axis" for where in states)
    if own_buffers and subject.captured:
        names = [subject.captured.leaves[leaf].names[0] for leaf in subject.captured.mutations]
        notes += (f"states kept once per view: {', '.join(names)}",)
    return Converted(module, "lift", "two-view", notes=(*subject.notes, *notes))


# ---- the result, captured again -------------------------------------------------------------------------------------
def _as_subject(subject: Subject, result: Converted, program: ExportedProgram | None) -> Subject:
    """The result, captured again from scratch for its verdicts."""
    args, kwargs = fitted(subject, result.form == "two-view")
    resolved = subject.resolved
    if result.form == "two-view":
        resolved = replace(
            resolved,
            input_tensors=tuple(_doubled(own) for own in resolved.input_tensors),
            output_tensors=tuple(_doubled(own) for own in resolved.output_tensors),
        )
    captured: CapturedModel | None = None
    problem = subject.problem or CaptureError(result.method, "the result cannot be exported", "use it as a module")
    if program is not None and subject.captured is not None:
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
Figures = tuple[Drift | None, Degeneracy | None]


def _loss(drift: Drift | None, degeneracy: Degeneracy | None) -> tuple[bool, float]:
    """Candidates that lose most of what is odd come last; the others go by rho."""
    return bool(degeneracy and degeneracy.kept < 0.5), drift.rho if drift else 0.0


def _held_out(subject: Subject, options: Options) -> tuple[Sequence[Call], str]:
    if options.calibration:
        return options.calibration[-max(1, len(options.calibration) // _HELD_OUT) :], "held-out calibration inputs"
    count = affordable(subject, _RANDOM)
    return measure.random_inputs(subject.args, subject.kwargs, count, 1), "N(0, 1) in the shape of the example"


def affordable(subject: Subject, most: int) -> int:
    """How many runs of the network to spend on a figure: fewer for large ones, never below 4."""
    work = sum(parameter.numel() for parameter in subject.module.parameters())
    return max(4, min(most, int(2e7 / max(work, 1))))


def _measure(subject: Subject, result: Converted, repmap: RepMap | None, options: Options) -> Figures:
    """Drift and degeneracy on held-out inputs; None where nobody knows T on the original's states."""
    mirror = mirror_if_known(subject, repmap) or mirror_at_rest(subject)
    if mirror is None:
        return None, None
    inputs, source = _held_out(subject, options)
    drift, degeneracy = measure.compare(subject.module, result.module, mirror, inputs, source, probes=0)
    zeroed = tuple(own.name for own in result.moved if own.zeroed)
    forced = repmap.forced if repmap else ()
    return drift, replace(degeneracy, forced=forced, zeroed=zeroed, free_share=free_share(subject, repmap))


def _with_dead_inputs(
    subject: Subject, result: Converted, repmap: RepMap | None, figures: Figures, options: Options
) -> Figures:
    """The entries that only the original reacts to, looked for in the network that was chosen alone."""
    drift, degeneracy = figures
    mirror = mirror_if_known(subject, repmap)
    if mirror is None or degeneracy is None or result.form == "two-view":
        return figures
    few = _held_out(subject, options)[0][:1]
    dead = measure.compare(subject.module, result.module, mirror, few, "", probes=1)[1].dead_inputs
    return drift, replace(degeneracy, dead_inputs=dead)


def _report(
    subject: Subject,
    name: str,
    result: Converted,
    verdict: Verdict,
    repmap: RepMap | None,
    figures: Figures,
    options: Options,
) -> ConvertReport:
    drift, degeneracy = figures
    mirror = mirror_if_known(subject, repmap)
    inputs = options.calibration[-_HELD_OUT:]
    same_calls = mirror is not None and not mirror.states and None not in subject.resolved.inputs
    equivariant = result.module if same_calls else None
    evidence = outside_evidence(subject, mirror, True, inputs, equivariant) if mirror is not None else Evidence()
    notes = result.notes + ((f"no proof: {verdict.unproved.facts}",) if verdict.unproved else ())
    return ConvertReport(
        name, result.method, result.form, _cost(subject, result, repmap), choices=result.choices, moved=result.moved,
        drift=drift, max_drift=options.bound, numeric=verdict.numeric, certificate=verdict.certificate,
        degeneracy=degeneracy, evidence=evidence, notes=notes,
    )  # fmt: skip


def _cost(subject: Subject, result: Converted, repmap: RepMap | None) -> Cost:
    before = sum(parameter.numel() for parameter in subject.module.parameters())
    after = sum(parameter.numel() for parameter in result.module.parameters())
    try:
        macs = sum((repmap or infer(subject).result()).macs.values())
    except UnsupportedError:
        macs = 0
    return Cost(before, after, macs, 2 * macs if result.form == "two-view" else macs)


def _guard(report: ConvertReport, verdict: Verdict, options: Options) -> None:
    """Nothing that fails is handed over: verdicts always count, drift and degeneracy unless forced."""
    raise_for_failure(VerifyReport(report.model, verdict.numeric, verdict.certificate))
    if verdict.unproved is not None and report.form != "two-view":
        raise verdict.unproved
    drift = report.drift
    if drift is not None and options.bound is not None and drift.rho > options.bound and not options.force:
        raise DriftError(
            report.model,
            f"{report.method}: rho = {drift.rho:.3g} exceeds --max-drift {options.bound:g} ({drift.source})",
            "use --method lift (rho 0), give --calibrate inputs, raise --max-drift, or --force",
        )  # fmt: skip
    if report.degeneracy is not None and report.degeneracy.collapsed and not options.force:
        place = report.degeneracy.collapsed[0]
        before, after = report.degeneracy.odd_before[place], report.degeneracy.odd_after[place]
        raise DegenerateError(
            f"{report.model}, output {place}", f"the left/right (odd) share fell from {before:.3g} to {after:.3g}",
            "use --method lift or another hidden layout; --force writes it all the same",
        )  # fmt: skip


def _stamped(passport: Passport, report: ConvertReport) -> Passport:
    """The passport with the figures of the report."""
    figures: dict[str, Any] = {}
    if report.numeric is not None:
        worst = report.numeric.worst
        figures |= {"residual": worst.residual, "bound": worst.bound, "dtype": report.numeric.dtype}
    if report.drift is not None:
        figures |= {"gap": report.drift.gap, "rho": report.drift.rho}
    if report.degeneracy is not None:
        figures["odd"] = list(report.degeneracy.odd_before)
    return replace(passport, figures=figures)
