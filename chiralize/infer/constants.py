"""Constants: how far the mirror changes them, and what leaves them alone.

A constant, unlike a weight, may not be changed: it limits what the mirror can be. Two questions are asked of its
numbers:

    deviation   T is known on all its axes: how far is c from T c? More than rounding is refused (`check_constants`).
    invariant   T is unknown on some axes: which values of the unknowns leave c alone? (`choosing.Constants`)

[[1, 1, 0], [1, 1, 1], [0, 1, 1]] says which of three joints in a row are neighbours. If T exchanges rows 0 and 2 and
the columns are unknown, `invariant` finds that it exchanges columns 0 and 2: to leave them alone would change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chiralize.symmetry import reynolds
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from chiralize.symmetry.symbolic import (
    Axis,
    SymbolicRepresentation,
    action_of,
    axis_size,
    evaluate,
    is_known,
    known_axis,
    signed,
    trivial,
    variables,
)

_MOST_TRIALS = 200
"""Combinations of values that are tried for the unknown axes of one constant."""


def deviation(tensor: torch.Tensor, rep: TensorRepresentation, partner: torch.Tensor | None = None) -> float:
    """Largest |c - T c| of a constant; values that differ by rounding only count as equal.

    partner: the constant that the mirror takes it to, where that is another one. Infinities, as masks hold them, and
    nan equal themselves alone; beside anything else they are infinitely far.
    """
    array, image, apart = _beside_image(tensor, rep, partner)
    # A constant that is symmetric to the bit needs no scale.
    if not apart.any():
        return 0.0
    left, right = array[apart], image[apart]
    if not (np.isfinite(left) & np.isfinite(right)).all():
        return float("inf")
    difference = np.abs(left - right)
    if tensor.is_floating_point() or tensor.is_complex():
        eps = torch.finfo(tensor.dtype).eps
    else:
        eps = 0.0
    # Rounding is judged against the entry itself or, for those near 0, against its row: a cosine of 90 degrees is
    # 6e-17.
    ground = np.broadcast_to(reynolds.ground(tensor.detach()).numpy(), array.shape)[apart]
    scale = np.maximum(np.maximum(np.abs(left), np.abs(right)), ground)
    if (difference > 4 * eps * scale).any():
        return float(difference.max())
    return 0.0


def largest_change(tensor: torch.Tensor, rep: TensorRepresentation, partner: torch.Tensor | None = None) -> str:
    """The entry that `deviation` is about in words: where it stands, what it is, and what the mirror brings there."""
    array, image, apart = _beside_image(tensor, rep, partner)
    with np.errstate(invalid="ignore"):
        distance = np.nan_to_num(np.where(apart, np.abs(array - image), 0.0), nan=np.inf)
    worst = np.unravel_index(int(distance.argmax()), array.shape)
    # T of the numbers 1, 2, 3, ... says of every entry where it comes from.
    sources = rep.act(1.0 + np.arange(array.size).reshape(array.shape))
    source = np.unravel_index(int(abs(sources[worst])) - 1, array.shape)
    position, origin = list(map(int, worst)), list(map(int, source))
    return f"{array[worst]:.3g} stands at {position}, {image[worst]:.3g} comes from {origin}"


def nearest(
    tensor: torch.Tensor, rep: TensorRepresentation, partner: torch.Tensor | None, actions: Sequence[SignedPermutation]
) -> TensorRepresentation:
    """Of the representations that change a constant the one that the fewest entries contradict.

    rep: as it was found, with axes left alone that nothing decided.  actions: what any axis may be as well.
    """
    choices: list[list[Representation]] = []
    # Every axis as it was found, or as some axis of the inputs or outputs of that size.
    for axis in rep.axes:
        choices.append([axis, *(Representation.of(action) for action in actions if action.size == axis.size)])
    trials = (replace(rep, axes=axes) for axes in islice(product(*choices), _MOST_TRIALS))
    changing = (trial for trial in trials if deviation(tensor, trial, partner) > 0)
    return min(changing, key=lambda trial: int(_beside_image(tensor, trial, partner)[2].sum()))


def beyond(whole: torch.Tensor, rep: TensorRepresentation) -> float:
    """As `deviation`, of what a constant was cut from along axes that the mirror leaves alone.

    whole: the constant before a slice cut it to the size of the examples, such as positions of 1000 frames. 0.0 where
    the mirror moves an axis that was cut, since T on its other entries is not known.
    """
    if len(rep.axes) != whole.ndim:
        return 0.0
    sizes = list(zip(rep.axes, whole.shape, strict=True))
    if any(axis.size != size and not axis.is_trivial for axis, size in sizes):
        return 0.0
    axes: list[Representation] = []
    for axis, size in sizes:
        axes.append(Representation.trivial(size) if axis.is_trivial else axis)
    return deviation(whole, replace(rep, axes=tuple(axes)))


def _beside_image(
    tensor: torch.Tensor, rep: TensorRepresentation, partner: torch.Tensor | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """A constant, its image under the mirror, and the places where they differ."""
    array = _wide(tensor)
    image = rep.act(array if partner is None else _wide(partner))
    return array, image, ~((array == image) | (np.isnan(array) & np.isnan(image)))


def _wide(tensor: torch.Tensor) -> npt.NDArray[np.generic]:
    """The numbers in double precision; truth values as 0 and 1, since numpy does not subtract them."""
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bool:
        return tensor.numpy().astype(float)
    return (tensor.to(torch.complex128) if tensor.is_complex() else tensor.double()).numpy()


def uniform(tensor: torch.Tensor) -> float | None:
    """The one number that a constant holds everywhere, or None."""
    if not tensor.numel() or tensor.is_complex():
        return None
    first = tensor.reshape(-1)[0]
    if not bool((tensor == first).all()):
        return None
    return float(first)


def equal(one: torch.Tensor, two: torch.Tensor) -> bool:
    """The same numbers in the same shape."""
    return one.dtype == two.dtype and one.shape == two.shape and bool(torch.equal(one, two))


def invariant(
    tensor: torch.Tensor, rep: SymbolicRepresentation, partner: torch.Tensor | None, known: Iterable[Axis]
) -> list[tuple[Axis, Axis]]:
    """A value for every unknown, the first that together leave the constant alone; empty where there are none.

    known: axes that occur in the network; the trivial one is tried first. A constant of which nothing is known is left
    to the hidden spaces: to leave all its axes alone would always fit.
    Returns pairs of an unknown and its value.
    """
    # The sign of the constant as a whole may be unknown as well.
    unknowns = list({var.id: var for var in (*variables(rep.axes), *variables((signed((), rep.sign),)))}.values())
    settled = (term for axis in rep.axes for term in axis if not any(variables(((term,),))) and term.size > 1)
    if not unknowns or (sum(not is_known(axis) for axis in rep.axes) > 1 and not any(settled)):
        return []
    known = [axis for axis in known if is_known(axis)]
    # An open axis may be joints x coordinates where the network has joints and coordinates merged: their factors count.
    known += [factor for axis in rep.axes if not is_known(axis) for factor in _factors(axis, known)]
    for values in islice(product(*(_candidates(var.size, known) for var in unknowns)), _MOST_TRIALS):
        chosen = {var.id: action_of(value, {}) for var, value in zip(unknowns, values, strict=True)}
        if deviation(tensor, evaluate(rep, chosen), partner) == 0:
            return [((var,), value) for var, value in zip(unknowns, values, strict=True)]
    return []


def _factors(axis: Axis, known: Iterable[Axis]) -> Iterator[Axis]:
    """The known axes of the same size, each cut into factors of the sizes that the terms of this axis have."""
    sizes = [axis_size((term,)) for term in axis]
    for other in known:
        if len(sizes) > 1 and axis_size(other) == prod(sizes):
            rest = action_of(other, {})
            # The first factor of each size is split off from the front, as views lay factors out.
            for size in sizes[:-1]:
                pair = rest.factor(size)
                if pair is None:
                    break
                head, rest = pair
                yield known_axis(head)
            else:
                yield known_axis(rest)


def _candidates(size: int, known: Iterable[Axis]) -> list[Axis]:
    """Representations of a size, the trivial one first."""
    if size == 1:
        return [(), signed((), -1)]
    seen: list[Axis] = [trivial(size)]
    for other in known:
        if other not in seen and axis_size(other) == size:
            seen.append(other)
    return seen
