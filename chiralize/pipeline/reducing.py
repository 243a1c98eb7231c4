"""`reduce`: hidden units of the trained network, each with its mirror image, and what reads them refitted."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram

from chiralize import execution, rewrite
from chiralize.errors import MethodUnavailableError
from chiralize.feeds import mapped
from chiralize.infer import macs_of
from chiralize.involution import SignedPermutation
from chiralize.methods.match import FromWeights
from chiralize.pipeline.analysis import infer
from chiralize.pipeline.calibrating import in_rows, roomy, tensors
from chiralize.pipeline.exporting import open_program
from chiralize.pipeline.options import Options
from chiralize.records import CapturedModel, Choice, Converted, Fitted, RepMap
from chiralize.reduction.attention import attentions, in_order, kept_heads
from chiralize.reduction.choosing import choose
from chiralize.reduction.fitting import Fitting
from chiralize.reduction.lifting import Lifting
from chiralize.reduction.moments import sensitivities
from chiralize.reduction.recurrent import separate
from chiralize.reduction.resizing import Resizing
from chiralize.reduction.trunk import trunks, turned, unfolded
from chiralize.subject import Subject
from chiralize.symbolic import Abs, Axis, Sum, Var

ROWS = 64  # samples that are run at a time
_SAME = 1e-3  # of the largest output: what other coordinates may do by rounding


@dataclass(frozen=True)
class _Design:
    """What the result will look like.

    captured: the original's graph, rewritten so that its best coordinates are its own.  lifting: what becomes of every
    space.  given: weights that follow from it.
    """

    captured: CapturedModel
    repmap: RepMap
    lifting: Lifting
    choices: tuple[Choice, ...]
    given: Mapping[str, torch.Tensor]


def reduced(
    subject: Subject, options: Options, width: float
) -> tuple[Converted, ExportedProgram | None, RepMap | None]:
    """The network with `width` of its units, each with its mirror image.

    Raises MethodUnavailableError where the network cannot be reduced, UnsupportedError where an op refuses.
    """
    if not options.inputs:
        raise MethodUnavailableError(
            "--method reduce", f"there are no inputs to fit on, and none can be drawn: {options.origin}",
            "give --calibrate poses.npz: unlabelled inputs",
        )  # fmt: skip
    calls = in_rows(subject, options.seen, ROWS)
    large = roomy(subject, calls)
    batches = mapped(lambda call: large.centered(tensors(call)), calls)
    inference = infer(large)
    repmap = separate(large.graph(), inference.result())
    _check(large, repmap, inference.now.waiting)
    options.progress("looking at what the units do")
    design = _design(large, repmap, batches, width)
    resizing = Resizing(design.captured, repmap, design.lifting)
    same = options.form != "dense" and not resizing.is_needed
    if options.form == "folded" and not same:
        facts = "reduced to this width, hidden spaces or heads have other sizes than the original's"
        raise MethodUnavailableError("--form folded", facts, "use --form dense, another --width, or --method match")
    smaller = resizing.graph()
    fitting = Fitting(
        design.captured, smaller, repmap, design.lifting, large.resolved.inputs, batches, design.given
    )  # fmt: skip
    weights, layers = fitting.run(lambda done, count: options.progress(f"fitting layer {done} of {count}"))
    leaves = design.captured.leaves
    held = {name: leaf for leaf in leaves.values() if leaf.name in weights for name in leaf.names}
    values = {name: weights[leaf.name] for name, leaf in held.items()}
    module, program = _folded(subject, values) if same else _dense(subject, resizing, values)
    grown = macs_of(smaller) / max(macs_of(design.captured), 1) - 1
    result = Converted(
        module, "reduce", "folded" if same else "dense", design.choices,
        hidden={name: design.lifting.representation(repmap.leaves[leaf.name]) for name, leaf in held.items()},
        notes=subject.notes, macs=round(grown * macs_of(subject.graph())),
        fitted=tuple(Fitted(leaves[own.weight].names[0], own.error, leaves[own.weight].where) for own in layers),
    )  # fmt: skip
    return result, program, None


def _design(subject: Subject, repmap: RepMap, batches: Sequence[Sequence[torch.Tensor]], width: float) -> _Design:
    """Heads and trunks in their own coordinates, then units."""
    captured = subject.graph()
    ordered, heads = in_order(captured, repmap, list(attentions(captured, repmap)), batches)
    captured, heads = (ordered, heads) if _agree(captured, ordered, batches[0]) else (captured, [])
    found = trunks(captured, repmap)
    centred = unfolded(captured, found)
    captured, found = (centred, found) if _agree(captured, centred, batches[0]) else (captured, [])
    moments = sensitivities(captured, repmap, subject.resolved.inputs, batches)
    made = [kept for own in heads for kept in kept_heads(own, width)]
    given: dict[str, torch.Tensor] = {}
    for trunk in found:
        kept, norms = turned(trunk, captured, moments[trunk.space.key], width)
        made.append(kept)
        given |= norms
    settled = {key for own in made for key in own.key}
    every, choices = choose(repmap.spaces, moments, width, _matching(captured, repmap, moments, settled), made)
    return _Design(captured, repmap, Lifting(every), choices, given)


def _agree(captured: CapturedModel, rewritten: CapturedModel, batch: Sequence[torch.Tensor]) -> bool:
    """Whether a graph computes what it did before it was written in other coordinates."""
    wanted = {name for name in captured.outputs if name is not None}
    before, after = (
        {name: value for name, value in execution.run(graph, batch) if name in wanted}
        for graph in (captured, rewritten)
    )
    return all(
        float((before[name] - after[name]).abs().max()) <= _SAME * float(before[name].abs().max())
        for name in wanted & before.keys()
        if before[name].is_floating_point()
    )


def _check(subject: Subject, repmap: RepMap, waiting: Mapping[str, str]) -> None:
    """Raises MethodUnavailableError for what this method has no answer to."""
    reasons = {
        "it keeps states between calls": bool(subject.graph().mutations) or None in subject.resolved.inputs,
        "the mirror exchanges whole branches of it": bool(repmap.partners),
        "both views run through a stretch of it": bool(subject.regions),
        "it has no hidden space": not repmap.spaces,
        next(iter(waiting.items()), ("", ""))[1]: bool(waiting),
    }
    for reason, holds in reasons.items():
        if holds:
            where = next(iter(waiting), "the network")
            raise MethodUnavailableError(
                f"--method reduce, {where}", f"this network cannot be reduced: {reason}", "use --method match or lift"
            )


def _matching(
    captured: CapturedModel, repmap: RepMap, found: Mapping[int, object], settled: Collection[int]
) -> dict[int, SignedPermutation]:
    """Spaces that are no unit axes of their own, such as heads beside their channels: matched by weights."""
    shared = _factors(repmap)
    odd = [space for space in repmap.spaces if space.key in shared or space.key not in found]
    odd = [space for space in odd if space.key not in settled]
    if not odd:
        return {}
    chosen = FromWeights(captured, False)(repmap.spaces, repmap)
    return {space.key: chosen[space.key][0] for space in odd}


def _factors(repmap: RepMap) -> set[int]:
    """Unknowns that share an axis with another one."""
    found: set[int] = set()

    def look(axis: Axis) -> None:
        own = [term.id if isinstance(term, Var) else term.var.id for term in axis if isinstance(term, (Var, Abs))]
        if len(own) > 1:
            found.update(own)
        for term in axis:
            for part in term.parts if isinstance(term, Sum) else ():
                look(part)

    for reps in (*((rep,) for rep in repmap.leaves.values()), *repmap.nodes.values()):
        for rep in reps:
            for axis in rep.axes if rep is not None else ():
                look(axis)
    return found


def _folded(subject: Subject, values: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, ExportedProgram | None]:
    """The original's own class or program with other weights."""
    values = subject.restored(values)
    if subject.from_program and subject.program is not None:
        program = rewrite.program_with_weights(subject.program, values)
        return program.module(), program
    return rewrite.with_weights(subject.module, values), None


def _dense(
    subject: Subject, resizing: Resizing, values: Mapping[str, torch.Tensor]
) -> tuple[torch.nn.Module, ExportedProgram | None]:
    """A graph of the original's ops with weights of other sizes."""
    if subject.resolved.is_affine:
        raise MethodUnavailableError(
            "--width", "pixels (reflect) go with width 0.5 only", "use --width 0.5 or --method lift"
        )
    module = open_program(subject, resizing.captured).module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    resizing.apply(module, values)
    return module, None
