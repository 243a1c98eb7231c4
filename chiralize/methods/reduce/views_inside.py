"""Networks whose layers mix joints with their coordinates: both views beside each other along the channels, inside.

An adjacency over all numbers of a pose ("node": one coordinate of one joint) leaves no axis of coordinates that a
second view could lie along, and what follows the input may gather frames or take their cosine transform. So the views
come in where a weight first reads features, and go out behind the weight that gives them back:

    z = [v, T v], "node (view feature)"          v = (z_1 + T z_2) / 2

The mirror takes z to [T v, v]: it exchanges the views and leaves the nodes where they are. Between the two, layers
along the nodes stay as they are. The maps are weights, fitted with all others.

`reduce` tries it where `joints_in_place` finds no place for its maps: `doubled_inside` writes the network anew, and
`views_in_place` settles which unknowns are nodes and which are the two views. A first layer that reads "batch node
frame" gets [v, 0] at first, with zeros in its weight for the second half, so that it computes what it did.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from chiralize.errors import CaptureError
from chiralize.graph.model import CapturedModel
from chiralize.graph.passes.doubling import DoubledValue, PaddedWeight, doubled, name_of_map_in
from chiralize.graph.passes.leading import Led, name_of_map_out
from chiralize.infer.capture import functional
from chiralize.infer.records import RepMap
from chiralize.methods.reduce.hidden_maps import HiddenMap, pairs_and_fixed
from chiralize.methods.reduce.joints_in_place import InPlace, along_joints, is_plain, left_alone, with_maps
from chiralize.methods.reduce.sites import Site, sites_of
from chiralize.problem.mirror import infer
from chiralize.problem.network import Network
from chiralize.symmetry.symbolic import Known, SymbolicRepresentation, Term, Var, axis_size, variables

_VIEWS = 2


def doubled_inside(network: Network) -> Network | None:
    """The network with its maps, which change nothing. None where no value can be doubled, or it cannot be written."""
    if network.program is None or not is_plain(network):
        return None
    # Values that go in and that come out, each with the weights that get room for a second view. No weight gets it
    # twice: one that works in two places, say, would be padded for both.
    captured, repmap = network.graph(), infer(network).result()
    read, given = tuple(_read(captured, repmap)), tuple(_given(captured, repmap))
    names = list[str]()
    for value in (*read, *given):
        names += [weight.name for weight in value.weights]
    if not read or not given or len(set(names)) < len(names):
        return None
    try:
        program = functional(network.program)
    except CaptureError:
        return None
    return with_maps(network, doubled(program, read, given))


def views_in_place(network: Network, captured: CapturedModel, repmap: RepMap) -> InPlace | None:
    """The hidden spaces between the maps, nodes settled; None where an op leaves the views no choice.

    network, captured, repmap: with the maps.
    """
    names = {name: leaf.name for leaf in captured.leaves.values() for name in leaf.names}
    nodes: set[int] = set()
    views: dict[int, Var] = {}
    # the maps are numbered from 0, those that lead in and those that lead out each by themselves
    for name_of, at in ((name_of_map_in, 0), (name_of_map_out, 1)):
        index = 0
        while name_of(index) in names:
            *others, view = repmap.leaves[names[name_of(index)]].axes[at]
            if not isinstance(view, Var) or view.size != _VIEWS:
                return None  # an op between the maps fixes how the mirror acts on the views
            views[view.id] = view
            for term in others:
                if isinstance(term, Var):
                    nodes.add(term.id)
            index += 1
    nodes = along_joints(captured, repmap, nodes, views)
    if nodes & views.keys():
        return None
    maps = list[HiddenMap]()
    # Of the two halves, v and 0 at first, v is kept, and its mirror image takes the place of the other.
    for key in views:
        maps.append(replace(pairs_and_fixed(key, _VIEWS, [0], ()), reason="a value and its mirror image"))
    return InPlace(left_alone(repmap, nodes), tuple(maps))


def _read(captured: CapturedModel, repmap: RepMap) -> Iterator[DoubledValue]:
    """The values of which all is known and that weights read along channels, to give something hidden."""
    readers: dict[tuple[str, int], list[Site]] = {}
    for site in sites_of(captured).values():
        read, given = repmap.of(site.source), repmap.of(site.node.name)
        if read is None or given is None or _is_hidden(read) or not _is_hidden(given):
            continue
        # the axis of the value that the weight reads must not be one that the mirror moves: that is a layer along nodes
        channel = site.out % len(read.axes)
        if _moved(read) and channel not in _moved(read):
            readers.setdefault((site.source, channel), []).append(site)
    for (value, channel), sites in readers.items():
        weights = tuple(_padded(captured, site, next(iter(site.readers))) for site in sites)
        read = repmap.of(value)
        assert read is not None
        yield DoubledValue(value, _led(read), channel, weights)


def _given(captured: CapturedModel, repmap: RepMap) -> Iterator[DoubledValue]:
    """The values of which all is known and that weights give from hidden ones, with the weight that gives the channels:
    the last one, or the one before it where the last is a layer along the nodes.
    """
    # read: something hidden.  given: a known value that the mirror moves, such as the pose or its residual.
    sites = sites_of(captured)
    for site in sites.values():
        read, given = repmap.of(site.source), repmap.of(site.node.name)
        if read is None or given is None or not _is_hidden(read) or _is_hidden(given) or not _moved(given):
            continue
        # The last layer goes along the nodes where its axis is moved: then the one before it gives the channels.
        giver: Site | None = site
        if site.out % len(given.axes) in _moved(given):
            giver = sites.get(site.source)
        if giver is None or giver.out % len(given.axes) in _moved(given):
            continue
        weight = _padded(captured, giver, int(0 in giver.readers), giver.bias)
        yield DoubledValue(site.node.name, _led(given), giver.out % len(given.axes), (weight,))


def _padded(captured: CapturedModel, site: Site, axis: int, bias: str | None = None) -> PaddedWeight:
    """A weight that gets room for a second view along an axis, and its bias, by their names in the module."""
    leaves = captured.leaves
    return PaddedWeight(site.node.name, leaves[site.weight].names[0], axis, bias and leaves[bias].names[0])


def _is_hidden(rep: SymbolicRepresentation) -> bool:
    """Whether some axis is not known."""
    return any(True for _ in variables(rep.axes))


def _moved(rep: SymbolicRepresentation) -> list[int]:
    """The axes that the mirror is known to act on."""
    moved = list[int]()
    for axis, terms in enumerate(rep.axes):
        if not all(isinstance(term, Var) or _is_still(term) for term in terms):
            moved.append(axis)
    return moved


def _is_still(term: Term) -> bool:
    """Whether the mirror is known to leave the entries of a term alone."""
    return isinstance(term, Known) and term.action.is_identity


def _led(rep: SymbolicRepresentation) -> Led:
    """The axes that the mirror moves, and their sizes."""
    axes, sizes = _moved(rep), list[int]()
    for axis in axes:
        sizes.append(axis_size(rep.axes[axis]))
    return Led(tuple(axes), tuple(sizes))
