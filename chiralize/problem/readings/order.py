"""Joint by joint or coordinate by coordinate: sizes do not tell, so the network is asked.

A network that learned something whose mirror is T answers T x nearly with T of its answer to x; under another order of
the same numbers the two have nothing in common.  Its answers are used to choose between readings of the same sizes,
never to approve of one: both verdicts are about the T that was chosen, and the choice is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

import torch
from torch import Tensor

from chiralize.body.tensors import ConversionSpec, ResolvedSpec, ResolvedTensor, TensorEntry, resolve
from chiralize.body.tensors.guess import fitting
from chiralize.errors import SpecError
from chiralize.problem.readings.trial import Arrange, Shape, Shapes, Trial
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation

_SAMPLES = 32
_LEAST_COMMON = 1.1
"""Gap, in spreads of the answers, above which they have nothing in common with their mirror images; noise is 1.4."""
_CLEARLY = 0.75
"""Share of the next reading's gap that the best one may have at most."""
_MOST_WAYS = 16


@dataclass(frozen=True)
class Order:
    """A way to read all tensors that the network's answers speak for. gap, next_gap: of it, and of the next best."""

    spec: ConversionSpec
    resolved: ResolvedSpec
    gap: float
    next_gap: float

    @property
    def reason(self) -> str:
        """Why it was chosen, in words."""
        return (
            f"in the order that its answers fit: mirrored, they are {self.gap:.2f} of their spread apart, "
            f"{self.next_gap:.2f} in another order"
        )


def ways_of(spec: ConversionSpec, shapes: Shapes, answers: Sequence[Shape]) -> list[ConversionSpec]:
    """The specification with a layout for every tensor that has none, in all ways that fit; at most 16."""
    if spec.inputs is not None:
        ins = spec.inputs
    else:
        ins = (TensorEntry(),) * len(shapes)
    if spec.outputs is not None:
        outs = spec.outputs
    else:
        outs = (TensorEntry(invariant=spec.invariant),) * len(answers)
    if len(ins) != len(shapes) or len(outs) != len(answers):
        return []
    tensors = [*zip(ins, shapes, strict=True), *zip(outs, answers, strict=True)]
    choices = [_entries(entry, shape, spec) for entry, shape in tensors]
    ways: list[ConversionSpec] = []
    for entries in islice(product(*choices), _MOST_WAYS):
        way = replace(spec, inputs=entries[: len(ins)], outputs=entries[len(ins) :], invariant=False)
        try:
            resolve(way, shapes, answers)
        except SpecError:
            continue
        ways.append(way)
    return ways


def _entries(entry: TensorEntry, shape: Shape, spec: ConversionSpec) -> list[TensorEntry]:
    """An entry with each of the layouts that fit; itself where it has one, or is no pose."""
    if entry.kind != "pose" or entry.layout is not None:
        return [entry]
    poses = fitting(shape, entry.body(spec.skeleton), entry.dims is not None, "tensor")
    return [replace(entry, layout=str(pose.layout)) for pose in poses]


def order_of(
    trial: Trial, arrange: Arrange, ways: Sequence[ConversionSpec], shapes: Shapes, answers: Sequence[Shape]
) -> Order | None:
    """The way that the network's answers speak for; None where they speak for none, or for no one clearly."""
    resolved = [resolve(way, shapes, answers) for way in ways]
    samples = list(_drawn(resolved[0], trial.dtype))
    plain = _answers(trial, arrange, samples)
    if plain is None or any(None in (*one.inputs, *one.outputs) for one in resolved):
        return None
    turned: dict[tuple[TensorRepresentation | None, ...], list[Tensor]] = {}
    gaps: list[float] = []
    for one in resolved:
        if one.inputs not in turned:
            mirrored = _answers(trial, arrange, [_turned(one.input_tensors, sample) for sample in samples])
            if mirrored is None:
                return None
            turned[one.inputs] = mirrored
        gap = _gap(one.output_tensors, plain, turned[one.inputs])
        if gap is None:
            return None
        gaps.append(gap)
    best, following, *_ = sorted(gaps)
    if best > min(_LEAST_COMMON, _CLEARLY * following):
        return None
    index = gaps.index(best)
    return Order(ways[index], resolved[index], best, following)


def _drawn(resolved: ResolvedSpec, dtype: torch.dtype) -> Iterator[list[Tensor]]:
    """Inputs of single samples, the same in all frames: few movements are as wild as noise."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(_SAMPLES):
        tensors: list[Tensor] = []
        for tensor in resolved.input_tensors:
            sizes = list(tensor.shape)
            for word, axis in tensor.free_axes:
                if word == "t":
                    sizes[axis] = 1
            drawn = torch.randn(sizes, generator=generator).to(dtype)
            tensors.append(drawn.expand(tensor.shape).contiguous())
        yield tensors


def _turned(tensors: Sequence[ResolvedTensor], values: Sequence[Tensor]) -> list[Tensor]:
    """T on every tensor, all of which have one."""
    turned: list[Tensor] = []
    for tensor, value in zip(tensors, values, strict=True):
        assert tensor.representation is not None
        turned.append(act(value, tensor.representation, tensor.center))
    return turned


def _answers(trial: Trial, arrange: Arrange, samples: Sequence[Sequence[Tensor]]) -> list[Tensor] | None:
    """The answers to all samples, "sample ...", of every output; None where the network fails."""
    rows: list[list[Tensor]] = []
    for sample in samples:
        answer = trial.values(sample, arrange)
        if answer is None:
            return None
        rows.append(answer)
    return [torch.cat(column).double() for column in zip(*rows, strict=True)]


def _gap(tensors: Sequence[ResolvedTensor], plain: Sequence[Tensor], mirrored: Sequence[Tensor]) -> float | None:
    """RMS(f(x) - T f(T x)) in spreads of f(x), the largest of all outputs; None where answers do not vary."""
    back = _turned(tensors, mirrored)
    largest = 0.0
    for before, after in zip(plain, back, strict=True):
        spread = float((before - before.mean(0)).square().mean())
        if not spread > 0:
            return None
        largest = max(largest, (float((before - after).square().mean()) / spread) ** 0.5)
    return largest
