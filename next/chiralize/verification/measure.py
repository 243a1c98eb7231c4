"""How did a conversion change the answers, and does the result still tell left from right?

    figures(network, result, repmap).measured.rho     0.62: nearer to the flip average than the original was
    figures(network, result, repmap).degeneracy       odd shares of 0.31 before and 0.30 after

Original and result are run in both views on the same inputs; `gaps` adds everything up and has the formulas. Methods
order their drafts by these figures, and commands hold a result to bounds on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from chiralize.errors import ModelRunError
from chiralize.graph.run import Arguments, Call, Runner, check_count, placed, random_calls, random_tensor, results
from chiralize.infer.records import RepMap
from chiralize.problem.inputs import Inputs
from chiralize.problem.mirror import NetworkMirror, mirror_at_rest, mirror_if_known
from chiralize.problem.network import Network
from chiralize.problem.sequences import Steps, roll
from chiralize.verification.gaps import Sums
from chiralize.verification.verdicts import Degeneracy, Measured

_RANDOM, _FEWEST = 16, 4
"""Random calls where there are no other inputs, and the fewest of a costly network."""
_WORK = 2e10
"""Multiplications to spend on figures from random calls."""
_WORK_HELD, _FEWEST_HELD, _MOST_HELD = 2e11, 64, 2_000
"""The same of held-out inputs: multiplications, and samples. 2,000 samples give rho to two percent."""
_ROWS = 32
"""Samples of a call: what a processor takes at once with little memory."""
_SEQUENCES = 16
"""Sequences that are held out, at most: each is run three times for every draft."""
_WITNESSES = 4
"""Random calls that a network is run on beside its own flip average, the same whenever it is asked."""
_DRAWS = 2
"""Random combinations of the outputs whose gradients are taken; the larger reaction counts."""
_DEAD, _ALIVE = 1e-7, 1e-4
"""Of the largest reaction to any entry: an entry with less is ignored, and one with more is reacted to."""


@dataclass(frozen=True)
class Figures:
    """Drift and degeneracy of a draft, both None where nobody knows T on the original's states."""

    measured: Measured | None = None
    degeneracy: Degeneracy | None = None

    @property
    def rho(self) -> float:
        """rho of the worst output, 0 where nothing was measured."""
        return (self.measured.rho or 0.0) if self.measured is not None else 0.0


def figures(
    network: Network,
    result: nn.Module,
    repmap: RepMap | None,
    *,
    is_average: bool = False,
    forced: Sequence[str] = (),
    zeroed: Sequence[str] = (),
    inputs: Inputs | None = None,
) -> Figures:
    """Figures of a result on inputs that are held out, else on random ones; empty where T on the original's states is
    not known.

    repmap: what inference found of the original.  forced, zeroed: of `Degeneracy`.  inputs: the user's.
    Raises ModelRunError, UsageError.
    """
    mirror = mirror_if_known(network, repmap) or mirror_at_rest(network)
    if mirror is None:
        return Figures()
    if inputs is not None:
        source, kind = inputs.source, "given" if inputs.given is not None else "poses"
        most = network.affordable(_WORK_HELD, _FEWEST_HELD, _MOST_HELD)
        calls = [] if inputs.sequences else inputs.measured(_ROWS, most)
        sequences = inputs.held_sequences[:_SEQUENCES]
    else:
        source, kind, sequences = str(network.around), "noise", ()
        calls = _drawn(network, network.affordable(_WORK / network.rows, _FEWEST, _RANDOM))
    runs: list[Steps] = [[call] for call in calls]
    measured, degeneracy = measure(network, mirror, [*runs, *sequences], result, is_average=is_average)
    measured = replace(measured, source=source, kind=kind)
    return Figures(measured, replace(degeneracy, forced=tuple(forced), zeroed=tuple(zeroed)))


def on_random_inputs(network: Network, mirror: NetworkMirror) -> Figures:
    """A network against its own flip average, on random inputs that are the same whenever it is asked."""
    measured, degeneracy = measure(network, mirror, [[call] for call in _drawn(network, _WITNESSES)], network.module)
    return Figures(replace(measured, source=str(network.around)), degeneracy)


def with_dead_inputs(network: Network, result: nn.Module, repmap: RepMap | None, measured: Figures) -> Figures:
    """The figures with the entries that only the original reacts to; networks without a gradient are not asked."""
    mirror = mirror_if_known(network, repmap)
    if mirror is None or measured.degeneracy is None:
        return measured
    (call,) = _drawn(network, 1)
    before, after = (_reactions(module, mirror, call) for module in (network.module, result))
    dead, live = _dead(before, after, mirror)
    return replace(measured, degeneracy=replace(measured.degeneracy, dead_inputs=dead, live_inputs=live))


def measure(
    network: Network,
    mirror: NetworkMirror,
    sequences: Sequence[Steps],
    result: nn.Module | None = None,
    *,
    is_average: bool = False,
) -> tuple[Measured, Degeneracy]:
    """Gaps of an original, and the drift of a result from its flip average, along sequences of one call or more.

    Each begins with the stored states; what a call hands to the next is each network's. Outputs that are states or
    integers are left out.  is_average: the result takes the states of both views.  Raises ModelRunError, UsageError.
    """
    sums: dict[int, Sums] = {}
    samples = 0
    with Runner(network.module) as first, Runner(result if result is not None else network.module) as second:
        for steps in sequences:
            plain = _along(network, first, steps, mirror)
            turned = _along(network, first, steps, mirror, turned=True)
            theirs = _along(network, second, steps, mirror, of_both=is_average) if result is not None else plain
            for ours, image, answers in zip(plain, turned, theirs, strict=True):
                check_count("the results", ours, mirror.outputs)
                check_count("the results", answers, mirror.outputs)
                samples += mirror.samples_in(ours)
                for index, answer in enumerate(ours):
                    if index not in mirror.state_outputs and (answer.is_floating_point() or answer.is_complex()):
                        of_output = sums.setdefault(index, Sums(mirror, index, _units(network, index)))
                        of_output.add(answer, image[index], answers[index] if result is not None else None)
    outputs = {index: of_output.figures() for index, of_output in sums.items()}
    odd = [outputs[index].odd if index in outputs else (0.0, 0.0) for index in range(len(mirror.outputs))]
    degeneracy = Degeneracy(tuple(before for before, _ in odd), tuple(after for _, after in odd))
    return Measured(tuple(outputs.values()), "noise", samples), degeneracy


def _units(network: Network, index: int) -> list[int]:
    """The block that every entry along the last axis of an output belongs to, each of which has a unit of its own.

    Empty where blocks lie along another axis, or there is one.
    """
    tensor = network.resolved.outputs[index]
    if len(tensor.parts) < 2 or tensor.name_axis != len(tensor.shape) - 1:
        return []
    groups = [-1] * tensor.shape[-1]
    for number, (_, positions) in enumerate(tensor.parts):
        for entry in range(*positions.indices(len(groups))):
            groups[entry] = number
    return groups


def _drawn(network: Network, count: int) -> list[Call]:
    """Random calls in the shapes of the example, where inputs of the network lie; integers are as they are there."""
    calls = random_calls(Arguments.of(*network.example), count, 1)
    return [placed(call, network.around) for call in calls]


def _along(
    network: Network,
    runner: Runner,
    steps: Steps,
    mirror: NetworkMirror,
    *,
    turned: bool = False,
    of_both: bool = False,
) -> list[list[Tensor]]:
    """The answers to consecutive calls x from the stored states s, or to T x from T s where `turned`.

    of_both: what is run takes the states of both views, side by side.
    """
    if len(steps) > 1 and network.carried.handed:
        sizes = _of_both if of_both else tuple
        rolled = roll(runner, steps, network.carried, mirror.turned if turned else None, sizes)
        return [call.answers for call in rolled]
    calls = [mirror.turned(call) for call in steps] if turned else steps
    return [results(step)[0] for step in runner.run(calls, mirror.states if turned else None, turned=turned).steps]


def _of_both(shape: Sequence[int]) -> Sequence[int]:
    """The sizes of a state of both views."""
    return (*shape[:-1], 2 * shape[-1])


# ---- dead inputs -----------------------------------------------------------------------------------------------------
def _reactions(module: nn.Module, mirror: NetworkMirror, call: Call) -> dict[int, Tensor]:
    """The largest gradient of random combinations of the outputs by every entry of every floating-point input.

    Axes that the mirror leaves alone (batch, frame) have size 1. Empty where the network has no gradient.
    y = 2 x[0] + 0 x[1] has the reactions (2 |r|, 0), r being the random number that y was multiplied with.
    """
    arguments, generator = Arguments.of(*call), torch.Generator().manual_seed(0)
    tensors = [
        tensor.detach().clone().requires_grad_() if tensor.is_floating_point() else tensor
        for tensor in arguments.tensors
    ]
    asked = {index: tensor for index, tensor in enumerate(tensors) if tensor.requires_grad}
    largest: dict[int, Tensor] = {}
    try:
        with Runner(module) as runner, torch.enable_grad():
            outputs = results(runner.call(runner.start(), arguments.filled(tensors)))[0]
            numbers = [
                output
                for index, output in enumerate(outputs)
                if index not in mirror.state_outputs and output.is_floating_point()
            ]
            for _ in range(_DRAWS):
                terms = [(output * random_tensor(output.detach(), generator)).sum() for output in numbers]
                gradients = torch.autograd.grad(
                    torch.stack(terms).sum(), list(asked.values()), retain_graph=True, allow_unused=True
                )
                for (index, tensor), gradient in zip(asked.items(), gradients, strict=True):
                    size = _reduced(torch.zeros_like(tensor) if gradient is None else gradient, mirror, index)
                    largest[index] = torch.maximum(size, largest.get(index, size))
    except (RuntimeError, ModelRunError, NotImplementedError):  # no gradient through this network
        return {}
    return largest


def _reduced(gradient: Tensor, mirror: NetworkMirror, index: int) -> Tensor:
    """Sizes of a gradient, the largest along every axis that the mirror leaves alone."""
    size = gradient.detach().abs().to("cpu", torch.float64)
    for axis in mirror.inputs[index].still_axes:
        size = size.amax(axis, keepdim=True) if size.shape[axis] else size
    return size


def _dead(before: dict[int, Tensor], after: dict[int, Tensor], mirror: NetworkMirror) -> tuple[tuple[str, ...], int]:
    """Labels of the entries that only the original reacts to, and the number of entries that it reacts to."""
    alive, floor = _ALIVE * _highest(before), _DEAD * _highest(after)
    is_dead: dict[str, bool] = {}
    for index in before.keys() & after.keys():
        if before[index].shape != after[index].shape:
            continue  # states, of which an average has both views'
        # Several entries may have one label, which is dead where all of them are.
        for entry in (before[index] > alive).nonzero().tolist():
            label = mirror.label("input", index, tuple(entry))
            is_dead[label] = is_dead.get(label, True) and bool(after[index][tuple(entry)] <= floor)
    return tuple(label for label, dead in is_dead.items() if dead), len(is_dead)


def _highest(reactions: dict[int, Tensor]) -> float:
    """The largest reaction to any entry of any input, 0 where there are none."""
    return max((float(reaction.max()) for reaction in reactions.values()), default=0.0)
