"""Networks whose layers mix joints: both views lie beside each other along the channels, and no joint is moved.

A layer along the joints, W, is the same one for all channels. The mean of both views needs W for the channels of one
view and its mirror image, W T, for those of the other, and no layer that commutes with the mirror is both. So a linear
map leads into the network, and one out of it:

    z = [x, T x], "joint (view coordinate)"          y = (y_1 + T y_2) / 2

The mirror takes z to [T x, x]: it exchanges the views and leaves the joints where they are. Between the two maps layers
along the joints stay as they are, and channels are kept with their mirror images as in any other network. The maps are
weights: the identity at first, with which the network is what it was, and fitted with all others.

`reduce` asks in this order: `mixes_joints` (is it worth while?), `led_in_and_out` (the network with its maps, captured
anew) and `in_place` (which unknowns are joints, which are coordinates). Of 17 joints in the plane the map in is 34 x 34
at first, on the original's input; reduced it is 34 x 68, since each coordinate is kept once for each view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch.fx import GraphModule

from chiralize.body.tensors import ResolvedTensor
from chiralize.errors import ChiralizeError
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.leading import LED_IN, Led, led, name_of_map_out
from chiralize.infer.records import RepMap
from chiralize.infer.solver.terms import unknowns_in
from chiralize.methods.reduce.hidden_maps import HiddenMap, pairs_and_fixed
from chiralize.methods.reduce.sites import sites_of
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from chiralize.symmetry.symbolic import (
    Axis,
    Known,
    Sum,
    SymbolicRepresentation,
    Term,
    Var,
    known_axis,
    variables,
)


@dataclass(frozen=True)
class InPlace:
    """What is settled before units are chosen.

    repmap: with joints, and units along them, that the mirror leaves alone.  maps: of the coordinates, all of which are
    kept, once for each view.
    """

    repmap: RepMap
    maps: tuple[HiddenMap, ...]


def mixes_joints(captured: CapturedModel, repmap: RepMap) -> bool:
    """Whether a weight reads entries that the mirror exchanges, the same one for all hidden channels."""
    # Read: a joint axis, known to the weight, and beside it an axis that is still open, the hidden channels.
    for site in sites_of(captured).values():
        read = (repmap.nodes.get(site.source) or (None,))[0]
        reader = next(iter(site.readers))  # the axis of the weight that takes values in
        if site.weight in repmap.leaves:
            axis = repmap.leaves[site.weight].axes[reader]
        else:
            axis = ()
        if read is None or any(True for _ in variables((axis,))) or not any(map(_exchanges, axis)):
            continue
        if any(True for _ in variables(read.axes)):
            return True
    return False


def _exchanges(term: Term) -> bool:
    """Whether a term is known and takes entries to other places."""
    return isinstance(term, Known) and _moves(term.action)


def _moves(action: SignedPermutation) -> bool:
    """Whether an action takes entries to other places, beyond changing signs."""
    return not action.fixed.all()


def is_plain(network: Network) -> bool:
    """Whether it has one linear mirror, is claimed as a whole, and runs no stretch on both views."""
    others = network.others.earlier or network.others.further
    return not (network.resolved.is_affine or others or network.handover.partial or network.treatment.regions)


def led_in_and_out(network: Network) -> Network | None:
    """The network with its maps, each the identity. None where joints and coordinates are no two factors of its one
    input and of its outputs, or where it is none that can be written anew.
    """
    inputs, outputs = network.resolved.input_tensors, network.resolved.output_tensors
    if network.program is None or len(inputs) != 1 or not is_plain(network):
        return None
    # An answer that the mirror leaves alone (scores of classes) needs no map out: both views give the same one.
    into, out = _led(inputs[0]), list(map(_led, outputs))
    is_unmoved = [tensor.representation is not None and tensor.representation.is_trivial for tensor in outputs]
    if into is None or any(led_out is None and not unmoved for led_out, unmoved in zip(out, is_unmoved, strict=True)):
        return None
    return with_maps(network, led(network.program, into, out))


def with_maps(network: Network, module: GraphModule | None) -> Network | None:
    """The network as this module; None where there is none, or where its graph cannot be captured again."""
    if module is None:
        return None
    try:
        prepared = prepare(module, network.resolved.spec, network.args, network.kwargs)
    except ChiralizeError:
        return None
    return replace(prepared, notes=network.notes)


def _led(tensor: ResolvedTensor) -> Led | None:
    """The axes of the joints and of the coordinates, or the one that holds both."""
    rep = tensor.representation
    if rep is None or rep.sign < 0:
        return None
    axes, factors = tuple(rep.moved_axes), _factors(rep)
    if len(factors) != 2 or sum(map(_moves, factors)) != 1:
        return None
    return Led(axes, tuple(tensor.shape[axis] for axis in axes))


def in_place(network: Network, captured: CapturedModel, repmap: RepMap) -> InPlace | None:
    """The hidden spaces between both maps, joints settled; None where no axis is joints alone, or channels mix in.

    captured, repmap: of the network with both maps.
    """
    # joints, coordinates: unknowns by id.  ends: a map's name, its axis inside, and how the tensor outside transforms.
    names = {name: leaf.name for leaf in captured.leaves.values() for name in leaf.names}
    joints: set[int] = set()
    coordinates: dict[int, Var] = {}
    resolved = network.resolved
    ends = [(LED_IN, 0, resolved.input_tensors[0].representation)]
    ends += [(name_of_map_out(index), 1, out.representation) for index, out in enumerate(resolved.output_tensors)]
    # 1. The axis of each map that is inside the network: joints times coordinates, which inference has left open.
    for name, at, rep in ends:
        if name not in names:
            continue
        factors = _factors(rep)
        axis = repmap.leaves[names[name]].axes[at]
        if [term.size for term in axis] != [factor.size for factor in factors]:
            return None  # other factors inside than outside: which of them are joints is not known
        for term, factor in zip(axis, factors, strict=True):
            if isinstance(term, Known) and term.action.is_identity and _moves(factor):
                continue  # some op leaves the joints no other choice
            if not isinstance(term, Var):  # settled by some op in another way than the identity
                return None
            if _moves(factor):
                joints.add(term.id)
            else:
                coordinates[term.id] = term
    # 2. What layers along the joints make of joints stays in its place, too. Channels must be something else.
    joints = along_joints(captured, repmap, joints, coordinates.keys())
    if joints & coordinates.keys():
        return None
    maps = [pairs_and_fixed(key, var.size, range(var.size), ()) for key, var in coordinates.items()]
    settled = tuple(replace(hidden_map, reason="all coordinates, once for each view") for hidden_map in maps)
    return InPlace(left_alone(repmap, joints), settled)


def _factors(rep: TensorRepresentation | None) -> list[SignedPermutation]:
    """The actions on the axes that the mirror moves: those of joints and those of coordinates."""
    factors: list[SignedPermutation] = []
    if rep is None:
        return factors
    for axis in rep.moved_axes:
        factors += [factor for factor in rep.axes[axis].factors if factor.size > 1]
    return factors


def along_joints(captured: CapturedModel, repmap: RepMap, joints: Iterable[int], channels: Iterable[int]) -> set[int]:
    """The unknowns of joints, and of units that weights make of joints or of frames alone.

    One pass in the order of the graph: what a weight writes is of the kind that it reads. A weight that reads no
    unknown at all, such as frames, counts as one along the joints; one that reads a channel makes channels.
    """
    along, across = set(joints), set(channels)
    for site in sites_of(captured).values():
        rep = repmap.leaves[site.weight]
        reader = next(iter(site.readers))
        read = unknowns_in([rep.axes[reader]])
        written = unknowns_in([rep.axes[1 - reader]])
        if read <= along:
            along |= written - across
        else:
            across |= written - along
    return along


def left_alone(repmap: RepMap, keys: set[int]) -> RepMap:
    """The same, with the unknowns `keys` known to be the identity, and no spaces any more."""
    leaves = {name: _settled(rep, keys) for name, rep in repmap.leaves.items()}
    nodes: dict[str, tuple[SymbolicRepresentation | None, ...]] = {}
    for name, reps in repmap.nodes.items():
        nodes[name] = tuple(rep and _settled(rep, keys) for rep in reps)
    spaces = tuple(space for space in repmap.spaces if space.key not in keys)
    return replace(repmap, leaves=leaves, nodes=nodes, spaces=spaces)


def _settled(rep: SymbolicRepresentation, keys: set[int]) -> SymbolicRepresentation:
    """A representation with identities in the place of the unknowns `keys`."""
    return replace(rep, axes=tuple(_axis(axis, keys) for axis in rep.axes))


def _axis(axis: Axis, keys: set[int]) -> Axis:
    """An axis with identities in the place of the unknowns `keys`."""
    terms: list[Term] = []
    for term in axis:
        if isinstance(term, Sum):
            terms.append(Sum(tuple(_axis(part, keys) for part in term.parts)))
        elif unknowns_in([(term,)]) & keys:
            terms += known_axis(SignedPermutation.identity(term.size))
        else:
            terms.append(term)
    return tuple(terms)
