"""Inputs of which some are mirror images of others: an input and its image are fitted together, or held out together.

An equivariant fit answers the image of an input as it answers the input. So an image of one that was fitted tells
nothing about inputs that were not, and a figure that is taken from images is too good: users who add the images of all
inputs behind them would be shown nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from chiralize.graph import processes
from chiralize.graph.rollouts import Steps
from chiralize.graph.running import Arguments, Call
from chiralize.problem.data.batches import ONE_IN
from chiralize.problem.data.cutting import in_common, in_order, rows_of
from chiralize.problem.network import Network
from chiralize.problem.stateful import mirror_of_calls

_MOST_NUMBERS = 1e8
"""Numbers of all inputs together; more are taken as they come."""
_NEAR = 1e-5
_SHARE = 0.02
"""Fewer images than this share of all inputs change no figure."""
_NEIGHBOURS = 100
"""Inputs whose first number may be as near by chance, of a million."""
_STEPS = 20
"""Steps that tell one sequence from another; there may be a million in all."""
_Keys = npt.NDArray[np.float64]
_View = Callable[[Call], Call]
Item = TypeVar("Item")
_Project = Callable[[Item, _View], _Keys]


def with_images_beside(network: Network, calls: Sequence[Call]) -> tuple[Sequence[Call], int]:
    """The inputs with every image behind what it is an image of, and how many images there are; as they are with none.

    Of processes that share the inputs each sees its own alone, and leaves them as they are.
    """
    sizes = list(map(rows_of, calls)) if network.has_rows else []
    ways = in_common(network, calls) if sizes else []
    if not ways or processes.count() > 1 or sum(sizes) * _numbers(calls[0]) / sizes[0] > _MOST_NUMBERS:
        return calls, 0
    order, images = _found(_Projections(ways[-1]).of_rows, calls, network)
    if not images:
        return calls, 0
    # Batches of one size that divides all others: cut anew, no sample is left over.
    return in_order(network, calls, gcd(*sizes), torch.tensor(order)), len(images)  # of a size that leaves none over


def with_mirrored_sequences_beside(network: Network, sequences: Sequence[Steps]) -> tuple[Sequence[Steps], int]:
    """The same of sequences; where those held out would begin with an image, its original is left out."""
    if processes.count() > 1 or sum(map(len, sequences)) * _numbers(sequences[0][0]) > _MOST_NUMBERS:
        return sequences, 0
    order, images = _found(_Projections(()).of_steps, sequences, network)
    # An image stands right behind its original. If the held-out part begins with one, its original would be fitted.
    first = len(order) - max(1, len(order) // ONE_IN)
    if order[first] in images:
        del order[first - 1]
    return [sequences[number] for number in order], len(images)


def _found(project: _Project[Item], items: Sequence[Item], network: Network) -> tuple[list[int], set[int]]:
    """The order in which images stand behind their originals, and which are images, by projections of all items."""
    plain: list[_Keys] = []
    turned: list[_Keys] = []
    mirror = mirror_of_calls(network)
    for item in items:  # read once: it may be on the disk
        plain.append(project(item, _as_it_is))
        turned.append(project(item, mirror.turned))
    return _beside(np.concatenate(plain), np.concatenate(turned))


def _as_it_is(call: Call) -> Call:
    """The view of a call that is not mirrored."""
    return call


class _Projections:
    """Two random numbers that inputs are known by: products with fixed directions.  common: tensors without samples."""

    def __init__(self, common: Sequence[int] | frozenset[int]) -> None:
        self.common = frozenset(common)
        self.directions: dict[tuple[int, int, int], torch.Tensor] = {}

    def of_rows(self, call: Call, view: _View) -> _Keys:
        """Of every sample as a view sees it, "sample 2"."""
        keys: _Keys = np.zeros((rows_of(call), 2))
        for index, tensor in enumerate(Arguments.of(*view(call)).tensors):
            if index not in self.common:
                keys += self._of(0, index, tensor.reshape(len(tensor), -1))
        return keys

    def of_steps(self, steps: Steps, view: _View) -> _Keys:
        """Of a sequence, "1 2", by steps from all over it."""
        keys: _Keys = np.zeros((1, 2))
        count = min(len(steps), _STEPS)
        for number in range(count):
            call = steps[number * len(steps) // count]
            for index, tensor in enumerate(Arguments.of(*view(call)).tensors):
                keys += self._of(number, index, tensor.reshape(1, -1))
        return keys

    def _of(self, step: int, index: int, rows: torch.Tensor) -> _Keys:
        """Projections "sample 2" of rows "sample number"; every step and tensor has directions of its own."""
        key = step, index, rows.shape[1]
        if key not in self.directions:
            drawn = torch.Generator().manual_seed(hash(key) % 2**31)
            self.directions[key] = torch.randn(rows.shape[1], 2, generator=drawn, dtype=torch.float64)
        return (rows.cpu().double() @ self.directions[key]).numpy()


def _numbers(call: Call) -> int:
    """How many numbers the tensors of a call hold."""
    return sum(tensor.numel() for tensor in Arguments.of(*call).tensors)


def _beside(plain: _Keys, turned: _Keys) -> tuple[list[int], set[int]]:
    """The order in which images stand behind their originals, and which are images; none where they are few.

    Near is meant in units of how far inputs are apart: numbers that are the same in all of them, and a few outliers,
    change nothing.
    plain, turned: projections "input 2" of the inputs and of their mirror images. Image and original are a pair whose
    second one, as it is, lies where the first one's mirror image does. Sorted by the first number, such a pair is found
    by a binary search, without comparing all with all.
    """
    finite = plain[np.isfinite(plain).all(1)]
    near = _NEAR * float(np.median(np.abs(finite - np.median(finite, 0)))) if len(finite) else 0.0
    by_first = np.argsort(plain[:, 0], kind="stable")
    first = np.searchsorted(plain[by_first, 0], turned[:, 0] - near)
    partners: dict[int, int] = {}
    # All inputs at once: each is compared with the first candidate behind its bound, then with the second, ...
    for ahead in range(_NEIGHBOURS):
        other = by_first[np.minimum(first + ahead, len(plain) - 1)]
        if not (plain[other, 0] <= turned[:, 0] + near).any():
            break
        fits = (np.abs(plain[other] - turned) <= near).all(1) & (other != np.arange(len(plain)))
        for number in np.flatnonzero(fits):
            one, image = int(number), int(other[number])
            if one not in partners and image not in partners:  # each input is in one pair
                partners[one], partners[image] = image, one
    if len(partners) < 2 * max(_SHARE * len(plain), 1):
        return list(range(len(plain))), set()
    order: list[int] = []
    images = set[int]()
    for number in range(len(plain)):
        partner = partners.get(number)
        if partner is None:
            order.append(number)
        elif number < partner:  # the earlier one of a pair is the original; the later one has been placed behind it
            order += [number, partner]
            images.add(partner)
    return order, images
