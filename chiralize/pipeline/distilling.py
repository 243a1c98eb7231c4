"""`--distill`: some steps of gradient descent towards the original's answers, on the calibration inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.export import ExportedProgram

from chiralize import rewrite
from chiralize.distillation import Aim, distill, fingerprint
from chiralize.errors import MethodUnavailableError
from chiralize.pipeline.analysis import mirror_if_known
from chiralize.pipeline.calibrating import in_rows, tensors
from chiralize.pipeline.options import Options
from chiralize.pipeline.resuming import Checkpoint
from chiralize.records import Converted
from chiralize.running import Call, results
from chiralize.subject import Subject

_ROWS = 128


def distilled(
    subject: Subject, result: Converted, program: ExportedProgram | None, options: Options
) -> tuple[Converted, ExportedProgram | None]:
    """The result after `options.distill` steps. Raises MethodUnavailableError where that is not possible."""
    if not options.inputs:
        facts = f"there are no inputs to train on, and none can be drawn: {options.origin}"
        raise MethodUnavailableError("--distill", facts, "give --calibrate poses.npz")
    if subject.resolved.is_affine:
        raise MethodUnavailableError(
            "--distill", "the mirror is affine (`reflect`)", "centre the coordinates before the network"
        )
    if subject.captured is not None and subject.captured.mutations:
        raise MethodUnavailableError("--distill", "the network keeps states between calls", "leave --distill out")
    outputs = [place for place, own in enumerate(subject.resolved.output_tensors) if own.kind != "state"]
    seen, held = (in_rows(subject, calls, _ROWS) for calls in (options.seen, options.held_out))

    def told(step: int, steps: int, loss: float) -> None:
        options.progress(f"distilling, step {step} of {steps}, loss {loss:.3g}")

    keeper = Checkpoint(options.checkpoint, _owner(subject, options)) if options.checkpoint is not None else None
    found = distill(
        _aim(subject, options), result.module, result.hidden, result.exchanged, seen, held, options.distill, outputs,
        subject.has_rows, told, keeper,
    )  # fmt: skip
    first, best = found.losses[0][1], min(loss for _, loss in found.losses)
    note = f"distilled on held-out loss {first:.3g} -> {best:.3g} (step {found.best} of {options.distill})"
    module = result.module
    if program is not None and subject.from_program:
        values = {name: own.detach() for name, own in module.named_parameters()}
        program = rewrite.program_with_weights(program, values)
        module = program.module()
    elif program is not None:
        program = rewrite.program_of(module, program)
    return replace(result, module=module, notes=(*result.notes, note)), program


def _aim(subject: Subject, options: Options) -> Aim:
    """The original's answers, or the mean of both of its views."""
    mirror = mirror_if_known(subject, None) if options.both_views else None

    def answers(call: Call) -> Sequence[torch.Tensor]:
        return results(subject.module(*call[0], **call[1]))[0]

    def both(call: Call) -> Sequence[torch.Tensor]:
        assert mirror is not None
        turned = answers(mirror.turned(call))
        return [
            (own + mirror.turned_output(place, turned[place])) / 2 if own.is_floating_point() else own
            for place, own in enumerate(answers(call))
        ]

    return answers if mirror is None else both


def _owner(subject: Subject, options: Options) -> str:
    """What makes a run one of its own: the original, the inputs (some of them and their number) and the steps."""
    looked_at = [own for place in (0, len(options.inputs) // 2, -1) for own in tensors(options.inputs[place])]
    count = torch.tensor([len(options.inputs)])
    return fingerprint([*subject.module.state_dict().values(), *looked_at, count], options.distill)
