"""Inputs that a normaliser outside the network has scaled, number by number: T of them is no T of what they were.

    z = (x - m) / s      T z is the image of T x    if and only if    T m = m  and  s is the same for partners

Means and spreads of unmirrored data are not like that, nor are their least and largest numbers. A network behind them
is made equivariant for z, and what is deployed around it is not.

An example: x of the left wrist is 0.3 in the mean, of the right one -0.2. T m = m would want 0.25 and -0.25. After
x - m both are 0, and nothing shows that left and right were shifted by different amounts. Such scaling can only be
suspected, by what it leaves behind: `checks` remarks on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.symmetry.action import act

_OFF = 0.15
"""Means within this of 0 and spreads within this of 1 are those of standardised numbers."""
_SHORT, _BEYOND = 0.25, 1e-3
"""Numbers scaled to the range from -1 to 1: on both sides what is looked at is no shorter of it than this, and none is
further beyond."""
_SPREADS, _MIDDLE, _FAR, _UNLIKE = (0.3, 2.5), (0.6, 1.7), 3.0, (0.08, 0.06)
"""Numbers that were scaled by the statistics of others: every spread is within these bounds, the middle one within
narrower ones, no mean is so many spreads from 0, and means are further than this from their mirror images (RMS, in
spreads), spreads from those of their partners (RMS of the logarithm). Metres, pixels and angles have entries far from 0
and spreads of all sizes; those of real poses are within 0.04 of their partners'."""
_QUANTITIES, _ONE_SPREAD, _NEAR_0 = 5, (0.7, 1.3), 0.3
"""Among so many blocks are several units; all spreads within these bounds, and means so near 0 (in spreads),
come of a normaliser, also where a policy sees other places now than in training."""
_ENDS, _MIDDLE_END = (0.4, 1.2), 0.85
"""Numbers of as many units, all of which end so near -1 and 1, in the middle nearer, come of others' limits."""
_OFF_ONE = 0.02
_SHARE, _FEWEST, _LEAST = 0.9, 6, 100
"""So many of the numbers that T moves, and so many of them at least, in so many samples."""
_TOGETHER, _BY_CHANCE = 0.05, 1.6
"""Noise has such moments, too; the numbers of a body go together: their correlations are larger in the mean than this,
and than twice those of as much noise, sqrt(2 / pi n) each."""
_MOST = 4_000
_REMARK = (
    "warning: {} may have been scaled number by number outside the network: {}. The result is equivariant for these "
    "numbers; for what they were before, only where that step is symmetric: partners have one scale, and T leaves its "
    "centre alone. Put the step into the network (`--normalizer`, or a class around both), with what scales answers "
    "back, and convert that"
)


def standardised_remarks(resolved: ResolvedSpec, calls: Sequence[Call]) -> Iterator[str]:
    """A remark on every input that looks standardised, or scaled to the range from -1 to 1."""
    for tensor in resolved.input_tensors:
        if not calls:
            return
        numbers, images = _numbers(tensor, calls)
        how = _how_scaled(numbers, images, tensor.center is not None)
        if not how and len(tensor.entry.fields or ()) >= _QUANTITIES:
            how = _how_of_one_size(numbers, images)
        if how:
            yield _REMARK.format(tensor.where, how)


def _numbers(tensor: ResolvedTensor, calls: Sequence[Call]) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers that T moves and that vary, "sample number" in float64; means and spreads of their images, "2 number".

    The frames of a sample count as samples. No numbers where samples are few, or of other sizes than the example.
    """
    none = torch.zeros(0, 0), torch.zeros(2, 0)
    if tensor.representation is None or not (tensor.pose is not None or tensor.names):
        return none
    seen = [tensors(call)[tensor.index] for call in calls]
    if any(values.shape[1:] != tensor.shape[1:] or not values.is_floating_point() for values in seen):
        return none
    every = max(1, sum(map(len, seen)) // _MOST)
    values = torch.cat([values.detach()[::every].cpu() for values in seen]).double()
    free = [axis for _, axis in tensor.free_axes]
    body = [axis for axis in range(values.ndim) if axis not in free]
    if not free or not body or len(values) < _LEAST:
        return none
    # T on the numbers 1, 2, 3, ... of the entries says where each image comes from, and with which sign: -5 is entry 5,
    # negated. All three become "sample number": free axes first and together, those of the body behind.
    positions = torch.arange(1, prod(tensor.shape) + 1, dtype=torch.float64).view(tensor.shape)
    before, after, numbers = (
        each.permute(*free, *body).flatten(0, len(free) - 1).flatten(1)
        for each in (positions, act(positions, tensor.representation), values)
    )
    numbers = numbers[numbers.isfinite().all(1)]
    if len(numbers) < _LEAST:
        return none
    # Of the first row alone, since T does the same in all: before[0] is ascending, so that a search finds the column.
    partner, spreads = torch.searchsorted(before[0], after[0].abs()), numbers.std(0)
    images = torch.stack([after[0].sign() * numbers.mean(0)[partner], spreads[partner]])
    chosen = (before[0] != after[0]) & (spreads > 0) & (spreads[partner] > 0)
    return numbers[:, chosen], images[:, chosen]


def _how_scaled(numbers: torch.Tensor, images: torch.Tensor, is_affine: bool) -> str:
    """How nearly all of these numbers are scaled, in words; "" where they are not, are few, or are noise.

    images: the means and spreads of their mirror images.  is_affine: T mirrors some at another point than 0.
    """
    count = numbers.shape[1]
    if count < _FEWEST:
        return ""
    # 1. By their own statistics: every mean is 0 and every spread 1, or every range is from -1 to 1.
    is_standard = (numbers.mean(0).abs() < _OFF) & ((numbers.std(0) - 1).abs() < _OFF)
    ends = torch.stack([-numbers.amin(0), numbers.amax(0)])
    is_within = ((ends > 1 - _SHORT) & (ends < 1 + _BEYOND)).all(0) & (not _are_directions(numbers))
    for are_so, words in ((is_standard, "means of 0, spreads of 1"), (is_within, "each from -1 to 1")):
        if int(are_so.sum()) >= _SHARE * count and _go_together(numbers):
            return words
    # 2. By those of other data: about that, and partners differ. Not where T mirrors at another point, since `images`
    #    are those of a mirror at 0.
    if not is_affine and _are_scaled_by_others(numbers, images) and _go_together(numbers):
        return "spreads about 1 that partners do not share, means about 0 that are not each other's mirror images"
    return ""


def _are_scaled_by_others(numbers: torch.Tensor, images: torch.Tensor) -> bool:
    """Whether numbers look standardised by the means and spreads of other data, such as those of training."""
    means, spreads = numbers.mean(0), numbers.std(0)
    least, most = _SPREADS
    is_near = bool(((spreads > least) & (spreads < most) & (means.abs() < _FAR * spreads)).all())
    if not is_near or not _MIDDLE[0] < float(spreads.median()) < _MIDDLE[1]:
        return False
    of_means = _off_their_images(numbers, images)
    of_spreads = float((spreads / images[1]).log().square().mean().sqrt())
    return of_means > _UNLIKE[0] and of_spreads > _UNLIKE[1]


def _how_of_one_size(numbers: torch.Tensor, images: torch.Tensor) -> str:
    """How numbers of several units are of one size, in words; "" where they are not."""
    if numbers.shape[1] < _FEWEST or _are_directions(numbers):
        return ""
    if _are_of_one_spread(numbers):
        return "spreads about 1 of all of them, whatever their units"
    if _are_of_one_range(numbers, images):
        return "each about from -1 to 1, whatever their units, and partners unlike"
    return ""


def _are_of_one_range(numbers: torch.Tensor, images: torch.Tensor) -> bool:
    """Whether numbers of several units lie about between -1 and 1: scaled by least and largest ones of other data."""
    ends = torch.stack([-numbers.amin(0), numbers.amax(0)])
    least, most = _ENDS
    are_near = ((ends > least) & (ends < most)).all(0)
    if int(are_near.sum()) < _SHARE * numbers.shape[1] or float(ends.median()) < _MIDDLE_END:
        return False
    return _off_their_images(numbers, images) > _UNLIKE[0] and _go_together(numbers)


def _off_their_images(numbers: torch.Tensor, images: torch.Tensor) -> float:
    """How far means are from their mirror images: RMS, in spreads."""
    return float(((numbers.mean(0) - images[0]) / numbers.std(0)).square().mean().sqrt())


def _are_of_one_spread(numbers: torch.Tensor) -> bool:
    """Whether numbers of several units vary as far as each other, about 0."""
    means, spreads = numbers.mean(0), numbers.std(0)
    least, most = _ONE_SPREAD
    is_even = bool(((spreads > least) & (spreads < most) & (means.abs() < _NEAR_0 * spreads)).all())
    return is_even and _go_together(numbers)


def _are_directions(numbers: torch.Tensor) -> bool:
    """Whether numbers are unit vectors, or sines and cosines, which reach from -1 to 1 by themselves.

    Two, three or four of them are one after the other, or all first ones before all second ones.
    """
    for each in (2, 3, 4):
        if numbers.shape[1] % each == 0:
            # A unit vector has squares that add up to 1: x y z x y z, or x x y y z z.
            one_after_the_other = numbers.unflatten(1, (-1, each)).square().sum(2)
            first_ones_first = numbers.unflatten(1, (each, -1)).square().sum(1)
            for squares in (one_after_the_other, first_ones_first):
                if bool(((squares - 1).abs() < _OFF_ONE).double().mean() > _SHARE):
                    return True
    return False


def _go_together(numbers: torch.Tensor) -> bool:
    """Whether numbers are those of a body, and no noise."""
    together = torch.corrcoef(numbers.T).abs()
    count = len(together)
    # The mean of all correlations but those of numbers with themselves, of which there are `count`, each 1.
    least = max(_TOGETHER, _BY_CHANCE * len(numbers) ** -0.5)
    return float(together.sum() - count) > least * count * (count - 1)
