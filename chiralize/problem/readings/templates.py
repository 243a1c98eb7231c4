"""Sizes that one input may have: as its entry says, and where that says nothing, as poses are usually laid out.

A template is a tuple of sizes in which "t" stands for a number of frames that is not known yet:

    layout "b t j d", 17 joints, 2 coordinates   ->   (1, "t", 17, 2)   ->   at(27)   ->   (1, 27, 17, 2)

`Search` takes one template for every input and tries all combinations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod

from torch import nn

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import TensorEntry
from chiralize.body.tensors.guess import coordinate_counts
from chiralize.body.tensors.layout import ELLIPSIS, Layout, parse_layout
from chiralize.body.tensors.one_tensor import fields_width
from chiralize.problem.readings.weights import hidden_sizes, widths_read

FRAMES = "t"
OF_PEOPLE = ("m", "p")
"""Words of axes that are never frames."""
USUAL = (
    *("b j d", "b t j d", "b (j d)", "b t (j d)", "b d j", "b d t j", "b (j d) t", "b j d t", "b t d j", "b j t d"),
)
"""Layouts of poses, the commonest first."""
USUAL_OF_PEOPLE = ("b d t j m", "b m t j d", "b t m j d")
"""The same of several people, which m counts."""
USUAL_OF_ONE = ("b j", "b t j", "b j t")
"""The same where joints have one coordinate each."""
PEOPLE = (1, 2)
"""Sizes that are tried for an axis which is neither batch nor frames, such as people."""
CONFIDENCE = "confidence"
"""The name of a coordinate that the mirror leaves alone, where the skeleton has one named `c` already."""


@dataclass(frozen=True)
class Template:
    """Sizes of one tensor. sizes: "t" stands for a number of frames.  entry: as the tensor is described.

    layout: in which the sizes were written down, where its axes are joints, coordinates, ... one by one; else None.
    word: of the axis whose number is open, in the layout.
    """

    sizes: tuple[int | str, ...]
    entry: TensorEntry
    layout: Layout | None = None
    word: str = FRAMES

    @property
    def has_frames(self) -> bool:
        """Whether a number of frames is open."""
        return FRAMES in self.sizes

    @property
    def ends_with_frames(self) -> bool:
        """Whether frames lie along the last axis."""
        return self.sizes[-1:] == (FRAMES,)

    def at(self, frames: int) -> tuple[int, ...]:
        """The sizes for so many frames."""
        sizes: list[int] = []
        for size in self.sizes:
            sizes.append(frames if isinstance(size, str) else size)
        return tuple(sizes)


def templates_of(
    entry: TensorEntry, skeleton: Skeleton, module: nn.Module, beside: Sequence[TensorEntry]
) -> list[Template]:
    """The sizes that a tensor may have, the likeliest first; none where nothing is known of it (`like`).

    beside: all inputs of the network, of which the others take their part of the width of a layer.
    """
    if entry.kind == "state":
        return [Template(sizes, entry) for sizes in _states(module)]
    if entry.kind in ("free", "invariant", "classes"):
        # No body gives these a size. Weights may: (1, width) of one vector a sample, (1,) of one number.
        widths = _free_widths(skeleton, module, beside)
        return [Template((1, width), entry) for width in widths] + [Template((1,), entry)]
    if entry.kind == "fields":
        body = entry.body(skeleton)
        width = fields_width(entry.fields or (), body)
        return list(_filled(parse_layout(entry.layout or "... f"), {"f": width}, entry))
    if entry.kind == "pose":
        return list(_poses(entry, entry.body(skeleton)))
    return []


def _poses(entry: TensorEntry, body: Skeleton) -> Iterator[Template]:
    """Templates of a pose: in its layout, else in those that are usual; then with a confidence, which T keeps."""
    fixed = entry.override.dims is not None  # the user names the coordinates, so that no fewer are tried
    counts = sorted(coordinate_counts(body, fixed))
    joints, most, is_plain = len(body.joints), len(body.dims) + 1, counts in ([0], [1])
    if entry.layout:
        layouts = [entry.layout]
    else:
        layouts = list(USUAL_OF_ONE if is_plain else USUAL)
    for text, count in product(layouts, counts):
        yield from _filled(parse_layout(text), {"j": joints, "d": count}, entry)
    # One number more than coordinates for every joint: a confidence, as detectors give it.
    if not (fixed or is_plain or body.signs):
        name = next(name for name in ("c", CONFIDENCE) if name not in body.dims)
        with_confidence = replace(entry, override=replace(entry.override, dims=(*body.dims, name)))
        for text in layouts:
            yield from _filled(parse_layout(text), {"j": joints, "d": most}, with_confidence)
    if not (entry.layout or is_plain):
        for text, count in product(USUAL_OF_PEOPLE, counts):
            yield from _filled(parse_layout(text), {"j": joints, "d": count}, entry)


def _filled(layout: Layout, known: Mapping[str, int], entry: TensorEntry) -> Iterator[Template]:
    """A layout with its sizes: 1 for the batch, "t" for frames, few people; `...` is a batch, or a batch of frames."""
    if (ELLIPSIS,) in layout.axes:
        # "... j d" is tried as "b j d", then as "b t j d".
        for words in (("b",), ("b", FRAMES)):
            axes = [((word,),) for word in words if word not in layout.words]
            position = layout.axes.index((ELLIPSIS,))
            spread = tuple(axis for (axis,) in axes)
            yield from _filled(Layout((*layout.axes[:position], *spread, *layout.axes[position + 1 :])), known, entry)
        return
    sizes: dict[str, int] = {"b": 1, "1": 1, **known}
    open_words = [word for word in dict.fromkeys(layout.words) if word not in sizes]
    # One axis stays open at most: `t`, or the user's own word, such as `w`. All others are filled as people.
    if FRAMES in open_words:
        frames = FRAMES
    else:
        frames = next((word for word in open_words if word not in OF_PEOPLE), None)
    others = [word for word in open_words if word != frames]
    if any(frames in axis and len(axis) > 1 for axis in layout.axes):
        return  # frames merged with something else: no number of them can be read off
    for people in product(PEOPLE, repeat=len(others)):
        filled = {**sizes, **dict(zip(others, people, strict=True))}
        # Only a layout without merged axes may decide between readings later: that of "(j d)" is a guess.
        apart = layout if len(layout.words) == len(layout.axes) else None
        yield Template(tuple(_size(axis, filled) for axis in layout.axes), entry, apart, frames or FRAMES)


def _size(axis: Sequence[str], sizes: Mapping[str, int]) -> int | str:
    """The size of one axis; "t" where it is of frames."""
    if any(word not in sizes for word in axis):
        return FRAMES
    return prod(sizes[word] for word in axis)


def _free_widths(skeleton: Skeleton, module: nn.Module, beside: Sequence[TensorEntry]) -> list[int]:
    """Widths of an input without a body: what layers read beyond the described inputs, then what a layer reads, 1.

    A Linear(37, ...) beside a pose of 17 joints in two coordinates leaves 3 for it, and the widths are 1, 3, 37, 2.
    """
    described = 0
    for entry in beside:
        if entry.kind == "fields":
            described += fields_width(entry.fields or (), entry.body(skeleton))
        elif entry.kind == "pose":
            body = entry.body(skeleton)
            described += len(body.joints) * max(*coordinate_counts(body, entry.override.dims is not None), 1)
    widths = widths_read(module)
    left_over = [width - described for width in widths if 0 < width - described]
    return list(dict.fromkeys([1, *left_over, *widths, 2, 3]))


def _states(module: nn.Module) -> Iterator[tuple[int, ...]]:
    """Sizes of a recurrent state, for one sample: of the layers that have one, then of what may be written by hand."""
    seen: dict[tuple[int, ...], None] = {}  # a set in the order of its entries
    for part in module.modules():
        if isinstance(part, nn.RNNBase):
            depth = part.num_layers * (2 if part.bidirectional else 1)
            seen[(depth, 1, part.hidden_size)] = None
            if part.num_layers == 1:
                seen[(1, part.hidden_size)] = None  # forward may add the axis of layers
        elif isinstance(part, nn.RNNCellBase):
            seen[(1, part.hidden_size)] = None
    for size in hidden_sizes(module):
        seen |= {(1, size): None, (1, 1, size): None}
    yield from seen
