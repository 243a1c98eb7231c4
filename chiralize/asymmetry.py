"""How lopsided a network and its data are as they stand; nothing is changed.

gap of an entry = RMS(f(x) - T f(T x)) / s,      s = RMS(f(x) - mean f) over the whole output
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch

from chiralize.representation import TensorRepresentation
from chiralize.running import Arguments, Call, Center, Runner, act, check_outputs, results
from chiralize.verdicts import Asymmetry, DataGap, EntryGap, Mirror, OutputGap


def asymmetry(module: torch.nn.Module, mirror: Mirror, inputs: Sequence[Call], *, most: int = 10) -> Asymmetry:
    """Gap of every output, and the entries where it is largest (along axes that the mirror leaves alone: RMS).

    inputs: calls (args, kwargs), each a batch.  States and integers among the outputs are left out.
    Raises ModelRunError, UsageError.
    """
    sums: dict[int, _Sums] = {}
    samples = 0
    with Runner(module) as runner:
        runner.stateful = bool(mirror.states) or bool(inputs and runner.notice_state(inputs[0]))
        for call in inputs:
            own = results(runner.run([call], mirror.states).steps[0])[0]
            turned = runner.run([mirror.turned(call)], mirror.states, turned=True)
            there = results(turned.steps[0])[0]
            check_outputs(own, mirror.outputs)
            for index, (a, b) in enumerate(zip(own, there, strict=True)):
                if index not in mirror.state_outputs and a.is_floating_point():
                    sums.setdefault(index, _Sums()).add(a, b, mirror.outputs[index], mirror.center_of(index))
            samples += own[0].shape[0] if own and own[0].ndim else 1
    outputs = tuple(OutputGap(index, found.gap, found.odd_share) for index, found in sums.items())
    entries = [
        EntryGap(mirror.label("output", index, entry), value)
        for index, found in sums.items()
        for entry, value in found.entries()
    ]
    return Asymmetry(outputs, tuple(sorted(entries, key=lambda own: -own.gap)[:most]), samples)


class _Sums:
    """Running sums of one output."""

    def __init__(self) -> None:
        self.rows = self.count = 0
        self.square = self.odd = 0.0
        self.apart: torch.Tensor | None = None
        self.total: torch.Tensor | None = None

    def add(
        self, own: torch.Tensor, turned: torch.Tensor, representation: TensorRepresentation, center: Center
    ) -> None:
        about = 0.0 if center is None else torch.from_numpy(center).to(own.device)
        a, there = own.double() - about, turned.double() - about  # counted from the centre, T is linear
        back, image = act(representation, there), act(representation, a)
        apart = _summed((a - back).square(), representation)
        self.apart = apart if self.apart is None else self.apart + apart
        self.odd += float(((a - image) / 2).square().sum())
        self.square += float(a.square().sum())
        a = a if a.ndim else a[None]
        self.total = a.sum(0) if self.total is None else self.total + a.sum(0)
        self.rows, self.count = self.rows + a.shape[0], self.count + a.numel()

    @property
    def scale(self) -> float:
        """RMS about the mean of each entry; about zero where the output is constant."""
        assert self.total is not None
        spread = self.square - float(self.total.square().sum()) / self.rows
        return sqrt((spread if spread > 1e-12 * self.square else self.square) / self.count)

    @property
    def gap(self) -> float:
        assert self.apart is not None
        return sqrt(float(self.apart.sum()) / self.count) / self.scale if self.scale else 0.0

    @property
    def odd_share(self) -> float:
        return self.odd / self.square if self.square else 0.0

    def entries(self) -> list[tuple[tuple[int, ...], float]]:
        assert self.apart is not None
        numbers = self.count / self.apart.numel()
        gaps = (self.apart / numbers).sqrt() / (self.scale or 1.0)
        return [(tuple(entry), float(gaps[tuple(entry)])) for entry in (gaps > 0).nonzero().tolist()]


def data_asymmetry(mirror: Mirror, inputs: Sequence[Call], *, most: int = 10) -> tuple[DataGap, ...]:
    """Entries of the inputs whose mean is furthest from the mean of their mirror image, in units of their spread."""
    found: list[DataGap] = []
    for index, representation in enumerate(mirror.inputs):
        tensors = [Arguments.of(*call).tensors[index] for call in inputs]
        if not tensors or not tensors[0].is_floating_point() or representation.is_trivial:
            continue
        count = sum(tensor.numel() for tensor in tensors)
        total = sum((_summed(tensor.double(), representation) for tensor in tensors), torch.zeros(()))
        square = sum((_summed(tensor.double().square(), representation) for tensor in tensors), torch.zeros(()))
        numbers = count / total.numel()
        mean = total / numbers
        spread = (square / numbers - mean.square()).clamp(min=0).sqrt()
        center = mirror.input_centers[index] if mirror.input_centers else None
        image = act(_folded(representation), mean, center)
        for entry in ((mean - image).abs() > 0).nonzero().tolist():
            at = tuple(entry)
            figures = (float(mean[at]), float(image[at]), float(spread[at]))
            found.append(DataGap(mirror.label("input", index, at), *figures))
    return tuple(sorted(found, key=lambda own: -own.gap)[:most])


def _summed(tensor: torch.Tensor, representation: TensorRepresentation) -> torch.Tensor:
    """Sum over the axes that the mirror leaves alone, kept with size 1."""
    alone = [place for place, axis in enumerate(representation.axes) if axis.is_trivial]
    return tensor.sum(alone, keepdim=True).cpu() if alone else tensor.cpu()


def _folded(representation: TensorRepresentation) -> TensorRepresentation:
    one = TensorRepresentation.trivial((1,)).axes[0]
    axes = tuple(one if axis.is_trivial else axis for axis in representation.axes)
    return TensorRepresentation(axes, representation.sign)
