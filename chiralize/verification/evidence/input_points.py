"""Mirrors about the points that inputs lie about, beside the one that the specification gives.

A point that is a little wrong, W/2 of another picture or the half of its height, changes little: most of what the
network answers to T x is still the mirror image of f(x). So the gap stays below every bound, and the answers of an
average are off by what the network makes of inputs that are moved by twice the difference.

Two things lie about the right point where both sides are shown: the inputs, and what the network remembers of them in
training, in a normaliser or a first batch norm. Where one of them lies about another point than the given one, beyond
chance, T about that point is compared with T. Both may lie about another point under the right T, too, since faces may
stand on one side of all pictures. A network that was trained so, without mirrored copies, fits T about their mean, and
any other fits T: hence no more than a doubt comes of it (`judging`).

Example: faces in pictures of 640 columns lie about 319.6, the specification says 304, and the gap is 0.16 with T. With
T about 320 it is 0.08.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import filterfalse

import numpy as np
import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Call
from chiralize.problem.data.cutting import tensors
from chiralize.problem.data.moments.normalisers import input_moments
from chiralize.problem.network import Network
from chiralize.symmetry.action import Center
from chiralize.verification.evidence.off_center import means_away, rounded
from chiralize.verification.evidence.records import ABOUT_THE_MEAN, AT_A_POINT, Candidate

_FEWEST, _BLOCKS = 32, 16
"""Samples that a mean is taken of, and the parts of them, in order: frames beside each other are alike."""
_SURE, _BESIDE = 4.0, 0.1
"""How far a mean has to be from the given point, in its standard errors, and in the spread of what it is the mean of.
Under the right T nearer ones are common: of a thousand faces the mean is off by 0.03 spreads, of a running mean over
batches of eight by 0.08.
"""


def mirrors_about_means(network: Network, mirror: NetworkMirror, inputs: Sequence[Call]) -> Iterator[Candidate]:
    """T about other points: those that inputs of the network lie about, and did in its training.

    The point takes the place of the given one in all inputs and answers that are mirrored there. Poses that are further
    from it than they spread are left to `neighbours`: those refute T.

    mirror: T.  inputs: all real ones that there are, since a mean of few tells little.
    """
    for tensor, given, point, where in points_about_means(network, inputs):
        elsewhere = f"{AT_A_POINT} {point:g} {ABOUT_THE_MEAN}{where}) instead of {given:g}"
        yield Candidate(f"{coordinate_at(tensor, given)} {elsewhere}", about(mirror, given, point))


def points_about_means(network: Network, inputs: Sequence[Call]) -> Iterator[tuple[ResolvedTensor, float, float, str]]:
    """Those points: the input, the given point, the other one, and whose mean it is."""
    if not any(map(points_of, network.resolved.input_tensors)):
        return
    remembered = dict(_remembered_means(network))
    away = means_away(network.resolved, inputs)
    for tensor in network.resolved.input_tensors:
        far = {float(center) for dim, center in tensor.entry.reflect if (tensor.index, dim) in away}
        for given in filterfalse(far.__contains__, points_of(tensor)):
            means = {"of the inputs": _mean_beside(tensor, given, [tensors(call)[tensor.index] for call in inputs])}
            if (tensor.index, given) in remembered:
                means.update([remembered[tensor.index, given]])
            for where, mean in means.items():
                point = float(rounded(mean))
                if point != given:
                    yield tensor, given, point, where


def points_of(tensor: ResolvedTensor) -> list[float]:
    """The points other than 0 that T mirrors entries of a tensor at."""
    if tensor.center is None:
        return []
    return sorted({*tensor.center.flatten().tolist()} - {0.0})


def coordinate_at(tensor: ResolvedTensor, given: float) -> str:
    """What T mirrors at a point, by the last word of its labels: `x`; `coordinates` where these are several."""
    assert tensor.center is not None
    whole = np.broadcast_to(tensor.center, tensor.shape)
    words = {tensor.label(entry).rpartition(".")[2] for entry in np.argwhere(whole == given).tolist()}
    return words.pop() if len(words) == 1 else "coordinates"


def _mean_beside(tensor: ResolvedTensor, given: float, values: Sequence[torch.Tensor]) -> float:
    """The mean of all entries that T mirrors at a point, where it is another one beyond chance; else the point.

    values: the tensor in every call.
    """
    rows = torch.cat([torch.zeros(0).double(), *(_middles(tensor, given, value) for value in values)])
    if len(rows) < _FEWEST:
        return given
    mean, spread = float(rows.mean()), float(rows.std())
    # Samples that follow each other differ less than others: then the means of parts differ by more than chance.
    of_blocks = torch.stack([block.mean() for block in rows.tensor_split(_BLOCKS)])
    error = max(spread / len(rows) ** 0.5, float(of_blocks.std()) / _BLOCKS**0.5)
    is_beside = abs(mean) > _SURE * error and abs(mean) > _BESIDE * spread
    return given + mean if is_beside else given


def _middles(tensor: ResolvedTensor, given: float, values: torch.Tensor) -> torch.Tensor:
    """The mean of the entries that T mirrors at a point, from that point, of every sample that has any: a vector."""
    assert tensor.center is not None
    values = values.detach().double().cpu()
    centers = torch.from_numpy(tensor.center).broadcast_to(values.shape)
    counts = (centers == given) & values.isfinite() & (values != 0)  # 0 stands for missing joints
    apart = torch.where(counts, values - given, torch.zeros_like(values))
    samples = len(values) if tensor.has_rows else 1
    sums, count = (part.reshape(samples, -1).sum(1) for part in (apart, counts))
    return sums[count > 0] / count[count > 0]


def _remembered_means(network: Network) -> Iterator[tuple[tuple[int, float], tuple[str, float]]]:
    """What inputs that T mirrors at a point lay about in training, where that is another one.

    Their index and the point, then whose mean it is and the mean.
    """
    if network.captured is None:
        return
    for moments in input_moments(network.captured):
        tensor = network.resolved.input_tensors[moments.index]
        for given in points_of(tensor):
            assert tensor.center is not None
            counts = torch.from_numpy(tensor.center).broadcast_to(moments.mean.shape) == given
            counts &= moments.mean.isfinite() & moments.spread.isfinite()
            if counts.any():
                mean, spread = float(moments.mean[counts].mean()), float(moments.spread[counts].mean())
                if abs(mean - given) > _BESIDE * spread:
                    yield (tensor.index, given), (f"that {moments.name} remembers", mean)


def about(mirror: NetworkMirror, given: float, point: float) -> NetworkMirror:
    """T about another point, wherever it mirrors at the given one."""

    def moved(center: Center) -> Center:
        """The centre with the other point in the place of the given one."""
        return None if center is None else np.where(center == given, point, center)

    return replace(
        mirror,
        input_centers=tuple(map(moved, mirror.input_centers)),
        output_centers=tuple(map(moved, mirror.output_centers)),
    )
