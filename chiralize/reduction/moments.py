"""What hidden units do on x and on T x, and what the outputs owe to them.

For every place where a weight reads a hidden space: second moments of the lifted units, even (a(x) + a(T x)) / sqrt 2
and odd (a(x) - a(T x)) / sqrt 2, and E[g g'], g the gradient of a random combination of the outputs with respect to
the value as this reader sees it. An error e in the units then changes the outputs by about e' E[g g'] e.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize import execution, reynolds, sharing
from chiralize.blocks import Block, blocks
from chiralize.records import CapturedModel, RepMap
from chiralize.reduction import recurrent
from chiralize.reduction.sites import Site, sites_of
from chiralize.representation import TensorRepresentation
from chiralize.symbolic import SymbolicRepresentation, trivial

_ROOT = 0.5**0.5
_ROWS = 512


@dataclass
class Sensitivity:
    """Sums over samples at one reading place, "unit unit" each."""

    even: Tensor
    odd: Tensor
    metric: Tensor

    @staticmethod
    def zero(size: int) -> Sensitivity:
        return Sensitivity(*(torch.zeros(size, size, dtype=torch.float64) for _ in range(3)))

    def add(self, plain: Tensor, turned: Tensor, gradient: Tensor) -> None:
        """Take samples in, "sample unit" each."""
        even, odd = ((plain + sign * turned).double() * _ROOT for sign in (1, -1))
        self.even.addmm_(even.T, even)
        self.odd.addmm_(odd.T, odd)
        self.metric.addmm_(gradient.double().T, gradient.double())


Reading = tuple[str, str]  # the op that reads, and what it reads: a value, or `h3`, `x3` of its cell 3


@dataclass(frozen=True)
class _Place:
    """A stretch of what is read that carries one hidden space."""

    key: int
    reading: Reading
    axis: int
    block: Block
    rep: SymbolicRepresentation


def sensitivities(
    captured: CapturedModel,
    repmap: RepMap,
    inputs: Sequence[TensorRepresentation | None],
    batches: Iterable[Sequence[Tensor]],
) -> dict[int, list[Sensitivity]]:
    """By hidden space, one for every place that it is read at.

    inputs: T on every input.  batches: inputs in the captured sizes.
    """
    sites = sites_of(captured)
    places = list(_places(captured, repmap, sites))
    found = [Sensitivity.zero(place.block.units) for place in places]
    for number, batch in enumerate(batches):
        generator = sharing.generator(number)
        mirrored = [reynolds.act(x, rep) if rep else x for x, rep in zip(batch, inputs, strict=True)]
        with torch.no_grad():
            turned = _without_gradients(captured, mirrored, sites)
        plain, gradients = _with_gradients(captured, batch, sites, generator)
        for place, own in zip(places, found, strict=True):
            back = place.block.turned(turned[place.reading], place.rep, place.axis)
            if back is None:
                continue
            rows = place.block.rows(plain[place.reading], place.axis)
            chosen = torch.randperm(len(rows), generator=generator)[:_ROWS]
            own.add(rows[chosen], back[chosen], place.block.rows(gradients[place.reading], place.axis)[chosen])
    sharing.add_up([sums for own in found for sums in (own.even, own.odd, own.metric)])
    by_key: dict[int, list[Sensitivity]] = {}
    for place, own in zip(places, found, strict=True):
        by_key.setdefault(place.key, []).append(own)
    return by_key


def _places(captured: CapturedModel, repmap: RepMap, sites: Mapping[str, Site]) -> Iterator[_Place]:
    for reading, rep, axis in _readings(captured, repmap, sites):
        for space in repmap.spaces:
            for block in blocks(rep.axes[axis], space.key, {}) or []:
                yield _Place(space.key, reading, axis, block, rep)


def _readings(
    captured: CapturedModel, repmap: RepMap, sites: Mapping[str, Site]
) -> Iterator[tuple[Reading, SymbolicRepresentation, int]]:
    """What is read where, how it transforms, and along which axis."""
    for node in captured.nodes:
        if node.name in sites:
            site = sites[node.name]
            outputs = repmap.nodes.get(site.source) or (repmap.leaves.get(site.source),)
            if outputs[0] is not None:
                yield (node.name, site.source), outputs[0], site.out % len(outputs[0].axes)
        for number, cell in enumerate(recurrent.cells(node, captured)):
            batch, time = (node.shapes[0] or (0, 0))[:2]
            batch, time = (batch, time) if node.arguments["batch_first"] else (time, batch)
            for letter, axis in zip("xh", cell.axes(repmap)[1:], strict=True):
                rep = SymbolicRepresentation((trivial(batch), trivial(time), axis))
                yield (node.name, f"{letter}{number}"), rep, 2


def _without_gradients(
    captured: CapturedModel, inputs: Sequence[Tensor], sites: Mapping[str, Site]
) -> dict[Reading, Tensor]:
    values = execution.start(captured, inputs)
    seen: dict[Reading, Tensor] = {}
    for node in captured.nodes:
        if node.name in sites:
            seen[node.name, sites[node.name].source] = values[sites[node.name].source]
        cells = recurrent.cells(node, captured)
        for number, step in enumerate(recurrent.steps(node, cells, values) if cells else ()):
            seen[node.name, f"x{number}"], seen[node.name, f"h{number}"] = step.x, step.h
        values[node.name] = execution.evaluate(node, values)
    return seen


def _with_gradients(
    captured: CapturedModel, batch: Sequence[Tensor], sites: Mapping[str, Site], generator: torch.Generator
) -> tuple[dict[Reading, Tensor], dict[Reading, Tensor]]:
    """What is read where, and the gradients there of a random sum of the outputs."""
    own = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in batch]
    values = execution.start(captured, own)
    seen: dict[Reading, Tensor | list[Tensor]] = {}
    with torch.enable_grad():
        for node in captured.nodes:
            view = dict(values)
            if node.name in sites:
                source = sites[node.name].source
                view[source] = recurrent.watched(values[source])
                seen[node.name, source] = view[source]
            if recurrent.cells(node, captured):
                values[node.name], reads = recurrent.unrolled(node, view)
                for number, (given, recalled) in enumerate(reads):
                    seen[node.name, f"x{number}"], seen[node.name, f"h{number}"] = given, recalled
            else:
                values[node.name] = execution.evaluate(node, view)
        _random_sum([values[name] for name in captured.outputs if name is not None], generator).backward()
    plain = {reading: _stacked(items, Tensor.detach) for reading, items in seen.items()}
    gradients = {reading: _stacked(items, _gradient) for reading, items in seen.items()}
    return plain, gradients


def _stacked(items: Tensor | Sequence[Tensor], of: Callable[[Tensor], Tensor]) -> Tensor:
    """Something of one value; of a cell's steps, "batch feature" each, along time."""
    return of(items) if isinstance(items, Tensor) else torch.stack([of(item) for item in items], 1)


def _gradient(item: Tensor) -> Tensor:
    return torch.zeros_like(item) if item.grad is None else item.grad


def _random_sum(outputs: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    parts = [
        (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum() / out.detach().std().clamp_min(1e-30)
        for out in outputs if out.is_floating_point()
    ]  # fmt: skip
    return torch.stack(parts).sum()
