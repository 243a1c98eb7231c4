"""An array that does not fit an input: what it has, what the input has, and how to store it.

Shapes alone are compared, an array (500, 40, 17, 3) with an input (1, 81, 51): frames differ, and 17 x 3 = 51. The
first remedy that applies is given, those that need no guess about the meaning of axes before others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from chiralize.errors import DataFileError
from chiralize.errors.words import when

_JOINTS_AND_COORDINATES = 3
"""Axes of an array "sample joint coordinate"."""


def misfit(
    array: str, given: tuple[int, ...], wanted: tuple[int, ...], open_axes: Mapping[int, str], where: str
) -> DataFileError:
    """The error for an array of this shape for an input of that one.

    open_axes: axes of the input whose sizes nobody gave, and on which the network takes others; by their words.
    """
    shown = [open_axes.get(axis, str(size)) for axis, size in enumerate(wanted)]
    remedy = how_to_store(given, wanted, shown[1:])
    chosen = [f"{open_axes[axis]} = {wanted[axis]}" for axis in sorted(open_axes) if axis]
    if not chosen:
        return DataFileError(where, f"{array} has shape {given}, the model's input has {wanted}", remedy)
    facts = f"{array} has shape {given}, the model's input has ({', '.join(shown)}), chosen: {', '.join(chosen)}"
    return DataFileError(where, f"{facts}, since nobody said; others run as well", remedy)


def how_to_store(given: tuple[int, ...], wanted: tuple[int, ...], shown: Sequence[str]) -> str:
    """What to do with an array of this shape for a network that takes that one. shown: the sizes of a sample.

    >>> how_to_store((500, 40, 17, 3), (1, 81, 51), ("81", "51"))
    'merge its last two axes: array.reshape(-1, 40, 51), which is joint by joint'
    """
    sample = ", ".join(shown)
    if not wanted:
        return "store one number a sample: (sample,)"
    if len(wanted) == 1:
        return a_row(wanted)
    # The sizes of a sample in another order. Where two of them are the same, several permutations would do.
    if sorted(given[1:]) == sorted(wanted[1:]):
        order = ", ".join(str(given.index(size, 1)) for size in wanted[1:])
        is_only_one = len(set(wanted[1:])) == len(wanted[1:])
        moved = when(is_only_one, f", array.transpose(0, {order})") or _channels_moved(given[1:], wanted[1:])
        return f"put the axes in order: (sample, {sample}){moved}"
    # As many numbers in a sample, in other axes.
    numbers = prod(wanted[1:])
    if len(given) > 1 and prod(given[1:]) == numbers:
        sizes = ", ".join(map(str, wanted[1:]))
        remedy = f"write its samples as ({sizes}): array.reshape(-1, {sizes})"
        axes = when(len(given) == _JOINTS_AND_COORDINATES, ' (a layout "b (j d)" wants joints first, coordinates last)')
        return f"{remedy}, where its numbers are in the order that the network reads{axes}"
    if len(given) == len(wanted) + 1 and prod(given[-2:]) == wanted[-1]:
        sizes = ", ".join(map(str, (-1, *given[1:-2], wanted[-1])))
        return f"merge its last two axes: array.reshape({sizes}), which is joint by joint"
    if remedy := _but_for_one(given[1:], wanted[1:]):
        return remedy
    # Nothing in the shape recalls the network's sizes: samples of something else.
    if len(given) == len(wanted) and numbers not in given and not set(wanted[1:]) <= set(given):
        sizes = ", ".join(map(str, given[1:]))
        return f"give samples of the network's sizes, ({sample}): where samples are first, these have ({sizes})"
    # One axis too many in front: (sequence, time, ...) for a network that reads one step.
    if len(given) == len(wanted) + 1 and given[2:] == wanted[1:]:
        sizes, one_call = ", ".join(map(str, (-1, *given[2:]))), ",".join(map(str, given[1:]))
        single = f"store samples first: array.reshape({sizes})"
        return f"{single}; or, where the network reads a sequence in one call, time first, --input-shape {one_call}"
    return f"store samples first: (sample, {sample})"


def _channels_moved(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """How to move the channels of pictures whose other axes are as long, from the last axis or to it; else ""."""
    count = len(wanted)
    if count > 2 and given == (*wanted[1:], wanted[0]) and len(set(wanted[1:])) == 1:
        order = ", ".join(map(str, (count, *range(1, count))))
        return f", array.transpose(0, {order}) where its channels are last"
    if count > 2 and given == (wanted[-1], *wanted[:-1]) and len(set(wanted[:-1])) == 1:
        order = ", ".join(map(str, (*range(2, count + 1), 1)))
        return f", array.transpose(0, {order}) where its channels are first"
    return ""


def _but_for_one(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """The order of axes in which all sizes but one fit, as where a network takes any number of frames; else "".

    Of (17, 3, 40) for (81, 17, 3), 40 stands for the 81: the axes in order are (40, 17, 3). Clear only if no size of
    either occurs twice.
    """
    surplus, missing = list(given), list[int]()
    for size in wanted:
        if size in surplus:
            surplus.remove(size)
        else:
            missing.append(size)
    is_clear = len(wanted) > 2 and len(set(given)) == len(given) and len(set(wanted)) == len(wanted)
    if not (is_clear and len(missing) == len(surplus) == 1):
        return ""
    sizes = list(wanted)
    sizes[sizes.index(missing[0])] = surplus[0]
    if sizes == list(given):
        return f"axis {sizes.index(surplus[0]) + 1} has {surplus[0]}, where the network was run with {missing[0]}"
    order = ", ".join(str(given.index(size) + 1) for size in sizes)
    shown = ", ".join(map(str, sizes))
    return (
        f"put the axes in order: (sample, {shown}), array.transpose(0, {order}), if {surplus[0]} stands where the "
        f"network was run with {missing[0]}"
    )


def a_row(wanted: Sequence[int]) -> str:
    """How to store samples of one axis, for an input that has no batch."""
    return f"store a sample a row: (sample, {wanted[0]}), since one call takes one sample"
