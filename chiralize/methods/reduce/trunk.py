"""Residual trunks between pre-normalisations: not units are kept but directions.

Where everything that reads a trunk is normalised first (LayerNorm), the trunk may be turned by any orthogonal map that
fixes the vector of ones: the norm's scale and offset go into the layers behind it, and what is written to the trunk is
centred, neither of which changes what the network computes. The lifted trunk (a(x), a(T x)) is then turned to the
principal directions of its even and of its odd part, and the first of both are kept:

    n new entries, p pairs and f fixed:   p odd directions,  p + f - 1 even ones,  orthogonal to the vector of ones

A pre-normalised block, and what it becomes (`unfolded`) before anything is turned:

    y = x + W_2 act(W_1 (g * norm(x) + o) + b)        y = x + C W_2 act(W_1 diag(g) norm(x) + (W_1 o + b))

norm takes the mean off and divides by the spread, C takes the mean off: what a trunk holds along the vector of ones no
norm lets through. `design` finds trunks (`trunks`), rewrites the graph (`unfolded`) and turns them (`turned`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.passes.rewriting import Rewrite
from chiralize.graph.traits import Copy, Movement, Normalised, Sum, keeps_numbers
from chiralize.infer.records import RepMap, Space
from chiralize.infer.registry import traits
from chiralize.methods.reduce.choosing import new_size
from chiralize.methods.reduce.hidden_maps import HiddenMap
from chiralize.methods.reduce.moments import Sensitivity
from chiralize.methods.reduce.sites import Site, sites_of
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.isotypic import IsotypicBasis
from chiralize.symmetry.symbolic import SymbolicRepresentation, Var, variables


@dataclass(frozen=True)
class Norm:
    """A normalisation that reads a trunk. scale, offset: leaves.  readers: the sites behind it."""

    scale: str | None
    offset: str | None
    readers: tuple[Site, ...]


@dataclass(frozen=True)
class Trunk:
    """A trunk that may be turned. written: leaves that give it, and the axis that is the trunk in each."""

    space: Space
    norms: tuple[Norm, ...]
    written: Mapping[str, int]


def trunks(captured: CapturedModel, repmap: RepMap) -> list[Trunk]:
    """The trunks of a graph that may be turned, in the order of its spaces."""
    sites = sites_of(captured)
    searched = (_Search(space, captured, repmap, sites).trunk() for space in repmap.spaces)
    return [trunk for trunk in searched if trunk is not None]


class _Search:
    """Follows a space through the network: values of the trunk, and values behind a norm, by that norm.

    axes: of the leaves that hold the space, the axis where.  raw: names of values in the trunk.  normed: by value
    behind a norm, the name of that norm.  readers: by norm, the sites that read what it gives.
    """

    def __init__(self, space: Space, captured: CapturedModel, repmap: RepMap, sites: Mapping[str, Site]) -> None:
        self.space, self.captured, self.repmap, self.sites = space, captured, repmap, sites
        self.axes = {name: at for name, rep in repmap.leaves.items() if (at := _axis(rep, space.key)) is not None}
        self.reads = captured.read_counts
        # A leaf with the space that is no weight of a site and no gain or offset of a norm is in the trunk itself.
        inner = {name for site in sites.values() for name in (site.weight, site.bias)}
        inner |= {ref.name for node in captured.nodes if _is_norm(node) for ref in node.reads[1:]}
        self.raw = self.axes.keys() - inner  # embeddings
        self.normed: dict[str, str] = {}
        self.readers: dict[str, list[Site]] = {}

    def trunk(self) -> Trunk | None:
        """The space as a trunk; None where an op other than norms, sums and changes of layout touches it."""
        # 1. Nothing but norms, sums and changes of layout touches it, and it is not an answer, which may not be turned.
        if not all(self._follow(node) for node in self.captured.nodes) or not self.readers:
            return None
        if (self.raw | self.normed.keys()) & set(self.captured.outputs):
            return None
        # 2. Gains and offsets can go into the layers behind, which nothing else may read then.
        nodes = self.captured.by_name
        norms = tuple(_norm(nodes[name], readers) for name, readers in self.readers.items())
        inner = {site.weight for norm in norms for site in norm.readers}
        inner |= {name for norm in norms for name in (norm.scale, norm.offset) if name is not None}
        if any(self.reads[name] > 1 for name in inner) or not all(map(self._is_open, norms)):
            return None
        return Trunk(self.space, norms, {name: at for name, at in self.axes.items() if name not in inner})

    def _follow(self, node: Node) -> bool:
        """Whether the op may stay in the turned trunk. Notes its result as raw or normed, or its site as a reader."""
        read = node.names_read
        site = self.sites.get(node.name)
        raw, normed = [name for name in read if name in self.raw], [name for name in read if name in self.normed]
        # a layer behind a norm: it reads the space, and gives something else
        if site is not None and site.source in self.normed:
            self.readers[self.normed[site.source]].append(site)
            return self.axes.get(site.weight) in site.readers
        # a layer that writes to the trunk, the space among the axes of its weight that give
        if site is not None and not raw and self.axes.get(site.weight, -1) not in (-1, *site.readers):
            self.raw.add(node.name)
            return True
        # a norm over the space alone: over other axes beside it, turning would change its mean and spread
        if _is_norm(node) and read[0] in self.raw and len(node.arguments["normalized_shape"]) == 1:
            self.normed[node.name], self.readers[node.name] = node.name, []
            return True
        # sums and changes of layout, of the trunk or of what a norm gives, not of both together
        reps = self.repmap.nodes.get(node.name, ())
        if (
            _is_linear(node)
            and bool(raw) != bool(normed)
            and reps
            and reps[0]
            and _axis(reps[0], self.space.key) is not None
        ):
            if raw:
                self.raw.add(node.name)
            else:
                self.normed[node.name] = self.normed[normed[0]]
            return bool(raw) or len(read) == 1  # a norm's answer plus another value: that one was not normalised
        # any other op must not meet the space at all
        touched = (var.id for rep in reps if rep is not None for var in variables(rep.axes))
        return not raw and not normed and self.space.key not in touched

    def _is_open(self, norm: Norm) -> bool:
        """Whether the norm's offset, if it has one, can go into the biases behind it."""
        if norm.offset is None or not bool(self.captured.leaves[norm.offset].tensor.any()):
            return True
        return all(site.out == -1 and site.bias is not None and self.reads[site.bias] == 1 for site in norm.readers)


def _is_norm(node: Node) -> bool:
    """Whether an op is a layer norm that takes the mean off."""
    trait = traits().get(node.target)
    return isinstance(trait, Normalised) and bool(trait.shape) and trait.is_centred


def _is_linear(node: Node) -> bool:
    """Whether an op is linear, so that it commutes with turning the trunk.

    A linear op that leaves an unknown axis alone commutes with every permutation of it. So it is a multiple of the
    identity there, plus one of the matrix of ones; both commute with whatever fixes the vector of ones.
    """
    match traits().get(node.target):
        case Copy():
            return keeps_numbers(node)
        case Movement() as trait:
            return not trait.fills
        case Sum():
            return True
    return False


def _norm(node: Node, readers: Sequence[Site]) -> Norm:
    """A norm's op as a record, with the names of its gain and offset where it has them."""
    scale, offset = (node.arguments.get(name) for name in ("weight", "bias"))
    return Norm(scale.name if scale else None, offset.name if offset else None, tuple(readers))


def _axis(rep: SymbolicRepresentation, key: int) -> int | None:
    """The one axis that is the space and nothing else; None where there is none, or more than one."""
    is_alone = [len(axis) == 1 and isinstance(axis[0], Var) and axis[0].id == key for axis in rep.axes]
    if sum(is_alone) != 1:
        return None
    return is_alone.index(True)


def unfolded(captured: CapturedModel, trunks_found: Sequence[Trunk]) -> Rewrite:
    """The same network with the norms' scales and offsets in the layers behind them, and with centred trunks."""
    rewrite = Rewrite(captured)
    for trunk in trunks_found:
        for name, at in trunk.written.items():
            rewrite[name] = rewrite[name] - rewrite[name].mean(at, keepdim=True)
        for norm in trunk.norms:
            for site in norm.readers:
                _unfold(rewrite, norm, site)
            for name, number in ((norm.scale, 1.0), (norm.offset, 0.0)):
                if name is not None:
                    rewrite[name] = torch.full_like(rewrite[name], number)
    return rewrite


def _unfold(rewrite: Rewrite, norm: Norm, site: Site) -> None:
    """Put a norm's scale and offset into a layer behind it."""
    weight = rewrite[site.weight]
    if norm.offset is not None and site.bias is not None and site.out == -1:
        rewrite[site.bias] = rewrite[site.bias] + site.matrix(weight) @ rewrite[norm.offset]
    if norm.scale is not None:
        (at,) = site.readers
        rewrite[site.weight] = (weight.movedim(at, -1) * rewrite[norm.scale]).movedim(-1, at)


def turned(
    trunk: Trunk, captured: CapturedModel, places: Sequence[Sensitivity], width: float
) -> tuple[HiddenMap, dict[str, Tensor]]:
    """The principal directions that are kept, and the norms' scales and offsets in the new trunk.

    places: sums at every layer that reads the trunk behind a norm, all of which count alike.
    """
    # 1. Directions of the lifted trunk, "direction" of size units each, even and odd. A direction less than new entries
    # is kept, since that along the vector of ones is none. An odd one takes a pair, so that there are at most new // 2.
    size = trunk.space.size
    new = new_size(size, width)
    even_moment = torch.stack([sensitivity.even.whole() for sensitivity in places]).sum(0)
    odd_moment = torch.stack([sensitivity.odd.whole() for sensitivity in places]).sum(0)
    spectra = [torch.linalg.eigh(even_moment), torch.linalg.eigh(odd_moment)]
    best = torch.cat([values for values, _ in spectra]).argsort(descending=True)[: new - 1]
    pairs = min(int((best >= size).sum()), new // 2)  # numbers from size on are of odd directions
    # 2. The new space, [firsts, seconds, fixed], and in it an even coordinate for every even direction that is kept.
    action = SignedPermutation.halves(2 * pairs).direct_sum(SignedPermutation.identity(new - 2 * pairs))
    even, odd = IsotypicBasis(action).split(torch.eye(new, dtype=torch.float64), 0)  # "coordinate entry"
    free = torch.linalg.svd(even.sum(1, keepdim=True))[0][:, 1:]  # even coordinates orthogonal to the vector of ones
    # 3. K takes a direction's even or odd share, (a(x) +- a(T x)) / sqrt 2, to a coordinate; eigh sorts ascending.
    first = [vectors.flip(1)[:, :count] for (_, vectors), count in zip(spectra, (free.shape[1], pairs), strict=True)]
    keep = (even.T @ free @ first[0].T + odd.T @ first[1].T) * 0.5**0.5
    # 4. A norm divides by the root mean square. |a'|^2 is about |a(x)|^2 + |a(T x)|^2, over n entries in place of
    # 2 size: so its answer is sqrt(n / (2 size)) as large, and the new gain is the inverse.
    numbers = {norm.scale: (2 * size / new) ** 0.5 for norm in trunk.norms} | {norm.offset: 0.0 for norm in trunk.norms}
    given = {
        name: torch.full((new,), number, dtype=captured.leaves[name].tensor.dtype)
        for name, number in numbers.items()
        if name is not None
    }
    return HiddenMap((trunk.space.key,), {trunk.space.key: action}, keep, keep.T), given
