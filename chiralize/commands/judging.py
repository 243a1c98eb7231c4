"""A draft put into its form, captured again from scratch, and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chiralize.body.tensors import ResolvedTensor
from chiralize.commands.guard import refuse_forgetful, unproved_form
from chiralize.errors import CaptureError, UnsupportedError
from chiralize.graph.copies import give_back
from chiralize.graph.running import Call
from chiralize.infer.capture import capture
from chiralize.nn.deploy.export import fitted, try_export
from chiralize.nn.deploy.form import formed
from chiralize.nn.two_view import TwoView
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted, Draft
from chiralize.storage.passport import Passport
from chiralize.verification.judge import Verdict, judge

_REAL = 8
"""Calls of the user that the verdicts run beside random ones."""


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
    """The draft in its form and the verdicts on it; dense again where no proof reaches blocks that `auto` chose."""
    shaped = formed(problem, draft)
    is_reshaped = shaped.converted is not draft.converted
    refuse_forgetful(problem.network, shaped.converted.module)
    try:
        judged = _judged(problem, shaped)
        if is_reshaped and not judged.is_proved:
            raise unproved_form(shaped.converted.form, judged.verdict)
    except UnsupportedError as error:
        if not is_reshaped or problem.request.form != "auto":
            raise
        return _judged(problem, draft.with_notes(f"dense weights: {error.facts}"))
    return judged


def real_calls(problem: Problem, converted: Converted) -> Sequence[Call]:
    """Real inputs for the verdicts; a lifted network with states takes other sizes, so only random ones are used."""
    module = converted.module
    has_others = isinstance(module, TwoView) and any(module.input_states)
    return () if has_others else problem.batches.given[-_REAL:]


def _judged(problem: Problem, draft: Draft) -> Judged:
    network, request, converted = problem.network, problem.request, draft.converted
    request.progress("exporting the result")
    give_back()
    program = draft.program or try_export(converted.module, network)
    request.progress("verifying")
    after = _captured_again(network, replace(draft, program=program))
    passport = Passport(
        network.resolved.spec, converted.method, converted.form, converted.hidden, network.entry, {},
        converted.exchanged, converted.averaged,
    )  # fmt: skip
    verdict = judge(after, passport, samples=request.samples, real=real_calls(problem, converted))
    return Judged(draft, after, passport, verdict)


def _captured_again(network: Network, draft: Draft) -> Network:
    """The result with a graph of its own, captured from its program, for its verdicts."""
    converted, program, captured = draft.converted, draft.program, draft.graph
    args, kwargs = fitted(network, converted.is_lifted)
    resolved = network.resolved
    if converted.is_lifted:
        resolved = replace(
            resolved,
            input_tensors=tuple(map(_of_both_views, resolved.input_tensors)),
            output_tensors=tuple(map(_of_both_views, resolved.output_tensors)),
        )
    problem = network.problem or CaptureError(converted.method, "the result cannot be exported", "use it as a module")
    if captured is None and program is not None and network.captured is not None:
        captured = capture(program, args, kwargs)
    return replace(
        network, module=converted.module, args=args, kwargs=kwargs, resolved=resolved, program=program,
        captured=captured, problem=problem,
    )  # fmt: skip


def _of_both_views(tensor: ResolvedTensor) -> ResolvedTensor:
    """A state of the original is twice as large in a lifted network, on its last axis."""
    if tensor.representation is not None:
        return tensor
    return replace(tensor, shape=(*tensor.shape[:-1], 2 * tensor.shape[-1]))
