"""What a converted network is brought closer to, and the weights that may move: those that commute with the mirror.

    mean over calls, outputs and entries of  |g(x) - y(x)|^2 / variance of y

y is what the caller aims at: the original's answer to the inputs as they are, or the mean of both of its views. g
averages over both by construction, so either has the same minimum where the inputs are symmetric.

Gradient descent lowers |g(x) - y(x)| itself, not its square: in networks that read their own answers a few samples,
and the last frames, are off by many times more than the others, and would decide on every step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from chiralize.graph import processes
from chiralize.graph.running import Call, fresh, results
from chiralize.graph.tensors import number_count
from chiralize.methods.refine.arithmetic import Arithmetic
from chiralize.problem.earlier import symmetric_under
from chiralize.symmetry import reynolds
from chiralize.symmetry.representation import TensorRepresentation

Aim = Callable[[Call], Sequence[Tensor]]
"""All results that are wanted for a call, as tensors in order."""


def sizes_of(weights: Sequence[Tensor]) -> list[float]:
    """The root mean square of every weight, of which steps are shares; of one that is 0, and would never move, that of
    all weights together.
    """
    sizes = [float(weight.detach().double().square().mean().sqrt()) for weight in weights]
    squares = sum(size**2 * weight.numel() for size, weight in zip(sizes, weights, strict=True))
    usual = (squares / max(number_count(weights), 1)) ** 0.5
    return [size or usual for size in sizes]


class Weights:
    """The floating-point parameters of a network, by name. `with weights:` also those can be trained that were frozen.

    representations: how the mirror acts on them.  exchanged: those that it takes to another one.  earlier: how other
    mirrors act on them, which commute with it.
    """

    def __init__(
        self,
        module: nn.Module,
        representations: Mapping[str, TensorRepresentation],
        exchanged: Mapping[str, str],
        earlier: Sequence[Mapping[str, TensorRepresentation]] = (),
    ) -> None:
        self.earlier = earlier
        self.parameters = {
            name: parameter for name, parameter in module.named_parameters() if parameter.is_floating_point()
        }
        self.representations, self.exchanged = representations, exchanged
        self.frozen = [parameter for parameter in self.parameters.values() if not parameter.requires_grad]

    def __enter__(self) -> Weights:
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        return self

    def __exit__(self, *error: object) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(False)

    def copies(self) -> dict[str, Tensor]:
        """The weights as they are."""
        return {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Give the weights other values, and no gradients."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Begin anew to add up gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def projected(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One tensor for each of some weights, and the nearest that every mirror leaves alone."""
        symmetric = dict(values)
        with torch.no_grad():
            for name in values.keys() & self.representations.keys():
                partner = values.get(self.exchanged.get(name, ""))
                projected = reynolds.project(values[name], self.representations[name], partner)
                others = [other[name] for other in self.earlier]
                symmetric[name] = symmetric_under(projected, others)
        return symmetric


class Distance:
    """Squared distance of a network's answers from what is aimed at, in units of the aim's variance, by output.

    result: what the arguments of a call are given to.  calls: inputs that the variance is taken from.  outputs: those
    that count, by position.  squared: those among them whose errors are squared in training too. In a heatmap most
    cells are empty: absolute errors would empty all.
    The result computes as `arithmetic` says.
    """

    arithmetic = Arithmetic()

    def __init__(
        self,
        aim: Aim,
        result: Callable[..., Any],
        calls: Sequence[Call],
        outputs: Sequence[int],
        squared: Collection[int] = (),
    ) -> None:
        self.aim, self.result, self.outputs, self.squared = aim, result, outputs, squared
        self.variances = self._spreads(calls)

    def computed_by(self, arithmetic: Arithmetic, aim: Aim) -> Distance:
        """The same distance in another arithmetic.  aim: the same, computed by it."""
        other = copy(self)
        other.arithmetic, other.aim = arithmetic, aim
        return other

    def _spreads(self, calls: Sequence[Call]) -> list[float]:
        sums = torch.zeros(len(self.outputs), 3, dtype=torch.float64)
        shifts: list[Tensor] = []
        with torch.no_grad():
            for call in calls:
                answers = [answer.double() for answer in self._aimed(call)]
                if not shifts:
                    shifts = [answer.mean() for answer in answers]
                    processes.take_first(shifts)
                about = [answer - shift for answer, shift in zip(answers, shifts, strict=True)]
                sums_of_answers = [torch.stack([torch.ones_like(a).sum(), a.sum(), a.square().sum()]) for a in about]
                sums += torch.stack(sums_of_answers).cpu()
        processes.add_up([sums])
        return [max((square - total**2 / count) / max(count - 1, 1), 1e-30) for count, total, square in sums.tolist()]

    def answers(self, call: Call) -> Tensor:
        """The network's, in one row, scaled so that the square of what they are off by is `of`."""
        return torch.cat(self._answers(call))

    def targets(self, call: Call) -> Tensor:
        """What `answers` should be."""
        with torch.no_grad():
            return torch.cat(self._scaled(self._aimed(call)))

    def of(self, call: Call, targets: Tensor | None = None) -> Tensor:
        """The distance on one call.  targets: those of the call, where they are known."""
        return (self.answers(call) - (self.targets(call) if targets is None else targets)).square().sum()

    def error(self, call: Call, targets: Tensor) -> Tensor:
        """What gradient descent lowers: the mean of |g(x) - y(x)| over the standard deviation of y, by output, or the
        root of the mean of its square.
        """
        answers = self._answers(call)
        aims = targets.split([len(answer) for answer in answers])
        total = targets.new_zeros(())
        for position, answer, aim in zip(self.outputs, answers, aims, strict=True):
            off = answer - aim
            if position in self.squared:
                total = total + off.norm()
            else:
                total = total + off.abs().sum() * len(off) ** -0.5
        return total

    def on(self, calls: Sequence[Call], targets: Sequence[Tensor] = ()) -> float:
        """The mean over calls, of all processes.  targets: of the first calls, where they are known."""
        with torch.no_grad():
            total = sum(float(self.of(call, known)) for call, known in zip_longest(calls, targets))
        return processes.total(total) / processes.total(len(calls))

    def _answers(self, call: Call) -> list[Tensor]:
        args, kwargs = fresh(self.arithmetic.laid_out(call))
        with self.arithmetic.precision():
            given = results(self.result(*args, **kwargs))[0]
        return self._scaled([self.arithmetic.whole(given[position]) for position in self.outputs])

    def _aimed(self, call: Call) -> list[Tensor]:
        wanted = self.aim(call)
        return [wanted[position] for position in self.outputs]

    def _scaled(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        parts = zip(tensors, self.variances, strict=True)
        count = len(self.outputs)
        return [tensor.flatten() * (variance * tensor.numel() * count) ** -0.5 for tensor, variance in parts]
