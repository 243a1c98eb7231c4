"""What becomes of every hidden space: units in pairs, mixed with units of their own, or matched with each other.

`reduce` asks for `reductions` (fewer units, one or two designs) or for `matching` (all units, `--method match` with
inputs) and hands each design to `filling.fitted`. A design is a graph, a map for every hidden space and their reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from chiralize.errors import MethodUnavailableError
from chiralize.graph.copies import give_back
from chiralize.graph.model import CapturedModel
from chiralize.infer.hidden.match import Chosen, FromWeights
from chiralize.infer.hidden.pairing import Score
from chiralize.infer.hidden.quotient import best_commuting
from chiralize.infer.records import Choice, RepMap, Space
from chiralize.methods.reduce.attention import attentions, in_order, kept_heads
from chiralize.methods.reduce.choosing import choose
from chiralize.methods.reduce.hidden_maps import HiddenMap, Lifting, matched, matched_in_order
from chiralize.methods.reduce.moments import Sensitivity, sensitivities
from chiralize.methods.reduce.recurrent import of_one_size
from chiralize.methods.reduce.trunk import trunks, turned, unfolded
from chiralize.problem.data.both_views import Batch
from chiralize.problem.earlier import check_commuting, earlier_by_leaf, keeping
from chiralize.problem.mirror import analyse
from chiralize.problem.network import Network
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.symbolic import Abs, Axis, Sum, Var

Batches = Sequence[Batch]


@dataclass(frozen=True)
class Design:
    """What the result will look like.

    captured: the original's graph, rewritten so that its best coordinates are its own.  lifting: what becomes of every
    space.  given: weights that follow from it.
    """

    captured: CapturedModel
    repmap: RepMap
    lifting: Lifting
    choices: tuple[Choice, ...]
    given: Mapping[str, torch.Tensor]


def reductions(
    network: Network,
    repmap: RepMap,
    batches: Batches,
    width: float,
    mixing: int,
    settled: Sequence[HiddenMap] = (),
) -> Iterator[Design]:
    """Heads and trunks in their own coordinates, then units: in pairs, and mixed where that promises to be better.

    settled: what becomes of some spaces, whatever the width.
    """
    # 1. Coordinates in which the first dimensions carry most: the same function, written otherwise. Where its answers
    # to one batch do not agree, heads keep all their dimensions (`_cofactors`), and of a trunk units are chosen.
    captured, heads = network.graph(), list(attentions(network.graph(), repmap))
    if heads:
        ordered, heads = in_order(captured, repmap, heads, batches)
        if ordered.agrees(batches[0].plain):
            captured = ordered.graph()
        else:
            heads = []
    found_trunks = trunks(captured, repmap)
    if found_trunks:
        centred = unfolded(captured, found_trunks)
        if centred.agrees(batches[0].plain):
            captured = centred.graph()
        else:
            found_trunks = []
    # 2. What units do, in these coordinates; then heads and trunks, which do not depend on a choice of units.
    give_back()
    moments = sensitivities(captured, repmap, batches)
    maps = [*settled, *(hidden_map for heads_of_one in heads for hidden_map in kept_heads(heads_of_one, width))]
    given: dict[str, torch.Tensor] = {}
    for trunk in found_trunks:
        hidden_map, norms = turned(trunk, captured, moments[trunk.space.key], width)
        maps.append(hidden_map)
        given |= norms
    # 3. All other spaces. Those that cannot be cut keep all their units; several layers of one recurrent op need one
    # size, which pairs have and a mixture need not have.
    give_back()
    others = _cofactors(captured, repmap, moments, {key for hidden_map in maps for key in hidden_map.key})
    free = {space.key: mixing for space in repmap.spaces if space.key not in of_one_size(captured, repmap)}
    ways = choose(repmap.spaces, moments, width, others, maps, free)
    del moments  # large, and needed no more
    give_back()
    for every, choices in ways:
        yield Design(captured, repmap, Lifting(every), choices, given)


def matching(
    network: Network,
    repmap: RepMap,
    measured: Mapping[int, Sequence[Sensitivity]],
    fixed_points: bool,
    tied: Collection[int],
) -> Design:
    """All units, matched by what they do on x and T x; spaces that nothing is known of, by weights.

    repmap: with an unknown of its own for every recurrent layer.  measured: what units do, by space.
    tied: those that must move alike in the end: pairs without signs, in one order.

    Raises UnsupportedError where an op refuses.
    """
    # 1. What is known of the units, and what other mirrors do to them, which a matching has to commute with.
    captured = network.graph()
    moments: dict[int, list[Sensitivity]] = {}
    for key, places in measured.items():
        read = [sensitivity for sensitivity in places if sensitivity.count]
        if read:
            moments[key] = read
    keep = keeping(captured, network.others.earlier)
    weights = FromWeights(captured, fixed_points, keep)
    if network.others.earlier and tied:
        facts = "recurrent layers are not matched for more than one mirror"
        raise MethodUnavailableError("several mirrors", facts, "use --method average, which runs every view")

    def chosen(spaces: Sequence[Space], known: RepMap) -> Chosen:
        """By what units do where they are read, else by weights."""
        seen = {
            space.key: _best(space, moments[space.key], fixed_points, space.key in tied, keep(space, known))
            for space in spaces
            if space.key in moments
        }
        if len(seen) == len(spaces):
            return seen
        return {**weights(spaces, known), **seen}

    # 2. Spaces in the order in which inference asks for them; `separate` has added some that inference does not know.
    choices = {choice.space.key: choice for choice in analyse(network, chosen)[1]}
    for space in repmap.spaces:
        if space.key not in choices:
            choices[space.key] = Choice(space, *chosen([space], repmap)[space.key])
    # Tied layers need one involution in the end. Pairs without signs, put in one order, are: swap the halves.
    if any(not choices[key].action.is_sign_free or key not in moments for key in tied):
        facts = "the states of several layers lie in one tensor, and their units cannot be matched by what they do"
        raise MethodUnavailableError("a recurrent layer", facts, "leave --calibration out")
    # 3. Maps of the choices. Layers with one state tensor get one order, so that T acts on all of them alike.
    maps: list[HiddenMap] = []
    for key, choice in choices.items():
        map_of = matched_in_order if key in tied else matched
        others = tuple((action, action) for action in keep(choice.space, repmap))
        maps.append(replace(map_of(key, choice.action), earlier=others))
    lifting = Lifting(maps, earlier_by_leaf(captured.weights, network.others.earlier))
    new = {leaf.name: lifting.representation(repmap.leaves[leaf.name]) for leaf in captured.weights}
    check_commuting(captured, new, lifting.earlier)
    return Design(captured, repmap, lifting, tuple(choices.values()), {})


def _best(
    space: Space,
    places: Sequence[Sensitivity],
    fixed_points: bool,
    tied: bool,
    earlier: Sequence[SignedPermutation],
) -> tuple[SignedPermutation, str]:
    """The involution by correlation; every place where the units are read has one vote.

    tied: the space must have the same number of pairs as others. earlier: how other mirrors act on the units, which the
    involution must commute with.
    """
    # Score(signed, plain): correlations change their sign where a pair is negated
    score = torch.stack([sensitivity.correlation() for sensitivity in places]).sum(0).numpy()
    action = best_commuting(Score(score, 0 * score), space.sign_free or tied, fixed_points and not tied, earlier)
    return action, "matched by activations"


def _cofactors(
    captured: CapturedModel, repmap: RepMap, moments: Mapping[int, object], settled: Collection[int]
) -> dict[int, SignedPermutation]:
    """Spaces that are no unit axes of their own, such as heads beside their channels: matched by weights."""
    # no correlations are known of these: a factor of an axis is no row of units, and some spaces nothing reads
    shared = factors(repmap)
    odd = [space for space in repmap.spaces if space.key in shared or space.key not in moments]
    odd = [space for space in odd if space.key not in settled]
    if not odd:
        return {}
    chosen = FromWeights(captured, False)(repmap.spaces, repmap)  # of all: partners of one depend on those of others
    return {space.key: chosen[space.key][0] for space in odd}


def factors(repmap: RepMap) -> set[int]:
    """Unknowns that share an axis with another one."""
    shared: set[int] = set()

    def look(axis: Axis) -> None:
        """Note the unknowns of an axis, and of the axes that it is joined of."""
        unknowns = [term.id for term in axis if isinstance(term, Var)]
        unknowns += [term.var.id for term in axis if isinstance(term, Abs)]
        if len(unknowns) > 1:
            shared.update(unknowns)
        for term in axis:
            for part in term.parts if isinstance(term, Sum) else ():
                look(part)

    for reps in (*((rep,) for rep in repmap.leaves.values()), *repmap.nodes.values()):
        for rep in reps:
            for axis in rep.axes if rep is not None else ():
                look(axis)
    return shared
