"""Networks that look at pictures: read by the sizes of their tensors, and questioned where a picture is half mirrored.

A picture, "b c h w", goes in; a map of every joint over the same picture, "b j h w", comes out, or scores over bins of
its columns and of its rows, "b j x" and "b j y". The mirror reverses the width of all of them.

(1, 3, 256, 192) to (1, 17, 64, 48) is read without a layout: a picture, and a map of each of 17 joints at a quarter of
its size. `resolution` calls `read_pictures` before it looks at layouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors.conversion import ConversionSpec
from chiralize.body.tensors.entries import BodyOverride, TensorEntry
from chiralize.body.tensors.guess import PICTURE_CHANNELS, fitting
from chiralize.body.tensors.layout import KNOWN, parse_layout, with_tildes
from chiralize.errors import WrongValueError

_SMALLEST = 16
"""Pixels along the shorter side of a picture; below it, an axis could be anything."""
_REMEDY = 'if not, say the layouts, such as --input-layout "b c h ~w"; ~ marks an axis that the mirror reverses'


def read_pictures(
    spec: ConversionSpec, inputs: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]
) -> ConversionSpec:
    """The specification with its layouts, where it gives none and the sizes are those of a picture and its maps.

    Anything else that the sizes could be leaves the specification as it is.
    """
    if spec.inputs is not None or spec.outputs is not None or spec.invariant or len(inputs) != 1:
        return spec
    picture = tuple(inputs[0])
    if len(picture) != 4 or picture[1] not in PICTURE_CHANNELS or min(picture[2:]) < _SMALLEST:
        return spec
    entries = _maps(outputs, picture, spec.skeleton) or _bins(outputs, picture, spec.skeleton)
    # Sizes that could also be joints and coordinates are left to the user.
    others = any(fitting(shape, spec.skeleton, False, "a tensor") for shape in (picture, *outputs))
    if not entries or others:
        return spec
    sizes = " and ".join(f"{_marked(entry)} = {tuple(shape)}" for entry, shape in zip(entries, outputs, strict=True))
    notice = f"taken as pictures b c h ~w = {picture}, whose width the mirror reverses, and {sizes}; {_REMEDY}"
    entry = TensorEntry(layout="b c h w", mirror=(("w", None),))
    return replace(spec, inputs=(entry,), outputs=entries, notices=(*spec.notices, notice))


def _marked(entry: TensorEntry) -> str:
    """The layout of an entry with a tilde at every word that is reversed."""
    return with_tildes(entry.layout or "", dict(entry.mirror))


def _maps(
    shapes: Sequence[Sequence[int]], picture: Sequence[int], skeleton: Skeleton
) -> tuple[TensorEntry, ...] | None:
    """One map of every joint for each output, a cell of which is a square of pixels."""
    for shape in shapes:
        if len(shape) != 4 or shape[1] != len(skeleton.joints):
            return None
        if min(shape[2:]) < 2 or Fraction(picture[2], shape[2]) != Fraction(picture[3], shape[3]):
            return None
    return tuple(TensorEntry(layout="b j h w", mirror=(("w", None),)) for _ in shapes)


def _bins(
    shapes: Sequence[Sequence[int]], picture: Sequence[int], skeleton: Skeleton
) -> tuple[TensorEntry, ...] | None:
    """Two outputs, over the columns and over the rows, as many bins to a pixel, one at least; None elsewhere."""
    if len(shapes) != 2 or any(len(shape) != 3 or shape[1] != len(skeleton.joints) for shape in shapes):
        return None
    columns, rows = (shape[2] for shape in shapes)
    if Fraction(columns, picture[3]) != Fraction(rows, picture[2]) or columns < picture[3]:
        return None
    no_dims = BodyOverride(dims=())
    along = TensorEntry(layout="b j x", override=no_dims, mirror=(("x", None),))
    return along, TensorEntry(layout="b j y", override=no_dims)


def check_pictures(inputs: Sequence[TensorEntry], outputs: Sequence[TensorEntry]) -> None:
    """Raise WrongValueError where an axis is reversed in one tensor, and another has an axis of that name which is not.

    Such a T is an involution like any other, and no residual would show that it is not the picture's.
    """
    entries = [entry for entry in (*inputs, *outputs) if entry.layout is not None]
    turned = {word: entry for entry in entries for word, _ in entry.mirror}
    for entry in entries:
        # Words that are reversed elsewhere and stand here without a tilde.
        missing = set(parse_layout(entry.layout or "").words) & turned.keys() - {word for word, _ in entry.mirror}
        for word in sorted(missing - {*KNOWN}):
            facts = f"axis {word!r} of '{entry.layout}' is not reversed, that of '{_marked(turned[word])}' is"
            remedy = f"add `mirror: {word}`, or give the axis another name where it is not the same one"
            raise WrongValueError(entry.where or "layout", facts, remedy)
