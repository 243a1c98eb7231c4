"""The claimed part of a network, converted, put back into the whole network, which is judged once more from scratch.

A specification may claim the mirror of some entries of an output only. Of (a b c d) with a and c claimed, steps 1 to 9
of `commands.convert` see a network that answers (a c). What they give is put back in one of three ways (`completed`):

    unchanged     the network was equivariant in (a c): it is handed over as it came
    weights       W' of the claimed rows; the rows of b and d are fitted to read the new hidden units (least squares)
    beside        an average, or another graph: it answers (a c), and the original runs as well for b and d (`Beside`)

`adapted` comes before the conversion and cuts the request down to what one of these can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.export import ExportedProgram

from chiralize.body.tensors.claims import ClaimedPart
from chiralize.commands.guard import WEIGHTS_ALONE
from chiralize.commands.records import Conversion
from chiralize.errors import CaptureError, EquivarianceError, MethodUnavailableError
from chiralize.errors.words import when
from chiralize.graph import rewrite
from chiralize.graph.rewrite import with_modes
from chiralize.graph.running import Call, Runner, results
from chiralize.methods.names import AUTO
from chiralize.methods.unclaimed_rows import fitted_rows
from chiralize.nn.beside import Beside
from chiralize.problem.data.cutting import in_rows, thinned
from chiralize.problem.network import Network
from chiralize.problem.partial import Partial, as_run, prepare
from chiralize.problem.preparation import without_entry
from chiralize.problem.request import Request
from chiralize.report.particulars import MOVED, Claims, LeftOut
from chiralize.verification.drift import random_inputs
from chiralize.verification.judge import judge

_AVERAGE = "average"
_FORMS = ("auto", "folded")
_ROWS, _MOST = 64, 4096
"""Samples of a call that rows are fitted on, and of all calls."""


def claims_of(network: Network) -> Claims | None:
    """What a report on a network is about, where entries of its outputs are left out; else None."""
    if network.handover.partial is None:
        return None
    left_out = [LeftOut(name, size) for part in network.handover.partial.parts for name, size in part.names]
    return Claims(network.handover.partial.words, tuple(left_out))


def adapted(network: Network, request: Request) -> Request:
    """The request as it can be met for the claimed part of a network: folded weights, or the average beside it.

    Raises MethodUnavailableError where a method was asked for that cannot, for forms that hold no whole network, and
    for networks that keep a state.
    """
    partial = network.handover.partial
    assert partial is not None
    if request.form not in _FORMS:
        facts = f"entries of outputs are left out ({partial.names}), which {request.form} layers cannot hold"
        raise MethodUnavailableError(f"--form {request.form}", facts, "use --form folded, or leave --form out")
    if (
        partial.whole.origin.unheld
        or any(handed.is_state for handed in network.resolved.handed)
        or _has_buffers(network)
    ):
        facts = f"the network keeps a state, and entries of its outputs are left out ({partial.names})"
        remedy = "claim all of its outputs; verify takes such networks in part, convert does not"
        raise MethodUnavailableError("unclaimed entries", facts, remedy)
    # Rows of which nothing is claimed can be fitted only where a layer of their own gives them. Where claimed and other
    # entries are mixed behind it, the original has to answer for the others.
    why = _why_average_alone(partial)
    if not why:
        return replace(request, form="folded")
    if request.method not in (AUTO, _AVERAGE):
        raise MethodUnavailableError(f"--method {request.method}", why, "use --method average")
    return replace(request, method=_AVERAGE, form="folded")


def _why_average_alone(partial: Partial) -> str:
    """Why rows of which nothing is claimed cannot be put back into other weights; empty where they can."""
    refused = partial.mixed or partial.unfitted
    if refused is not None:
        return f"{refused.where}: {refused.facts}"
    return ""


def why_beside(network: Network, wish: Request) -> str:
    """What had `auto` run the original beside the average, as a clause of the headline; "" where nothing did.

    wish: as it was asked for, before `adapted`.
    """
    partial = network.handover.partial
    refused = None if partial is None else partial.mixed or partial.unfitted
    if partial is None or refused is None or wish.method != AUTO:
        return ""
    return f"one pass is ruled out by what is left out ({partial.names}), at {refused.where}"


def _has_buffers(network: Network) -> bool:
    """Whether forward writes into buffers."""
    return network.captured is not None and bool(network.captured.mutations)


def completed(network: Network, conversion: Conversion, request: Request) -> Conversion:
    """The conversion of the claimed part as one of the whole network, judged from scratch.

    Where its weights fit the original's, they are put there, and rows that are left out are fitted; else the result
    stands beside the original, which answers for what is left out. Raises EquivarianceError where the claimed part of
    what comes out is not equivariant.
    """
    partial = network.handover.partial
    assert partial is not None
    request.progress("putting back what is left out")
    report = conversion.report
    whole = partial.whole
    # `holding({})`: a copy with the weights as they are.
    if report.way.unchanged:
        module, program = whole.holding({})
    elif report.form in WEIGHTS_ALONE:
        module, program = whole.holding(_weights(network, partial, conversion, request))
    else:
        module = Beside(conversion.module, rewrite.with_weights(whole.module, {}), partial.parts)
        program = _exported(module, whole)
        # The original runs once more for each answer.
        cost = report.cost
        report = replace(report, cost=replace(cost, macs_after=cost.macs_after + whole.macs))
    # The whole network is what a user gets, so that it is judged once more, in what is claimed of it.
    _judge(module, program, network, conversion, request)
    claims = _claims(module, network, partial, request)
    report = replace(report, claims=claims, notes=(*report.notes, *_notes(module, claims, partial)))
    passport = replace(conversion.passport, spec=partial.spec, entry=whole.handover.entry)
    return replace(
        conversion, module=with_modes(without_entry(module)), program=program, passport=passport, report=report
    )


def _weights(
    network: Network, partial: Partial, conversion: Conversion, request: Request
) -> Mapping[str, torch.Tensor]:
    """The weights of the whole network by name: those of the claimed part, and rows fitted for the rest."""
    program = partial.whole.program
    assert program is not None
    # By the name of a last layer's weight or bias ("row ..."): the rows that are claimed.
    heads = {head.weight: head.claimed for head in partial.heads}
    heads |= {head.bias: head.claimed for head in partial.heads if head.bias is not None}
    new, values = rewrite.tensors_of(conversion.module), dict[str, torch.Tensor]()
    for name, old in {**program.constants, **program.state_dict}.items():
        if not isinstance(old, torch.Tensor):
            continue
        # The claimed part has these rows alone, in order: they go where they came from. Others stay as they were, for
        # now.
        if name in heads:
            values[name] = old.detach().clone()
            if heads[name]:
                values[name][list(heads[name])] = new[name].detach().to(old.dtype)
        elif name in partial.constants:
            # A stored vector with an entry for each answer: the same along its last axis.
            values[name] = old.detach().clone()
            values[name][..., list(partial.constants[name])] = new[name].detach().to(old.dtype)
        elif isinstance(new.get(name), torch.Tensor) and new[name].shape == old.shape:
            values[name] = new[name].detach().clone()
    return values | fitted_rows(program, values, partial.heads, _calls(network, request))


def _calls(network: Network, request: Request) -> Sequence[Call]:
    """Inputs to fit on: those of the user, else random ones."""
    calls = request.calibration
    if not calls:
        args, kwargs = network.example
        calls = random_inputs(args, kwargs, max(1, _MOST // max(network.rows, 1)), 2, network.around)
    return thinned(network, in_rows(network, calls, _ROWS), _MOST)


def _exported(module: nn.Module, whole: Network) -> ExportedProgram | None:
    """The program of the module; None where it cannot be exported."""
    try:
        return whole.program_of(module, whole.example)
    except CaptureError:
        return None


def _judge(
    module: nn.Module,
    program: ExportedProgram | None,
    network: Network,
    conversion: Conversion,
    request: Request,
) -> None:
    """Judge the claimed part of what is handed over, as `verify` will. Raises EquivarianceError."""
    partial = network.handover.partial
    assert partial is not None
    request.progress("verifying what is handed over")
    # `as_run` cuts it down to its claimed outputs again: of the others no verdict is asked.
    after = as_run(prepare(program or module, partial.spec, *partial.whole.example))
    verdict = judge(after, conversion.passport, samples=request.samples, real=request.calibration[-8:])
    proof = verdict.certificate
    is_proved = proof is not None and proof.passed
    # No proof is asked for where the conversion of the claimed part has none either (an average of a network without
    # graph).
    if verdict.numeric.passed and (is_proved or conversion.report.judgement.certificate is None):
        return
    worst = verdict.numeric.worst
    facts = f"the claimed outputs of the whole network: residual {worst.residual:.2g}, bound {worst.bound:.2g}"
    if not is_proved:
        facts += f"; proof: {proof.broken if proof is not None else verdict.unproved}"
    raise EquivarianceError("what is handed over", facts, "use --method average, or report this model")


def _claims(module: nn.Module, network: Network, partial: Partial, request: Request) -> Claims:
    """What is claimed, and how far the rest is from the original's, in units of its spread."""
    # Among those that were fitted on: this is a note, and no bound holds it.
    calls = list(_calls(network, request))[-16:]
    answers = []
    for one in (module, partial.whole.module):
        with Runner(one) as runner:
            answers.append([results(runner.run([call]).steps[0])[0] for call in calls])
    left_out = list[LeftOut]()
    for part in partial.parts:
        ours, theirs = answers
        left_out += _errors(part, _joined(ours, part.output), _joined(theirs, part.output))
    return Claims(partial.words, tuple(left_out))


def _joined(steps: Sequence[Sequence[torch.Tensor]], output: int) -> torch.Tensor:
    """One output of all calls, "row entry"."""
    answers = [torch.atleast_1d(step[output].double()) for step in steps]
    return torch.cat([answer.reshape(-1, answer.shape[-1]) for answer in answers])


def _errors(part: ClaimedPart, ours: torch.Tensor, theirs: torch.Tensor) -> list[LeftOut]:
    """The RMS difference of every block that is left out, relative to the spread of the original's answers."""
    errors, start = list[LeftOut](), 0
    for name, size in part.names:
        entries = list(part.unclaimed[start : start + size])
        start += size
        spread = theirs[:, entries].std(0, unbiased=False).norm()
        apart = (ours[:, entries] - theirs[:, entries]).square().mean(0).sum().sqrt()
        errors.append(LeftOut(name, size, float(apart / spread) if spread else float(apart)))
    return errors


def _notes(module: nn.Module, claims: Claims, partial: Partial) -> tuple[str, ...]:
    """Notes on the rows that are not claimed: how they were put back, and how far their answers moved."""
    if isinstance(module, Beside):
        why, fewer = _why_average_alone(partial), ""
        if all(part.is_whole for part in partial.parts):
            fewer = (
                ". If nobody reads it, convert a subclass whose forward returns the other outputs alone, and drop it "
                "from the specification: that takes one run less, and `auto` may do with one pass"
            )
        beside = f"{claims.names}: as the original computes it, which runs once more for that"
        return (f"{beside}{when(why, f' ({why})')}{fewer}",)
    return tuple(map(_note_on_moved, filter(lambda part: part.error, claims.left_out)))


def _note_on_moved(part: LeftOut) -> str:
    """How far the answers of a part moved that nothing is claimed of."""
    keep = when((part.error or 0.0) > MOVED, "; --method average keeps it as the original computes it")
    return (
        f"{part.name} ({part.size}): off by {part.error:.2g} of the spread of the original's answers there; no bound "
        f"holds it, and nothing else is said of it{keep}"
    )
