"""A network as an exported program, or as a trace of it that is held against it on other inputs.

`torch.export` refuses forward functions whose control flow depends on values, and much else. A trace records the ops
of one call. It is right for other inputs only if no branch depends on them, so that it is compared with the module on
inputs of several sizes and signs, then along calls in a row. `preparation` calls `exported` once for every network.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError
from chiralize.graph.copies import is_large
from chiralize.graph.export import refuse_names
from chiralize.graph.fixed_sizes import leaves_open
from chiralize.graph.isolation import Isolated
from chiralize.graph.open_axes import open_batch
from chiralize.graph.open_sizes import opened
from chiralize.graph.rollouts import LONGEST
from chiralize.graph.running import Call, results
from chiralize.graph.snapshot import Snapshot, untouched
from chiralize.graph.staying import staying
from chiralize.graph.tracing import refuse_packed, trace
from chiralize.problem.progress import Progress, silent

_TRACE_SCALES = (0.1, -0.1, 0.5, -0.5, 2.0, -2.0, 10.0, -10.0, 1e3, -1e3)
"""Factors of N(0, 1) on which a trace is compared with its module: a branch may ask for a size or a sign."""
_FAR = 1e3  # a network may refuse such inputs


def called(module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], scale: float = 1.0) -> Any:
    """The answer of a module to copies of its examples, the floating-point ones multiplied by `scale`."""

    def scaled(tensor: torch.Tensor) -> torch.Tensor:
        """Times the number; integers and booleans as they are."""
        if tensor.is_floating_point():
            return tensor * scale
        return tensor

    if scale != 1:
        args, kwargs = pytree.tree_map_only(torch.Tensor, scaled, (args, dict(kwargs)))
    with staying(module):
        return module(*copy.deepcopy(args), **copy.deepcopy(kwargs))


def exported(
    module: torch.nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    batches: Sequence[Sequence[int]],
    frames: Sequence[Sequence[int]] = (),
    progress: Progress = silent,
) -> tuple[ExportedProgram, torch.fx.GraphModule | None, tuple[str, ...]]:
    """The program of a module; where export refuses, of a trace, which is held against the module on other inputs.

    Returned with the trace, if there is one, and notes on it.  batches: axes of every tensor; frames: the same
    with those of its frames, which are opened where that is possible.  progress: called with "exporting, ..." for every
    program that is made.  Raises CaptureError.
    """

    def tell(what: str) -> None:
        """Say which part of the export begins."""
        progress(f"exporting, {what}")

    opaque = getattr(module, "opaque", None)  # why there is no graph, of networks that another library runs
    if isinstance(opaque, str):  # a trace of what another library computes would only hold its answers
        raise CaptureError("the network", opaque, "verify the .pt2 that it was made from, for a proof")
    refuse_names(module)
    refuse_packed(module)
    # `torch.export` takes no scripts: they are traced at once.
    refused = None
    if not isinstance(module, torch.jit.ScriptModule):
        try:
            wide = open_batch(args, kwargs, frames) if frames else None
            return opened(module, args, kwargs, open_batch(args, kwargs, batches), tell=tell, wide=wide), None, ()
        except CaptureError as error:
            refused = error
    try:
        traced = trace(module, args, kwargs)
    except CaptureError as error:
        raise (refused or error) from None
    _check_trace(module, traced, (args, dict(kwargs)))
    fixed = "branches" if leaves_open(traced) else "sizes and branches"
    why = f" ({refused.facts})" if refused is not None else ""
    note = f"the network was traced{why}: {fixed} are those that the examples take"
    return opened(traced, args, kwargs, open_batch(args, kwargs, batches), tell=tell), traced, (note,)


def _check_trace(module: torch.nn.Module, traced: torch.nn.Module, call: Call) -> None:
    """Raises CaptureError where a trace answers otherwise than its module to other inputs, or after earlier calls.

    Raises what the network raises on inputs of usual size; large ones it may refuse.
    """
    # 1. Single calls, each from the same state: another branch on other inputs.
    taken: list[Call] = []
    for number, scale in enumerate(_TRACE_SCALES):
        drawn = _redrawn(call, scale, number // 2)  # every draw with both signs
        try:
            theirs, ours = (answers(net, [drawn], number) for net in (module, traced))
        except Exception:
            if abs(scale) < _FAR:
                raise
            continue
        if not _near(ours, theirs):
            facts = "control flow depends on the data: a trace gives other results on other inputs"
            remedy = "express the choice with tensor operations (torch.where), or use --method average"
            raise CaptureError(type(module).__name__, facts, remedy)
        if abs(scale) < _FAR:
            taken.append(drawn)
    if taken and not is_large(module) and writes_something(module, call):  # it may count up to something: 200 calls
        taken = list(islice(cycle(taken), LONGEST))
    # 2. All calls in a row, without a reset between them: states that the trace does not hold show here.
    theirs, ours = (answers(net, taken, 0) for net in (module, traced))
    if not _near(ours, theirs):
        facts = (
            "later calls depend on what a trace does not hold: it gives other results than the network in one of them"
        )
        remedy = "keep states in buffers of one size (register_buffer), or use --method average"
        raise CaptureError(type(module).__name__, facts, remedy)


def _redrawn(call: Call, scale: float, seed: int) -> Call:
    """The call with N(0, 1) times a number in place of its floating-point tensors."""
    generator = torch.Generator().manual_seed(seed)

    def draw(tensor: torch.Tensor) -> torch.Tensor:
        """Other numbers in the tensor's shape; integers and booleans are copied."""
        if not tensor.is_floating_point():
            return tensor.clone()
        return torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) * scale

    return pytree.tree_map_only(torch.Tensor, draw, call)


def writes_something(module: torch.nn.Module, call: Call) -> bool:
    """Whether a call changes a buffer or another state of the module."""
    with Isolated(), torch.no_grad(), untouched(module):
        before = Snapshot.of(module, parameters=False)
        called(module, *call)
        return bool(before.changes())


def _near(ours: Sequence[torch.Tensor], theirs: Sequence[torch.Tensor]) -> bool:
    """Whether answers are the same but for rounding."""
    if len(ours) != len(theirs):
        return False
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape:
            return False
        if not torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5, equal_nan=True):
            return False
    return True


def answers(net: torch.nn.Module, calls: Sequence[Call], seed: int) -> list[torch.Tensor]:
    """The answers of a network to calls in a row, its random numbers from `seed`; it is left as it was before."""
    with Isolated(seed=seed), torch.no_grad(), untouched(net):
        return [answer.clone() for call in calls for answer in results(called(net, *call))[0]]
