"""Convolutions over frames whose windows do not overlap, as products of matrices.

    conv1d(x, W, stride=k)  =  linear(x as "b window (k i)", W as "o (k i)")

Values then lie in memory as "b frame channel", whatever their shapes say. Functions of every entry and slices of frames
keep that, so from one such convolution to the next nothing is moved. A product takes two thirds of a convolution's time
or less, as a convolution brings its weights into another order in every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx

from chiralize.nn import Conv1d
from chiralize.nn.conv import in_order, over_windows, windows_are_apart
from chiralize.nn.maps import ChiralMap


def are_apart(twins: Mapping[fx.Node, tuple[str, ChiralMap]]) -> bool:
    """Whether none of the convolutions over frames has windows that overlap: then all of them can be products."""
    convolutions = [(node, twin) for node, (_, twin) in twins.items() if isinstance(twin, Conv1d)]
    return bool(convolutions) and all(_is_apart(node, twin) for node, twin in convolutions)


def product(x: Any, weight: Any, bias: Any, kernel: int) -> Any:
    """conv1d(x, weight, bias, stride=kernel): "b i (window kernel)" to "b o window"."""
    return over_windows(x.transpose(1, 2), weight, bias, kernel).transpose(1, 2)


def lay_out(twin: ChiralMap) -> None:
    """Let the weights "o i k" lie in memory as "o k i", so that `product` reads them as they lie."""
    for weight in (twin.weight_even, twin.weight_odd):
        weight.data = in_order(weight.data)


def _is_apart(node: fx.Node, twin: Conv1d) -> bool:
    """Whether the windows of one convolution, on its own number of frames, do not overlap."""
    source: Any = node.args[0]
    shape = source.meta["val"].shape
    return len(shape) == 3 and windows_are_apart(twin, shape[-1])
