"""Residual trunks between pre-normalisations: not units are kept but directions.

Where everything that reads a trunk is normalised first (LayerNorm), the trunk may be turned by any orthogonal map that
fixes the vector of ones: the norm's scale and offset go into the layers behind it, and what is written to the trunk is
centred, neither of which changes what the network computes. The lifted trunk (a(x), a(T x)) is then turned to the
principal directions of its even and of its odd part, and the first of both are kept:

    n new entries, p pairs and f fixed:   p odd directions,  p + f - 1 even ones,  orthogonal to the vector of ones
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chiralize.involution import SignedPermutation
from chiralize.isotypic import IsotypicBasis
from chiralize.records import CapturedModel, Leaf, Node, RepMap, Space
from chiralize.reduction.lifting import Kept
from chiralize.reduction.moments import Sensitivity
from chiralize.reduction.sites import Site, sites_of
from chiralize.symbolic import SymbolicRepresentation, Var, variables

_NORM = "aten.layer_norm.default"
_LINEAR = {
    "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default", "aten.permute.default",
    "aten.transpose.int", "aten.clone.default", "aten.contiguous.default", "aten.expand.default", "aten.mean.dim",
    "aten.slice.Tensor", "aten.select.int", "aten.unsqueeze.default", "aten.squeeze.dim", "aten.add.Tensor",
    "aten.cat.default", "aten.flatten.using_ints",
}  # fmt: skip


@dataclass(frozen=True)
class Trunk:
    """A trunk that may be turned. norms: by node, with the sites that read each.  written: leaves, and the axis each."""

    space: Space
    norms: Mapping[str, tuple[Site, ...]]
    written: Mapping[str, int]


def trunks(captured: CapturedModel, repmap: RepMap) -> list[Trunk]:
    """All of them."""
    sites = sites_of(captured)
    found = (_trunk(space, captured, repmap, sites) for space in repmap.spaces)
    return [trunk for trunk in found if trunk is not None]


def _trunk(space: Space, captured: CapturedModel, repmap: RepMap, sites: Mapping[str, Site]) -> Trunk | None:
    """None where something else than norms, sums and layouts touches the space."""
    raw, normed = set[str](), dict[str, str]()  # values of the trunk, and those behind a norm, by that norm
    norms: dict[str, list[Site]] = {}
    written = {name: at for name, rep in repmap.leaves.items() if (at := _axis(rep, space.key)) is not None}
    counts: dict[str, int] = {}
    for node in captured.nodes:
        own = [ref.name for ref in node.reads]
        for name in own:
            counts[name] = counts.get(name, 0) + 1
        site = sites.get(node.name)
        if site is not None and site.source in normed and written.get(site.weight) in site.readers:
            norms[normed[site.source]].append(site)
        elif site is not None and written.get(site.weight) not in (None, *site.readers):
            raw.add(node.name)
        elif node.target == _NORM and own[0] in raw and len(node.arguments["normalized_shape"]) == 1:
            normed[node.name], norms[node.name] = node.name, []
        elif node.target in _LINEAR and any(name in raw or name in normed for name in own):
            inside = [name for name in own if name in normed]
            if inside and (len(own) > 1 or node.target == "aten.add.Tensor"):
                return None
            if inside:
                normed[node.name] = normed[inside[0]]
            else:
                raw.add(node.name)
        elif any(name in raw or name in normed for name in own) or _touches(node, repmap, space.key):
            return None
    if not norms or any(_closed(node, norms, counts, captured) is None for node in captured.nodes):
        return None
    inner = {site.weight for own in norms.values() for site in own}
    scales = {ref.name for node in captured.nodes if node.name in norms for ref in node.reads[1:]}
    outputs = {name for name in captured.outputs if name}
    if outputs & (raw | set(normed)) or any(counts.get(name, 0) > 1 for name in (*inner, *scales)):
        return None
    return Trunk(
        space, {name: tuple(own) for name, own in norms.items()},
        {name: at for name, at in written.items() if name not in inner | scales},
    )  # fmt: skip


def _closed(node: Node, norms: Mapping[str, Sequence[Site]], counts: Mapping[str, int], captured: CapturedModel):
    """Whether a norm's offset can go into the biases behind it."""
    if node.name not in norms or len(node.reads) < 3:
        return True
    offset = captured.leaves[node.reads[2].name].tensor
    able = all(site.out == -1 and site.bias is not None and counts[site.bias] == 1 for site in norms[node.name])
    return True if able or not bool(offset.any()) else None


def _axis(rep: SymbolicRepresentation, key: int) -> int | None:
    """The one axis that is the space and nothing else."""
    found = [
        at for at, axis in enumerate(rep.axes) if len(axis) == 1 and isinstance(axis[0], Var) and axis[0].id == key
    ]
    return found[0] if len(found) == 1 else None


def _touches(node: Node, repmap: RepMap, key: int) -> bool:
    reps = repmap.nodes.get(node.name, ())
    return any(var.id == key for rep in reps if rep is not None for var in variables(rep.axes))


def unfolded(captured: CapturedModel, found: Sequence[Trunk]) -> CapturedModel:
    """The same network with the norms' scales and offsets in the layers behind them, and with centred trunks."""
    leaves = dict(captured.leaves)
    nodes = {node.name: node for node in captured.nodes}

    def put(name: str, value: Tensor) -> None:
        leaves[name] = replace(leaves[name], tensor=value.to(leaves[name].tensor.dtype).contiguous())

    for trunk in found:
        for name, at in trunk.written.items():
            value = leaves[name].tensor.detach().double()
            put(name, value - value.mean(at, keepdim=True))
        for name, readers in trunk.norms.items():
            scale, offset = (
                _value(leaves, ref.name) for ref in (*nodes[name].reads[1:3], *[nodes[name].reads[0]] * 2)[:2]
            )
            for site in readers:
                weight = leaves[site.weight].tensor.detach().double()
                (at,) = site.readers
                if offset is not None and site.bias is not None:
                    put(site.bias, _value(leaves, site.bias) + site.matrix(weight) @ offset)
                if scale is not None:
                    shape = [-1 if place == at else 1 for place in range(weight.ndim)]
                    put(site.weight, weight * scale.reshape(shape))
            for ref, value in zip(nodes[name].reads[1:3], (1.0, 0.0), strict=False):
                put(ref.name, torch.full(leaves[ref.name].shape, value, dtype=torch.float64))
    return replace(captured, leaves=leaves)


def _value(leaves: Mapping[str, Leaf], name: str) -> Tensor | None:
    return leaves[name].tensor.detach().double() if name in leaves else None


def turned(
    trunk: Trunk, captured: CapturedModel, places: Sequence[Sensitivity], width: float
) -> tuple[Kept, dict[str, Tensor]]:
    """The principal directions that are kept, and the norms' scales and offsets in the new trunk."""
    size = trunk.space.size
    new = max(round(2 * width * size), 2)
    spectra = [
        torch.linalg.eigh(torch.stack([getattr(own, part) for own in places]).sum(0)) for part in ("even", "odd")
    ]
    values = torch.cat([spectra[0][0], spectra[1][0]])
    best = values.argsort(descending=True)[: new - 1]
    pairs = min(int((best >= size).sum()), new // 2, size)
    fixed = new - 2 * pairs
    action = SignedPermutation.halves(2 * pairs).direct_sum(SignedPermutation.identity(fixed))
    basis = IsotypicBasis(action)
    rows = torch.eye(new, dtype=torch.float64)
    even, odd = basis.split(rows, 0)  # the new entries' coordinates, "coordinate entry"
    ones = (even @ torch.ones(new, dtype=torch.float64))[:, None] / new**0.5
    free = torch.linalg.svd(ones)[0][:, 1:]  # even coordinates orthogonal to the vector of ones
    directions = [
        vectors.flip(1)[:, :count] for (_, vectors), count in zip(spectra, (free.shape[1], pairs), strict=True)
    ]
    keep = (even.T @ free @ directions[0].T + odd.T @ directions[1].T) / 2**0.5
    kept = Kept((trunk.space.key,), {trunk.space.key: action}, keep, keep.T)
    nodes = {node.name: node for node in captured.nodes}
    leaves: dict[str, Tensor] = {}
    for name in trunk.norms:
        for ref, value in zip(nodes[name].reads[1:3], ((2 * size / new) ** 0.5, 0.0), strict=False):
            leaves[ref.name] = torch.full((new,), value, dtype=captured.leaves[ref.name].tensor.dtype)
    return kept, leaves
