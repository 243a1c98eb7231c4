"""Outputs that are the same whatever the inputs are: the network was built wrongly, or its weights are no good.

A network that ignores its inputs commutes with any mirror that leaves its one answer alone, so that nothing else shows
the mistake. A few random inputs do: a network that answers the second otherwise than the first is asked no more.

`noticed` is the last step of making a network ready. It sorts outputs into those that stay and those that move; an
output that stays under eight random inputs is warned of, and where nothing moves, commands refuse the network.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import torch

from chiralize.errors import ModelRunError
from chiralize.errors.words import when
from chiralize.graph.copies import is_large
from chiralize.graph.isolation import exclusive
from chiralize.graph.running import Arguments, Call, Runner, placed, random_calls, results
from chiralize.graph.silence import quiet
from chiralize.problem.constant import Cause, ConstantAnswers
from chiralize.problem.network import Network

DRAWN = 8
"""Random inputs that have to get the same answer."""
_REAL = 4
"""Inputs of the user's that are run beside."""
_FEW, _SEED = 2, 5
"""Samples of a random input, and the seed."""
_ROUNDED = 64  # eps of the largest answer that rounding alone may make of a constant
_FINE = 1e-6
"""The eps of precisions finer than this is rounding; half precision (1e-3) is compared bit for bit."""


def noticed(network: Network) -> Network:
    """The network, with the outputs that do not depend on its inputs, and a warning of them, where there are such.

    It is run twice on two samples where all of its outputs do. Large networks are not asked.
    """
    return _remarked(network, _constant(network, ()))


def asked_again(network: Network, real: Sequence[Call]) -> Network:
    """The same, asked on inputs of the user's as well, where random ones got constant answers."""
    if not real or not network.behaviour.constant.outputs:
        return network
    return _remarked(network, replace(_constant(network, real), cause=network.behaviour.constant.cause))


def with_cause(network: Network, cause: Cause | None) -> Network:
    """The network with what is known of the reason for its constant answers."""
    return _remarked(network, replace(network.behaviour.constant, cause=cause))


def refuse_constant(network: Network, name: str, otherwise: str = "") -> None:
    """Raise ModelRunError where no answer depends on the inputs, so that no mirror shows in them.

    otherwise: what the remedy says beside.
    """
    constant = network.behaviour.constant
    if constant.is_all:
        raise ModelRunError(name, constant.facts, f"{constant.remedy}{otherwise}")


def differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two answers differ by more than rounding; what is not finite counts as different."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return True
    if not (one.is_floating_point() or one.is_complex()):
        return not torch.equal(one, other)
    if not one.numel():
        return False
    if not (one.isfinite().all() and other.isfinite().all()):
        return True
    eps = torch.finfo(one.dtype).eps
    if eps > _FINE:  # 64 times that is no rounding: 6 % in float16
        return not torch.equal(one, other)
    return float((one - other).abs().max()) > _ROUNDED * eps * float(one.abs().max())


def _remarked(network: Network, constant: ConstantAnswers) -> Network:
    """The network with this record, and with its warning in the place of an earlier one."""
    notes = [note for note in network.notes if note != network.behaviour.constant.warning]
    if constant.outputs:
        notes.append(constant.warning)
    return replace(network, behaviour=replace(network.behaviour, constant=constant), notes=tuple(notes))


@exclusive
@torch.inference_mode(False)
def _constant(network: Network, real: Sequence[Call]) -> ConstantAnswers:
    """Which outputs are the same for all random inputs, and for some of the real ones."""
    inputs = Arguments.of(*network.example).tensors
    numbers = [tensor for tensor in inputs if tensor.is_floating_point() or tensor.is_complex()]
    if not numbers or is_large(network.module):
        return ConstantAnswers()
    chosen = real[:: max(1, len(real) // _REAL)][:_REAL]
    try:
        seen = _watched(network, chosen, False)
        # Answers that differ by rounding alone may be constant, or move very little. In float64 a small movement is
        # far more than rounding.
        if seen.staying and seen.rounded:
            seen.moving |= _watched(network, chosen, True).moving
    except ModelRunError:  # random inputs are not for every network, and float64 is not either
        return ConstantAnswers()
    # An output without a representation is a state, or like one: inference decides what the mirror does to it.
    states = {tensor.index for tensor in network.resolved.output_tensors if tensor.representation is None}
    names = tuple(f"output {index}" for index in sorted(seen.staying - states))
    tried = f"{DRAWN} random inputs" + when(chosen, f" and {len(chosen)} of yours")
    if len(numbers) < len(inputs):
        tried += ", integers as in the examples,"
    return ConstantAnswers(names, bool(names) and not seen.moving, tried)


@dataclass
class _Watch:
    """What changes among the answers to several calls.

    firsts: the first answer to inputs of each size, by output and size: only those can be compared, since the user's
    inputs may have other frames.  staying, moving: outputs.  rounded: one stays but for rounding.
    """

    firsts: dict[tuple[int, tuple[Any, ...]], torch.Tensor]
    staying: set[int]
    moving: set[int]
    rounded: bool = False

    def take(self, answers: Sequence[torch.Tensor], sizes: tuple[Any, ...], rows: Container[int]) -> None:
        """Look at the answers to one call. sizes: of its inputs.  rows: outputs with an answer for each sample."""
        for index, answer in enumerate(answers):
            first = self.firsts.setdefault((index, sizes), answer)
            if differ(first, answer) or (index in rows and _rows_differ(answer)):
                self.moving.add(index)
            elif answer.is_floating_point() or answer.is_complex():
                self.staying.add(index)
                self.rounded = self.rounded or not torch.equal(first, answer)
        self.staying -= self.moving


def _rows_differ(answer: torch.Tensor) -> bool:
    """Whether an output has different answers for the samples of one call."""
    return len(answer) > 1 and differ(answer[:1].expand_as(answer), answer)


def _watched(network: Network, real: Sequence[Call], double: bool) -> _Watch:
    """The answers to random inputs, as many as it takes until all have changed, and to the real ones."""
    watch = _Watch({}, set(), set())
    rows = set[int]()
    # Outputs with a row for every sample: two samples of one call show a difference without a second call.
    for tensor in network.resolved.output_tensors:
        if network.has_rows and tensor.has_rows and tensor.kind != "free" and tensor.shape[0] == network.rows:
            rows.add(tensor.index)
    with Runner(network.module, double=double) as runner:
        for number, call in enumerate(chain(_random(network, runner), real)):
            if number > 1 and not watch.staying:  # two calls at least, since the first has nothing to differ from
                return watch
            sizes = tuple(tuple(tensor.shape) for tensor in Arguments.of(*call).tensors)
            watch.take(results(runner.run([call]).steps[0])[0], sizes, rows)
    return watch


def _random(network: Network, runner: Runner) -> Sequence[Call]:
    """Random inputs, of two samples each where that is fewer than the examples have and the network takes so few."""
    example = Arguments.of(*network.example)
    if network.rows > _FEW:
        tensors = list(example.tensors)
        for tensor in network.resolved.input_tensors:
            if tensor.has_rows:
                tensors[tensor.index] = tensors[tensor.index][:_FEW]
        few = example.filled(tensors)
        # An export may be fixed to the batch of the examples; then these are taken.
        with suppress(ModelRunError), quiet():
            runner.run([few])
            example = Arguments.of(*few)
    return [placed(call, network.around) for call in random_calls(example, DRAWN, _SEED)]
