"""A draft put into its form, captured again from scratch, and judged.

Steps 6 and 7 of `commands.convert`. A draft says of itself how T acts on its hidden spaces, and none of that is
believed. The module is exported, its own graph is captured, inference runs on that, and the passport, which says how
weights transform, is proved with the rest. So a fault of a method cannot approve itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiralize.body.tensors import ResolvedTensor
from chiralize.commands.guard import refuse_forgetful, unproved_form
from chiralize.errors import CaptureError, UnsupportedError
from chiralize.graph.copies import give_back
from chiralize.graph.running import Call
from chiralize.infer.capture import capture
from chiralize.nn.deploy.export import example_call, try_export
from chiralize.nn.deploy.form import formed
from chiralize.problem.cost import affordable_samples
from chiralize.problem.data.cutting import as_captured
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.storage.calls import call_record
from chiralize.storage.passport import Passport
from chiralize.verification.judge import Verdict, judge

_REAL = 8
"""How many calls of the user are in the verdicts, in addition to random ones."""
_WORK = 1e10
"""Multiplications that one run on all of them may take; fewer calls of costly networks are run, but one."""


@dataclass(frozen=True)
class Judged:
    """A draft in its form, captured again from scratch, with its passport and the verdicts on it."""

    draft: Draft
    network: Network
    passport: Passport
    verdict: Verdict

    @property
    def is_proved(self) -> bool:
        """Whether both verdicts passed, and not the numeric one alone."""
        proof = self.verdict.certificate
        return self.verdict.numeric.passed and proof is not None and proof.passed


def deploy_and_judge(problem: Problem, draft: Draft) -> Judged:
    """Give the draft its form, capture the result again, and judge it as if nothing were known of it.

    Where no proof reaches blocks that `--form auto` chose, the draft keeps its dense weights, with a note.
    Raises UnsupportedError where no proof reaches a form that was asked for. A verdict that failed is returned, not
    raised: `guard` raises it with its figures.
    """
    shaped = formed(problem, draft)
    is_reshaped = shaped.converted is not draft.converted
    refuse_forgetful(problem.network, shaped.converted.module)
    try:
        judged = _judged(problem, shaped)
        if is_reshaped and not judged.is_proved:
            raise unproved_form(shaped.converted.form, judged.verdict)
    except UnsupportedError as error:
        # `auto` chose the blocks, nobody asked for them: dense weights do as well.
        if not is_reshaped or problem.request.form != "auto":
            raise
        return _judged(problem, draft.with_notes(f"dense weights: {error.facts}"))
    return judged


def real_calls(problem: Problem, converted: Converted) -> Sequence[Call]:
    """Calls of the user to run the verdicts on, beside random ones; none for an averaged network with states.

    Such a network takes states of other sizes than the original's calls hold.
    """
    if converted.is_average and None in problem.network.resolved.inputs:
        return ()
    return last_calls(problem)


def last_calls(problem: Problem) -> Sequence[Call]:
    """The last calls of the user, as many as verdicts are run on; of a costly network a few samples of the last one."""
    network, given = problem.network, problem.batches.given
    if not given:
        return ()
    samples = max(network.samples_in(given[-1]), 1)
    most = affordable_samples(network, _WORK)
    # One call of the user costs too much already: a part of it, in the size that the network was captured at.
    if most < samples:
        given = as_captured(network, given[-1:]) or given
    return given[-max(1, min(_REAL, most // samples)) :]


def _judged(problem: Problem, draft: Draft) -> Judged:
    """The draft exported, captured again, given a passport, and judged by that. Raises UnsupportedError."""
    network, request, converted = problem.network, problem.request, draft.converted
    request.progress("exporting the result")
    # Exporting needs much memory of its own: what the fit has freed goes back to the system first.
    give_back()

    def tell(what: str) -> None:
        """Say which part of the export begins."""
        request.progress(f"exporting the result, {what}")

    program = draft.program or try_export(converted.module, network, tell)
    request.progress("verifying")
    after = _captured_again(network, replace(draft, program=program))
    handover = replace(after.handover, as_program=request.product == "graph")
    after = replace(after, handover=handover)
    action = converted.action
    passport = Passport(network.resolved.spec, converted.method, converted.form, action.hidden, network.handover.entry)
    inputs = call_record(*after.example)
    # Which weights the mirror exchanges, and which stretches run both views: what the proof cannot see by itself.
    passport = replace(passport, exchanged=action.exchanged, averaged=converted.averaged, inputs=inputs)
    real = real_calls(problem, converted)
    verdict = judge(after, passport, samples=request.samples, real=real, progress=request.progress)
    return Judged(draft, after, passport, verdict)


def _captured_again(network: Network, draft: Draft) -> Network:
    """The result as a network of its own. Nothing is taken over from the graph of the original.

    Its graph is captured from its own program, here or when its form was chosen (`Draft.graph`).
    """
    converted, program, captured = draft.converted, draft.program, draft.graph
    args, kwargs = example_call(network, converted.is_average)
    resolved = network.resolved
    # Sizes of states: both views side by side.
    if converted.is_average:
        inputs = tuple(map(_of_both_views, resolved.input_tensors))
        resolved = replace(
            resolved, input_tensors=inputs, output_tensors=tuple(map(_of_both_views, resolved.output_tensors))
        )
    why_no_graph = CaptureError(converted.method, "the result cannot be exported", "use it as a module")
    if captured is None and program is not None and network.captured is not None:
        captured = capture(program, args, kwargs)
    result = replace(network, module=converted.module, args=args, kwargs=kwargs, resolved=resolved)
    origin = replace(network.origin, problem=network.origin.problem or why_no_graph)
    return replace(result, program=program, captured=captured, origin=origin)


def _of_both_views(tensor: ResolvedTensor) -> ResolvedTensor:
    """The tensor of an averaged network: a state is twice as large, on its last axis, and all else as it was."""
    if tensor.representation is not None:
        return tensor
    return replace(tensor, shape=(*tensor.shape[:-1], 2 * tensor.shape[-1]))
