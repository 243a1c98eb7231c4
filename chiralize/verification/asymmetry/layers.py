"""How lopsided every layer is, without choosing a representation for the hidden spaces.

A hidden space of an ordinary network has no left and right yet. If the network were equivariant, some orthogonal
involution O would take a(x) to a(T x), whatever the involution. The best one for the activations that are there is

    O = sign(A' B + B' A),      A, B: rows a(x), a(T x)

(the symmetric orthogonal matrix that minimises |B - A O|), and gap = RMS(a(T x) - O a(x)) / spread of a says how much
no involution can explain: 0 in an equivariant network, and the network's own gap where T is known to be the best. O is
found on every other sample, in the leading principal directions of A and B together (which O maps to themselves), and
judged on the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from chiralize.graph.execution import evaluate, last_readers, start
from chiralize.graph.model import CapturedModel, Node
from chiralize.verification.asymmetry.records import LayerGap

FEWEST, MOST = 64, 512
WORK = 2e10
"""Multiplications that all inner products of samples may take."""
PER_DIRECTION = 8
"""Samples for every principal direction that O is found in."""
SMALL = 1e-10
"""Eigenvalues below this share of the largest are rounding."""

View = Sequence[torch.Tensor]


@dataclass(frozen=True)
class _Site:
    """A node that reads weights: where it is, the value it reads and the one that holds its answer."""

    module: str
    op: str
    before: str
    after: str
    size: int


def layer_gaps(captured: CapturedModel, views: Iterable[tuple[View, View]], rows: int) -> tuple[LayerGap, ...]:
    """Gaps of what every layer reads and answers, in the order of the network.

    views: inputs and mirrored inputs of one call after the other, in the captured sizes.  rows: samples in a call.
    A layer that is used several times is one line, the RMS over its uses.  Empty for fewer than 64 samples.
    """
    sites = _sites(captured, rows)
    wanted = {name for site in sites for name in (site.before, site.after)}
    cost = sum(site.size for site in sites) * 2
    limit = int(min(max((WORK / max(cost, 1)) ** 0.5 / 2, FEWEST), MOST))
    kept: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []
    for own, turned in views:
        if len(kept) * rows >= limit:
            break
        there = _values(captured, turned, wanted, rows)
        kept.append({name: (value, there[name]) for name, value in _values(captured, own, wanted, rows).items()})
    if len(kept) * rows < FEWEST:
        return ()
    gaps: dict[str, float] = {}
    for name in wanted:
        pairs = [call.pop(name) for call in kept if name in call]
        if pairs:
            gaps[name] = involution_gap(torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs]))
    return _merged([(site, gaps.get(site.before, 0.0), gaps[site.after]) for site in sites if site.after in gaps])


def involution_gap(own: torch.Tensor, turned: torch.Tensor) -> float:
    """RMS(b - a O) over the spread, with the best symmetric orthogonal O. own, turned: "sample entry", in that order.

    O is found on every other sample and judged on the rest. Independent rows give about the root of 2.
    """
    products = _products(torch.cat([own, turned]))  # (2 sample) (2 sample)
    count = len(own)
    order = torch.arange(count)
    fit, judge = order[::2], order[1::2]
    fitted = torch.cat([fit, count + fit])
    values, vectors = torch.linalg.eigh(products[fitted][:, fitted])
    usable = int((values > SMALL * values[-1]).sum())
    directions = min(max(2 * len(fit) // PER_DIRECTION, 1), usable)
    if not directions:
        return 0.0
    basis = vectors[:, -directions:] / values[-directions:].sqrt()
    a, b, c, d = (products[part][:, fitted] @ basis for part in (fit, count + fit, judge, count + judge))
    cross = a.T @ b
    eigenvalues, eigenvectors = torch.linalg.eigh(cross + cross.T)
    signs = torch.where(eigenvalues >= 0, 1.0, -1.0).to(cross)
    involution = (eigenvectors * signs) @ eigenvectors.T
    spread = float((c - c.mean(0)).square().sum() + (d - d.mean(0)).square().sum()) / 2
    return (float((d - c @ involution).square().sum()) / spread) ** 0.5 if spread > 0 else 0.0


def _products(rows: torch.Tensor, chunk: int = 4096) -> torch.Tensor:
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(chunk, 1):
        total += part.double() @ part.double().T
    return total


# ---- where the layers are -------------------------------------------------------------------------------------------
def _sites(captured: CapturedModel, rows: int) -> list[_Site]:
    """The nodes that read an input's descendant and a weight (or what is made from weights alone)."""
    weights = {leaf.name: leaf.names[0] for leaf in captured.weights}
    data = {leaf.name for leaf in captured.leaves.values() if leaf.kind in ("input", "state")}
    shapes: dict[str, tuple[int, ...] | None] = {leaf.name: leaf.shape for leaf in captured.leaves.values()}
    first = {node.arguments["value"].name: node for node in reversed(captured.nodes) if node.target == "getitem"
             and node.arguments["index"] == 0}  # fmt: skip
    sites: list[_Site] = []
    for node in captured.nodes:
        read = [ref.name for ref in node.reads]
        shapes[node.name] = node.shapes[0] if node.shapes else None
        if not data & set(read):
            named = [weights[name] for name in read if name in weights]
            weights |= {node.name: named[0]} if named else {}
            continue
        data.add(node.name)
        answer = first.get(node.name, node)
        before = next(name for name in read if name in data)
        shape = answer.shapes[0]
        held = [weights[name] for name in read if name in weights]
        if held and shape and shape[0] % rows == 0 and _is_whole(shapes[before], rows):
            size = int(torch.Size(shape).numel()) // rows
            sites.append(_Site(_module(node, held[0]), _op(node), before, answer.name, size))
    return sites


def _is_whole(shape: tuple[int, ...] | None, rows: int) -> bool:
    return bool(shape) and shape[0] % rows == 0


def _module(node: Node, weight: str) -> str:
    """Where the weight is in the network; a parameter that is no module's `weight` or `bias` by its own name."""
    path, _, last = weight.rpartition(".")
    return path if path and last.startswith(("weight", "bias", "running")) else weight or node.where.module


def _op(node: Node) -> str:
    return node.target.removeprefix("aten.").partition(".")[0]


def _values(captured: CapturedModel, inputs: View, wanted: set[str], rows: int) -> Mapping[str, torch.Tensor]:
    """The wanted values of one run, "sample entry" in float32."""
    values = start(captured, inputs)
    unused = last_readers(captured.nodes, wanted | set(captured.leaves))
    found = {name: values[name] for name in captured.inputs if name in wanted}
    with torch.no_grad():
        for node in captured.nodes:
            values[node.name] = evaluate(node, values)
            if node.name in wanted:
                found[node.name] = values[node.name]
            for name in unused.get(node.name, ()):
                values.pop(name, None)
    return {
        name: value.detach().reshape(rows, -1).float().cpu()
        for name, value in found.items()
        if isinstance(value, torch.Tensor) and value.is_floating_point()
    }


def _merged(found: Sequence[tuple[_Site, float, float]]) -> tuple[LayerGap, ...]:
    uses: dict[tuple[str, str], list[tuple[_Site, float, float]]] = {}
    for own in found:
        uses.setdefault((own[0].module, own[0].op), []).append(own)
    gaps = []
    for (module, op), own in uses.items():
        before, after = (
            (sum(gap**2 for gap in column) / len(own)) ** 0.5 for column in list(zip(*own, strict=True))[1:]
        )
        gaps.append(LayerGap(module, op, own[0][0].size, before, after))
    return tuple(gaps)
