"""How far the answers of a network are from commuting with the mirror; nothing is changed.

gap of an entry = RMS(f(x) - T f(T x)) / s,      s = RMS(f(x) - mean f) over the whole output
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch

from chiralize.body.tensors.resolution import ResolvedTensor
from chiralize.graph.mirror import Mirror
from chiralize.graph.running import Call, Runner, check_outputs, results
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.verification.asymmetry.parts import Parts, distances, parts_of, summed
from chiralize.verification.asymmetry.records import Asymmetry, EntryGap, OutputGap, PairGap
from chiralize.verification.asymmetry.spreads import Spreads


def asymmetry(
    module: torch.nn.Module,
    mirror: Mirror,
    inputs: Sequence[Call],
    tensors: Sequence[ResolvedTensor] = (),
    *,
    most: int = 10,
) -> Asymmetry:
    """Gap of every output, and the entries where it is largest (along axes that the mirror leaves alone: RMS).

    inputs: calls (args, kwargs), each a batch.  States and integers among the outputs are left out.
    tensors: what the outputs are; with them, the gap of every pair of joints or classes as well.
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
                    tensor = tensors[index] if tensors else None
                    sums.setdefault(index, _Sums(mirror, index, tensor)).add(a, b)
            samples += own[0].shape[0] if own and own[0].ndim else 1
    return Asymmetry(
        tuple(found.output() for found in sums.values()),
        tuple(sorted((own for found in sums.values() for own in found.entries()), key=lambda own: -own.gap)[:most]),
        samples,
        tuple(sorted((own for found in sums.values() for own in found.pairs()), key=lambda own: -own.gap)),
    )


class _Sums:
    """Running sums of one output."""

    def __init__(self, mirror: Mirror, index: int, tensor: ResolvedTensor | None) -> None:
        self.mirror, self.index, self.tensor = mirror, index, tensor
        self.representation: TensorRepresentation = mirror.outputs[index]
        self.parts: Parts | None = parts_of(tensor, self.representation) if tensor is not None else None
        self.rows = self.count = self.part_rows = self.changed = self.answers = 0
        self.square = self.odd = 0.0
        self.apart: torch.Tensor | None = None
        self.total: torch.Tensor | None = None
        self.lengths: torch.Tensor | None = None  # of the parts, and their squares
        self.spreads = Spreads()

    def add(self, own: torch.Tensor, turned: torch.Tensor) -> None:
        representation, center = self.representation, self.mirror.center_of(self.index)
        about = 0.0 if center is None else torch.from_numpy(center).to(own.device)
        a, there = own.double() - about, turned.double() - about  # counted from the centre, T is linear
        back, image = act(representation, there), act(representation, a)
        apart = summed((a - back).square(), representation)
        self.apart = apart if self.apart is None else self.apart + apart
        self.odd += float(((a - image) / 2).square().sum())
        self.square += float(a.square().sum())
        if self.tensor is not None:
            self._add_parts(a, back, self.tensor)
        a, there = (a, there) if a.ndim else (a[None], there[None])
        self.spreads.add(a, there)
        self.total = a.sum(0) if self.total is None else self.total + a.sum(0)
        self.rows, self.count = self.rows + a.shape[0], self.count + a.numel()

    def _add_parts(self, own: torch.Tensor, back: torch.Tensor, tensor: ResolvedTensor) -> None:
        found = distances(own - back, tensor, self.representation)
        sums = torch.stack([found.sum(0), found.square().sum(0)]).cpu()
        self.lengths = sums if self.lengths is None else self.lengths + sums
        self.part_rows += len(found)
        if tensor.kind in ("invariant", "classes") and own.ndim and own.shape[-1] > 1:
            other = own.argmax(-1) != back.argmax(-1)
            self.changed, self.answers = self.changed + int(other.sum()), self.answers + other.numel()

    @property
    def scale(self) -> float:
        """RMS about the mean of each entry; about zero where the output is constant."""
        assert self.total is not None
        spread = self.square - float(self.total.square().sum()) / self.rows
        return sqrt((spread if spread > 1e-12 * self.square else self.square) / self.count)

    def output(self) -> OutputGap:
        assert self.apart is not None
        gap = sqrt(float(self.apart.sum()) / self.count) / self.scale if self.scale else 0.0
        odd_share = self.odd / self.square if self.square else 0.0
        apart = 0.0 if self.lengths is None else float(self.lengths[0].mean()) / self.part_rows
        changed = self.changed / self.answers if self.answers else None
        return OutputGap(self.index, gap, odd_share, apart, changed, self.spreads.result())

    def entries(self) -> list[EntryGap]:
        assert self.apart is not None
        numbers = self.count / self.apart.numel()
        gaps = (self.apart / numbers).sqrt() / (self.scale or 1.0)
        found = [(tuple(entry), float(gaps[tuple(entry)])) for entry in (gaps > 0).nonzero().tolist()]
        return [EntryGap(self.mirror.label("output", self.index, entry), gap) for entry, gap in found]

    def pairs(self) -> list[PairGap]:
        if self.parts is None or self.lengths is None:
            return []
        owner = torch.tensor(self.parts.owner)
        sums = torch.zeros(2, len(self.parts.labels), dtype=torch.float64).index_add_(1, owner, self.lengths)
        rows = owner.bincount(minlength=len(self.parts.labels)) * self.part_rows
        apart, square = sums / rows
        gaps = (square / self.parts.numbers).sqrt() / (self.scale or 1.0)
        named = zip(self.parts.labels, apart.tolist(), gaps.tolist(), strict=True)
        several = len(self.mirror.outputs) - len(self.mirror.state_outputs) > 1
        prefix = f"output {self.index} " if several else ""
        return [PairGap(prefix + label, *figures) for label, *figures in named]
