"""Attention heads: every head stays with its mirror image, each with a part of its dimensions.

Which dimensions carry a head is seen in other coordinates only, so the original is rewritten first, without a change
of what it computes:

    q' = P q,  k' = P^-T k     so that E[q' q'] = E[k' k'] is diagonal, falling (balanced truncation of q . k)
    v' = Q v,  W_o' = W_o Q^-1  so that the first dimensions hold most of what W_o makes of the head's answer,
                               and so that the rows that make v' are as long as the columns of W_o' that read it

Afterwards the first dimensions of every head stay. With 2 heads of 4 dimensions at ½ the result has 4 heads of 2:
[head 0, head 1, image 0, image 1]. To drop whole heads loses far more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from chiralize.graph import execution
from chiralize.graph.model import CapturedModel, Node
from chiralize.graph.traits import Attention, Copy, Layout
from chiralize.infer.records import RepMap
from chiralize.infer.rule import traits
from chiralize.infer.symbolic import Axis, SymbolicRepresentation, Var
from chiralize.methods.reduce.layers import Site, sites_of
from chiralize.methods.reduce.lifting import HiddenMap, halves
from chiralize.methods.reduce.views import Batch, Weights
from chiralize.symmetry.involution import SignedPermutation

_AGREE = 1e4
"""eps by which answers of the rewritten network may differ: its maps are inverted, at the ridge below."""
_RIDGE = 1e-6
"""Of the mean energy of a head's dimensions, added to each: a dimension that is never used has no root."""


@dataclass(frozen=True)
class Heads:
    """One attention: its query, key, value and answer, the unknowns of heads and of dimensions (of q and k, of v)."""

    query: str
    key: str
    value: str
    answer: str
    heads: Var
    shared: Var
    given: Var


def attentions(captured: CapturedModel, repmap: RepMap) -> Iterator[Heads]:
    """Every attention whose heads and dimensions are hidden spaces of their own."""
    for node in captured.nodes:
        if not isinstance(traits().get(node.target), Attention):
            continue
        query, key, value = (node.arguments[name].name for name in ("query", "key", "value"))
        # The last axis is dimensions, the same for q and k, which are multiplied, and for v and the answer. Elsewhere
        # there is one more unknown, the same in all four: the heads.
        reps = [_rep(repmap, name) for name in (query, key, value, node.name)]
        last = [_last_unknown(rep) for rep in reps]
        others = [_unknowns(rep.axes[:-1]) for rep in reps if rep]
        shared, given = last[0], last[2]
        if shared is None or given is None or last != [shared, shared, given, given]:
            continue
        if len(set(others)) == 1 and len(others[0]) == 1:
            yield Heads(query, key, value, node.name, next(iter(others[0])), shared, given)


def _unknowns(axes: Sequence[Axis]) -> frozenset[Var]:
    """The unknowns that are factors of axes."""
    return frozenset(term for axis in axes for term in axis if isinstance(term, Var))


def _last_unknown(rep: SymbolicRepresentation | None) -> Var | None:
    """The unknown that is the whole of the last axis, None where there is no such."""
    if rep is None or len(rep.axes[-1]) != 1:
        return None
    (term,) = rep.axes[-1]
    if not isinstance(term, Var):
        return None
    return term


def maps_of(heads: Heads, width: float) -> list[HiddenMap]:
    """All heads with their mirror images, the first `width` of the dimensions of each."""
    return [_map(heads.heads, dimensions, width) for dimensions in dict.fromkeys((heads.shared, heads.given))]


def _map(heads: Var, dimensions: Var, width: float) -> HiddenMap:
    """The map of one merged space: new units (view, head, first dimensions) from old ones (head, dimension)."""
    size = max(round(width * dimensions.size), 1)
    keep = torch.zeros(2, heads.size, size, heads.size, dimensions.size, dtype=torch.float64)
    for head in range(heads.size):  # view 0 alone: T K a(T x) fills the images
        keep[0, head, :, head, :size] = torch.eye(size)
    matrix = keep.reshape(2 * heads.size * size, heads.size * dimensions.size)
    actions = {heads.id: halves(2 * heads.size), dimensions.id: SignedPermutation.identity(size)}
    return HiddenMap((heads.id, dimensions.id), actions, matrix, matrix.T)


def in_order(
    captured: CapturedModel, repmap: RepMap, attentions: Sequence[Heads], batches: Sequence[Batch]
) -> tuple[CapturedModel, list[Heads]]:
    """The same network with the dimensions of its heads in the order of what they carry, and the heads so ordered.

    Heads whose weights cannot be told, or work elsewhere too, are left out, and as they were; all of them where the
    rewritten network does not answer to one batch as it did.
    """
    sites = sites_of(captured)
    ways = {heads: way for heads in attentions if (way := _ways(captured, repmap, heads, sites)) is not None}
    moments = {heads: _Moments(heads, repmap) for heads in ways}
    names = {name for heads in ways for name in (heads.query, heads.key, heads.answer)}
    for batch in batches if ways else ():
        values = _values(captured, batch, names)
        for heads in ways:
            moments[heads].add(values)
    weights = {leaf.name: leaf.tensor.detach().double() for leaf in captured.weights}
    for heads, way in ways.items():  # the maps of the next ones are made of weights that the ones before have changed
        _turn(weights, way, *moments[heads].maps(_columns(weights, way)))
    leaves = dict(captured.leaves)
    for name, value in weights.items():
        leaves[name] = replace(leaves[name], tensor=value.to(leaves[name].tensor.dtype))
    ordered = replace(captured, leaves=leaves)
    return (ordered, list(ways)) if _agree(captured, ordered, batches[0]) else (captured, [])


def _values(captured: CapturedModel, batch: Batch, names: Collection[str]) -> dict[str, Tensor]:
    """Some of the values of a graph, by name."""
    values = execution.start(captured, (), dict(batch.plain))
    freed = execution.last_readers(captured.nodes, names)
    with torch.no_grad():
        for node in captured.nodes:
            values[node.name] = execution.evaluate(node, values)
            for name in freed.get(node.name, ()):
                values.pop(name, None)
    return {name: values[name] for name in names}


def _agree(first: CapturedModel, second: CapturedModel, batch: Batch) -> bool:
    """Whether two graphs answer alike, up to rounding in their precision."""
    one, other = (_values(graph, batch, graph.answers) for graph in (first, second))
    for name, answer in one.items():
        if answer.is_floating_point():
            apart = float((answer - other[name]).abs().max() / answer.abs().max().clamp_min(1e-30))
            if not apart < _AGREE * torch.finfo(answer.dtype).eps:
                return False
    return True


def _lays_out(node: Node) -> bool:
    """Whether an op puts entries of its operand, unchanged, in another order or shape."""
    return node.target == "getitem" or isinstance(traits().get(node.target), Layout)


@dataclass(frozen=True)
class _Way:
    """Which rows of which weights make q, k and v, "head dimension" each, and which columns read the answer."""

    rows: tuple[tuple[Site, Tensor], ...]
    reader: Site
    columns: Tensor


class _Moments:
    """Second moments per head: q, k (about its mean over the tokens) and the answer; "head dimension dimension" each.

    A vector c that is added to all keys adds q . c to all scores of a query, which softmax does not notice.
    """

    def __init__(self, heads: Heads, repmap: RepMap) -> None:
        self.heads, self.repmap = heads, repmap
        self.sums: list[Tensor | float] = [0.0, 0.0, 0.0]

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take one batch in: values by name, q, k and the answer among them."""
        heads = self.heads
        for position, (name, key) in enumerate(
            ((heads.query, heads.shared), (heads.key, heads.shared), (heads.answer, heads.given))
        ):
            value = values[name].double()
            if position == 1:  # "... token dimension" in any layout of torch's op
                value = value - value.mean(-2, keepdim=True)
            grid = _by_terms(value, _rep(self.repmap, name), (heads.heads, key)).flatten(2)
            self.sums[position] = self.sums[position] + grid @ grid.mT

    def maps(self, columns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """P, P^-T and Q, "head new old" each.  columns: of W_o, "head out dimension".

        With roots L_q, L_k and L_k' L_q = U S V':  P = S^-½ U' L_k',  P^-T = S^-½ V' L_q',  both moments become S.
        Q whitens the answer, then turns it to the right singular vectors of W_o L, the largest first.
        """
        query, key, answer = (_root(sums) for sums in self.sums if isinstance(sums, Tensor))
        u, s, vh = torch.linalg.svd(key.mT @ query)
        scale = s.clamp_min(1e-12 * float(s.max())).rsqrt()[..., None]
        turned = torch.linalg.svd(columns @ answer, full_matrices=True)[2]
        return scale * (u.mT @ key.mT), scale * (vh @ query.mT), turned @ torch.linalg.inv(answer)


def _root(moments: Tensor) -> Tensor:
    """L with L L' = the moments, a little ridge added."""
    size = moments.shape[-1]
    # 1e-30: of heads whose moments are all 0
    ridge = _RIDGE * moments.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] + 1e-30
    return torch.linalg.cholesky(moments + ridge * torch.eye(size, dtype=moments.dtype))


def _columns(weights: Weights, way: _Way) -> Tensor:
    """What W_o does to the answers of heads, "head out dimension"."""
    matrix = way.reader.matrix(weights[way.reader.weight])
    return matrix[:, way.columns].movedim(0, 1)


def _turn(weights: Weights, way: _Way, p: Tensor, q: Tensor, v: Tensor) -> None:
    """Put the maps of queries, keys and values into the weights before them, and undo that of values behind them."""
    v = _balanced(weights, way, v)
    # "out features" of a weight, at rows "head dimension": "head dimension feature". One weight may make q, k and v.
    for (site, rows), change in zip(way.rows, (p, q, v), strict=True):
        matrix = site.matrix(weights[site.weight]).clone()
        matrix[rows] = change @ matrix[rows]
        weights[site.weight] = site.tensor(matrix, tuple(weights[site.weight].shape))
        if site.bias is not None:
            bias = weights[site.bias].clone()
            bias[rows] = (change @ bias[rows][..., None])[..., 0]
            weights[site.bias] = bias
    # The answer is a weighted mean of values, so that it changes as they do: W_o takes that back.
    reader = way.reader
    matrix = reader.matrix(weights[reader.weight]).clone()
    matrix[:, way.columns] = (matrix[:, way.columns].movedim(0, 1) @ torch.linalg.inv(v)).movedim(1, 0)
    weights[reader.weight] = reader.tensor(matrix, tuple(weights[reader.weight].shape))


def _balanced(weights: Weights, way: _Way, v: Tensor) -> Tensor:
    """The map of values, scaled so that neither side of a dimension is larger: what follows moves all weights at once,
    and a step that suits one side would ruin the other.
    """
    site, rows = way.rows[2]
    writing = (v @ site.matrix(weights[site.weight])[rows]).norm(dim=-1)
    reading = torch.linalg.solve(v.mT, _columns(weights, way).mT).norm(dim=-1)
    # v s makes rows s times as long and columns 1 / s times: equal at s^2 = reading / writing
    tiny = torch.finfo(v.dtype).tiny
    return (reading.clamp_min(tiny) / writing.clamp_min(tiny)).sqrt()[..., None] * v


# ---- where a value comes from ---------------------------------------------------------------------------------------
def _ways(captured: CapturedModel, repmap: RepMap, heads: Heads, sites: Mapping[str, Site]) -> _Way | None:
    """Which rows and columns of which weights belong to the heads. None where an op in between is no change of
    layout.
    """
    # 1. Rows: the results of a layer are labelled with their rows, and the labels sent along the changes of layout to
    # q, k or v. Whichever label arrives at a head's dimension is the row that makes it.
    nodes = captured.by_name
    rows: list[tuple[Site, Tensor]] = []
    for name, key in ((heads.query, heads.shared), (heads.key, heads.shared), (heads.value, heads.given)):
        source = _source(name, nodes, sites)
        if source is None or source[0].out != -1:  # labels are those of a last axis
            return None
        site, path = source
        labels = _labels(site.node.shapes[0] or ())
        value = _carried(labels, site.node.name, path)
        rows.append((site, _by_terms(value, _rep(repmap, name), (heads.heads, key)).flatten(2)[..., 0]))
    # 2. Columns: the answer is labelled with head and dimension, and the labels sent to the layer that reads it.
    reader, path = _reader(heads.answer, captured, sites)
    if reader is None or len({site.weight for site, _ in rows} & {reader.weight}) or _is_shared(captured, rows, reader):
        return None
    labels = _answer_labels(nodes[heads.answer].shapes[0] or (), _rep(repmap, heads.answer), heads)
    order = _carried(labels, heads.answer, path).movedim(-1, 0).flatten(1)[:, 0]
    columns = order.argsort()
    if not torch.equal(order[columns], torch.arange(rows[2][1].numel())):  # a part of the answer is cut away
        return None
    return _Way(tuple(rows), reader, columns.reshape(rows[2][1].shape))


def _is_shared(captured: CapturedModel, rows: Sequence[tuple[Site, Tensor]], reader: Site) -> bool:
    """Whether a weight works in several places: what suits these heads would change the others."""
    counts = captured.read_counts
    weights = [reader.weight, *(site.weight for site, _ in rows)]
    return any(counts[name] > 1 for name in weights)


def _source(name: str, nodes: Mapping[str, Node], sites: Mapping[str, Site]) -> tuple[Site, list[Node]] | None:
    """The layer that a value comes from, and the changes of layout on the way, in order. None where it does not."""
    path: list[Node] = []
    while name not in sites:
        node = nodes.get(name)
        if node is None or not _lays_out(node):
            return None
        path.insert(0, node)
        name = node.reads[0].name
    return sites[name], path


def _reader(name: str, captured: CapturedModel, sites: Mapping[str, Site]) -> tuple[Site | None, list[Node]]:
    """The one layer that reads a value, and the changes of layout on the way, in order. (None, []) where none does."""
    path: list[Node] = []
    while True:  # one reader at each step: another one would see the turned answer
        readers = captured.readers(name)
        if len(readers) != 1:
            return None, []
        if readers[0].name in sites and sites[readers[0].name].source == name and sites[readers[0].name].out == -1:
            return sites[readers[0].name], path
        if not _lays_out(readers[0]):
            return None, []
        path.append(readers[0])
        name = readers[0].name


def _labels(shape: Sequence[int]) -> Tensor:
    """Every entry labelled with its place on the last axis."""
    return torch.arange(shape[-1]).expand(tuple(shape)).contiguous()


def _answer_labels(shape: Sequence[int], rep: SymbolicRepresentation | None, heads: Heads) -> Tensor:
    """Every entry labelled with head * dimensions + dimension."""
    labels = torch.zeros(tuple(shape), dtype=torch.int64)
    grid = _by_terms(labels, rep, (heads.heads, heads.given))  # a view: what is written there is written in labels
    numbers = torch.arange(heads.heads.size * heads.given.size).reshape(heads.heads.size, heads.given.size)
    grid += numbers.reshape(*numbers.shape, *[1] * (grid.ndim - 2))
    return labels


def _carried(labels: Tensor, name: str, path: Sequence[Node]) -> Tensor:
    """Labels in the place of a value, after the changes of layout of a path."""
    values: execution.Values = {name: labels}
    for node in path:
        is_copy = isinstance(traits().get(node.target), Copy)  # in another type it would round the labels
        if is_copy:
            values[node.name] = values[node.reads[0].name]
        else:
            values[node.name] = execution.evaluate(node, values)
    if path:
        return values[path[-1].name]
    return labels


def _by_terms(value: Tensor, rep: SymbolicRepresentation | None, keys: Sequence[Var]) -> Tensor:
    """A value with the unknowns `keys` as its leading axes, and the rest behind them."""
    assert rep is not None
    no_term = Var(-1, 1)  # of an axis of one entry
    # an axis for every term: "batch token (head dimension)" becomes "batch token head dimension", and heads go first
    terms = [term for axis in rep.axes for term in (axis or (no_term,))]
    grid = value.reshape([term.size for term in terms])
    return grid.movedim([terms.index(key) for key in keys], list(range(len(keys))))


def _rep(repmap: RepMap, name: str) -> SymbolicRepresentation | None:
    """How an op's first result transforms; None where that is not known."""
    outputs = repmap.nodes.get(name) or (None,)
    return outputs[0]
