"""Programs whose sizes stay open: an axis that is open in the examples' program takes other sizes too."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.capture import export
from chiralize.errors import CaptureError


def open_batch(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Open axes for `opened`: the leading one of every tensor."""
    return pytree.tree_map(
        lambda leaf: {0: torch.export.Dim.AUTO} if isinstance(leaf, torch.Tensor) and leaf.ndim else None,
        (tuple(args), dict(kwargs)),
    )


def opened(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], axes: Any, room: int | None = None
) -> ExportedProgram:
    """The module as a program, sizes as open as they can be. Raises CaptureError where export refuses.

    It is traced on longer examples first: an open axis of one entry (or one that becomes an axis of one entry inside)
    would be taken for a fixed one.
    axes: (args, kwargs) with the open axes in the place of every tensor.  room: entries by which every open axis
    grows; None lets those of one entry grow by one.
    """
    longer = _longer(args, kwargs, axes, room)
    if longer is not None:
        with suppress(CaptureError):
            program = export(module, *longer, axes)
            if _takes(program, args, kwargs):
                program.example_inputs = tuple(args), dict(kwargs)
                return program
    with suppress(CaptureError):
        program = export(module, args, kwargs, axes)
        if _takes(program, args, kwargs):
            return program
    return export(module, args, kwargs)


def _longer(
    args: Sequence[Any], kwargs: Mapping[str, Any], axes: Any, room: int | None
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The examples with their open axes longer, entries repeated; None where they are long enough."""
    leaves, structure = pytree.tree_flatten((tuple(args), dict(kwargs)))
    places = structure.flatten_up_to(axes)
    grown = [_grown(leaf, own, room) for leaf, own in zip(leaves, places, strict=True)]
    same = all(new is old for new, old in zip(grown, leaves, strict=True))
    return None if same else pytree.tree_unflatten(grown, structure)


def _grown(leaf: Any, places: Any, room: int | None) -> Any:
    for place in (places or ()) if isinstance(leaf, torch.Tensor) else ():
        size = leaf.shape[place]
        if room is not None or size == 1:
            leaf = leaf.index_select(place, torch.arange(size + (room or 1), device=leaf.device) % size)
    return leaf


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
