"""Where negated coordinates of the inputs lie: about the point that T mirrors them at, or away from it, as in pictures.

In a picture of width W the mirror is W - x. Negated at 0, such a coordinate leaves the picture, and the network answers
to inputs that it has never seen: then mirrors fit better that do not negate it at all.

Example: x of all joints is between 200 and 440 in pictures of width 640, and no point is given. The mean, 320, is
further from 0 than the values spread: T x lies in pictures from -640 to 0. `means_away` says so, and the remedy is
`reflect: {x: W/2}`. `mirror_evidence` tries mirrors about the mean, and `wrong_mirror` names the remedy first.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch

from chiralize.body.tensors import ResolvedSpec
from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors

Means = dict[tuple[int, str], float]
_HALF, _ABOUT = 0.5, 0.1
"""Of numbers from 0 to 1 the middle is what they are mirrored at where their mean is about there."""
_PIXELS = 100.0
"""Means from so much on are rounded to whole numbers."""


def means_away(resolved: ResolvedSpec, calls: Sequence[Call]) -> Means:
    """Means of negated coordinates of the inputs, by input and dim: of those away from the point they are mirrored at.

    Away are those further from it than they spread, or all on one side of it.
    """
    means: Means = {}
    for tensor in resolved.input_tensors:
        for dim in negated(tensor):
            center = float(dict(tensor.entry.reflect).get(dim, 0))
            parts = [values_of(tensor, tensors(call)[tensor.index], dim).double().flatten() for call in calls]
            values = torch.cat(parts) if parts else torch.zeros(0)
            if is_away(values, center):
                means[tensor.index, dim] = _point(values)
    return means


def _point(values: torch.Tensor) -> float:
    """The point that values are likely mirrored at, to be tried: their mean, of shares of a box or a picture 1/2."""
    mean = float(values.mean())
    are_shares = bool(((values > -_ABOUT) & (values < 1.0 + _ABOUT)).all())
    return _HALF if are_shares and abs(mean - _HALF) < _ABOUT else mean


def rounded(mean: float) -> Fraction:
    """A mean as a point to be tried: in pixels a whole number, of shares and metres three digits."""
    return Fraction(round(mean)) if abs(mean) >= _PIXELS else Fraction(f"{mean:.3g}")


def is_away(values: torch.Tensor, center: float) -> bool:
    """Whether values, a vector of two and more, are further from a point than they spread, or all on one side of it."""
    if len(values) < 2:
        return False
    is_on_one_side = bool((values > center).all() or (values < center).all())
    return abs(float(values.mean()) - center) > float(values.std()) or is_on_one_side


def negated(tensor: ResolvedTensor) -> tuple[str, ...]:
    """The coordinates of poses that T negates; of other tensors, and of matrices, none."""
    if tensor.pose is None or tensor.pose.layout.has_matrices or tensor.pose.layout.axis_of("d") is None:
        return ()
    return tuple(dim for dim in tensor.pose.body.dims if dim in tensor.pose.body.negate)


def values_of(tensor: ResolvedTensor, values: torch.Tensor, dim: str) -> torch.Tensor:
    """One coordinate of all joints, whether coordinates have an axis or share it with the joints."""
    assert tensor.pose is not None
    axis = tensor.pose.layout.axis_of("d")
    assert axis is not None
    words = tensor.pose.layout.axes[axis]
    apart = values.unflatten(axis, tensor.pose.sizes_of(words))
    return apart.select(axis + words.index("d"), tensor.pose.body.dims.index(dim))


def off_center(resolved: ResolvedSpec, calls: Sequence[Call]) -> str:
    """What to look at first where inputs are not about the point that T mirrors them at, ending in `; then `; else "".

    >>> from chiralize.body.tensors import parse_spec, resolve
    >>> spec = parse_spec("{skeleton: h36m, inputs: [{layout: b j d, dims: [x, y]}], outputs: [{layout: b j d}]}")
    >>> resolved = resolve(spec, [(4, 17, 2)], [(4, 17, 3)])
    >>> off_center(resolved, [((torch.full((4, 17, 2), 320.0),), {})])[:54]
    'x of input 0 is 320 in the mean, and T mirrors it at 0'
    """
    for (index, dim), mean in means_away(resolved, calls).items():
        tensor = resolved.input_tensors[index]
        center = float(dict(tensor.entry.reflect).get(dim, 0))
        return (
            f"{dim} of {tensor.where} is {mean:.3g} in the mean, and T mirrors it at {center:g}: where its mirror is "
            f"W - {dim}, as in pictures, say `reflect: {{{dim}: W/2}}` of every tensor in these units, or centre it; "
            "then "
        )
    for tensor in resolved.input_tensors:
        if away := _fields_away(tensor, [tensors(call)[tensor.index] for call in calls]):
            return away
    return ""


def _fields_away(tensor: ResolvedTensor, values: Sequence[torch.Tensor]) -> str:
    """The same of numbers of fields that have a point to be mirrored at, "sample ... field"; "" where none lie away."""
    if tensor.kind != "fields" or tensor.center is None or tensor.name_axis is None or not values:
        return ""
    rows = torch.cat([value.movedim(tensor.name_axis, -1).flatten(0, -2) for value in values]).double()
    centers = torch.from_numpy(tensor.center).flatten()
    # All numbers that are mirrored at one point together: one of them may well lie on one side.
    for center in centers[centers != 0].unique().tolist():
        together = rows[:, centers == center].flatten()
        together = together[together.isfinite() & (together != 0)]  # 0 stands for missing joints
        if is_away(together, center):
            mean = float(together.mean())
            first = tensor.names[int((centers == center).nonzero()[0])]
            return (
                f"numbers of {tensor.where} that T mirrors at {center:g}, such as {first}, are {mean:.4g} in the mean: "
                "check that `reflect` names the middle of the picture or of the place; then "
            )
    return ""
