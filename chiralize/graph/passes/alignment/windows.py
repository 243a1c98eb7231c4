"""Layers that slide a window along one axis of pictures: where their windows lie, and which columns they answer for.

`Window` reads a convolution, a transposed one or a pooling off a node of the graph; the arithmetic of windows is
that of `graph.windows`. All files of this folder ask it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from chiralize.graph.model import CapturedModel, Node, Ref
from chiralize.graph.traits import Adjoint, Contraction, Padding, Pooling, Traits
from chiralize.graph.windows import Windows

Kind = Literal["convolution", "pooling", "transposed"]


@dataclass(frozen=True)
class Window:
    """A layer along one axis.

    op, weight: names in the graph.  axis: among the spatial ones of the layer.  sliding: its windows, of a transposed
    layer on what it answers.  ceil: whether a window may hang over the border.
    """

    kind: Kind
    op: str
    source: str
    weight: str
    axis: int
    sliding: Windows
    ceil: bool = False

    @property
    def excess(self) -> int:
        """By how many columns the windows lie too far to the left to be their own mirror image; 0: not at all."""
        return self.sliding.excess

    @property
    def commutes(self) -> bool:
        """Whether a symmetric kernel commutes with the reversal."""
        return self.sliding.is_symmetric

    def cells(self, step: float, start: float) -> tuple[float, float]:
        """(distance of the answers, middle of the first window), where columns are at start + step i.

        A kernel of 3 with stride 2 and padding 1 over columns 0, 1, 2, ... gives (2, 0). A transposed layer is the
        same the other way round: what it answers is read by the windows.
        """
        sliding = self.sliding
        middle = (sliding.extent - 1) / 2 - sliding.before
        if self.kind == "transposed":
            return step / sliding.stride, start - step * middle / sliding.stride
        return step * sliding.stride, start + step * middle


def windows(graph: CapturedModel, ndim: int, axis: int, traits: Traits) -> Iterator[Window]:
    """The layers of a graph along one axis of pictures, which have `ndim` axes, and what an op before them adds."""
    nodes, shapes = graph.by_name, shapes_of(graph)
    for node in graph.nodes:
        window = window_of(node, shapes, ndim, axis, traits)
        if window is None:
            continue
        before = nodes.get(window.source)
        sides = added_by(before, ndim, axis, traits) if before is not None else None
        if sides is not None:
            window = beyond_padding(window, sides)
        yield window


def added_by(node: Node, ndim: int, axis: int, traits: Traits) -> tuple[int, int] | None:
    """Columns that an op adds on the left and on the right; None for any other op, or none along this axis."""
    if not isinstance(traits.get(node.target), Padding):
        return None
    # `pad` lists (before, behind) of the last axis first, and may leave out the first axes.
    amounts, at = list(node.arguments["pad"]), 2 * (ndim - 1 - axis)
    if len(amounts) >= at + 2 and any(amounts[at : at + 2]):
        return tuple(amounts[at : at + 2])
    return None


def beyond_padding(window: Window, sides: tuple[int, int]) -> Window:
    """A layer as it reads what there was before an op added columns, so many on either side."""
    sliding = window.sliding
    bare = replace(sliding, size=sliding.size - sum(sides), before=sliding.before + sides[0])
    return replace(window, sliding=bare)


def adds_zeros(node: Node) -> bool:
    """Whether what an op adds at the ends of an axis is 0."""
    return node.arguments.get("mode", "constant") == "constant" and not node.arguments.get("value")


def shapes_of(graph: CapturedModel) -> dict[str, tuple[int, ...]]:
    """Shape of every leaf and of the first output of every op, by name."""
    shapes = {leaf.name: tuple(leaf.shape) for leaf in graph.leaves.values()}
    for node in graph.nodes:
        if node.shapes and node.shapes[0] is not None:
            shapes[node.name] = node.shapes[0]
    return shapes


def window_of(node: Node, shapes: Mapping[str, tuple[int, ...]], ndim: int, axis: int, traits: Traits) -> Window | None:
    """The window of one op; None for an op that has none, or none along this axis."""
    kind = _kind(node, traits)
    source = node.arguments.get("input", node.arguments.get("self"))
    if kind is None or not isinstance(source, Ref) or len(shapes.get(source.name, ())) != ndim:
        return None
    at, answer = axis - 2, node.shapes[0]
    if not 0 <= at < ndim - 2 or answer is None:
        return None
    size, count = shapes[source.name][axis], answer[axis]
    # Its windows slide over what it answers, one for every entry that it reads.
    if kind == "transposed":
        size, count = count, size
    weight = node.arguments.get("weight")
    if isinstance(weight, Ref):
        # "out in h w" has its kernel at the axes at which "b c h w" has the columns.
        kernel, name = shapes[weight.name][axis], weight.name
    else:
        kernel, name = _entry(node.arguments["kernel_size"], at, 1), ""
    # A pooling without a stride has that of its kernel.
    stride = _entry(node.arguments.get("stride") or (kernel if not name else 1), at, 1)
    dilation = _entry(node.arguments.get("dilation"), at, 1)
    before = _before(node.arguments.get("padding", 0), at, dilation * (kernel - 1))
    sliding = Windows(size, count, kernel, stride, before, dilation)
    return Window(kind, node.name, source.name, name, at, sliding, bool(node.arguments.get("ceil_mode", False)))


def _kind(node: Node, traits: Traits) -> Kind | None:
    """What kind of layer a node is, None where it has no windows."""
    match traits.get(node.target):
        case Contraction(is_windowed=True):
            return "convolution"
        case Adjoint(switch=switch):
            if not switch or node.arguments.get(switch):
                return "transposed"
            return "convolution"
        case Pooling():
            return "pooling"
    return None


def for_each_axis(value: Any, count: int) -> list[int]:
    """An argument of an op over several axes: one number for each, also where one number stands for all."""
    if not isinstance(value, Sequence):
        return [value] * count
    if len(value) == 1:
        return list(value) * count
    return list(value)


def _entry(value: Any, at: int, default: int) -> int:
    """One entry of an argument that is a number, or a list of one number or of one for each axis."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if not value:
            return default
        return int(value[at if len(value) > 1 else 0])
    return default if value is None else int(value)


def _before(padding: Any, at: int, beyond: int) -> int:
    """Columns that are added on the left (transposed: that are cut off). beyond: of a window, behind its first one."""
    # torch adds the smaller half on the left.
    if padding == "same":
        return beyond // 2
    if isinstance(padding, str):
        return 0
    return _entry(padding, at, 0)
