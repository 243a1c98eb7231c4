"""Tensors that a specification reads wrongly: an axis of `(d j)` as `(j d)`, a mirrored input as `free`.

Both run without a complaint, since the sizes are the same, and both look like a network that learned one side.

Every function yields readings that are otherwise: words for it, and the entries to put into the specification. An input
of 34 numbers with the layout `b (j d)`, 17 joints of x and y, is read as `b (d j)` as well, for which the name is
"layout 'b (d j)' of input 0". `neighbours` makes specifications of these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations, permutations, product

from chiralize.body.skeleton.skeleton import Skeleton
from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.entries import Classes, TensorEntry
from chiralize.body.tensors.fields.plain import Signs
from chiralize.body.tensors.layout import Layout, parse_layout
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.body.tensors.reversal import KEPT
from chiralize.verification.evidence.records import ALONG_WIDTHS, AT_ANOTHER_CELL

Words = tuple[str, ...]
Entries = Mapping[tuple[str, int], TensorEntry]
"""Entries by `input` or `output` and their position."""

_PEOPLE = 2
"""Entries of an axis that are mostly people or views."""
_OF_A_SIDE = 2
"""Numbers of a sample that may name a side, each by itself."""
_VIEWS = 6
"""Of so many entries two may be a left and a right one, as of cameras on a head and two wrists."""
_WORDS = ("b", "n", "m", "k")
"""The first axis holds samples; the other words stand for axes that nothing is known of."""
_COLOURS, _PICTURE = "c", {"h", "w"}
_HEIGHT, _WIDTH = "h", "w"
_BESIDE = (Fraction(1, 2), Fraction(1))
"""Cells by which an axis of beams or bins may be reversed beside its place."""
_FAR = 20
"""Of the width of a picture: one part in so many is further than what its mirror leaves open."""


def other_orders(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """The words of a merged axis with joints in other orders: in all tensors that have this axis, then in each."""
    tensors = [tensor for tensor in (*resolved.input_tensors, *resolved.output_tensors) if tensor.kind == "pose"]
    by_words: dict[Words, list[ResolvedTensor]] = {}  # tensors by a merged axis that they have, as (j d)
    for tensor in tensors:
        for words in dict.fromkeys(parse_layout(tensor.layout).axes):
            if len(words) > 1 and "j" in words:
                by_words.setdefault(words, []).append(tensor)
    for words, having in by_words.items():
        for order in permutations(words):
            if order != words:
                yield from _reordered(having, words, order)


def _reordered(tensors: Sequence[ResolvedTensor], words: Words, order: Words) -> Iterator[tuple[str, Entries]]:
    """One other order of the words of an axis."""
    if len(tensors) > 1:
        changed = {(tensor.io, tensor.index): _with_order(tensor, words, order) for tensor in tensors}
        yield f"({' '.join(order)}) in place of ({' '.join(words)}) in all layouts", changed
    for tensor in tensors:
        entry = _with_order(tensor, words, order)
        yield f"layout '{entry.layout}' of {tensor.where}", {(tensor.io, tensor.index): entry}


def _with_order(tensor: ResolvedTensor, words: Words, order: Words) -> TensorEntry:
    """The entry of a tensor with other words for an axis: `b (d j)` for `b (j d)`."""
    axes = list(parse_layout(tensor.layout).axes)
    for number, axis in enumerate(axes):
        if axis == words:
            axes[number] = order
    return replace(tensor.entry, layout=str(Layout(tuple(axes))))


def reversed_axes(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """Axes that the mirror reverses, wherever a tensor of poses has them.

    Such as two people who change places, since one stands on the left, and the widths of pictures and maps.
    """
    tensors = (*resolved.input_tensors, *resolved.output_tensors)
    # In all tensors that have the axis at once: two people who change places do so in inputs and answers.
    for word in dict.fromkeys(word for tensor in tensors for word in _kept(tensor)):
        having = [tensor for tensor in tensors if word in _kept(tensor)]
        entries: dict[tuple[str, int], TensorEntry] = {}
        for tensor in having:
            mirrored = (*tensor.entry.mirror, (word, None))
            entries[tensor.io, tensor.index] = replace(tensor.entry, layout=tensor.layout, mirror=mirrored)
        names = " and ".join(tensor.where for tensor in having)
        if all(_kept(tensor)[word] == _PEOPLE for tensor in having):
            words = f"the two entries of axis {word} of {names} exchanged (people or views: `~{word}` in the layout)"
        else:
            words = f"axis {word} of {names} reversed (`~{word}` in the layout)"
        yield words, entries


def moved_reversals(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """Axes that are reversed at another cell than the one given: in all tensors that have them, then in each input.

    A ring of beams that begins straight ahead has its partners one beam further than a fan from right to left. The
    middle of a camera may be some columns off; one or two make no difference there.
    """
    # Tensors with such an axis of one size, mirrored at one cell. Of n cells the middle is (n - 1) / 2.
    alike: dict[tuple[str, int, Fraction], list[ResolvedTensor]] = {}
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        layout = parse_layout(tensor.layout)
        for word, center in tensor.entry.mirror:
            axis = layout.axis_of(word)
            if axis is not None:
                size = tensor.shape[axis]
                middle = Fraction(size - 1, 2) if center is None else center
                alike.setdefault((word, size, middle), []).append(tensor)
    for (word, size, middle), having in alike.items():
        inputs = [tensor for tensor in having if tensor.io == "input"]
        # All of them, then each input; outputs alone are not tried.
        groups = [having, *([tensor] for tensor in inputs)] if inputs and len(having) > 1 else [inputs]
        for group, cell in product(filter(None, groups), _cells_beside(middle, size, having[0])):
            entries: dict[tuple[str, int], TensorEntry] = {}
            for tensor in group:
                moved = {**dict(tensor.entry.mirror), word: cell}
                entry = replace(tensor.entry, layout=tensor.layout, mirror=tuple(moved.items()))
                entries[tensor.io, tensor.index] = entry
            names = " and ".join(tensor.where for tensor in group)
            yield f"axis {word} of {names} {AT_ANOTHER_CELL} (`mirror: {{{word}: {float(cell):g}}}`)", entries


def other_places_of_dims(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """Poses whose one negated coordinate has another place among the coordinates: [x, y, c] read as [c, x, y]."""
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        if tensor.pose is None or tensor.pose.layout.has_matrices or tensor.pose.layout.axis_of("d") is None:
            continue
        body = tensor.pose.body
        if len(body.negate) != 1:
            continue
        (dim,) = body.negate
        at = body.dims.index(dim)
        for other in range(len(body.dims)):
            dims = list(body.dims)
            dims[at], dims[other] = dims[other], dims[at]
            if other != at:
                # The coordinate changes places with another one, and is still the one that is negated.
                override = replace(tensor.entry.override, dims=tuple(dims), negate=body.negate, signs=None)
                entry = replace(tensor.entry, layout=tensor.layout, override=override)
                words = f"{dim} at place {other + 1} of the dims of {tensor.where} instead of {at + 1}"
                yield words, {(tensor.io, tensor.index): entry}


def heights_for_widths(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """Pictures reversed along their widths where the specification reverses heights.

    Not the other way round: a network of pictures that know no top and bottom commutes with both, and is not refused.
    """
    entries: dict[tuple[str, int], TensorEntry] = {}
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        reversed_words = dict(tensor.entry.mirror)
        if _PICTURE <= set(parse_layout(tensor.layout).words) and list(reversed_words) == [_HEIGHT]:
            mirror = ((_WIDTH, None),)
            entries[tensor.io, tensor.index] = replace(tensor.entry, layout=tensor.layout, mirror=mirror)
    if entries:
        yield f"{ALONG_WIDTHS} instead of h (`~w` in the layout)", entries


def _cells_beside(middle: Fraction, size: int, tensor: ResolvedTensor) -> Iterator[Fraction]:
    """The cells beside the given one that an axis may be mirrored at, the nearest first."""
    is_picture = _PICTURE <= set(parse_layout(tensor.layout).words)
    for step in (Fraction(max(size // _FAR, 3)),) if is_picture else _BESIDE:
        for cell in (middle + step, middle - step):
            if 0 < cell < size - 1 and (2 * cell).denominator == 1:  # a cell, or the border between two
                yield cell


def exchanged_views(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """Two entries of a short axis that change places, such as the cameras on two wrists beside one on the head.

    Not of an axis of two, which is reversed then, nor beside joints, which have an axis of their own.
    """
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        for word, views in _views(tensor).items():
            # The axis is called `j`, and gets a skeleton of its own in which the two entries are a pair.
            axes = list(parse_layout(tensor.layout).axes)
            axes[axes.index((word,))] = ("j",)
            layout = str(Layout(tuple(axes)))
            for pair in combinations(range(len(views.joints)), 2):
                if views.pairs != (pair,):
                    body = replace(tensor.entry.override, skeleton=replace(views, pairs=(pair,)), dims=())
                    names = f"{views.joints[pair[0]]} and {views.joints[pair[1]]} of axis {word} of {tensor.where}"
                    words = f"{names} exchanged (as `j` of a skeleton of views, `dims: []`)"
                    yield words, {(tensor.io, tensor.index): replace(tensor.entry, layout=layout, override=body)}


def joints_on_two_axes(resolved: ResolvedSpec) -> Iterator[tuple[str, Entries]]:
    """A free axis as long as the one of joints beside it, read as joints, too: of a covariance both sides swap."""
    for tensor in (*resolved.input_tensors, *resolved.output_tensors):
        if tensor.pose is None or not tensor.pose.body.pairs:
            continue
        layout, joints = tensor.pose.layout, len(tensor.pose.body.joints)
        if "d" in layout or ("j",) not in layout.axes or (tensor.pose.body.sign_table() < 0).any():
            continue
        for word, axis in tensor.free_axes:
            if word not in KEPT and tensor.shape[axis] == joints and not layout.has_joints_twice:
                axes = (*layout.axes[:axis], ("j",), *layout.axes[axis + 1 :])
                entry = replace(tensor.entry, layout=str(Layout(axes)))
                yield f"layout '{entry.layout}' of {tensor.where}", {(tensor.io, tensor.index): entry}


def _views(tensor: ResolvedTensor) -> dict[str, Skeleton]:
    """The axes of a tensor that views may lie along: a short one beside none of joints, or joints without coordinates
    that are a skeleton of this tensor alone.
    """
    if tensor.pose is None:
        return {}
    words, body = set(parse_layout(tensor.layout).words), tensor.entry.override
    if "j" in words:
        is_of_views = body.skeleton is not None and body.dims == () and _PEOPLE < len(body.skeleton.joints) <= _VIEWS
        return {"j": body.skeleton} if is_of_views and body.skeleton is not None else {}
    views = dict[str, Skeleton]()
    for word, count in _kept(tensor).items():
        if _PEOPLE < count <= _VIEWS and "d" not in words:
            names = tuple(f"entry {view}" for view in range(count))
            views[word] = Skeleton("views", names, (), ("x",), ())
    return views


def _kept(tensor: ResolvedTensor) -> dict[str, int]:
    """The axes of a tensor of poses that T leaves alone, with their sizes.

    None are samples, frames or colours: a picture is as well known with red and blue exchanged, and no mirror does it.
    """
    if tensor.pose is None:
        return {}
    axes = dict[str, int]()
    is_picture = bool(_PICTURE & set(parse_layout(tensor.layout).words))
    for word, axis in tensor.free_axes:
        is_colours = is_picture and word == _COLOURS
        if tensor.shape[axis] >= _PEOPLE and word not in KEPT and not is_colours:
            axes[word] = tensor.shape[axis]
    return axes


def free_as_mirrored(resolved: ResolvedSpec, numbers: Collection[int]) -> Iterator[tuple[str, Entries]]:
    """Inputs that are `free`, read like a mirrored input of the same shape; where there is none, as a pose.

    Before that as a number for each joint of another input, such as a mask of joints or of places around a body; and a
    few numbers as those of a side, which swap or are negated.
    numbers: the positions of inputs of floating-point numbers. Masks and indices have no signs.
    """
    mirrored = [tensor for tensor in resolved.input_tensors if tensor.kind in ("pose", "fields")]
    for tensor in resolved.input_tensors:
        if tensor.kind != "free":
            continue
        yield from _as_numbers_of_joints(tensor, mirrored)
        if tensor.index not in numbers:
            continue
        yield from _of_a_side(tensor)
        # Read as another input is, where one has its shape; only without such a one as a pose of its own.
        alike = [other for other in mirrored if other.shape == tensor.shape]
        for other in alike:
            layout = other.layout if other.kind == "pose" else other.entry.layout
            entry = replace(other.entry, layout=layout, name=tensor.entry.name, where=tensor.entry.where)
            yield f"{tensor.where} mirrored as {other.where} is", {("input", tensor.index): entry}
        if not alike:
            entry = TensorEntry(name=tensor.entry.name, where=tensor.entry.where)
            yield f"{tensor.where} as a pose", {("input", tensor.index): entry}


def _of_a_side(tensor: ResolvedTensor) -> Iterator[tuple[str, Entries]]:
    """A `free` input of one number or two a sample as one that names a side: which hand, which way to turn."""
    if len(tensor.shape) != 2 or not tensor.has_rows or tensor.shape[1] > _OF_A_SIDE:
        return
    where, entry = tensor.where, replace(tensor.entry, flag=None, layout=None)
    if tensor.shape[1] > 1:
        swapped = replace(entry, classes=Classes(swap=((0, 1),)))
        yield f"the two entries of {where} swapped (`classes: {{swap: [[0, 1]]}}`)", {("input", tensor.index): swapped}
    signs = Signs("", (-1,) * tensor.shape[1])
    words = f"{where} negated (`fields: [{{signs: {list(signs.signs)}}}]`)"
    yield words, {("input", tensor.index): replace(entry, fields=(signs,))}


def _as_numbers_of_joints(tensor: ResolvedTensor, mirrored: Sequence[ResolvedTensor]) -> Iterator[tuple[str, Entries]]:
    """A `free` input whose one axis is as long as the joints of a mirrored one, which change places."""
    for other in mirrored:
        if other.pose is None or not other.pose.body.pairs or "j" not in parse_layout(other.layout).words:
            continue
        # The one axis of that length but the first, which holds samples; of two nobody knows which is of joints.
        along = [axis for axis, size in enumerate(tensor.shape) if axis and size == len(other.pose.body.joints)]
        if len(along) == 1 and len(tensor.shape) <= len(_WORDS):
            words: list[str] = list(_WORDS[: len(tensor.shape)])
            words[along[0]] = "j"
            override = replace(other.entry.override, dims=(), negate=None, signs=None, quantity=None)
            name, where = tensor.entry.name, tensor.entry.where
            entry = TensorEntry(layout=" ".join(words), override=override, name=name, where=where)
            words_of_it = (
                f"{tensor.where} swapped as the joints of {other.where} are (`layout: {entry.layout}, dims: []`)"
            )
            yield words_of_it, {("input", tensor.index): entry}
