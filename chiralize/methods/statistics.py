"""Means and variances that a conversion changes: which, by how far, and the refusal where they are to be kept.

Observation normalisers and the running statistics of batch norms are gathered by whoever runs the network, and often
kept apart from its weights. Where a result has others than the original, it is equivariant with its own alone.

`drafts` and `best` ask `refuse_changed_statistics`, and `best` puts what changed into the record (`with_statistics`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

from torch import Tensor

from chiralize.errors import AsymmetricConstantError
from chiralize.errors.words import listed, percent
from chiralize.graph import rewrite
from chiralize.graph.model import Leaf
from chiralize.graph.rewrite import Moved
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.result import Converted
from chiralize.symmetry import reynolds

_MOST_NAMES = 4


def with_statistics(result: Converted, network: Network) -> Converted:
    """The result with every statistic that differs from the original's among what was moved, by its distance.

    Those of other sizes are left out: such a result is no network of the original's class.
    """
    changed = {entry.name: entry for entry in changed_statistics(result, network) if entry.distance < inf}
    moved: list[Moved] = []
    for entry in result.moved:
        if entry.name in changed:
            entry = replace(entry, distance=changed.pop(entry.name).distance)
        moved.append(entry)
    return replace(result, moved=(*moved, *changed.values()))


def changed_statistics(result: Converted, network: Network) -> tuple[Moved, ...]:
    """Means and variances of the result that are not the original's; buffers, or plain tensors that a module holds.

    A mean pose or a table of spreads (joints by coordinates) counts as a constant otherwise; one that was changed
    because weights make up for it is a statistic here.  distance: infinite where the result has other sizes.
    """
    if network.captured is None or result.is_average:
        return ()
    before, after = rewrite.tensors_of(network.module), rewrite.tensors_of(result.module)
    # constants that the user had made symmetric are in the record under their own kind
    named = {entry.name for entry in result.moved if entry.kind in ("constant", "table")}
    changed: list[Moved] = []
    for leaf in network.captured.leaves.values():
        if leaf.kind not in ("statistic", "constant") or not leaf.stored or named.intersection(leaf.names):
            continue
        distance = _distance(leaf, before, after)
        if distance > 0:
            changed.append(Moved(leaf.names[0], "statistic", distance, 0, leaf.where))
    return tuple(changed)


def _distance(leaf: Leaf, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """|s - s'| / |s| of one statistic, infinite where the result holds none of that shape."""
    name = next((name for name in leaf.names if name in before), None)
    if name is None or not leaf.tensor.is_floating_point():
        return 0.0
    # Whoever gathers a statistic needs it in the old size; a constant is nobody's but the result's.
    if name not in after or before[name].shape != after[name].shape:
        return inf if leaf.kind == "statistic" else 0.0
    return reynolds.moved(before[name].detach(), after[name].detach().to(before[name].dtype))


def refuse_changed_statistics(result: Converted, problem: Problem) -> None:
    """Raises AsymmetricConstantError where statistics that are to be kept were changed."""
    if not problem.request.keep_statistics:
        return
    changed = changed_statistics(result, problem.network)
    if changed:
        refuse_statistics({entry.name: entry.distance for entry in changed}, result.method, str(changed[0].where))


def refuse_statistics(distances: Mapping[str, float], method: str, where: str) -> None:
    """Raises AsymmetricConstantError: what would have to change, by how much, and what keeping it costs."""
    ordered = sorted(distances.items(), key=lambda item: -item[1])
    names = [f"{name} ({moved_by(distance)})" for name, distance in ordered]
    raise AsymmetricConstantError(
        where or "the normalisers",
        f"--keep-statistics, but {method} would have to change {listed(names, _MOST_NAMES)}",
        "use --method average, which keeps them at the cost of two passes a call; or leave --keep-statistics out and "
        "put the new ones back together with the weights; statistics of inputs that were gathered of both views, the "
        "inputs and their mirror images, need no change",
    )


def moved_by(distance: float) -> str:
    """`23.0 %`, or that there are other ones in its place."""
    if distance < inf:
        return percent(distance)
    return "others in its place, of other sizes"
