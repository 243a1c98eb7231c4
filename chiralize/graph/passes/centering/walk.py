"""Both directions: offsets of inputs forwards, those that outputs should have backwards, and what biases take up."""

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
from chiralize.symmetry.action import Center

Centers = tuple[Center, ...]


@dataclass(frozen=True)
class Shift:
    """What turns a graph into that of the network seen from its centre.

    taken: by leaf, b' = b + taken.  numbers: by node, the constant in place of a number added there.
    choices: which additions took an offset up.  eps: rounding of what the network stores.
    """

    taken: Mapping[str, Addend]
    numbers: Mapping[str, Tensor]
    choices: Choices
    eps: float


def walk(
    captured: CapturedModel, inputs: Centers, outputs: Centers, tensors: Mapping[str, Tensor], choices: Choices
) -> Shift:
    """Follow the offsets.

    tensors: in place of the graph's own, by leaf.  choices: of an earlier walk through the same graph, kept.
    Raises OffsetError where an operation that is not linear sees an offset, or an output cannot get its own.
    """
    graph, choices = Graph(captured, tensors), dict(choices)
    levels: Levels = {}
    forward = Forward(graph, inputs, {}, choices, levels)
    extra: dict[str, Offset] = {}
    for place in range(len(outputs)):
        lacking = _lacking(graph, forward, outputs, place)
        if lacking is not None:
            try:
                extra = put_in(graph, choices, extra, captured.outputs[place] or "", lacking)
            except Stuck:
                raise _no_place(graph, place) from None
    if extra:
        forward = Forward(graph, inputs, extra, choices, levels)
    for place in range(len(outputs)):
        if _lacking(graph, forward, outputs, place) is not None:
            raise _no_place(graph, place)
    for leaf, name in captured.mutations.items():
        if forward.offset(name) is not None:
            raise OffsetError(
                str(captured.leaves[leaf].where), f"state {captured.leaves[leaf].names[0]} keeps coordinates that do "
                "not count from the point that they are mirrored at", REMEDY,
            )  # fmt: skip
    return Shift(_shared(graph, forward), forward.numbers, choices, graph.eps)


def _lacking(graph: Graph, forward: Forward, outputs: Centers, place: int) -> Offset | None:
    """What the offset of an output lacks of its centre."""
    name, center = graph.captured.outputs[place], outputs[place]
    if name is None:
        return None
    own = (forward.offset(name) or graph.zero(name)).times(-1.0)
    if center is not None:
        wanted = torch.from_numpy(center).to(own.value.device).expand_as(own.value)
        own = Offset(wanted, wanted.abs()) + own
    return None if own.vanishes(graph.eps) else own


def _no_place(graph: Graph, place: int) -> OffsetError:
    name = graph.captured.outputs[place] or ""
    where = f" ({graph.nodes[name].where})" if name in graph.nodes else ""
    return OffsetError(
        f"output {place}{where}", "the point that it is mirrored at cannot be put into a bias of the network",
        "let the last layer have a bias, subtract the centre from the inputs, or use --method lift",
    )  # fmt: skip


def _shared(graph: Graph, forward: Forward) -> dict[str, Addend]:
    """A bias that several operations read must take up the same in all of them."""
    taken: dict[str, Addend] = {}
    results = {*graph.captured.outputs, *graph.captured.mutations.values()}
    for name, places in forward.found.items():
        first = next(iter(places.values()))
        if name in results:
            raise OffsetError(graph.leaves[name].names[0], "a result of the network itself takes up an offset", REMEDY)
        for node in graph.captured.nodes:
            if not any(ref.name == name for ref in node.reads):
                continue
            own = places.get(node.name)
            allowed = 4 * graph.eps * first.value.abs() + first.rounding
            if own is None or bool(((own.value - first.value).abs() > allowed + own.rounding).any()):
                raise OffsetError(
                    str(node.where), f"{graph.leaves[name].names[0]} is read more than once, and would have to take up "
                    "different offsets of the coordinates", REMEDY,
                )  # fmt: skip
        taken[name] = first
    return taken
