"""A network under each of several mirrors, and under what one after the other comes to.

A quadruped may have two mirrors, left/right A and front/back B (docs/groups.md). If they commute, A B is an involution
as well, and results are verified under A, under B and under "A and B". On one axis the action of A B is the product of
both signed permutations: A exchanges entries 0 1 2 3 to 1 0 3 2, B to 2 3 0 1, both one after the other to 3 2 1 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from math import prod

from chiralize.body.tensors import ResolvedSpec, ResolvedTensor
from chiralize.errors import MethodUnavailableError
from chiralize.problem.network import Network
from chiralize.symmetry.orbits import product
from chiralize.symmetry.representation import Representation, TensorRepresentation

AND = " and "
"""Between the names of mirrors that are applied one after the other."""


def under_each(network: Network) -> dict[str, Network]:
    """The network under each of its mirrors, by name, as if there were no other. The first is `network.resolved`."""
    names = list(network.resolved.spec.mirrors())
    others = replace(network.others, further=())
    networks = {names[0]: replace(network, others=others)}
    for name, resolved in network.others.further:
        networks[name] = replace(network, resolved=resolved, others=others)
    return networks


def refuse_several(network: Network) -> None:
    """Raises MethodUnavailableError for a network of several mirrors."""
    if network.others.further:
        names = ", ".join(under_each(network))
        facts = f"audit looks at one mirror, and the specification names {names}"
        remedy = "in Python give load_spec(file).mirrors()[NAME]; else a file with one of them"
        raise MethodUnavailableError("mirrors", facts, remedy)


def refuse_unsuited(network: Network) -> None:
    """Raises MethodUnavailableError where nothing is done for more than one mirror: states, pixels, no graph."""
    carried = network.carried
    reasons = {
        "it keeps a state, or reads its own answers": bool(carried),
        "some representation is not known before inference (`state`, `like`)": None
        in (*network.resolved.inputs, *network.resolved.outputs),
        "coordinates are mirrored at a point other than 0 (`reflect`)": network.resolved.is_affine
        or any(resolved.is_affine for _, resolved in network.others.further),
    }
    for reason, holds in reasons.items():
        if holds:
            facts = f"this network is not converted for several mirrors at once: {reason}"
            raise MethodUnavailableError("mirrors", facts, "convert it for one of them")


def products(networks: Mapping[str, Network]) -> Iterator[tuple[str, Network]]:
    """The network under two or more of its mirrors one after the other, with their names.

    Of three mirrors: A and B, A and C, B and C, A and B and C. With the mirrors and the identity these are all eight
    elements of the group, since mirrors commute and each is its own inverse.
    """
    for count in range(2, len(networks) + 1):
        for names in combinations(networks, count):
            first, *others = (networks[name] for name in names)
            resolved = first.resolved
            for other in others:
                resolved = _product(resolved, other.resolved)
            yield AND.join(names), replace(first, resolved=resolved)


def _product(first: ResolvedSpec, second: ResolvedSpec) -> ResolvedSpec:
    """The first specification with the products of both T on every tensor; they commute (`further_mirrors`)."""
    inputs = zip(first.input_tensors, second.input_tensors, strict=True)
    outputs = zip(first.output_tensors, second.output_tensors, strict=True)
    return replace(
        first,
        input_tensors=tuple(_tensor(one, other) for one, other in inputs),
        output_tensors=tuple(_tensor(one, other) for one, other in outputs),
    )


def _tensor(first: ResolvedTensor, second: ResolvedTensor) -> ResolvedTensor:
    """The tensor with both T, axis by axis, and the product of their signs; `refuse_unsuited` asked for both."""
    assert first.representation is not None
    assert second.representation is not None
    pairs = zip(first.representation.axes, second.representation.axes, strict=True)
    axes = tuple(Representation.of(product(one.action, other.action)) for one, other in pairs)
    sign = prod((first.representation.sign, second.representation.sign))
    return replace(first, representation=TensorRepresentation(axes, sign))
