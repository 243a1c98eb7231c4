"""What hidden units do on x and on T x, and what the outputs owe to them.

For every place where a weight reads a hidden space: second moments of the lifted units, even (a(x) + a(T x)) / sqrt 2
and odd (a(x) - a(T x)) / sqrt 2, and E[g g'], g the gradient of a random combination of the outputs with respect to
the value as this reader sees it. An error e in the units then changes the outputs by about e' E[g g'] e.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize import execution, reynolds
from chiralize.records import CapturedModel
from chiralize.reduction.groups import Place
from chiralize.representation import TensorRepresentation

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


def sensitivities(
    captured: CapturedModel,
    places: Sequence[Place],
    inputs: Sequence[TensorRepresentation | None],
    batches: Iterable[Sequence[Tensor]],
) -> list[Sensitivity]:
    """One for every place.  inputs: T on every input.  batches: inputs in the captured sizes."""
    found = [Sensitivity.zero(place.block.units) for place in places]
    generator = torch.Generator().manual_seed(0)
    for batch in batches:
        mirrored = [reynolds.act(x, rep) if rep else x for x, rep in zip(batch, inputs, strict=True)]
        wanted = {place.source for place in places}
        turned = {name: value for name, value in execution.run(captured, mirrored) if name in wanted}
        seen = _with_gradients(captured, batch, {(place.reader, place.source) for place in places}, generator)
        for place, own in zip(places, found, strict=True):
            value = seen[place.reader, place.source]
            back = place.block.turned(turned[place.source], place.rep, place.axis)
            if value.grad is None or back is None:
                continue
            plain = place.block.rows(value.detach(), place.axis)
            chosen = torch.randperm(len(plain), generator=generator)[:_ROWS]
            own.add(plain[chosen], back[chosen], place.block.rows(value.grad, place.axis)[chosen])
    return found


def _with_gradients(
    captured: CapturedModel, batch: Sequence[Tensor], wanted: set[tuple[str, str]], generator: torch.Generator
) -> Mapping[tuple[str, str], Tensor]:
    """The values as their readers see them, by (reader, value), with gradients of a random sum of the outputs."""
    values = execution.start(captured, [x.requires_grad_() if x.is_floating_point() else x for x in map(_own, batch)])
    seen: dict[tuple[str, str], Tensor] = {}
    with torch.enable_grad():
        for node in captured.nodes:
            view = dict(values)
            for ref in node.reads:
                if (node.name, ref.name) in wanted:
                    view[ref.name] = seen[node.name, ref.name] = values[ref.name].view_as(values[ref.name])
                    view[ref.name].retain_grad()
            values[node.name] = execution.evaluate(node, view)
        outputs = [values[name] for name in captured.outputs if name is not None]
        total = sum(
            (out * torch.randn(out.shape, generator=generator, dtype=out.dtype)).sum() / out.std().clamp_min(1e-30)
            for out in outputs if out.is_floating_point()
        )  # fmt: skip
        assert isinstance(total, Tensor)
        total.backward()
    return seen


def _own(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()
