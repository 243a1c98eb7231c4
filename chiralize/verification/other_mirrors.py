"""Which other mirrors T is compared with on a network's answers, the likeliest mistakes first.

`evidence` makes other specifications, or reads other partners and signs off the answers; here they become mirrors that
fit the network's tensors, in one order. `mirror_evidence` compares them with T until the runs are used up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain

import torch

from chiralize.body.tensors import ConversionSpec, ResolvedSpec
from chiralize.errors import ChiralizeError
from chiralize.graph.mirror import NetworkMirror
from chiralize.graph.running import Arguments, Call
from chiralize.problem.mirror import resolved_as
from chiralize.problem.network import Network
from chiralize.verification.evidence.answer_points import Points, as_measured, points_of_answers
from chiralize.verification.evidence.answered_signs import with_other_signs
from chiralize.verification.evidence.answers import Answers
from chiralize.verification.evidence.block_points import blocks_about_means
from chiralize.verification.evidence.input_points import mirrors_about_means
from chiralize.verification.evidence.least_gap import mirrors_about_the_least
from chiralize.verification.evidence.names import BY_NAMES, by_names, pairs_by_names
from chiralize.verification.evidence.neighbours import Neighbour, nearby, with_reordered_fields
from chiralize.verification.evidence.off_center import means_away
from chiralize.verification.evidence.pairs_of_inputs import with_crossed_pairs, with_pairs_of_inputs
from chiralize.verification.evidence.records import Candidate
from chiralize.verification.evidence.repairing import with_other_partners
from chiralize.verification.evidence.still_joints import still_joints

_OF_ENTRIES, _NUMBERS = ("pose", "fields", "classes", "invariant"), ("pose", "fields")
"""Kinds of answers whose entries may have other partners, and other signs: no mirror negates a score."""


def mirrors_on_real_inputs(
    network: Network,
    answers: Answers,
    mirror: NetworkMirror,
    calls: Sequence[Call],
    points: Points,
    inputs: Sequence[Call] = (),
) -> Iterator[Candidate]:
    """Mirrors to compare T with on real inputs; of those that are the same, the first has the name.

    Partners and signs that the answers themselves tell need no further run, since they change T on outputs alone. Of
    fields that T leaves as they are the neighbours come first: these name the field, and not only its entries.

    calls: what was answered.  inputs: all that there are.
    """
    swapped, scores, still, numbers = list[int](), list[int](), list[int](), list[int]()
    for index in answers.indices:
        kind = network.resolved.output_tensors[index].kind
        is_still = mirror.outputs[index].is_trivial
        if kind in _NUMBERS:
            numbers.append(index)
        if kind in _OF_ENTRIES and not is_still:
            swapped.append(index)
        elif kind == "fields":
            still.append(index)
        elif kind in _OF_ENTRIES:
            scores.append(index)
    yield from mirrors_about_means(network, mirror, inputs or calls)
    yield from blocks_about_means(network, inputs or calls)
    yield from mirrors_about_the_least(network, answers, mirror, calls, inputs or calls)
    outputs = network.resolved.output_tensors
    yield from with_other_partners(answers, mirror, swapped, scores, outputs)
    yield from candidates(network, mirror, calls, points)
    yield from with_other_partners(answers, mirror, (), still, outputs)
    yield from with_other_signs(answers, mirror, numbers)


def candidates(
    network: Network, mirror: NetworkMirror, real: Sequence[Call] = (), points: Points | None = None
) -> Iterator[Candidate]:
    """Other mirrors that the network could have.

    real: inputs, for the point that they could be mirrored at.  points: the same of answers to them.
    """
    try:
        named = by_names(mirror)
    except ChiralizeError:  # names and signs contradict each other
        named = None
    if named is not None:
        yield Candidate(f"{BY_NAMES}{pairs_by_names(mirror)}", named)
    resolved = network.resolved
    # Pairs that the inputs tell, changes in one place, and last what takes many runs: blocks in another order, and two
    # of many pairs crossed.
    near = neighbours_on(network, real, points)(resolved)
    by_inputs = with_pairs_of_inputs(resolved, real) if real else ()
    crossed = with_crossed_pairs(resolved, real) if real else ()
    for neighbour in chain(by_inputs, near, with_reordered_fields(resolved), crossed):
        try:
            other = mirror_as(network, neighbour.spec)
        except ChiralizeError:  # it does not fit the sizes, or is no mirror
            continue
        yield Candidate(neighbour.name, other, neighbour.skeleton)


def neighbours_on(
    network: Network, calls: Sequence[Call], points: Points | None
) -> Callable[[ResolvedSpec], Iterator[Neighbour]]:
    """What makes the neighbours of a specification that these inputs do not rule out."""
    means, still = means_away(network.resolved, calls), still_joints(network.resolved, calls)
    return partial(nearby, means=means, numbers=numbers_among(network), points=points, still=still)


def points_to_try(network: Network, mirror: NetworkMirror, answers: Answers, calls: Sequence[Call]) -> Points:
    """Points that coordinates of the answers could be mirrored at; none where inputs lie away from theirs.

    calls: what was answered.
    """
    by_output = dict[int, list[torch.Tensor]]()
    for index in answers.indices:
        by_output[index] = [answer for stack in answers.plain(index) for answer in stack]
    points = as_measured(network.resolved, mirror, answers, points_of_answers(network.resolved, by_output))
    of_inputs = {dim for _, dim in means_away(network.resolved, calls)}
    return {(index, dim): point for (index, dim), point in points.items() if dim not in of_inputs}


def numbers_among(network: Network) -> frozenset[int]:
    """The positions of the inputs of floating-point numbers."""
    example = Arguments.of(*network.example).tensors
    return frozenset(index for index, tensor in enumerate(example) if tensor.is_floating_point())


def mirror_as(network: Network, spec: ConversionSpec) -> NetworkMirror:
    """T as another specification would have it."""
    return resolved_as(network, spec)[1]
