"""Programs whose sizes stay open: an axis that is open in the examples' program takes other sizes too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError
from chiralize.graph.capture import export
from chiralize.graph.running import Call, Runner, results
from chiralize.graph.silence import quiet


def open_batch(args: Sequence[Any], kwargs: Mapping[str, Any], batches: Sequence[Sequence[int]] = ()) -> Any:
    """Open axes for `opened`: the leading one of every tensor, and those that are its batch. batches: by tensor."""
    known = iter(batches)

    def axes(leaf: Any) -> Any:
        own = next(known, ()) if isinstance(leaf, torch.Tensor) else ()
        return dict.fromkeys((0, *own), torch.export.Dim.AUTO) if isinstance(leaf, torch.Tensor) and leaf.ndim else None

    return axes_of(axes, (tuple(args), dict(kwargs)))


def axes_of(axes: Callable[[Any], Any], call: Call) -> Any:
    """What a function says of every leaf of a call, laid out as torch.export wants it.

    Classes that torch's pytrees know (a TensorDict) become lists: an instance of them cannot hold axes for tensors.
    """
    leaves, structure = pytree.tree_flatten(call)
    return _laid_out(structure, iter([axes(leaf) for leaf in leaves]))


def _laid_out(structure: pytree.TreeSpec, values: Iterator[Any]) -> Any:
    if structure.is_leaf():
        return next(values)
    parts = [_laid_out(own, values) for own in structure.children()]
    if structure.type not in pytree.BUILTIN_TYPES:
        return parts
    return pytree.SUPPORTED_NODES[structure.type].unflatten_fn(parts, structure.context)


def _by_leaf(structure: pytree.TreeSpec, laid_out: Any) -> list[Any]:
    """The other way round: the values of the leaves, in order."""
    if structure.is_leaf():
        return [laid_out]
    plain = structure.type in pytree.BUILTIN_TYPES
    parts = pytree.SUPPORTED_NODES[structure.type].flatten_fn(laid_out)[0] if plain else laid_out
    pairs = zip(structure.children(), parts, strict=True)
    return [value for own, part in pairs for value in _by_leaf(own, part)]


def opened(
    module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], axes: Any, room: int | None = None
) -> ExportedProgram:
    """The module as a program, sizes as open as they can be.

    Raises CaptureError where export refuses, or follows the module in nothing that gives its results on the examples.
    It is traced on longer examples first: an open axis of one entry (or one that becomes an axis of one entry inside)
    would be taken for a fixed one. Where that program refuses the examples, or one that takes them refuses longer ones,
    axes of one entry are closed: a program must not promise sizes that it does not take.
    axes: what `axes_of` gives, the open axes in the place of every tensor.  room: entries by which every open axis
    grows; None lets those of one entry grow by one.
    """
    given: Call = (tuple(args), dict(kwargs))
    longer = _longer(given, axes, room)
    closed = _closed(given, axes)
    ways = [(given, axes, given)]  # examples, open axes, and where the program is to do as the module does as well
    if longer is not None:
        ways = [(longer, axes, given), (given, axes, longer), (given, closed, given)]
    for example, free, other in ways:
        with suppress(CaptureError):
            program = export(module, *_fresh(example), free)
            graph = program.module()
            if agrees(graph, module, given) and (other is given or agrees(graph, module, other)):
                break
    else:
        program = export(module, *_fresh(given))
        if not agrees(program.module(), module, given):
            raise CaptureError(
                type(module).__name__, "what torch.export makes of it gives other results on the examples",
                "take the same way when exported, choose with tensor operations (torch.where), or use --method lift",
            )  # fmt: skip
    program.example_inputs = given
    return program


def _closed(example: Call, axes: Any) -> Any:
    """The open axes without those that have one entry in the examples."""
    leaves, structure = pytree.tree_flatten(example)
    places = _by_leaf(structure, axes)
    kept = [
        {place: size for place, size in own.items() if leaf.shape[place] > 1} if isinstance(own, dict) else own
        for leaf, own in zip(leaves, places, strict=True)
    ]
    return _laid_out(structure, iter(kept))


def _fresh(example: Call) -> Call:
    """Other tensors of the same values: torch.export marks those it is given, and keeps to the marks."""
    return pytree.tree_map_only(torch.Tensor, lambda own: own.detach().clone(), (*example,))


def _longer(example: Call, axes: Any, room: int | None) -> Call | None:
    """The examples with their open axes longer, entries repeated; None where they are long enough."""
    leaves, structure = pytree.tree_flatten(example)
    places = _by_leaf(structure, axes)
    grown = [_grown(leaf, own, room) for leaf, own in zip(leaves, places, strict=True)]
    same = all(new is old for new, old in zip(grown, leaves, strict=True))
    return None if same else pytree.tree_unflatten(grown, structure)


def _grown(leaf: Any, places: Any, room: int | None) -> Any:
    for place in (places or ()) if isinstance(leaf, torch.Tensor) else ():
        size = leaf.shape[place]
        if room is not None or size == 1:
            leaf = leaf.index_select(place, torch.arange(size + (room or 1), device=leaf.device) % size)
    return leaf


def agrees(graph: torch.nn.Module, module: torch.nn.Module, example: Call) -> bool:
    """Whether the graph of a program does on the examples what the module does, in values and shapes.

    A trace at other sizes may have left a branch out without a guard (`squeeze` of what may be one sample).
    """
    try:
        with quiet(), Runner(graph) as first, Runner(module) as second:
            ours, theirs = (results(net.run([_fresh(example)]).steps[0])[0] for net in (first, second))
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the examples
        return False
    return len(ours) == len(theirs) and all(map(_near, ours, theirs))


def _near(own: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to half of the digits: kernels of a graph may not be those of the class."""
    if own.shape != other.shape or own.dtype != other.dtype:
        return False
    if not (own.is_floating_point() or own.is_complex()) or not own.numel():
        return own.equal(other)
    scale = torch.nan_to_num(own.abs(), posinf=0.0).max()
    bound = float(scale) * torch.finfo(own.dtype).eps ** 0.5
    return torch.allclose(own, other, rtol=0, atol=bound, equal_nan=True)
