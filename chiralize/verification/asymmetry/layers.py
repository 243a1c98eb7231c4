"""How asymmetric every layer is, without choosing a representation for the hidden spaces.

A hidden space of an ordinary network has no left and right yet. If the network were equivariant, some orthogonal
involution O would take a(x) to a(T x), whatever the involution. The best one for the activations that are there is

    O = sign(A' B + B' A),      A, B: rows a(x), a(T x)

(the symmetric orthogonal matrix that minimises |B - A O|), and gap = RMS(a(T x) - O a(x)) / spread of a says how much
no involution can explain: 0 in an equivariant network, and the network's own gap where T is known to be the best. O is
found on every other sample, in the leading principal directions of A and B together (which O maps to themselves), and
judged on the others.

Example: a layer of two units answers a = (1, 0) and (2, 0) to two inputs, and (0, 1) and (0, 2) to their mirror images.
O exchanges the units, and nothing is left: gap 0. If it answered (0, 1) and (0, -2), A'B + B'A is (0 -3; -3 0): O
exchanges and negates, the second sample fits, and the first is as far off as can be.

`audit` lists the layers with the gap of what each reads and answers: where it grows, left and right are lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from chiralize.graph.execution import evaluate, last_readers, start
from chiralize.graph.model import CapturedModel, Node
from chiralize.verification.asymmetry.records import LayerGap

FEWEST, MOST = 64, 512
"""Samples that a gap of layers takes, and how many are looked at."""
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
    """The gap of every layer's input and output, in the order of the network.

    views: inputs and mirrored inputs of one call after the other, in the captured sizes.  rows: samples in a call.
    A layer that is used several times is one line, the RMS over its uses.  Empty for fewer than 64 samples.
    """
    # As many samples n as the products allow: (2 n)² of them for each number that a layer reads or answers.
    sites = _sites(captured, rows)
    wanted = {name for site in sites for name in (site.before, site.after)}
    cost = sum(site.size for site in sites) * 2
    limit = int(min(max((WORK / max(cost, 1)) ** 0.5 / 2, FEWEST), MOST))
    calls = 0
    values: dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}
    for plain, turned in views:
        if calls * rows >= limit:
            break
        calls += 1
        of_turned = _values(captured, turned, wanted, rows)
        for name, value in _values(captured, plain, wanted, rows).items():
            plain_values, turned_values = values.setdefault(name, ([], []))
            plain_values.append(value)
            turned_values.append(of_turned[name])
    if calls * rows < FEWEST:
        return ()
    gaps: dict[str, float] = {}
    for name in list(values):
        plain_values, turned_values = values.pop(name)
        gaps[name] = involution_gap(torch.cat(plain_values), torch.cat(turned_values))
    return _merged([site for site in sites if site.after in gaps], gaps)


def involution_gap(plain: torch.Tensor, turned: torch.Tensor) -> float:
    """RMS(b - a O) over the spread, with the best symmetric orthogonal O, of a (plain) and b (turned): "sample entry".

    O is found on every other sample and judged on the rest. Independent rows give about the root of 2.
    """
    # Everything is read off inner products of samples: layers have more entries than there are samples.
    products = _products(torch.cat([plain, turned]))  # (2 sample) (2 sample)
    count = len(plain)
    order = torch.arange(count)

    fit, judge = order[::2], order[1::2]
    fitted = torch.cat([fit, count + fit])
    # Principal directions of a and b of the fitted samples together: few enough that O is not made of chance.
    values, vectors = torch.linalg.eigh(products[fitted][:, fitted])
    usable = int((values > SMALL * values[-1]).sum())
    directions = min(max(2 * len(fit) // PER_DIRECTION, 1), usable)
    if not directions:
        return 0.0
    # A sample's coordinates: its products with the fitted samples, times this. "(2 fit) direction"
    basis = vectors[:, -directions:] / values[-directions:].sqrt()
    parts = (fit, count + fit, judge, count + judge)
    plain_fit, turned_fit, plain_judge, turned_judge = (products[part][:, fitted] @ basis for part in parts)
    # O = sign(A' B + B' A), an eigenvalue of 0 counted as positive.
    cross = plain_fit.T @ turned_fit
    eigenvalues, eigenvectors = torch.linalg.eigh(cross + cross.T)
    signs = torch.where(eigenvalues >= 0, 1.0, -1.0).to(cross)
    involution = (eigenvectors * signs) @ eigenvectors.T
    spread = (_about_mean(plain_judge) + _about_mean(turned_judge)) / 2
    apart = float((turned_judge - plain_judge @ involution).square().sum())
    if spread > 0:
        return (apart / spread) ** 0.5
    return 0.0


def _about_mean(rows: torch.Tensor) -> float:
    """Sum of squares about the mean."""
    return float((rows - rows.mean(0)).square().sum())


def _products(rows: torch.Tensor, chunk: int = 4096) -> torch.Tensor:
    """Inner products of all rows, "row row" in float64, a chunk of entries after the other."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(chunk, 1):
        total += part.double() @ part.double().T
    return total


# ---- where the layers are -------------------------------------------------------------------------------------------
def _sites(captured: CapturedModel, rows: int) -> list[_Site]:
    """The nodes that read an input's descendant and a weight (or what is made from weights alone)."""
    weights = {leaf.name: leaf.names[0] for leaf in captured.weights}
    data: set[str] = set()  # names of what depends on inputs
    shapes: dict[str, tuple[int, ...] | None] = {}
    for leaf in captured.leaves.values():
        shapes[leaf.name] = leaf.shape
        if leaf.kind in ("input", "state"):
            data.add(leaf.name)
    first: dict[str, Node] = {}
    for node in captured.nodes:
        if node.target == "getitem" and node.arguments["index"] == 0:
            first.setdefault(node.arguments["value"].name, node)
    sites: list[_Site] = []
    for node in captured.nodes:
        read = node.names_read
        shapes[node.name] = node.shapes[0] if node.shapes else None
        weight = next((weights[name] for name in read if name in weights), None)
        if not data & set(read):
            if weight is not None:
                weights[node.name] = weight  # a transposed weight is a weight, of the same module
            continue
        data.add(node.name)
        answer = first.get(node.name, node)
        before = next(name for name in read if name in data)
        shape = answer.shapes[0]
        if weight is not None and shape and shape[0] % rows == 0 and _is_whole(shapes[before], rows):
            size = int(torch.Size(shape).numel()) // rows
            sites.append(_Site(_module(node, weight), _op(node), before, answer.name, size))
    return sites


def _is_whole(shape: tuple[int, ...] | None, rows: int) -> bool:
    """Whether the first axis holds the samples of a call, each as often as the others."""
    return bool(shape) and shape[0] % rows == 0


def _module(node: Node, weight: str) -> str:
    """The path of the module that has the weight; a parameter of another name than `weight` or `bias` by that name."""
    path, _, last = weight.rpartition(".")
    if path and last.startswith(("weight", "bias", "running")):
        return path
    return weight or node.where.module


def _op(node: Node) -> str:
    """What an op is called: `linear`."""
    return node.target.removeprefix("aten.").partition(".")[0]


def _values(captured: CapturedModel, inputs: View, wanted: set[str], rows: int) -> Mapping[str, torch.Tensor]:
    """The wanted values of one run, "sample entry" in float32."""
    # Every value is dropped as soon as nothing reads it; those that are wanted are kept until the end.
    values = start(captured, inputs)
    unused = last_readers(captured.nodes, wanted | set(captured.leaves))
    seen = {name: values[name] for name in captured.inputs if name in wanted}
    with torch.no_grad():
        for node in captured.nodes:
            values[node.name] = evaluate(node, values)
            if node.name in wanted:
                seen[node.name] = values[node.name]
            for name in unused.get(node.name, ()):
                values.pop(name, None)
    flat: dict[str, torch.Tensor] = {}
    for name, value in seen.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            flat[name] = value.detach().reshape(rows, -1).float().cpu()
    return flat


def _merged(sites: Sequence[_Site], gaps: Mapping[str, float]) -> tuple[LayerGap, ...]:
    """One line for every layer: the RMS over its uses."""
    uses: dict[tuple[str, str], list[_Site]] = {}
    for site in sites:
        uses.setdefault((site.module, site.op), []).append(site)
    merged = list[LayerGap]()
    for (module, op), of_layer in uses.items():
        before = _rms([gaps.get(site.before, 0.0) for site in of_layer])
        after = _rms([gaps[site.after] for site in of_layer])
        merged.append(LayerGap(module, op, of_layer[0].size, before, after))
    return tuple(merged)


def _rms(values: Sequence[float]) -> float:
    """The root of the mean square."""
    return (sum(value**2 for value in values) / len(values)) ** 0.5
