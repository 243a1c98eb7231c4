"""The result of a conversion as a program: sizes as open as they were, inputs under their own names."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.capture import export, functional
from chiralize.errors import CaptureError, InternalError
from chiralize.methods.lift import TwoView, two_states
from chiralize.records import CapturedModel
from chiralize.subject import Subject, dynamic_batch, left

_ROOM = 3


def try_export(module: torch.nn.Module, subject: Subject) -> ExportedProgram | None:
    """The result as a program, sizes as open as they were; None if it cannot be exported.

    It is traced on sizes with some room first: an open axis of one entry (or one that becomes an axis of one entry
    inside) would be taken for a fixed one. A module that could not be captured is not tried: torch.export may keep
    one branch of what depends on the data without saying so.
    """
    if subject.captured is None and not subject.from_program:
        return None
    args, kwargs = fitted(subject, isinstance(module, TwoView))
    open_sizes = _open_sizes(subject, args, kwargs)
    with _named_inputs(module, subject.module):
        roomy, given = _with_room(subject, args, kwargs, open_sizes), (args, kwargs)
        for example, dynamic in ((roomy, open_sizes), (given, open_sizes), (given, None)):
            with suppress(CaptureError):
                program = export(module, *example, dynamic)
                if _takes(program, args, kwargs):
                    program.example_inputs = args, kwargs
                    return program
    return None


def _takes(program: ExportedProgram, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether it runs on the examples. What it remembers is put back: it shares its buffers with the module."""
    buffers = {name: program.state_dict[name] for name in program.graph_signature.buffers if name in program.state_dict}
    before = {name: own.clone() for name, own in buffers.items()}
    try:
        with torch.no_grad():
            program.module()(*copy.deepcopy(tuple(args)), **copy.deepcopy(dict(kwargs)))
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the examples
        return False
    finally:
        with torch.no_grad():
            for name, own in buffers.items():
                own.copy_(before[name])
    return True


def _with_room(
    subject: Subject, args: Sequence[Any], kwargs: Mapping[str, Any], open_sizes: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The examples with their open axes longer (a module's batch only where it is 1), entries repeated."""
    leaves, structure = pytree.tree_flatten((tuple(args), dict(kwargs)))
    axes = structure.flatten_up_to(open_sizes)
    room = _ROOM if subject.from_program else 1

    def longer(leaf: Any, places: Any) -> Any:
        for place in (places or ()) if isinstance(leaf, torch.Tensor) else ():
            size = leaf.shape[place]
            if subject.from_program or size == 1:
                leaf = leaf.index_select(place, torch.arange(size + room, device=leaf.device) % size)
        return leaf

    found = [longer(leaf, places) for leaf, places in zip(leaves, axes, strict=True)]
    return pytree.tree_unflatten(found, structure)


@contextmanager
def _named_inputs(module: torch.nn.Module, original: torch.nn.Module) -> Iterator[None]:
    """Let a two-view module take its inputs under the original's names meanwhile."""
    if not isinstance(module, TwoView):
        yield
        return
    inner = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return inner(*args, **kwargs)

    with suppress(ValueError, TypeError):  # a signature that nobody knows
        forward.__signature__ = inspect.signature(original.forward)  # type: ignore[attr-defined]
    module.forward = forward
    try:
        yield
    finally:
        left(module)


def _open_sizes(subject: Subject, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Open axes for `export`: the original program's, or the batch of a module."""
    if not subject.from_program or subject.program is None:
        return dynamic_batch(args, kwargs)
    names = set(subject.program.graph_signature.user_inputs)
    nodes = [node for node in subject.program.graph.nodes if node.op == "placeholder" and node.name in names]
    sizes = iter([node.meta.get("val") for node in nodes])

    def open_axes(leaf: Any) -> Any:
        value = next(sizes, None)
        if not isinstance(leaf, torch.Tensor) or not isinstance(value, torch.Tensor):
            return None
        return {place: torch.export.Dim.AUTO for place, size in enumerate(value.shape) if not isinstance(size, int)}

    return pytree.tree_map(open_axes, (tuple(args), dict(kwargs)))


def fitted(subject: Subject, doubled: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The example inputs, with the states of both views side by side if `doubled`."""
    tensors = iter(subject.resolved.inputs)

    def fit(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return two_states(leaf) if next(tensors) is None and doubled else leaf

    args, kwargs = pytree.tree_map(fit, (subject.args, dict(subject.kwargs)))
    return tuple(args), dict(kwargs)


def open_program(subject: Subject, whole: CapturedModel) -> ExportedProgram:
    """The network as a program that takes other batch sizes, if it can be had with the same ops."""
    assert subject.program is not None
    roomy = None if subject.from_program else try_export(subject.module, subject)
    for program in (roomy, subject.program):
        flat = functional(program) if program is not None else None
        if flat is not None and {node.name for node in whole.nodes} <= {node.name for node in flat.graph.nodes}:
            return flat
    raise InternalError("a program", "it has other ops than its graph", "report this model")
