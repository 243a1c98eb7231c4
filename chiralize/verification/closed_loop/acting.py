"""Networks as policies: observations of an environment to actions, in both views at once.

    plain view       o         -> a(o)
    other view       o -> T o  -> T a(T o)          both flat arrays, as the environment takes them

Each view has a copy of the network with states of its own, which move on step by step. An equivariant policy answers
both alike; their mean is the flip average. `running` takes actions from here, and `probe` asks how T acts on what is
seen and done, without letting the network act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chiralize.body.tensors.resolved import ResolvedTensor
from chiralize.errors import UsageError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.rollouts import Carried
from chiralize.graph.running import Arguments, Call, Runner
from chiralize.graph.tensors import tensors_in
from chiralize.problem.data.inputs import names_of_tensors
from chiralize.problem.network import Network
from chiralize.problem.stateful import mirror_of_calls

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """Which tensors of a call an observation fills, and how.

    example: the call whose sizes and other tensors are used.  inputs: positions of the tensors that are filled.  names:
    of the arguments, by which a dict of observations is read.  double: floating-point numbers go in as float64.
    """

    example: Arguments
    double: bool
    inputs: tuple[int, ...]
    names: tuple[str, ...]

    @staticmethod
    def of(network: Network, names: Sequence[str], double: bool) -> Reader:
        """All inputs but the states are observed."""
        states = {handed.input for handed in network.resolved.handed if handed.is_state}
        tensors = network.resolved.input_tensors
        observed = [tensor.index for tensor in tensors if tensor.kind != "state" and tensor.index not in states]
        by_position = names_of_tensors(network.example, names)
        labels = tuple(by_position.get(position, "") for position in observed)
        return Reader(Arguments.of(*network.example), double, tuple(observed), labels)

    def tensors(self, observation: Any, where: str) -> list[Tensor]:
        """The observation as tensors of the sizes of the example. A batch of several samples is filled with one.

        Raises UsageError where the sizes differ.
        """
        parts = self._parts(observation, where)
        tensors: list[Tensor] = []
        for position, part in zip(self.inputs, parts, strict=True):
            example = self.example.tensors[position]
            values = torch.from_numpy(np.ascontiguousarray(part)).to(self._dtype(example))
            # A network that was exported for 8 samples gets one observation eight times; only its first answer counts.
            rows = example.numel() // max(values.numel(), 1)
            if not values.numel() or example.numel() != rows * values.numel() or rows not in (1, *example.shape[:1]):
                facts = f"an observation has {values.numel()} numbers, the network reads {tuple(example.shape)}"
                raise UsageError(
                    where, facts, "return the environment that the network was trained in, unwrapped alike"
                )
            tensors.append(values.reshape(-1).repeat(rows).reshape(example.shape))
        return tensors

    def _dtype(self, example: Tensor) -> torch.dtype:
        """The type in which an observation goes in: float64 where it was asked for, else that of the example."""
        if self.double and example.is_floating_point():
            return torch.float64
        return example.dtype

    def split(self, row: Array, sizes: Sequence[int]) -> Any:
        """An observation whose numbers lie in one row, in the form in which an environment gives it."""
        if len(sizes) == 1:
            return row
        return dict(zip(self.names, np.split(row, np.cumsum(sizes)[:-1]), strict=True))

    def _parts(self, observation: Any, where: str) -> list[Any]:
        """The arrays of an observation, one for every tensor that it fills. Raises UsageError where they mismatch."""
        # One array for the one tensor, whatever their names; several by name.
        if not isinstance(observation, Mapping):
            if len(self.inputs) == 1:
                return [observation]
            facts = f"an observation is one array, the network reads {len(self.inputs)} tensors"
            raise UsageError(where, facts, "return an environment whose observations are a dict of these")
        if len(self.inputs) == len(observation) == 1:
            return list(observation.values())
        missing = [name for name in self.names if name not in observation]
        if missing:
            facts = f"observations have the keys {', '.join(map(str, observation))}, and no {missing[0] or 'names'}"
            raise UsageError(where, facts, "name the arguments of forward as the keys are named")
        return [observation[name] for name in self.names]


class View:
    """A copy of a network that is called step by step, and keeps its states as it goes."""

    def __init__(self, network: Network, carried: Carried, runner: Runner) -> None:
        self.runner, self.carried = runner, carried
        self.example = Arguments.of(*network.example)
        self.handed: dict[int, Tensor] = {}
        self.start()

    def start(self) -> None:
        """Go back to the states that the network was handed over in; those that are arguments to zero."""
        self.module = self.runner.start()
        states = [handed.input for handed in self.carried.handed]
        self.handed = {index: torch.zeros_like(self.example.tensors[index]) for index in states}

    def answers(self, call: Call) -> list[Tensor]:
        """The tensors that the network answers; its states move on. Raises ModelRunError."""
        arguments = Arguments.of(*call)
        tensors = [self.handed.get(index, tensor) for index, tensor in enumerate(arguments.tensors)]
        with torch.no_grad():
            answers = tensors_in(self.runner.call(self.module, arguments.filled(tensors)))
        self.handed = {handed.input: answers[handed.output].clone() for handed in self.carried.handed}
        return answers


class Policy:
    """A network that acts, as a context manager. It answers every observation in both views, each with its own states.

    reads: how observations become its inputs.  double: run it in float64.
    Raises UsageError for networks that read their own answers, and for those without one output of actions.
    """

    def __init__(self, network: Network, names: Sequence[str], double: bool = False) -> None:
        self.double = double
        self.network, self.carried = network, network.carried
        self.mirror: NetworkMirror = mirror_of_calls(network)
        self.reads = Reader.of(network, names, double)
        self.output = _actions_of(network)
        if self.carried.has_feedback:
            raise UsageError("--rollout", "the network reads its own answers", "give a policy: observations to actions")
        self._stack = ExitStack()

    def under(self, mirror: NetworkMirror) -> Policy:
        """The same with another mirror of what is seen and done. It does not act."""
        other = copy(self)
        other.mirror = mirror
        return other

    def __enter__(self) -> Policy:
        runners = [self._stack.enter_context(Runner(self.network.module, double=self.double)) for _ in range(2)]
        self.views = [View(self.network, self.carried, runner) for runner in runners]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Begin an episode: both views go back to the stored state."""
        for view in self.views:
            view.start()

    def both(self, observation: Any, where: str) -> tuple[Array, Array]:
        """The action, and T of the action of the other view, which sees T of the observation. Both are flat."""
        filled = list(self.reads.example.tensors)
        tensors = self.reads.tensors(observation, where)
        for position, tensor in zip(self.reads.inputs, tensors, strict=True):
            filled[position] = tensor
        call = self.reads.example.filled(filled)
        plain, other = self.views  # each with its own states, so that each is called once a step
        turned = self.mirror.turned_output(self.output, other.answers(self.mirror.turned(call))[self.output])
        return _first(plain.answers(call)[self.output], self._actions), _first(turned, self._actions)

    @property
    def _actions(self) -> ResolvedTensor:
        """The output that is the action."""
        return self.network.resolved.output_tensors[self.output]

    def _seen(self, position: int) -> ResolvedTensor:
        """The input of that position."""
        return self.network.resolved.input_tensors[position]

    def turned_observation(self, observation: Any, where: str) -> list[Array]:
        """T of an observation, a flat array for every input that it fills."""
        filled = list(self.reads.example.tensors)
        for position, tensor in zip(self.reads.inputs, self.reads.tensors(observation, where), strict=True):
            filled[position] = tensor
        turned = Arguments.of(*self.mirror.turned(self.reads.example.filled(filled))).tensors
        return [_first(turned[position], self._seen(position)) for position in self.reads.inputs]

    def flat_observation(self, observation: Any, where: str) -> list[Array]:
        """An observation, a flat array for every input that it fills."""
        seen = map(self._seen, self.reads.inputs)
        return list(map(_first, self.reads.tensors(observation, where), seen))

    def turned_action(self, action: Array) -> Array:
        """T of a flat action."""
        # T is of the whole output: the action stands in every row, and is read from the first.
        shape = self._actions.shape
        rows = shape[0] if self._actions.has_rows else 1
        answer = torch.from_numpy(action).repeat(rows).reshape(shape)
        return _first(self.mirror.turned_output(self.output, answer), self._actions)

    def labels(self, index: int) -> list[str]:
        """Names of the entries of an input, in their order."""
        return _labels(self._seen(self.reads.inputs[index]))

    def action_labels(self) -> list[str]:
        """Names of the entries of an action, in their order."""
        return _labels(self._actions)


def _first(values: Tensor, tensor: ResolvedTensor) -> Array:
    """The numbers of the first sample, flat. A state beside may have its samples along another axis."""
    row = values[0] if tensor.has_rows else values
    return row.detach().double().numpy().reshape(-1)


def _labels(tensor: ResolvedTensor) -> list[str]:
    """Names of the entries of one sample of a tensor, in their order."""
    shape = tensor.shape[1:] if tensor.has_rows else tensor.shape
    lead = (0,) if tensor.has_rows else ()
    return [tensor.label((*lead, *index)) for index in np.ndindex(*shape)]


def _actions_of(network: Network) -> int:
    """The position of the one output that is neither a state nor free. Raises UsageError where there is not one."""
    handed = {handed.output for handed in network.resolved.handed if handed.is_state}
    outputs = [
        tensor
        for tensor in network.resolved.output_tensors
        if tensor.kind != "state" and tensor.index not in handed and not tensor.is_free
    ]
    if len(outputs) != 1:
        facts = f"{len(outputs)} outputs could be actions"
        raise UsageError("--rollout", facts, "give a network with one output of actions; others are `free` or `state`")
    return outputs[0].index
