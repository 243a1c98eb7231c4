"""Layers made wider until the reversal fits them: zero weights beside a kernel, which change no answer.

What a strided layer reads beyond its last window has a partner on the other side that nobody reads, or the other way
round. As many columns of zero weights on one side of its kernel make the windows their own mirror image at the same
places, so that all sizes and all answers stay. A kernel of 3 with stride 2 and padding 1 over 8 columns:

    windows (a b c)      begin at -1, 1, 3, 5 and end at 7: one column beyond the left end, none beyond the right.
    windows (a b c 0)    begin at -1, 1, 3, 5 and end at 8: one beyond either end. The reversal fits.

A pooling has no weights: it is run at every column, and a kernel (1, 0, ...) of one weight for each channel picks
the answers that there were. `commands/aligning` makes these edits on an exported program.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from chiralize.errors import UnsupportedError
from chiralize.graph.execution import arguments_of
from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.passes.alignment.windows import (
    Window,
    added_by,
    adds_zeros,
    beyond_padding,
    for_each_axis,
    shapes_of,
    window_of,
)
from chiralize.graph.traits import Traits
from chiralize.graph.written import CONVOLUTIONS

PICKED = "picked"


@dataclass(frozen=True)
class Widened:
    """How one layer is changed.  left, right: columns of zeros beside its kernel.  padding: on both sides, afterwards.

    pad: the op before it whose padding it takes over, "" for none.
    """

    window: Window
    left: int
    right: int
    padding: int
    pad: str = ""


def widened_for_reversal(graph: CapturedModel, ndim: int, axis: int, traits: Traits) -> tuple[Widened, ...]:
    """What is to be done to the layers that the reversal does not fit. Raises UnsupportedError where nothing helps.

    ndim: axes of a picture with its batch.  axis: the reversed one.
    """
    nodes, shapes = graph.by_name, shapes_of(graph)
    changes: list[Widened] = []
    taken_over: set[str] = set()
    for node in graph.nodes:
        window = window_of(node, shapes, ndim, axis, traits)
        if window is None:
            continue
        before = nodes.get(window.source)
        if before is not None and added_by(before, ndim, axis, traits) is not None:
            # Zeros that an op of its own adds belong to the windows behind it, if nothing else reads them.
            window, pad = _with_padding(graph, window, before, ndim, axis, traits)
            taken_over.add(pad)
        else:
            pad = ""
        if not window.commutes or pad:
            changes.append(_fitted(window, node, pad))
    # Columns on one side that no layer has taken over would stay: nothing here makes up for them.
    for node in graph.nodes:
        sides = added_by(node, ndim, axis, traits)
        if sides is not None and node.name not in taken_over and sides[0] != sides[1]:
            facts = f"columns are added on one side, {sides[0]} and {sides[1]}, and no convolution alone reads them"
            raise UnsupportedError(str(node.where), facts, "add as many on both sides, or use --align resample")
    return tuple(changes)


def _fitted(window: Window, node: Node, pad: str) -> Widened:
    """The columns that a layer lacks. Raises UnsupportedError where none can be given: see its two cases."""
    excess, sliding = window.excess, window.sliding
    # Neither answers of a window that is cut off, nor indices, can be picked by a convolution.
    if window.ceil or (window.kind == "pooling" and len(node.shapes) > 1 and excess):
        facts = "a pooling whose last window hangs over the border (ceil_mode), or whose indices are read"
        raise UnsupportedError(str(node.where), facts, "pool without, or use --align resample")
    # Columns of a kernel lie a dilation apart, so the windows grow by as much at once.
    if excess % sliding.dilation:
        facts = f"a dilation of {sliding.dilation} cannot make up for {abs(excess)} columns"
        raise UnsupportedError(str(node.where), facts, "use --align resample, or pictures of another width")
    more = abs(excess) // sliding.dilation
    # The larger padding on both sides; the side that was shorter is filled by the kernel's zeros.
    left, right = (0, more) if excess > 0 else (more, 0)
    return Widened(window, left, right, max(sliding.before, sliding.after), pad)


def _with_padding(
    graph: CapturedModel, window: Window, pad: Node, ndim: int, axis: int, traits: Traits
) -> tuple[Window, str]:
    """A convolution with the zeros that an op before it adds; itself where these are the same on both sides."""
    sides = added_by(pad, ndim, axis, traits)
    assert sides is not None
    readers = [node for node in graph.nodes if pad.name in node.names_read]
    if window.kind != "convolution" or len(readers) > 1 or not adds_zeros(pad):
        return window, ""
    if sides[0] == sides[1] and window.commutes:
        return window, ""
    return beyond_padding(window, sides), pad.name


def upsampling_from_first_cell(graph: CapturedModel, ndim: int, axis: int, traits: Traits) -> tuple[Widened, ...]:
    """Transposed layers that are to answer on the cells from the first to the last of those that they read."""
    shapes = shapes_of(graph)
    changes: list[Widened] = []
    for node in graph.nodes:
        window = window_of(node, shapes, ndim, axis, traits)
        if window is None or window.kind != "transposed" or window.sliding.stride == 1:
            continue
        before, dilation = window.sliding.before, window.sliding.dilation
        right = window.sliding.extent - 1 - before
        # A cell writes `before` columns in front of its own place and `right` behind. Zeros of the kernel make both
        # as many, and as many are cut off at either end.
        padding = max(before, right)
        if (padding - before) % dilation or (padding - right) % dilation:
            facts = f"a transposed layer of kernel {window.sliding.kernel} and dilation {dilation} has no middle"
            raise UnsupportedError(str(node.where), facts, "use --align kernel")
        more = ((padding - before) // dilation, (padding - right) // dilation)
        changes.append(Widened(window, *more, padding))
    return tuple(changes)


def edited(module: fx.GraphModule, changes: Iterable[Widened]) -> fx.GraphModule:
    """The module with its layers changed in place.  Raises UnsupportedError where layers share weights that differ."""
    nodes = {node.name: node for node in module.graph.nodes}
    grown: dict[str, tuple[int, int]] = {}
    for change in changes:
        node = nodes[change.window.op]
        if change.window.kind == "pooling":
            _pick(module, node, change)
            continue
        arguments = arguments_of(node)
        weight = arguments["weight"]
        assert isinstance(weight, fx.Node)
        name, amounts = str(weight.target), (change.left, change.right)
        # A weight grows once, however many layers read it, and all of them have to want the same.
        if grown.setdefault(name, amounts) != amounts:
            raise UnsupportedError(name, "layers that share a weight read different columns", "use --align resample")
        if weight.target not in module.meta.setdefault("grown", set()):
            _grow(module, str(weight.target), change)
            module.meta["grown"].add(weight.target)
        at, count = change.window.axis, _rank(arguments["weight"], module) - 2
        is_named = isinstance(arguments.get("padding"), str)
        arguments["padding"] = _with_entry(arguments.get("padding", 0), at, count, change.padding, change)
        if change.window.kind == "transposed":
            arguments["output_padding"] = _with_entry(arguments.get("output_padding", 0), at, count, 0, change)
        # An op that takes its padding as a word has another overload, which does not take numbers.
        if is_named:
            node.target = CONVOLUTIONS[count]
        node.args, node.kwargs = (), arguments
        if change.pad:
            _without_padding(nodes[change.pad], at, count)
    module.meta.pop("grown", None)
    module.graph.lint()
    module.recompile()
    return module


def _rank(weight: fx.Node, module: fx.GraphModule) -> int:
    """Axes of a weight, by its node."""
    return _held(module, str(weight.target)).ndim


def _held(module: nn.Module, name: str) -> Tensor:
    """The tensor that a module holds under a path."""
    path, _, last = name.rpartition(".")
    return getattr(module.get_submodule(path), last)


def _grow(module: nn.Module, name: str, change: Widened) -> None:
    """Zeros beside a kernel, as a parameter of the same name."""
    old = _held(module, name)
    shape = list(old.shape)
    axis = change.window.axis + 2
    shape[axis] += change.left + change.right
    new = torch.zeros(shape, dtype=old.dtype)
    new.narrow(axis, change.left, old.shape[axis]).copy_(old.detach())
    path, _, last = name.rpartition(".")
    holder = module.get_submodule(path)
    if isinstance(old, nn.Parameter):
        setattr(holder, last, nn.Parameter(new, old.requires_grad))
    else:
        setattr(holder, last, new)


def _with_entry(value: Any, at: int, count: int, entry: int, change: Widened) -> list[int]:
    """A list of one number for each axis with another one at an axis."""
    if isinstance(value, str):
        if value == "same" and count > 1:
            facts = "padding='same' beside a kernel that grows is written for each axis in numbers"
            raise UnsupportedError(change.window.op, facts, "write the padding in numbers")
        value = 0
    values = for_each_axis(value, count)
    values[at] = entry
    return values


def _without_padding(node: fx.Node, at: int, count: int) -> None:
    """An op that pads, without the columns along an axis."""
    arguments = arguments_of(node)
    amounts = list(arguments["pad"])
    # `pad` lists (before, behind) of the last axis first.
    first = 2 * (count - 1 - at)
    amounts[first : first + 2] = 0, 0
    node.args, node.kwargs = (), {**arguments, "pad": amounts}


def _pick(module: fx.GraphModule, node: fx.Node, change: Widened) -> None:
    """A pooling at every column, and a convolution that picks the answers that there were.

    With stride s and the kernel (1, 0, ... 0), or (0, ... 0, 1), the convolution reads every s-th answer; its zeros
    make the windows symmetric as those of other layers do. One group per channel, so nothing is mixed.
    """
    arguments, window = arguments_of(node), change.window
    channels, ndim, dtype = _described(node)
    count = ndim - 2
    kernel = for_each_axis(arguments["kernel_size"], count)
    strides = for_each_axis(arguments.get("stride") or kernel, count)
    strides[window.axis] = 1
    # At every column: stride 1 along the reversed axis only.
    node.args, node.kwargs = (), {**arguments, "stride": strides}
    shape = [1] * count
    # A 1 with as many zeros beside it as the windows lack columns; a kernel per channel.
    shape[window.axis] = 1 + change.left + change.right
    weight = torch.zeros(channels, 1, *shape, dtype=dtype)
    weight.select(window.axis + 2, change.left).fill_(1)
    name = f"{PICKED}_{node.name}"
    module.register_parameter(name, nn.Parameter(weight))
    steps = [1] * count
    steps[window.axis] = window.sliding.stride
    with module.graph.inserting_after(node):
        held = module.graph.get_attr(name)
    with module.graph.inserting_after(held):
        zeros, ones = [0] * count, [1] * count
        picked = module.graph.call_function(CONVOLUTIONS[count], (node, held, None, steps, zeros, ones, channels))
    # All readers but the convolution itself.
    node.replace_all_uses_with(picked, delete_user_cb=lambda user: user is not picked)


def _described(node: fx.Node) -> tuple[int, int, torch.dtype]:
    """Channels, axes and type of what an op answers."""
    value = node.meta["val"]
    return int(value.shape[1]), value.ndim, value.dtype


def layers_named(graph: CapturedModel, changes: Sequence[Widened]) -> list[str]:
    """Layers as the user knows them: by the name of the module, or of the weight."""
    where = graph.by_name
    names: list[str] = []
    for change in changes:
        node = where[change.window.op]
        weight = node.arguments.get("weight")
        if isinstance(weight, Ref):
            of_weight = graph.leaves[weight.name].names[0]
        else:
            of_weight = node.target
        names.append(node.where.module or of_weight)
    return names
