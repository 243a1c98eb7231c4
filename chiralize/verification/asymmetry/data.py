"""How asymmetric data are: their mean against that of their mirror image, and whether one can tell the two apart.

The side of a sample: with o = (x - T x) / 2 averaged over free axes, w = (sum o o' + ridge)^-1 sum o is the direction
(Fisher's) that tells samples from mirrored ones best. It is found on one half of the samples, and the share with
w . o > 0 counted on the other, both ways. T turns the sign of o around, so that symmetric data give one half.

Example: people who all carry a bag in the right hand. o holds how much lower the right hand is than the left; its sign
is the same in every sample, and the share is 1. Of people who carry it in either hand it is about 0.5.

`audit` takes `data_asymmetry` by entry and `leanings` by label; `advice` has the bound on the share.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import torch

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import UsageError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.asymmetry.parts import distances, folded, summed
from chiralize.verification.asymmetry.records import DataGap, Leaning

FEWEST = 40
"""Samples of which a side is told, half of them to learn the direction from."""
RIDGE = 1e-2
"""In mean squares of an entry of o: there may be more entries than samples."""
_LEAST_SPREAD = 0.25
"""A turn at one rate is far beyond it; a robot that stands a little askew, within."""


def data_asymmetry(mirror: NetworkMirror, inputs: Sequence[Call], *, most: int = 10) -> tuple[DataGap, ...]:
    """Entries of the inputs whose mean is furthest from the mean of their mirror image, in units of their spread."""
    sums: dict[int, _Moments] = {}
    for call in inputs:
        for index, tensor in enumerate(Arguments.of(*call).tensors):
            if tensor.is_floating_point() and not mirror.inputs[index].is_trivial:
                sums.setdefault(index, _Moments()).add(tensor, mirror.inputs[index])
    gaps: list[DataGap] = []
    for index, moments in sums.items():
        gaps += gaps_of(mirror, index, *moments.mean_and_spread())
    return largest(gaps, most)


def gaps_of(mirror: NetworkMirror, index: int, mean: torch.Tensor, spread: torch.Tensor) -> Iterator[DataGap]:
    """Entries of one input whose mean is not that of the mirror image.

    mean, spread: with size 1 along free axes. Of an entry that hardly varies, as of a robot that turns at one rate, the
    spread counts as a part of what is usual: the rounding of a constant is no side.
    """
    usual = spread[spread > 0].nanmedian() if bool((spread > 0).any()) else spread.new_zeros(())  # of one entry
    spread = spread.clamp_min(float(_LEAST_SPREAD * usual))
    center = mirror.input_centers[index] if mirror.input_centers else None
    # The mean of the mirror images is T of the mean, also for an affine T.
    image = act(mean, folded(mirror.inputs[index]), center)
    for entry in ((mean - image).abs() > 0).nonzero().tolist():
        at = tuple(entry)
        yield DataGap(mirror.label("input", index, at), float(mean[at]), float(image[at]), float(spread[at]))


def largest(gaps: Iterable[DataGap], most: int = 10) -> tuple[DataGap, ...]:
    """The largest gaps, in units of the spread."""
    return tuple(sorted(gaps, key=lambda entry: -entry.gap)[:most])


class _Moments:
    """Running sums of one input over all axes that the mirror leaves alone."""

    def __init__(self) -> None:
        self.count = 0
        self.total = self.square = torch.zeros(())

    def add(self, tensor: torch.Tensor, representation: TensorRepresentation) -> None:
        """Take the input of one call in."""
        numbers = tensor.double()
        self.count += numbers.numel()
        self.total = self.total + summed(numbers, representation)
        self.square = self.square + summed(numbers.square(), representation)

    def mean_and_spread(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of every entry, with size 1 along axes that the mirror leaves alone."""
        numbers = self.count / self.total.numel()
        mean = self.total / numbers
        return mean, (self.square / numbers - mean.square()).clamp(min=0).sqrt()


def leanings(
    mirror: NetworkMirror,
    inputs: Sequence[Call],
    tensors: Sequence[ResolvedTensor],
    labels: Sequence[str] = (),
) -> tuple[Leaning, ...]:
    """How far all samples together lean to one side, then those of every label, the furthest first.

    labels: one per sample, in order.  Inputs that the mirror leaves alone are left out; empty where all are.
    Raises UsageError where the number of labels is not that of the samples.
    """
    # Every input that the mirror moves, as means over free axes: one row for every sample of every call.
    bodies: dict[int, _Body] = {}
    for call in inputs:
        given = Arguments.of(*call).tensors
        for index, representation in enumerate(mirror.inputs):
            if not representation.is_trivial and given[index].is_floating_point():
                bodies.setdefault(index, _Body(mirror, index, tensors[index]))
        rows = next((len(given[index]) for index, body in bodies.items() if body.batched), 1)
        for index, body in bodies.items():
            body.add(given[index], rows)
    if not bodies:
        return ()
    bodies_of_inputs = list(bodies.values())
    samples = len(bodies_of_inputs[0].means)
    if labels and len(labels) != samples:
        raise UsageError(
            "--labels", f"{len(labels)} labels, the data hold {samples} samples", "give one label per sample, in order"
        )
    everything = _leaning(None, bodies_of_inputs, torch.arange(samples))
    # Then the samples of every label, by their rows.
    rows_of: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows_of.setdefault(label, []).append(row)
    by_label = [_leaning(label, bodies_of_inputs, torch.tensor(rows)) for label, rows in rows_of.items()]
    return (everything, *sorted(by_label, key=lambda leaning: -leaning.gap))


class _Body:
    """One input of all samples: means over free axes by sample ("sample ..."), and those of squares.

    free: positions of those axes; the batch is none of them.  representation: T on "sample ...", with size 1 along free
    axes.  acting: T on the input as it is given, likewise.  batched: its first axis counts samples.
    """

    def __init__(self, mirror: NetworkMirror, index: int, tensor: ResolvedTensor) -> None:
        self.tensor = tensor
        if mirror.input_centers:
            self.center = mirror.input_centers[index]
        else:
            self.center = None
        self.acting = self.representation = folded(mirror.inputs[index])
        self.batched = tensor.has_rows
        self.free = mirror.inputs[index].still_axes[self.batched :]
        self.parts: tuple[list[torch.Tensor], list[torch.Tensor]] = [], []  # of the means, and of the squares
        if not self.batched:
            one = TensorRepresentation.trivial((1,)).axes
            self.representation = TensorRepresentation(one + self.representation.axes, self.representation.sign)

    def add(self, call: torch.Tensor, rows: int) -> None:
        """Take the input of one call in. rows: its samples, which have the input in common if it has no batch axis."""
        numbers = call.double().cpu()
        for power, parts in zip((numbers, numbers.square()), self.parts, strict=True):
            mean = power.mean(self.free, keepdim=True) if self.free else power
            parts.append(mean if self.batched else mean.expand(rows, *mean.shape))  # "sample ..."

    @cached_property
    def means(self) -> torch.Tensor:
        """Means over free axes, "sample ..."."""
        return torch.cat(self.parts[0])

    @cached_property
    def squares(self) -> torch.Tensor:
        """Means of the squares over free axes, "sample ..."."""
        return torch.cat(self.parts[1])

    def odd(self, rows: torch.Tensor) -> torch.Tensor:
        """(x - T x) / 2 of the chosen samples, in units of the spread: "sample entry"."""
        means = self.means[rows]
        return ((means - act(means, self.representation, self.center)) / 2).flatten(1) / (self.spread(rows) or 1.0)

    def spread(self, rows: torch.Tensor) -> float:
        """RMS distance of the chosen samples from their mean, over all entries."""
        mean = self.means[rows].mean(0)
        return float((self.squares[rows].mean(0) - mean.square()).clamp(min=0).mean().sqrt())

    def apart(self, rows: torch.Tensor) -> tuple[float, float]:
        """How far the mean of the chosen samples is from its mirror image: mean length, and RMS over the spread."""
        mean = self.means[rows].mean(0, keepdim=True)
        difference = mean - act(mean, self.representation, self.center)
        gap = float(difference.square().mean().sqrt()) / (self.spread(rows) or 1.0)
        if len(mean.shape) != len(self.tensor.shape):
            difference = difference[0]
        return float(distances(difference, self.tensor, self.acting).mean()), gap


def _leaning(label: str | None, bodies: Sequence[_Body], rows: torch.Tensor) -> Leaning:
    """The figures of some samples: of the input with the widest gap; the side by all inputs together."""
    apart, gap = max((body.apart(rows) for body in bodies), key=lambda figures: figures[1])
    return Leaning(label, len(rows), apart, gap, _side(torch.cat([body.odd(rows) for body in bodies], 1)))


def _side(odd: torch.Tensor) -> float | None:
    """The share of the samples that Fisher's discriminant tells from mirrored ones, fitted on the other half of the
    samples.
    """
    if len(odd) < FEWEST:
        return None
    half = len(odd) // 2
    correct = 0.0
    # Learned and judged on different halves: with more entries than samples, some direction tells any samples apart.
    for learned, judged in ((odd[:half], odd[half:]), (odd[half:], odd[:half])):
        energy = learned.T @ learned  # "entry entry"
        ridge = RIDGE * float(energy.trace()) / len(energy) or 1.0
        direction = torch.linalg.solve(energy + ridge * torch.eye(len(energy), dtype=odd.dtype), learned.sum(0))
        side = judged @ direction  # "sample"; above 0 for a sample as it is, below for a mirrored one
        # A sample whose odd part is 0 is its own mirror image: half of a guess.
        correct += float((side > 0).sum()) + float((side == 0).sum()) / 2
    return correct / len(odd)
