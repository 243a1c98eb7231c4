"""Joint by joint or coordinate by coordinate: sizes do not tell, so the network is asked.

Two joints of two coordinates in one axis of 4 entries may be stored in two orders, with two different mirrors. Where
the joints are partners and x changes sign:

    (j d)   lx ly rx ry   ->  -rx  ry -lx  ly        entries 0 and 2 are exchanged and negated
    (d j)   lx rx ly ry   ->  -rx -lx  ry  ly        entries 0 and 1 are

`Search.first_by_order` asks for the order where sizes run that have several readings.

A network that learned something whose mirror is T answers T x nearly with T of its answer to x; under another order of
the same numbers the two have nothing in common.  Its answers are used to choose between readings of the same sizes,
never to approve of one: both verdicts are about the T that was chosen, and the choice is said.

Where the user has inputs, those are asked first: bodies and their mirror images are much alike under the right order,
and nothing alike under another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from math import prod

import torch
from torch import Tensor

from chiralize.body.tensors import ConversionSpec, ResolvedSpec, ResolvedTensor, TensorEntry, resolve
from chiralize.body.tensors.guess import fitting
from chiralize.errors import SpecError
from chiralize.problem.readings.trial import Arrange, Shape, Shapes, Trial
from chiralize.symmetry.action import act
from chiralize.symmetry.representation import TensorRepresentation

_SAMPLES = 32
"""Inputs on which answers are compared, at most."""
_LEAST_COMMON = 1.1
"""Gap, in spreads of the answers, above which they have nothing in common with their mirror images; noise is 1.4.

Two independent answers of spread s are sqrt(2) s apart in the mean square.
"""
_CLEARLY = 0.75
"""Share of the next reading's gap that the best one may have at most."""
_ALIKE = 0.5
"""Distance of the inputs' second moments from the mirrored ones', relative, above which they tell no order."""
_LEAST_SAMPLES = 8
"""The user's inputs are asked only where they are as many."""
_MOST_WAYS = 16
"""Ways to read all tensors at once that are tried; beyond, tensors with the same choices share one."""


@dataclass(frozen=True)
class Order:
    """A way to read all tensors that the user's inputs or the network's answers speak for. reason: why, in words."""

    spec: ConversionSpec
    resolved: ResolvedSpec
    reason: str


def ways_of(spec: ConversionSpec, shapes: Shapes, answers: Sequence[Shape]) -> list[ConversionSpec]:
    """The specification with a layout for every tensor that has none, in all ways that fit.

    Where these are more than 16, inputs with the same choices share one, and so do outputs; at most 16 of those.
    """
    if spec.inputs is not None:
        ins = spec.inputs
    else:
        ins = (TensorEntry(),) * len(shapes)
    if spec.outputs is not None:
        outs = spec.outputs
    else:
        outs = (TensorEntry(flag="invariant" if spec.invariant else None),) * len(answers)
    if len(ins) != len(shapes) or len(outs) != len(answers):
        return []
    tensors = [*zip(ins, shapes, strict=True), *zip(outs, answers, strict=True)]
    choices = [_entries(entry, shape, spec) for entry, shape in tensors]
    ways: list[ConversionSpec] = []
    for numbers in _numbers(choices, len(ins)):
        entries = tuple(entries[number] for entries, number in zip(choices, numbers, strict=True))
        # Without outputs in the specification, `invariant` stands on every entry already.
        way = replace(spec, inputs=entries[: len(ins)], outputs=entries[len(ins) :], invariant=False)
        # Each layout fits its tensor; `resolve` also looks at what the tensors say of each other.
        try:
            resolve(way, shapes, answers)
        except SpecError:
            continue
        ways.append(way)
    return ways


def _numbers(choices: Sequence[Sequence[TensorEntry]], inputs: int) -> Iterator[tuple[int, ...]]:
    """Which entry every tensor has, way by way.  choices: the entries of each, of the inputs first.

    Of three tensors with two orders each: (0, 0, 0), (0, 0, 1), ..., (1, 1, 1). Where all inputs share one choice,
    alike is [0, 0, 2] for two inputs and an output, and the ways are (0, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1).
    """
    alike = list(range(len(choices)))  # of every tensor the first one whose choice it shares, itself to begin with
    if prod(map(len, choices)) > _MOST_WAYS:
        kinds = list[tuple[bool, list[str | None]]]()
        for index, entries in enumerate(choices):
            kinds.append((index < inputs, [entry.layout for entry in entries]))
        alike = [kinds.index(kind) for kind in kinds]
    firsts = sorted(set(alike))
    for numbers in islice(product(*(range(len(choices[first])) for first in firsts)), _MOST_WAYS):
        of_first = dict(zip(firsts, numbers, strict=True))
        yield tuple(of_first[first] for first in alike)


def _entries(entry: TensorEntry, shape: Shape, spec: ConversionSpec) -> list[TensorEntry]:
    """An entry with each of the layouts that fit; itself where it has one, or is no pose."""
    if entry.kind != "pose" or entry.layout is not None:
        return [entry]
    poses = fitting(shape, entry.body(spec.skeleton), entry.override.dims is not None, "tensor")
    return [replace(entry, layout=str(pose.layout)) for pose in poses]


def ways_that_fit(
    ways: Sequence[ConversionSpec], shapes: Shapes, answers: Sequence[Shape], samples: Sequence[Tensor]
) -> tuple[list[ConversionSpec], str]:
    """The ways whose reading of the inputs the user's own speak for, and why, in words; all ways and "" where none.

    samples: "sample ..." of every input, or none.
    """
    if not samples:
        return list(ways), ""
    distances: dict[tuple[TensorRepresentation | None, ...], float] = {}
    read = [resolve(way, shapes, answers) for way in ways]
    for one in read:
        if None in one.inputs:
            return list(ways), ""
        # Ways that differ in their outputs alone have the same T on inputs. The worst input counts.
        if one.inputs not in distances:
            distances[one.inputs] = max(map(_distance, one.input_tensors, samples))
    if len(distances) < 2:
        return list(ways), ""
    best, following, *_ = sorted(distances.values())
    # Said with `not`, since a distance is infinite or nan where samples are zeros or not finite.
    if not best <= min(_ALIKE, _CLEARLY * following):
        return list(ways), ""
    fitting = [way for way, one in zip(ways, read, strict=True) if distances[one.inputs] == best]
    return fitting, (
        f"in the order that the calibration inputs fit: mirrored, their moments are {best:.2f} apart, "
        f"{following:.2f} in another order"
    )


def samples_of_inputs(samples: Sequence[Tensor], shapes: Shapes) -> list[Tensor]:
    """The user's samples of every input, in order; none where they are few, of other sizes, or could be several's."""
    if len(shapes) == 1:
        samples = [tensor for tensor in samples if _is_sample_of(tensor, shapes[0])]
    if len(samples) != len(shapes) or not all(map(_is_sample_of, samples, shapes)):
        return []
    return list(samples)


def _is_sample_of(samples: Tensor, shape: Shape) -> bool:
    """Whether samples, "sample ...", are enough and have the sizes of an input, but for the batch."""
    return tuple(samples.shape[1:]) == shape[1:] and len(samples) >= _LEAST_SAMPLES


def _distance(tensor: ResolvedTensor, samples: Tensor) -> float:
    """|M - M'| / |M| of the second moments M of samples, and M' of their mirror images; infinite where they are 0.

    With X of "sample entry", M = X^T X has entry x entry numbers. It is not formed: the products of samples give the
    same scalar products of moments, <X^T X, Y^T Y> = |X Y^T|^2 in Frobenius norms.
    |M| is the root mean square of |M| and |M'|, which are the same unless the mirror moves the origin.
    """
    values = samples.double()
    image = _turned([tensor], [values])[0]
    before, after = values.flatten(1), image.flatten(1)  # sample entry

    def together(one: Tensor, other: Tensor) -> float:
        """The scalar product of the moments of both."""
        return float((one @ other.T).square().sum())  # sample sample

    both = together(before, before) + together(after, after)
    # max(0, ...): |M|^2 + |M'|^2 - 2 <M, M'> is a square, but its rounded value may be just below 0.
    if not both > 0:
        return float("inf")
    return max(0.0, (both - 2 * together(before, after)) / (both / 2)) ** 0.5


def order_of(
    trial: Trial,
    arrange: Arrange,
    ways: Sequence[ConversionSpec],
    shapes: Shapes,
    answers: Sequence[Shape],
    samples: Sequence[Tensor] = (),
) -> Order | None:
    """The way that inputs and answers speak for; None where they speak for none, or for no one clearly.

    samples: the user's own inputs, "sample ..." of every one, or none.
    """
    ways, why_inputs = ways_that_fit(ways, shapes, answers, samples)
    resolved = [resolve(way, shapes, answers) for way in ways]
    if len(ways) == 1:
        return Order(ways[0], resolved[0], why_inputs)
    # The user's inputs come first where their order is known. What is drawn is used where answers to those do not
    # choose: noise is the same under both orders, so that it need not know them.
    inputs = [list(_drawn(resolved[0], trial.dtype))]
    if why_inputs:
        inputs.insert(0, list(_cut(samples, trial.dtype)))
    for drawn in inputs:
        gaps = _gaps(trial, arrange, resolved, drawn)
        if gaps is None:
            continue
        best, following, *_ = sorted(gaps)
        if best <= min(_LEAST_COMMON, _CLEARLY * following):
            index = gaps.index(best)
            reason = (
                f"in the order that its answers fit: mirrored, they are {best:.2f} of their spread apart, "
                f"{following:.2f} in another order"
            )
            return Order(ways[index], resolved[index], f"{why_inputs}; {reason}" if why_inputs else reason)
    return None


def _gaps(
    trial: Trial, arrange: Arrange, resolved: Sequence[ResolvedSpec], samples: Sequence[Sequence[Tensor]]
) -> list[float] | None:
    """How far the answers are from their mirror images under each reading; None where that cannot be measured.

    samples: of each, one tensor for every input, with a batch of one.
    """
    plain = _answers(trial, arrange, samples)
    if plain is None or any(None in (*one.inputs, *one.outputs) for one in resolved):
        return None
    turned: dict[tuple[TensorRepresentation | None, ...], list[Tensor]] = {}
    gaps: list[float] = []
    for one in resolved:
        if one.inputs not in turned:  # readings that differ in their outputs alone share one run on mirrored inputs
            mirrored = _answers(trial, arrange, [_turned(one.input_tensors, sample) for sample in samples])
            if mirrored is None:
                return None
            turned[one.inputs] = mirrored
        gap = _gap(one.output_tensors, plain, turned[one.inputs])
        if gap is None:
            return None
        gaps.append(gap)
    return gaps


def _cut(samples: Sequence[Tensor], dtype: torch.dtype) -> Iterator[list[Tensor]]:
    """The user's samples, one by one."""
    for row in range(min(_SAMPLES, *map(len, samples))):
        yield [tensor[row : row + 1].to(dtype) for tensor in samples]


def _drawn(resolved: ResolvedSpec, dtype: torch.dtype) -> Iterator[list[Tensor]]:
    """Inputs of single samples, the same in all frames: few movements are as wild as noise."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(_SAMPLES):
        tensors: list[Tensor] = []
        for tensor in resolved.input_tensors:
            sizes = list(tensor.shape)
            for word, axis in tensor.free_axes:
                if word == "t":
                    sizes[axis] = 1  # and expanded below: one pose in all frames
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
