"""How lopsided data are: their mean against that of their mirror image, and whether one can tell the two apart.

The side of a sample: with o = (x - T x) / 2 averaged over free axes, w = (sum o o' + ridge)^-1 sum o is the direction
(Fisher's) that tells samples from mirrored ones best. It is found on one half of the samples, and the share with
w . o > 0 counted on the other, both ways. T turns the sign of o around, so that symmetric data give one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from chiralize.asymmetry.parts import distances, folded, summed
from chiralize.asymmetry.records import DataGap, Leaning
from chiralize.errors import UsageError
from chiralize.representation import TensorRepresentation
from chiralize.running import Arguments, Call, act
from chiralize.spec.resolution import ResolvedTensor
from chiralize.verdicts import Mirror

FEWEST = 40
RIDGE = 1e-2


def data_asymmetry(mirror: Mirror, inputs: Sequence[Call], *, most: int = 10) -> tuple[DataGap, ...]:
    """Entries of the inputs whose mean is furthest from the mean of their mirror image, in units of their spread."""
    found: list[DataGap] = []
    for index, representation in enumerate(mirror.inputs):
        tensors = [Arguments.of(*call).tensors[index] for call in inputs]
        if not tensors or not tensors[0].is_floating_point() or representation.is_trivial:
            continue
        count = sum(tensor.numel() for tensor in tensors)
        total = sum((summed(tensor.double(), representation) for tensor in tensors), torch.zeros(()))
        square = sum((summed(tensor.double().square(), representation) for tensor in tensors), torch.zeros(()))
        numbers = count / total.numel()
        mean = total / numbers
        spread = (square / numbers - mean.square()).clamp(min=0).sqrt()
        center = mirror.input_centers[index] if mirror.input_centers else None
        image = act(folded(representation), mean, center)
        for entry in ((mean - image).abs() > 0).nonzero().tolist():
            at = tuple(entry)
            figures = (float(mean[at]), float(image[at]), float(spread[at]))
            found.append(DataGap(mirror.label("input", index, at), *figures))
    return tuple(sorted(found, key=lambda own: -own.gap)[:most])


def leanings(
    mirror: Mirror,
    inputs: Sequence[Call],
    tensors: Sequence[ResolvedTensor],
    labels: Sequence[str] = (),
) -> tuple[Leaning, ...]:
    """How far all samples lean to one side, then those of every label, the furthest first.

    labels: one per sample, in order.  Inputs that the mirror leaves alone are
    left out; empty where all are.
    Raises UsageError where the number of labels is not that of the samples.
    """
    tensors_of = [Arguments.of(*call).tensors for call in inputs]
    bodies = [
        _Body(mirror, index, tensors[index], [own[index] for own in tensors_of])
        for index, representation in enumerate(mirror.inputs)
        if not representation.is_trivial and tensors_of[0][index].is_floating_point()
    ]
    if not bodies:
        return ()
    samples = len(bodies[0].means)
    if labels and len(labels) != samples:
        raise UsageError(
            "--labels", f"{len(labels)} labels, the data hold {samples} samples", "give one label per sample, in order"
        )
    everything = _leaning(None, bodies, torch.arange(samples))
    places: dict[str, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    by_label = [_leaning(label, bodies, torch.tensor(own)) for label, own in places.items()]
    return (everything, *sorted(by_label, key=lambda own: -own.gap))


class _Body:
    """One input of all samples: means over free axes by sample ("sample ..."), and those of squares."""

    def __init__(self, mirror: Mirror, index: int, own: ResolvedTensor, calls: Sequence[torch.Tensor]) -> None:
        self.tensor = own
        self.center = mirror.input_centers[index] if mirror.input_centers else None
        self.acting = self.representation = folded(mirror.inputs[index])
        batched = ("b", 0) in own.free_axes
        alone = [place for place, axis in enumerate(mirror.inputs[index].axes) if axis.is_trivial][batched:]

        def means(power: int) -> torch.Tensor:
            found = [call.double().cpu() ** power for call in calls]
            found = [call.mean(alone, keepdim=True) if alone else call for call in found]
            return torch.cat(found) if batched else torch.stack(found)

        self.means, self.squares = means(1), means(2)
        if not batched:
            one = TensorRepresentation.trivial((1,)).axes
            self.representation = TensorRepresentation(one + self.representation.axes, self.representation.sign)

    def odd(self, rows: torch.Tensor) -> torch.Tensor:
        """(x - T x) / 2 of the chosen samples, in units of the spread: "sample entry"."""
        own = self.means[rows]
        return ((own - act(self.representation, own, self.center)) / 2).flatten(1) / (self.spread(rows) or 1.0)

    def spread(self, rows: torch.Tensor) -> float:
        mean = self.means[rows].mean(0)
        return float((self.squares[rows].mean(0) - mean.square()).clamp(min=0).mean().sqrt())

    def apart(self, rows: torch.Tensor) -> tuple[float, float]:
        """Mean length of mean - T mean, and its RMS over the spread."""
        mean = self.means[rows].mean(0, keepdim=True)
        difference = mean - act(self.representation, mean, self.center)
        gap = float(difference.square().mean().sqrt()) / (self.spread(rows) or 1.0)
        own = difference if len(mean.shape) == len(self.tensor.shape) else difference[0]
        return float(distances(own, self.tensor, self.acting).mean()), gap


def _leaning(label: str | None, bodies: Sequence[_Body], rows: torch.Tensor) -> Leaning:
    apart, gap = max((body.apart(rows) for body in bodies), key=lambda own: own[1])
    return Leaning(label, len(rows), apart, gap, _side(torch.cat([body.odd(rows) for body in bodies], 1)))


def _side(odd: torch.Tensor) -> float | None:
    """Share of the samples that Fisher's direction of the other half tells from mirrored ones."""
    if len(odd) < FEWEST:
        return None
    half = len(odd) // 2
    right = 0
    for learned, judged in ((odd[:half], odd[half:]), (odd[half:], odd[:half])):
        energy = learned.T @ learned
        ridge = RIDGE * float(energy.trace()) / len(energy) or 1.0
        direction = torch.linalg.solve(energy + ridge * torch.eye(len(energy), dtype=odd.dtype), learned.sum(0))
        told = judged @ direction
        right += float((told > 0).sum()) + float((told == 0).sum()) / 2
    return right / len(odd)
