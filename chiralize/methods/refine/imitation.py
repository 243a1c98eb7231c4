"""What a converted network is brought closer to, and the weights that may move: those that commute with the mirror.

    mean over calls, outputs and entries of  |g(x) - y(x)|^2 / variance of y

y is what the caller aims at: the original's answer to the inputs as they are, or the mean of both of its views. g
averages over both by construction, so either has the same minimum where the inputs are symmetric.

Gradient descent lowers |g(x) - y(x)| itself, not its square: in networks that read their own answers a few samples,
and the last frames, are off by many times more than the others, and would decide on every step.

`ready` makes a `Distance` and `Weights`; `gauss_newton` and `training` lower the one by moving the other. Answers of
all outputs lie in one row, each entry over the square root of (variance x entries x outputs), so that the distance is
the plain square of a difference of rows. With outputs of 51 and of 2 entries both count alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from chiralize.graph import processes
from chiralize.graph.mirror import ONE_UNIT
from chiralize.graph.running import Call, fresh, results
from chiralize.graph.tensors import number_count
from chiralize.graph.units import Units
from chiralize.methods.refine.arithmetic import Arithmetic
from chiralize.problem.earlier import symmetric_under
from chiralize.problem.result import WeightAction
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


class HasParameters(Protocol):
    """A network, or what computes as one from parameters of its own."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Its parameters, each with its name."""
        ...


class Weights:
    """The floating-point parameters of a network, by name. `with weights:` also those can be trained that were frozen.

    action: of the mirrors on them.
    """

    def __init__(self, module: HasParameters, action: WeightAction) -> None:
        self.action = action
        self.parameters = {
            name: parameter for name, parameter in module.named_parameters() if parameter.is_floating_point()
        }
        self.frozen = [parameter for parameter in self.parameters.values() if not parameter.requires_grad]

    def __enter__(self) -> Weights:
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        return self

    def __exit__(self, *error: object) -> None:
        for parameter in self.frozen:
            parameter.requires_grad_(False)

    @property
    def representations(self) -> list[TensorRepresentation | None]:
        """How the mirror acts on each parameter; None where nothing is claimed, or it takes it to another one."""
        known = self.action.on_itself
        return [known.get(name) for name in self.parameters]

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
        """The nearest tensors that every mirror leaves alone, for one tensor of each of some weights, by name.

        Weights of which nothing is claimed are left as they are. One that the mirror takes to another's place (of a
        left and a right branch) is averaged with that one, if it is among them.
        """
        symmetric = dict(values)
        with torch.no_grad():
            for name in values.keys() & self.action.hidden.keys():
                partner = values.get(self.action.exchanged.get(name, ""))
                projected = reynolds.project(values[name], self.action.hidden[name], partner)
                others = [other[name] for other in self.action.earlier]
                symmetric[name] = symmetric_under(projected, others)
        return symmetric


class Distance:
    """Squared distance of a network's answers from what is aimed at, in units of the aim's variance, by output.

    result: what the arguments of a call are given to.  calls: inputs that the variance is taken from.  outputs: those
    that count, by position.  units: of those that have several, each with a variance of its own.  squared: those
    among them whose errors are squared in training too. In a heatmap most cells are empty: absolute errors would empty
    all.
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
        units: Mapping[int, Units] | None = None,
    ) -> None:
        self.aim, self.result, self.outputs, self.squared = aim, result, outputs, squared
        self.units = [(units or {}).get(position, ONE_UNIT) for position in outputs]
        self.variances = self._spreads(calls)

    def computed_by(self, arithmetic: Arithmetic, aim: Aim) -> Distance:
        """The same distance in another arithmetic.  aim: the same, computed by it."""
        other = copy(self)
        other.arithmetic, other.aim = arithmetic, aim
        return other

    def _spreads(self, calls: Sequence[Call]) -> list[Tensor]:
        """The variance of every output, or of each of its units, to be broadcast to it."""
        sums: list[Tensor] = []  # count, sum and sum of squares of each, "kind entry"
        shifts: list[Tensor] = []
        with torch.no_grad():
            for call in calls:
                answers = [answer.double() for answer in self._aimed(call)]
                # Sums of squares about the first call's means: about 0 they would lose their digits where means are
                # large. All processes use those of the first one, or their sums could not be added.
                if not shifts:
                    shifts = [_means(units, answer) for units, answer in zip(self.units, answers, strict=True)]
                    processes.take_first(shifts)
                moments = [_moments(*parts) for parts in zip(self.units, answers, shifts, strict=True)]
                sums = [one + other for one, other in zip(sums, moments, strict=True)] if sums else moments
        processes.add_up(sums)
        variances: list[Tensor] = []
        for units, (count, total, square), shift in zip(self.units, sums, shifts, strict=True):
            # energy: about 0, which counts in place of the variance of a constant (a policy's spread beside its mean).
            # Over a variance of 0 its rounding would outweigh all other outputs.
            variance = (square - total**2 / count) / (count - 1).clamp_min(1)
            about = shift.flatten().cpu().reshape(total.shape)
            energy = (square + 2 * about * total) / count + about**2
            spread = units.squared_spread(variance, energy).clamp_min(1e-30)
            variances.append(units.shaped(spread, shift.ndim))
        return variances

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
            # Rows are scaled by 1 / sqrt(entries): a norm is a root mean square already, a sum needs that root again.
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
        """The network's answers, one scaled row for each output that counts."""
        args, kwargs = fresh(self.arithmetic.laid_out(call))
        with self.arithmetic.precision():
            given = results(self.result(*args, **kwargs))[0]
        return self._scaled([self.arithmetic.whole(given[position]) for position in self.outputs])

    def _aimed(self, call: Call) -> list[Tensor]:
        """What is aimed at, as it is, for each output that counts."""
        wanted = self.aim(call)
        return [wanted[position] for position in self.outputs]

    def _scaled(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Every output in a row, over the square root of (variance x entries x outputs)."""
        parts = zip(tensors, self.variances, strict=True)
        count = len(self.outputs)
        return [_flat(tensor, (variance * tensor.numel() * count) ** -0.5) for tensor, variance in parts]


def _flat(tensor: Tensor, factor: Tensor) -> Tensor:
    """The tensor times numbers that are broadcast to it, in one row."""
    return (tensor * factor.to(tensor)).flatten()


def _means(units: Units, answer: Tensor) -> Tensor:
    """The mean of an answer, or of every entry where these have several units; to be broadcast to it."""
    sums = units.summed(answer)
    return units.shaped(sums / (answer.numel() / sums.numel()), answer.ndim)


def _moments(units: Units, answer: Tensor, shift: Tensor) -> Tensor:
    """Count, sum and sum of squares about a shift, of all of an answer or of every entry: "kind entry"."""
    about = answer - shift
    return torch.stack([units.summed(values) for values in (torch.ones_like(about), about, about.square())]).cpu()
