"""Which form of a layer is faster at the sizes it is used at, by a model of its cost (`timed` times it instead).

    dense t = max(multiplications / F, bytes of the weight / M)
    blocks (1 - s) t + overhead + bytes of activations / A

F, M, A and the overhead of the butterfly's calls are those of one thread of an ordinary processor
(docs/decisions/0014-blocks.md); n threads multiply n times as fast and read weights up to four times as fast, and the
calls take as long as before. s, what blocks save, is a half; of a convolution (1 - 128 / channels) / 2, as kernels are
slow on few channels, and nothing in attention on fewer than 256, whose query, key and value are three calls, not one.
The choice is coarse: a layer near the limit gains and loses little, and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn

from chiralize.graph.model import Node
from chiralize.nn import ChiralModule
from chiralize.nn.gates import WIDE_FOR_ANY, Recurrent
from chiralize.nn.maps import ChiralMap
from chiralize.nn.reversed_conv import ConvTranspose2d, Reversed

_MULTIPLICATIONS, _WEIGHT_BYTES, _ACTIVATION_BYTES = 7e10, 6.5e10, 1.6e10  # a second
_GATHERING, _GATHERED_BYTES = 3e-5, 1e9
"""Seconds of a dozen calls more, and bytes a second over six passes: 162 inputs to 128 units took 2.2 of the time."""
_LEAST_GAIN = 0.02
_NARROW, _FEW = 256, 128  # channels: of attention, and of convolutions that gain nothing
_READERS = 4  # threads that memory keeps busy
Twin = Callable[[], "ChiralModule | None"]
Inputs = tuple[tuple[int, ...], ...]
"""Shapes of the tensors of a call."""
_MAPS = ("linear", "conv1d", "conv2d", "conv_transpose2d")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


@dataclass(frozen=True)
class Costs:
    """What blocks cost beside their products.

    overhead: of a call of blocks, in seconds.  few_reversed: channels on which a kernel that the mirror reverses gains
    nothing.
    """

    overhead: float
    few_reversed: int


OF_LAYERS = Costs(22e-6, 192)
IN_GRAPHS = Costs(9e-6, 96)
"""A graph calls the ops of a layer, and no layer; pictures stay in the order in which they are convolved."""


def always(layer: nn.Module, ops: Sequence[Node], twin: Twin) -> bool:
    """Choose every layer that has a twin."""
    return True


def is_faster(layer: nn.Module, ops: Sequence[Node], twin: Twin, costs: Costs = OF_LAYERS, times: float = 1.0) -> bool:
    """Whether blocks are faster, by the model, in the ops that run the layer.

    times: as many rows as the ops were seen with.

    A recurrent layer's are where they run step by step, on the CPU, and gain at every batch.
    """
    if type(layer) in (nn.LSTM, nn.GRU):
        blocks, on_cpu = twin(), next(layer.parameters()).device.type == "cpu"
        return isinstance(blocks, Recurrent) and blocks.stepwise and blocks.hidden_size >= WIDE_FOR_ANY and on_cpu
    gain, whole, windows, threads = 0.0, 0.0, 0.0, torch.get_num_threads()
    for node in maps_of(layer, ops):
        shape: tuple[int, ...] = node.shapes[0] or ()
        out, into, *kernel = _weight(layer, shape)
        # rows: how often the weight is multiplied, once for each sample, frame, place.  weight: its entries.
        rows, weight = times * prod(shape) / out, out * into * prod(kernel)
        if isinstance(layer, nn.ConvTranspose2d):
            rows /= prod(layer.stride)  # windows, one for each entry that is read
            out, into = into, out
        # The larger of two times: to multiply, or to read the weight (4 bytes an entry).
        multiplying = rows * weight / (threads * _MULTIPLICATIONS)
        dense = max(multiplying, 4 * weight / (min(threads, _READERS) * _WEIGHT_BYTES))
        # Query, key and value in one op of dense weights are three calls of blocks.
        calls = out // into if isinstance(layer, nn.MultiheadAttention) else 1
        share, moved = _saved(layer, min(out, into)), into + out
        may_gain = share or min(out, into) > costs.few_reversed
        if may_gain and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            share, moved = _saved_by(twin(), share, into, out, costs.few_reversed)
        whole, windows = whole + dense, windows + rows
        # What blocks save, less their calls, less moving what they read and write.
        gain += share * dense - calls * costs.overhead - 4 * rows * moved / _ACTIVATION_BYTES
    if gain <= _LEAST_GAIN * whole:
        return False
    return gain - _gathering(twin(), windows) > _LEAST_GAIN * whole


def _gathering(twin: ChiralModule | None, windows: float) -> float:
    """Seconds for axes of coordinates, some of which change their sign: so many windows are read in another order,
    taken apart by kinds of pairs, and put together again. Hidden units have one kind, and are brought into order once.
    """
    if not isinstance(twin, ChiralMap):
        return 0.0
    gathered = [basis.size for basis in (twin.into, twin.out) if basis.plain < basis.pairs]
    return len(gathered) * _GATHERING + 4 * windows * sum(gathered) / _GATHERED_BYTES


def is_faster_in_graphs(layer: nn.Module, ops: Sequence[Node], twin: Twin, times: float = 1.0) -> bool:
    """The same where the ops of the blocks stand in a graph."""
    return is_faster(layer, ops, twin, IN_GRAPHS, times)


def _saved_by(twin: ChiralModule | None, share: float, into: int, out: int, few: int) -> tuple[float, int]:
    """The share that blocks save of a convolution's time, and the entries that are moved for every window.

    Along a reversed axis the entries of all taps are moved, and nothing is gained on few channels. Strided and
    transposed kernels took longer where they were measured (decision 0062): for those only a timing can choose blocks.
    """
    if not isinstance(twin, Reversed):
        return share, into + out
    along = twin.windows.along
    if isinstance(twin, ConvTranspose2d) or along.stride > 1:
        return 0.0, into + out
    return max(1 - few / min(into, out), 0.0) / 2, along.taps * into + out


def _saved(layer: nn.Module, channels: int) -> float:
    """The share that blocks save of the time of a map between so many channels."""
    if isinstance(layer, _CONVOLUTIONS):
        return max(1 - _FEW / channels, 0.0) / 2
    if isinstance(layer, nn.Linear) or channels >= _NARROW:
        return 0.5
    return 0.0


def maps_of(layer: Any, ops: Sequence[Node]) -> list[Node]:
    """The ops that multiply by the layer's weights; none for a layer that has no blocks to gain from."""
    if type(layer) not in (nn.Linear, *_CONVOLUTIONS, nn.MultiheadAttention):
        return []
    return [node for node in ops if node.target.split(".")[1] in _MAPS]


def _weight(layer: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the weight of an op with such an output."""
    if isinstance(layer, nn.MultiheadAttention):
        return shape[-1], layer.embed_dim
    return tuple(layer.weight.shape)


def inputs_of(layer: Any, ops: Sequence[Node], times: float = 1.0) -> list[Inputs]:
    """The shapes of what a layer is called with, call by call; none for a layer that has no blocks to gain from.

    times: as many rows as the ops were seen with.
    """
    if type(layer) in (nn.LSTM, nn.GRU):
        shapes: list[Any] = [node.shapes[0] for node in ops]
        return [((*_more(shape, int(not layer.batch_first), times)[:-1], layer.input_size),) for shape in shapes]
    maps = maps_of(layer, ops)
    if isinstance(layer, nn.MultiheadAttention):
        return _of_attention(layer, [node.shapes[0] or () for node in maps], times)
    return [(_of_map(layer, node, times),) for node in maps]


def _of_attention(layer: nn.MultiheadAttention, shapes: Sequence[Any], times: float) -> list[Inputs]:
    """Shapes of the inputs of self-attention, from its maps' answers "token batch channel"; none of other attention.

    In self-attention query, key and value are one map. Elsewhere they are products with parts of its weight: no op
    reads the whole weight, and none shows the sizes.
    """
    size, calls = layer.embed_dim, list[Inputs]()
    for shape in shapes:
        # "token batch (part channel)": query, key and value at once.
        if shape[-1] == 3 * size:
            entering = (*_more(shape, 1, times)[:-1], size)
            if layer.batch_first and len(entering) == 3:
                entering = (entering[1], entering[0], size)
            calls.append((entering,))
    return calls


def _more(shape: Sequence[int], axis: int, times: float) -> tuple[int, ...]:
    """A shape with so many times the entries along the axis of samples, where there is one."""
    sizes = list(shape)
    if len(sizes) > 2:
        sizes[axis] = max(1, round(times * sizes[axis]))
    return tuple(sizes)


def _of_map(layer: Any, node: Node, times: float) -> tuple[int, ...]:
    """The shape that such an output comes from."""
    shape: Any = node.shapes[0]
    rows = max(1, round(times * shape[0])) if len(shape) > 1 else 1
    if isinstance(layer, nn.Linear):
        return (*((rows, *shape[1:-1]) if len(shape) > 1 else ()), layer.in_features)
    sizes = list(shape[2:])
    if isinstance(layer, nn.ConvTranspose2d):
        settings = zip(sizes, layer.stride, layer.dilation, layer.kernel_size, layer.padding, strict=False)
        for axis, (size, step, spread, width, around) in enumerate(settings):
            # A size of the input from that of the answer: torch's formula for either layer, solved for it. Of a
            # stride the smallest input is taken.
            sizes[axis] = (size - 1 - spread * (width - 1) + 2 * around) // step + 1
    elif not isinstance(layer.padding, str):  # with `same` they stay
        settings = zip(sizes, layer.stride, layer.dilation, layer.kernel_size, layer.padding, strict=False)
        for axis, (size, step, spread, width, around) in enumerate(settings):
            sizes[axis] = (size - 1) * step + spread * (width - 1) + 1 - 2 * around
    return (rows, layer.in_channels, *sizes)
