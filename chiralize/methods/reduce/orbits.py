"""Units kept in whole orbits of other mirrors, so that what they do to the network stays as it is.

A network that commutes with A has units u and A u. Kept or dropped together, with their mirror images under B, they are
[S, A S, B S, A B S], on which A and B act freely. The importance of an orbit is computed from the moments of its units
in the isotypic basis of A, even and odd under B each: for one mirror beside it four parts in place of two.

A quadruped, say, is converted for left/right (A) first and for front/back (B) then. Of units 0 to 7 with
A = (0 1)(2 3)(4 5)(6 7) the orbits are {0, 1}, {2, 3}, {4, 5}, {6, 7}. At ½ two of the four are kept, say of 0 and 4:

    [0, 4, 1, 5, 0', 4', 1', 5']        A swaps 0 and 1, 4 and 5, and their images;  B swaps the halves
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from chiralize.errors import MethodUnavailableError
from chiralize.graph.running import Call, mirrored
from chiralize.infer.records import Choice, RepMap, Space
from chiralize.methods.reduce.attention import attentions
from chiralize.methods.reduce.design import Batches, Design, factors
from chiralize.methods.reduce.elimination import Features, eliminate
from chiralize.methods.reduce.hidden_maps import HiddenMap, Lifting, pairs_and_fixed
from chiralize.methods.reduce.moments import Sensitivity, sensitivities
from chiralize.methods.reduce.recurrent import cells
from chiralize.problem.data.feeds import joined, mapped
from chiralize.problem.earlier import EarlierMirror, earlier_by_leaf, keeping
from chiralize.problem.network import Network
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.orbits import Orbits

_INSTEAD = "use --method average, which runs every view"
_ONE_IN = 5


def orbit_reductions(network: Network, repmap: RepMap, batches: Batches, width: float) -> Iterator[Design]:
    """The one design with `width` of the orbits of every space, each with its image.

    Raises MethodUnavailableError for attention, recurrent layers, and units that another mirror leaves at their place.
    """
    # 1. Heads and cells have spaces of several axes, of which no orbits are known here.
    captured = network.graph()
    if list(attentions(captured, repmap)) or any(cells(node, captured) for node in captured.nodes):
        raise _refused("attention and recurrent layers are not reduced for more than one mirror")
    moments = sensitivities(captured, repmap, batches)
    # 2. Every space: its orbits under the other mirrors, and which of them go.
    shared, keep = factors(repmap), keeping(captured, network.others.earlier)
    maps: list[HiddenMap] = []
    choices: list[Choice] = []
    for space in repmap.spaces:
        places = [sensitivity for sensitivity in moments.pop(space.key, []) if sensitivity.count]
        actions = keep(space, repmap)
        orbits = Orbits(space.size, actions)
        if space.key in shared or not places or not orbits.are_free:
            raise _refused(f"{space.label}: its units are no free orbits of the other mirrors that something reads")
        maps.append(_of_orbits(space, orbits, actions, places, width))
        count = len(maps[-1].keep) // (2 * len(orbits.partner))
        total = space.size // len(orbits.partner)
        reason = f"{count} of {total} orbits of {len(orbits.partner)} units kept, each with its mirror image"
        choices.append(Choice(space, maps[-1].actions[space.key], reason))
    by_leaf = earlier_by_leaf(captured.weights, network.others.earlier)
    yield Design(captured, repmap, Lifting(maps, by_leaf), tuple(choices), {})


def _refused(facts: str) -> MethodUnavailableError:
    """The refusal, which holds whatever the width."""
    refusal = MethodUnavailableError("--method reduce, several mirrors", facts, _INSTEAD)
    refusal.settled = True  # whatever the width
    return refusal


def _of_orbits(
    space: Space, orbits: Orbits, actions: Sequence[SignedPermutation], places: Sequence[Sensitivity], width: float
) -> HiddenMap:
    """The orbits whose loss the readers would feel most, and their images: [units, images]."""
    (kind,) = orbits.kinds  # free orbits are all of one kind
    count = max(round(width * len(kind.bases)), 1)
    even: list[Features] = []
    odd: list[Features] = []
    # A character of the group, "orbit entry", for every part: A acts on it as +1 or as -1. All parts of an orbit stand
    # or fall together, as even and odd features of a pair do, so that they are summed like places.
    for number in range(len(orbits.partner)):
        rows = torch.from_numpy(orbits.character(kind.bases, number))
        for sums in places:
            even.append(Features(_within(sums.even.whole(), rows), _within(sums.even_metric.whole(), rows)))
            odd.append(Features(_within(sums.odd.whole(), rows), _within(sums.odd_metric.whole(), rows)))
    units = orbits.entries(kind.bases[eliminate(even, odd, count).pairs])
    new = pairs_and_fixed(space.key, space.size, units, ())
    earlier: list[tuple[SignedPermutation, SignedPermutation]] = []
    for action in actions:
        restricted = action.restrict(units)
        assert restricted is not None
        earlier.append((action, restricted.direct_sum(restricted)))
    return replace(new, earlier=tuple(earlier))


def _within(moments: Tensor, rows: Tensor) -> Tensor:
    """Moments "unit unit" in the coordinates that the rows are, "orbit orbit"."""
    return rows @ moments.to(rows.dtype) @ rows.T


def with_images(network: Network, calls: Sequence[Call]) -> Sequence[Call]:
    """The inputs and what every other mirror makes of them, so that a fit sees both alike.

    An input and its images are held out together: every fifth batch is, and every part is as long as a multiple of it.
    """
    for mirror in network.others.earlier:
        if len(calls) >= _ONE_IN:  # batch 4 and its image, 4 + len(calls), are both fifth ones then
            calls = calls[: len(calls) - len(calls) % _ONE_IN]
        calls = joined(calls, mapped(lambda call, mirror=mirror: _image(call, mirror), calls))
    return calls


def _image(call: Call, mirror: EarlierMirror) -> Call:
    """A call as another mirror makes it."""
    representations = [rep for rep in mirror.resolved.inputs if rep is not None]
    return mirrored(call, representations, mirror.resolved.input_centers)
