"""Both directions: offsets of inputs forwards, wanted offsets of outputs backwards, and what biases take up.

First all offsets of the inputs are followed. Then each output is compared with its own centre; for what it lacks,
`backward` finds an op that can add it. A second forward pass with these additions must leave nothing lacking, which
is checked: the search backwards only proposes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.errors import OffsetError
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.centering.backward import Stuck, put_in
from chiralize.graph.passes.centering.forward import REMEDY, Addend, Forward, Levels
from chiralize.graph.passes.centering.graph import Choices, Graph, Offset
from chiralize.graph.traits import Traits
from chiralize.symmetry.action import Center

Centers = tuple[Center, ...]


@dataclass(frozen=True)
class Shift:
    """The changes that turn a graph into that of the network seen from its centre.

    taken: by leaf, b' = b + taken.  numbers: by node, the constant that replaces what is added there.
    choices: which additions took an offset up.  eps: relative rounding of the numbers that the network stores.
    """

    taken: Mapping[str, Addend]
    numbers: Mapping[str, Tensor]
    choices: Choices
    eps: float


def walk(
    captured: CapturedModel,
    inputs: Centers,
    outputs: Centers,
    traits: Traits,
    tensors: Mapping[str, Tensor],
    choices: Choices,
) -> Shift:
    """Follow the offsets through a graph, and back from outputs that do not get their own.

    tensors: in place of the graph's own, by leaf.  choices: of an earlier walk through the same graph, to be repeated.
    Raises OffsetError where an operation that is not linear sees an offset, or an output cannot get its own.
    """
    graph, choices = Graph(captured, tensors, traits), dict(choices)
    levels: Levels = {}
    forward = Forward(graph, inputs, {}, choices, levels)
    extra: dict[str, Offset] = {}
    for index in range(len(outputs)):
        lacking = _lacking(graph, forward, outputs, index)
        if lacking is not None:
            try:
                extra = put_in(graph, choices, extra, captured.outputs[index] or "", lacking)
            except Stuck:
                raise _no_bias(graph, index) from None
    if extra:
        forward = Forward(graph, inputs, extra, choices, levels)
    for index in range(len(outputs)):
        if _lacking(graph, forward, outputs, index) is not None:
            raise _no_bias(graph, index)
    # A state that keeps an offset would start the next call with it, which one walk does not see.
    for leaf, name in captured.mutations.items():
        if forward.offset(name) is not None:
            state = captured.leaves[leaf]
            facts = (
                f"state {state.names[0]} keeps coordinates that do not count from the point that they are mirrored at"
            )
            raise OffsetError(str(state.where), facts, REMEDY)
    return Shift(_shared(graph, forward), forward.numbers, choices, graph.eps)


def _lacking(graph: Graph, forward: Forward, outputs: Centers, index: int) -> Offset | None:
    """The difference between an output's centre and its offset, None where they agree."""
    name, center = graph.captured.outputs[index], outputs[index]
    if name is None:
        return None
    offset = (forward.offset(name) or graph.zero(name)).times(-1.0)
    if center is not None:
        wanted = torch.from_numpy(center).to(offset.value.device).expand_as(offset.value)
        offset = Offset(wanted, wanted.abs()) + offset
    if offset.vanishes(graph.eps):
        return None
    return offset


def _no_bias(graph: Graph, index: int) -> OffsetError:
    """The error of an output whose centre nothing before it can add."""
    name = graph.captured.outputs[index] or ""
    where = f" ({graph.nodes[name].where})" if name in graph.nodes else ""
    facts = "the point that it is mirrored at cannot be put into a bias of the network"
    remedy = "let the last layer have a bias, subtract the centre from the inputs, or use --method average"
    return OffsetError(f"output {index}{where}", facts, remedy)


def _shared(graph: Graph, forward: Forward) -> dict[str, Addend]:
    """The offset that every bias takes up. Raises OffsetError where two ops that read one bias need different ones."""
    taken: dict[str, Addend] = {}
    results = set(graph.captured.results)
    for name, addends in forward.taken.items():
        first, key = next(iter(addends.values())), graph.leaves[name].names[0]
        # The network returns this very leaf, which would then differ.
        if name in results:
            raise OffsetError(key, "a result of the network itself takes up an offset", REMEDY)
        for node in graph.captured.nodes:
            # Also readers that take nothing up are looked at: they read the changed leaf as well.
            if name not in node.names_read:
                continue
            addend = addends.get(node.name)
            # Rounding of the stored numbers, and of the sums that either offset was made of.
            allowed = 4 * graph.eps * first.value.abs() + first.rounding
            if addend is None or bool(((addend.value - first.value).abs() > allowed + addend.rounding).any()):
                facts = f"{key} is read more than once, and would have to take up different offsets of the coordinates"
                raise OffsetError(str(node.where), facts, REMEDY)
        taken[name] = first
    return taken
