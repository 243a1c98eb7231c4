"""Layers that slide a window along one axis: which columns of their input each of their answers reads.

An answer m of a strided layer reads the columns m s - left ... m s - left + d (k - 1). The reversal of n columns takes
windows to windows exactly where as many columns are added on the left as the last window reads beyond the right end:

    left == reach,      reach = s (answers - 1) + d (k - 1) + 1 - left - n

(`reach` is the padding on the right less the r columns that no window reads, r = (n + left + right - d (k - 1) - 1)
mod s.) A transposed layer answers on the cells that it cuts out of s (n - 1) + d (k - 1) + 1, and as many have to be
cut off on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chiralize.graph.model import CapturedModel, Node, Ref

Kind = Literal["convolution", "pooling", "transposed"]
_POOLS = ("max_pool", "avg_pool")


@dataclass(frozen=True)
class Window:
    """A layer along one axis.

    op, weight: names in the graph.  size, answers: columns that go in and come out.  left: columns that are added
    before the first one (of a transposed layer: that are cut off).  axis: among the spatial ones of the layer.
    """

    kind: Kind
    op: str
    source: str
    weight: str
    axis: int
    size: int
    answers: int
    kernel: int
    stride: int
    dilation: int
    left: int
    ceil: bool = False

    @property
    def extent(self) -> int:
        """Columns from the first to the last that one window reads."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def reach(self) -> int:
        """Columns beyond the right end that the last window reads (transposed: that are cut off there)."""
        if self.kind == "transposed":
            return self.stride * (self.size - 1) + self.extent - self.left - self.answers
        return self.stride * (self.answers - 1) + self.extent - self.left - self.size

    @property
    def excess(self) -> int:
        """By how many columns the windows lie too far to the left to be their own mirror image; 0: not at all."""
        return self.left - self.reach

    @property
    def commutes(self) -> bool:
        """Whether a symmetric kernel commutes with the reversal."""
        return self.excess == 0

    def cells(self, step: float, start: float) -> tuple[float, float]:
        """Distance of the answers and the middle of the first window, where columns are at start + step i."""
        middle = (self.extent - 1) / 2 - self.left
        if self.kind == "transposed":
            return step / self.stride, start - step * middle / self.stride
        return step * self.stride, start + step * middle


def windows(graph: CapturedModel, ndim: int, axis: int) -> Iterator[Window]:
    """The layers of a graph along one axis of its pictures, which have `ndim` axes."""
    shapes = shapes_of(graph)
    for node in graph.nodes:
        window = window_of(node, shapes, ndim, axis)
        if window is not None:
            yield window


def shapes_of(graph: CapturedModel) -> dict[str, tuple[int, ...]]:
    """Shape of every leaf and of the first output of every op, by name."""
    shapes = {leaf.name: tuple(leaf.shape) for leaf in graph.leaves.values()}
    for node in graph.nodes:
        if node.shapes and node.shapes[0] is not None:
            shapes[node.name] = node.shapes[0]
    return shapes


def window_of(node: Node, shapes: Mapping[str, tuple[int, ...]], ndim: int, axis: int) -> Window | None:
    """The window of one op; None for an op that has none, or none along this axis."""
    kind = _kind(node)
    source = node.arguments.get("input", node.arguments.get("self"))
    if kind is None or not isinstance(source, Ref) or len(shapes.get(source.name, ())) != ndim:
        return None
    at, answer = axis - 2, node.shapes[0]
    if not 0 <= at < ndim - 2 or answer is None:
        return None
    size = shapes[source.name][axis]
    weight = node.arguments.get("weight")
    if isinstance(weight, Ref):
        kernel, name = shapes[weight.name][axis], weight.name
    else:
        kernel, name = _entry(node.arguments["kernel_size"], at, 1), ""
    stride = _entry(node.arguments.get("stride") or (kernel if not name else 1), at, 1)
    dilation = _entry(node.arguments.get("dilation"), at, 1)
    left = _left(node.arguments.get("padding", 0), at, dilation * (kernel - 1))
    ceil = bool(node.arguments.get("ceil_mode", False))
    return Window(kind, node.name, source.name, name, at, size, answer[axis], kernel, stride, dilation, left, ceil)


def _kind(node: Node) -> Kind | None:
    op = node.target.split(".")[1] if node.target.startswith("aten.") else ""
    if op.startswith("conv_transpose") or (op == "convolution" and node.arguments.get("transposed")):
        return "transposed"
    if op in ("conv1d", "conv2d", "conv3d", "convolution"):
        return "convolution"
    return "pooling" if op.startswith(_POOLS) and len(node.shapes) >= 1 else None


def _entry(value: Any, at: int, default: int) -> int:
    """One entry of an argument that is a number, or a list of one number or of one for each axis."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            return default
        return int(value[at if len(value) > 1 else 0])
    return default if value is None else int(value)


def _left(padding: Any, at: int, beyond: int) -> int:
    """Columns that are added on the left. beyond: of a window, behind its first one."""
    if padding == "same":
        return beyond // 2
    return 0 if isinstance(padding, str) else _entry(padding, at, 0)
