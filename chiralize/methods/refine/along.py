"""Networks that carry states, as functions of whole sequences: what they are trained along.

A sequence is one call here, every input of it "time ...". The graph runs op by op, and a state is handed from the node
that holds its new value to the leaf that the next step reads: derivatives reach back through all steps, also where the
network's own code lets none through (`detach`), and so does vmap, which knows neither states nor recurrent ops.

`ready` uses `Along` for the original, for its mirrored view and for the result. A policy that reads "env 48" and keeps
a GRU's state becomes a function of "time env 48", whose answers are those to all steps, stacked to "time env 12".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.model import CapturedModel
from chiralize.graph.rollouts import Carried, Steps, handed_over
from chiralize.graph.running import Arguments, Call
from chiralize.methods.stepping import is_one_step, runs_in_steps, stepped, unrolled
from chiralize.problem.data.batches import Batches
from chiralize.problem.data.cutting import size_of_values
from chiralize.problem.network import Network
from chiralize.problem.stateful import mirror_of_calls

_OWN_ANSWERS = 32
"""Steps of a sequence for networks that read their own answers, for half of it: errors grow from answer to answer, and
with them derivatives, until those of a few sequences are all that is left."""
_KEPT_STEPS = 0.75
"""So many of all steps are in sequences that are long enough to be trained along."""
_FEWEST = 8
"""Steps, of fewer of which no state tells much."""
_ROOM, _KEPT = 2_000_000_000, 8
"""Bytes for the values of one batch of stretches, and how many are kept for each that the graph counts: recurrent ops
have gates within.
"""
_OVERLAP = 2
"""How often a step is trained on where sequences are cut: as a part of so many stretches."""


class Along:
    """A network as a function of a sequence: its inputs "time ..." to all results that are tensors, "time ...".

    captured: its graph, at the sizes of one call.  weights: leaves that take others' place, by name.
    mirror: for f(x) of every step, T f(T x), whose states are those of that view.
    """

    def __init__(
        self,
        captured: CapturedModel,
        carried: Carried,
        weights: Mapping[str, Tensor] | None = None,
        mirror: NetworkMirror | None = None,
    ) -> None:
        self.captured, self.carried, self.mirror = captured, carried, mirror
        self.weights = dict(weights or {})

    def __call__(self, *args: Any, **kwargs: Any) -> list[Tensor]:
        """All results."""
        # given, answers: of the step before, which `handed_over` makes states and own answers of
        sequence = Arguments.of(args, kwargs)
        states = dict[str, Tensor]()
        given, answers = list[Tensor](), list[Tensor]()
        rows = list[list[Tensor]]()
        steps = len(sequence.tensors[0])
        for number in range(steps):
            observed = sequence.filled([tensor[number] for tensor in sequence.tensors])
            # T goes on what comes from outside alone: this view's own answers are handed over as it gave them
            if self.mirror is not None:
                observed = self.mirror.turned(observed)
            read = Arguments.of(*observed).tensors
            given = handed_over(self.carried, read, number, steps, given, answers)
            answers, states = self._step(given, states)
            rows.append(self._turned_back(answers))
        return list(map(torch.stack, zip(*rows, strict=True)))

    def _step(self, given: Sequence[Tensor], states: Mapping[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """The results of one step, and the states after it, by leaf."""
        values = execution.start(self.captured, given, {**self.weights, **states})
        for node in self.captured.nodes:
            if runs_in_steps(node):
                values[node.name] = unrolled(node, values)[0]
            elif is_one_step(node):
                values[node.name] = stepped(node, values)
            else:
                values[node.name] = execution.evaluate(node, values)
        # the node that holds a state's new value, by the leaf that holds its old one
        after = {leaf: values[name] for leaf, name in self.captured.mutations.items()}
        return [values[name] for name in self.captured.answers], after

    def _turned_back(self, answers: Sequence[Tensor]) -> list[Tensor]:
        """The answers, or T of them."""
        turned = list(answers)
        if self.mirror is not None:
            for position, answer in enumerate(answers):
                turned[position] = self.mirror.turned_output(position, answer)
        return turned


def original_along(network: Network, both_views: bool) -> Sequence[Along]:
    """The original as a function of a sequence: as it is, and, where both views count, the other one."""
    assert network.captured is not None
    plain = Along(network.captured, network.carried)
    if not both_views:
        return [plain]
    return [plain, Along(network.captured, network.carried, mirror=mirror_of_calls(network))]


def result_along(network: Network, captured: CapturedModel, parameters: Mapping[str, Tensor]) -> Along:
    """The result as a function of a sequence.  captured: its graph.  parameters: those that are trained, by name."""
    weights = dict[str, Tensor]()
    for leaf in captured.leaves.values():
        known = [name for name in leaf.names if name in parameters]
        if known:
            weights[leaf.name] = parameters[known[0]]
    return Along(captured, network.carried, weights)


def length_of(batches: Batches, network: Network) -> int:
    """The steps of the stretches that sequences are cut to; 0 where there are none, or memory holds too few steps."""
    if not batches.sequences or network.captured is None:
        return 0
    # of those seen and of those held out at least one sequence has to be as long
    longest = [max(map(len, part)) for part in (batches.seen_sequences, batches.held_sequences)]
    length = min(_usual(list(map(len, batches.sequences))), *longest)
    if length < 2:
        return 0
    if network.carried.has_feedback:
        length = min(length, _OWN_ANSWERS)
    # steps of one stretch that memory holds: shorter stretches if need be, but none of which a state tells nothing
    held = at_once_in_memory(network, 1)
    return length if held >= length else held if held >= _FEWEST else 0


def _usual(lengths: Sequence[int]) -> int:
    """The largest length such that sequences as long as that hold most of the steps.

    Of lengths 100, 100 and 10 it is 100; of 100 and nine times 50 it is 50.
    """
    total = sum(lengths)
    for length in sorted(set(lengths), reverse=True):
        if sum(each for each in lengths if each >= length) >= _KEPT_STEPS * total:
            return length
    return min(lengths)  # not reached: sequences as long as the shortest are all of them


def at_once_in_memory(network: Network, steps: int) -> int:
    """How many stretches of so many steps there is memory for, with all that derivatives need."""
    assert network.captured is not None
    return int(_ROOM / (_KEPT * max(size_of_values(network.captured), 1) * steps))


def cut(sequences: Sequence[Steps], length: int) -> list[Call]:
    """Sequences as calls of `Along`, all of one length: what is longer is cut, and what is shorter left out.

    A stretch from the middle starts at rest, as the original does that answers to it.
    """
    calls = list[Call]()
    for steps in sequences:
        # at half of the length each step but the first and the last ones is in two stretches
        for start in range(0, len(steps) - length + 1, max(length // _OVERLAP, 1)):
            calls.append(_as_one_call(steps[start : start + length]))
    return calls


def _as_one_call(steps: Steps) -> Call:
    """Calls as one, every tensor "time ..."."""
    arguments = [Arguments.of(*step) for step in steps]
    columns = zip(*(each.tensors for each in arguments), strict=True)
    return arguments[0].filled(list(map(torch.stack, columns)))
