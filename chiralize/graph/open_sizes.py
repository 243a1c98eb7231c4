"""Exporting a network with open axes, so that its program takes other sizes than those of the examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from chiralize.errors import CaptureError, ModelRunError
from chiralize.graph.capture import export
from chiralize.graph.guards import guards_of, put_back, without_guards_against_one
from chiralize.graph.other_sizes import is_open_along
from chiralize.graph.running import Call, Runner
from chiralize.graph.silence import quiet
from chiralize.graph.tensors import tensors_in

_ROOM = 3
"""Entries by which axes grow that the examples may not need."""
_GUARD = "Guard failed"
"""How messages of a program's guards begin."""


def open_batch(args: Sequence[Any], kwargs: Mapping[str, Any], batches: Sequence[Sequence[int]] = ()) -> Any:
    """Open axes for `opened`: the leading one of every tensor, and those of its batch. batches: axes, by tensor."""
    known = iter(batches)

    def axes(leaf: Any) -> Any:
        """The open axes of one leaf, None for a tensor without axes and for a leaf that is no tensor."""
        if not isinstance(leaf, torch.Tensor):
            return None
        batch = next(known, ())
        if not leaf.ndim:
            return None
        return dict.fromkeys((0, *batch), torch.export.Dim.AUTO)

    return axes_of(axes, (tuple(args), dict(kwargs)))


def axes_of(axes: Callable[[Any], Any], call: Call) -> Any:
    """The answers of a function for every leaf of a call, nested as torch.export wants them.

    Classes that torch's pytrees know (a TensorDict) become lists: an instance of them cannot hold axes for tensors.
    """
    leaves, structure = pytree.tree_flatten(call)
    return _laid_out(structure, iter([axes(leaf) for leaf in leaves]))


def _laid_out(structure: pytree.TreeSpec, values: Iterator[Any]) -> Any:
    """Values of leaves nested as the leaves are; classes become lists."""
    if structure.is_leaf():
        return next(values)
    parts = [_laid_out(child, values) for child in structure.children()]
    if structure.type not in pytree.BUILTIN_TYPES:
        return parts
    return pytree.SUPPORTED_NODES[structure.type].unflatten_fn(parts, structure.context)


def _by_leaf(structure: pytree.TreeSpec, laid_out: Any) -> list[Any]:
    """The inverse of `_laid_out`: the values of the leaves, in order."""
    if structure.is_leaf():
        return [laid_out]
    parts = laid_out
    if structure.type in pytree.BUILTIN_TYPES:
        parts = pytree.SUPPORTED_NODES[structure.type].flatten_fn(laid_out)[0]
    values: list[Any] = []
    for child, part in zip(structure.children(), parts, strict=True):
        values += _by_leaf(child, part)
    return values


def opened(
    module: torch.nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    axes: Any,
    room: int | None = None,
    tell: Callable[[str], None] = lambda what: None,
    wide: Any = None,
) -> ExportedProgram:
    """The module as a program whose sizes are as open as they can be.

    It is exported on longer examples first: an axis of one entry (or one that becomes an axis of one entry inside)
    would be taken for a fixed one. Where that program refuses the examples, or one exported on the examples refuses
    longer ones, axes of one entry are closed: a program must not promise sizes that it does not take. Where the module
    itself refuses them (a state of one sample), there is no use in exporting it on them. Where a guard of the first
    program refuses the examples, and does more than to forbid one entry, an export on them would take the same way up
    to this guard and record its opposite, which refuses longer examples: it is not made.
    axes: from `axes_of`, the open axes in place of every tensor.  room: entries by which every open axis grows in the
    longer examples; None lets those of one entry grow by one.  tell: called with what is done next.
    wide: more open axes than these (frames), which are opened where the module takes longer examples of them all, and
    the program gives its results on both.
    Raises CaptureError where export refuses, or where no program gives the module's results on the examples.
    """
    given: Call = (tuple(args), dict(kwargs))
    if wide is not None and wide != axes:
        program = _opened_wide(module, given, wide, tell)
        if program is not None:
            return program
    longer = _longer(given, axes, room)
    closed = _closed(given, axes)
    attempts = [(given, axes, given)]  # exported on, open axes, and inputs on which program and module must agree too
    if longer is not None:
        attempts = [(given, closed, given)]
        if _takes(module, longer):
            attempts = [(longer, axes, given), (given, axes, longer), *attempts]
    count = len(attempts)
    while attempts:
        example, free, other = attempts.pop(0)
        tell(f"program {count - len(attempts)} of at most {count}")
        with suppress(CaptureError):
            program = export(module, *_fresh(example), free)
            tell("comparing the program with the network")
            if _agrees_in_the_end(program, module, given, other):
                if other is given:
                    _agrees_unguarded(program, module, given, _single(given, axes))
                break
            if _guards_against(program.module(), other):
                attempts = attempts[-1:]
    else:
        program = export(module, *_fresh(given))
        if not agrees(program.module(), module, given):
            raise CaptureError(
                type(module).__name__,
                "what torch.export makes of it gives other results on the examples",
                "take the same way when exported, choose with tensor operations (torch.where), or use --method average",
            )
    program.example_inputs = given
    return program


def _opened_wide(
    module: torch.nn.Module, given: Call, axes: Any, tell: Callable[[str], None]
) -> ExportedProgram | None:
    """The program with all of these axes open; None where it, or the module, does not take longer examples.

    It is exported on as many frames as the examples have, since an exporter to ONNX may fix them yet. Where a result
    has one frame, the program would take no more: then it is not made.
    """
    longer = _longer(given, axes, _ROOM)
    if longer is None or _has_fixed_frames(module, given, longer):
        return None
    tell("program with open frames")
    with suppress(CaptureError):
        program = export(module, *_fresh(_longer(given, axes, None) or given), axes)
        tell("comparing the program with the network")
        if _leaves_open(program, given, axes) and _agrees_in_the_end(program, module, given, longer):
            _agrees_unguarded(program, module, given, longer, _single(given, axes))
            program.example_inputs = given
            return program
    return None


def _has_fixed_frames(module: torch.nn.Module, given: Call, longer: Call) -> bool:
    """Whether the module refuses longer examples, or has results of one frame that have more for these."""
    try:
        with quiet(), Runner(module) as runner:
            few, many = (tensors_in(runner.run([_fresh(call)]).steps) for call in (given, longer))
    except Exception:  # noqa: BLE001 - whatever it says, it does not take them
        return True
    for one, other in zip(few, many, strict=False):
        if any(size == 1 < more for size, more in zip(one.shape[1:], other.shape[1:], strict=False)):
            return True
    return False


def _leaves_open(program: ExportedProgram, given: Call, axes: Any) -> bool:
    """Whether all of these axes of the inputs are open in the program."""
    leaves, structure = pytree.tree_flatten(given)
    by_tensor = list[tuple[int, ...]]()
    for leaf, open_axes in zip(leaves, _by_leaf(structure, axes), strict=True):
        if isinstance(leaf, torch.Tensor):
            by_tensor.append(tuple(open_axes or ()))
    return is_open_along(program, by_tensor)


def _agrees_in_the_end(program: ExportedProgram, module: torch.nn.Module, given: Call, other: Call) -> bool:
    """Whether the program does on both calls what the module does, if need be without guards against one entry."""
    return agrees(program.module(), module, given, other) or _agrees_unguarded(program, module, given, other)


def _agrees_unguarded(program: ExportedProgram, module: torch.nn.Module, *calls: Call) -> bool:
    """Whether the program without its guards against one entry does what the module does; else they stay in it."""
    guards = guards_of(program)
    if not without_guards_against_one(program):
        return False
    if agrees(program.module(), module, *calls):
        return True
    put_back(program, guards)
    return False


def _single(example: Call, axes: Any) -> Call:
    """The examples with one entry along every open axis."""
    leaves, structure = pytree.tree_flatten(example)
    for index, open_axes in enumerate(_by_leaf(structure, axes)):
        for axis in open_axes or ():
            leaves[index] = leaves[index].narrow(axis, 0, 1)
    return pytree.tree_unflatten(leaves, structure)


def _closed(example: Call, axes: Any) -> Any:
    """The open axes without those that have one entry in the examples."""
    leaves, structure = pytree.tree_flatten(example)
    open_axes = _by_leaf(structure, axes)
    for index, leaf in enumerate(leaves):
        if isinstance(open_axes[index], dict):
            open_axes[index] = {axis: size for axis, size in open_axes[index].items() if leaf.shape[axis] > 1}
    return _laid_out(structure, iter(open_axes))


def _fresh(example: Call) -> Call:
    """Other tensors of the same values: torch.export marks those it is given, and keeps to the marks."""
    return pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.detach().clone(), (*example,))


def _longer(example: Call, axes: Any, room: int | None) -> Call | None:
    """The examples with their open axes longer, entries repeated; None where no axis had to grow."""
    leaves, structure = pytree.tree_flatten(example)
    pairs = zip(leaves, _by_leaf(structure, axes), strict=True)
    grown = [_grown(leaf, open_axes, room) for leaf, open_axes in pairs]
    if all(new is old for new, old in zip(grown, leaves, strict=True)):
        return None
    return pytree.tree_unflatten(grown, structure)


def _grown(leaf: Any, axes: Any, room: int | None) -> Any:
    """A tensor with its open axes longer by `room` entries, or, without room, those of one entry by one."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    for axis in axes or ():
        size = leaf.shape[axis]
        if room is not None or size == 1:
            leaf = leaf.index_select(axis, torch.arange(size + (room or 1), device=leaf.device) % size)
    return leaf


def taken_by(program: ExportedProgram) -> Callable[[Call], bool]:
    """Whether the program, with all its checks of sizes, runs on a call."""

    @cache
    def ready() -> torch.nn.Module:
        """The program as a module, made where a call is asked about."""
        return program.module()

    def takes(call: Call) -> bool:
        """Run it; whatever it says, it does not take the call."""
        args, kwargs = _fresh(call)
        with quiet(), torch.no_grad(), suppress(Exception):
            ready()(*args, **kwargs)
            return True
        return False

    return takes


def _takes(module: torch.nn.Module, call: Call) -> bool:
    """Whether the module itself runs on a call."""
    try:
        with quiet(), Runner(module) as runner:
            runner.run([_fresh(call)])
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the call
        return False
    return True


def _guards_against(graph: torch.nn.Module, call: Call) -> bool:
    """Whether a guard of a program refuses a call. Its guards are looked at before anything is computed."""
    try:
        with quiet(), Runner(graph, itself=True) as runner:
            runner.run([_fresh(call)])
    except ModelRunError as error:
        return isinstance(error.__cause__, AssertionError) and str(error.__cause__).startswith(_GUARD)
    except Exception:  # noqa: BLE001 - it refuses the call for another reason
        return False
    return False


def agrees(graph: torch.nn.Module, module: torch.nn.Module, *examples: Call) -> bool:
    """Whether the graph of a program gives the module's results on all examples, in values and shapes.

    A trace at other sizes may have left a branch out without a guard (`squeeze` of what may be one sample).
    """
    different = list({id(example): example for example in examples}.values())
    try:
        with quiet(), Runner(graph, itself=True) as first, Runner(module) as second:
            return all(_agree(first, second, example) for example in different)
    except Exception:  # noqa: BLE001 - whatever it says, it does not take the examples
        return False


def _agree(graph: Runner, module: Runner, example: Call) -> bool:
    ours = tensors_in(graph.run([_fresh(example)]).steps)
    theirs = tensors_in(module.run([_fresh(example)]).steps)
    return len(ours) == len(theirs) and all(map(_near, ours, theirs))


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether values are equal up to half of the digits: kernels of a graph may differ from those of the module."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if not (one.is_floating_point() or one.is_complex()) or not one.numel():
        return one.equal(other)
    scale = torch.nan_to_num(one.abs(), posinf=0.0).max()
    bound = float(scale) * torch.finfo(one.dtype).eps ** 0.5
    return torch.allclose(one, other, rtol=0, atol=bound, equal_nan=True)
