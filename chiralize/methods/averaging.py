"""`--on-blocked average`: both views round just the stretch of a network that cannot commute with the mirror.

    x -> linear -> [ softmax over joints with signs ] -> linear -> y        only what is in brackets runs twice

`fill.projection` widens the network's treatment by one stretch for every refusal (`with_region`), until inference takes
all of it; such a stretch is one op then, whose outputs transform as they do around it. `averaged` writes the graph with
both views round each stretch, and `described` says so in the record of the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from itertools import count, islice

import torch

from chiralize.errors import UnsupportedError
from chiralize.graph import regions, rewrite
from chiralize.graph.fixed_sizes import guarded
from chiralize.graph.passes.average import average
from chiralize.infer import macs_of
from chiralize.infer.capture import functional
from chiralize.infer.records import RepMap
from chiralize.problem.network import Network
from chiralize.problem.result import Converted
from chiralize.symmetry.symbolic import evaluate
from chiralize.verification.regions import representations_around


def with_region(network: Network, error: UnsupportedError) -> Network:
    """The network with a stretch round the op that refused taken as one. Raises the refusal where there is none."""
    # two runs that draw random numbers are no two views of one answer
    whole = network.whole_graph()
    if network.resolved.is_affine or whole.drawing:
        region = None
    else:
        region = regions.around(whole, network.treatment.regions, error.at)
    if region is None and whole.drawing:
        raise error
    if region is None:
        # The same refusal, without the advice to average a part of the network, which was tried.
        refusal = copy(error)
        refusal.remedy = "average the whole network (--method average): no part of it around this op has an average"
        raise refusal from error
    return replace(network, treatment=replace(network.treatment, regions=region))


def averaged(network: Network, repmap: RepMap, values: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """The network with the given weights and with both views round every region."""
    assert network.program is not None
    whole, collapsed = network.whole_graph(), network.graph()
    inner = regions.inner_graphs(collapsed)
    # by its new name, a stretch: ops, what it reads, what it gives, and how T acts on both
    stretches = {}
    for new, (name, graph) in zip(_names(network), inner.items(), strict=True):
        representations = representations_around(collapsed, repmap, name)
        stretches[new] = (regions.members(whole, name), graph.inputs, graph.answers, representations)
    flat = rewrite.program_with_weights(functional(network.program), values)
    module = flat.module(check_guards=False)
    assert isinstance(module, torch.fx.GraphModule)
    return guarded(average(module, stretches), flat, network.origin.word)


def _names(network: Network) -> list[str]:
    """Names for the averaged stretches that the network does not use itself."""
    assert network.program is not None
    taken = {name.partition(".")[0] for name in (*network.program.state_dict, *network.program.constants)}
    free = (f"averaged_{number}" for number in count() if f"averaged_{number}" not in taken)
    return list(islice(free, len(regions.inner_graphs(network.graph()))))


def described(result: Converted, network: Network, repmap: RepMap) -> Converted:
    """The record of a conversion with what is averaged: where, how it transforms, and what it costs."""
    collapsed = network.graph()
    inner = regions.inner_graphs(collapsed)
    names = tuple(f"{name}#0" for name in _names(network))
    hidden = {
        f"{new} output {position}": evaluate(rep, {})
        for old, new in zip(inner, names, strict=True)
        for position, rep in enumerate(repmap.nodes[old])
        if rep is not None
    }
    return replace(
        result,
        form="averaged",
        action=replace(result.action, hidden={**result.action.hidden, **hidden}),
        averaged=names,
        notes=(*result.notes, *shares(network)),
        macs=sum(map(macs_of, inner.values())),
    )


def shares(network: Network) -> tuple[str, ...]:
    """Every averaged stretch and its share of the arithmetic, in words."""
    collapsed = network.graph()
    where = {node.name: node.where for node in collapsed.nodes}
    total = max(macs_of(network.whole_graph()), 1)
    return tuple(
        f"averaged over both views: {where[name]}, {macs_of(inner) / total:.2%} of the multiplications"
        for name, inner in regions.inner_graphs(collapsed).items()
    )
