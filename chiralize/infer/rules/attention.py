"""Attention: softmax of inner products, times values; alone, and as PyTorch's fused layers.

    +... +q d, +... +k d, +... +k v -> +... +q v

Queries and keys may carry signs along d, which is summed over, values along v. The weights are positive, so that
neither queries nor keys may be negated as a whole; permuted they may be, and heads as well.

softmax(T_q A T_k') = T_q softmax(A) T_k' for permutations of rows and columns: of tokens that are joints, T exchanges
those of the left and of the right. With -A in place of A it would be another function.

Step by step, for queries "q d", keys "k d" and values "k v":

    logits A = Q K'      summed over d, where signs of both cancel; rows carry T_q, columns T_k
    mask                 added to A, so it moves as rows and columns do
    weights softmax(A)   without signs; summed over k next
    output               summed over k, where weights and values move alike; rows carry T_q, columns those of the values

Self-attention on 4 tokens of which the mirror exchanges 0 and 1: weight (0, 2) of x is weight (1, 2) of T x.

Fused layers are the same rules in a row: three linear maps with the heads split off, attention, a linear map.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from chiralize.graph.traits import Attention
from chiralize.infer.products import equal_sum, matrix_product
from chiralize.infer.registry import Call, Operand, Results, Sample, demand_plain, normal, normals, sample, truth
from chiralize.infer.rules import _equation
from chiralize.infer.rules._families import incomplete, op, plain_of, representations, rule, tensor
from chiralize.infer.solver.terms import Conflict
from chiralize.symmetry.symbolic import Axis, SymbolicRepresentation

Rep = SymbolicRepresentation


def attention_weights(query: Rep, key: Rep, mask: Operand | None, causal: bool, call: Call) -> Rep:
    """softmax(q k' + mask): all of it plain, and mask and weights alike.

    query: "... queries channels", key: "... keys channels"; returns "... queries keys". causal: no token sees a later
    one, so that their order matters.
    """
    solver = call.solver
    # A scale is one number for all entries, and demands nothing.
    logits = matrix_product(Operand(query), Operand(_transposed(key)), solver)
    # Token 0 sees one token and the last one sees all: a mirror that moves tokens would have to move these, too.
    if causal:
        for axis in logits.axes[-2:]:
            solver.trivial(axis)
    if mask is not None:
        logits = equal_sum([Operand(logits), mask], logits.shape, solver)
    demand_plain(solver.representation(logits), call)
    return solver.representation(logits)


def _transposed(rep: Rep) -> Rep:
    """The last two axes exchanged."""
    return Rep((*rep.axes[:-2], rep.axes[-1], rep.axes[-2]), rep.sign)


def _macs(call: Call) -> int:
    """Every query with every key, then every weight with every value: heads x q x k x (d + v)."""
    query, key, value = call.operands[:3]
    return prod(query.shape[:-1]) * key.shape[-2] * (key.shape[-1] + value.shape[-1])


def _heads(*shapes: tuple[int, ...], mask: object = None, **options: Any) -> Sample:
    """Queries, keys and values of these shapes, none of them a weight."""
    return sample(*normals(*shapes), mask, **options)


@rule(
    "attention",
    "`+... +q d, +... +k d, ... +k v -> ... +q v`, a mask `+... +q +k`; with `is_causal` q and k trivial; "
    "grouped queries: heads `(h g), h, h -> (h g)`",
    macs=_macs,
)
@op("scaled_dot_product_attention", trait=Attention())
@op("scaled_dot_product_attention", _heads((2, 3, 4), (2, 4, 4), (2, 4, 3)), _heads((4, 2), (3, 2), (3, 4)))
@op("scaled_dot_product_attention", _heads((1, 4, 2, 3), (1, 4, 3, 3), (1, 4, 3, 2)))
@op("scaled_dot_product_attention", _heads((1, 2, 3, 2), (1, 2, 4, 2), (1, 2, 4, 2), mask=normal(3, 4)))
@op("scaled_dot_product_attention", _heads((2, 3, 2), (2, 4, 2), (2, 4, 2), mask=truth(2, 1, 4), scale=0.3))
@op("scaled_dot_product_attention", _heads((2, 4, 3), (2, 4, 3), (2, 4, 2), is_causal=True))
@op("scaled_dot_product_attention", _heads((1, 4, 2, 3), (1, 2, 3, 3), (1, 2, 3, 2), enable_gqa=True))
def attention(call: Call) -> Results:
    """softmax(scale * q k' + mask) v."""
    if call.get("dropout_p", 0.0):
        raise Conflict("dropout stays on in eval mode (scaled_dot_product_attention with dropout_p)")
    solver, mask = call.solver, call.get("attn_mask")
    query, key, value = representations(call, "query", "key", "value")
    # Grouped queries: 8 heads of queries on 2 of keys are 2 x 4 on 2 x 1, and the 1 is stretched.
    grouped = bool(call.get("enable_gqa", False)) and query.shape[-3] != key.shape[-3]
    if grouped:
        # Its heads would have to be split like those of the queries.
        if mask is not None and mask.ndim > 2:
            raise Conflict("grouped queries with a mask that has heads")
        count = query.shape[-3]
        query = _spread(query, solver.regroup([query.axes[-3]], [key.shape[-3], count // key.shape[-3]]))
        key, value = (_spread(rep, [rep.axes[-3], ()]) for rep in (key, value))
    weights = attention_weights(query, key, mask, bool(call.get("is_causal", False)), call)
    out = matrix_product(Operand(weights), Operand(value), solver)
    if grouped:
        return Rep(tuple(solver.regroup(out.axes, call.shape)), out.sign)
    return out


def _spread(rep: Rep, heads: Sequence[Axis]) -> Rep:
    """The representation with two axes, `heads`, in place of the third from the end, which is that of heads."""
    return Rep((*rep.axes[:-3], *heads, *rep.axes[-2:]), rep.sign)


# ---- fused layers, as TorchScript calls them ----------------------------------------------------------------------
def _linear(x: Rep, weight: Operand, bias: Operand, call: Call) -> Rep:
    """A linear map with a bias: x "... in", weight "out in". A bias of zeros forbids no signs."""
    if bias.zero:
        return _equation.apply(_equation.parse("... i, o i -> ... o"), [Operand(x), weight], call)[0]
    return _equation.apply(_equation.parse("+... i, o i, o -> +... o"), [Operand(x), weight, bias], call)[0]


def _projections(inputs: Sequence[Rep], call: Call) -> list[Rep]:
    """Queries, keys, values as "batch heads tokens channels"; their weights stand on top of each other."""
    solver, heads = call.solver, call.get("num_head", call.get("num_heads"))
    weight, bias = representations(call, "qkv_weight", "qkv_bias")
    # Rows 0 to d - 1 make queries, d to 2 d - 1 keys, the rest values: the mirror mixes no two of them.
    size = weight.shape[0] // 3
    ends = [size, 2 * size, 3 * size]
    rows, entries = solver.cut(weight.axes[0], ends), solver.cut(bias.axes[0], ends)
    # Each is "batch tokens (heads channels)", and is handed on as "batch heads tokens channels".
    projections: list[Rep] = []
    for x, row, entry in zip(inputs, rows, entries, strict=True):
        part = Operand(Rep((row, weight.axes[1]), weight.sign))
        out = _linear(x, part, Operand(Rep((entry,), bias.sign), None, tensor(call["qkv_bias"]).zero), call)
        head, channel = solver.regroup([out.axes[-1]], [heads, size // heads])
        projections.append(Rep((out.axes[0], head, out.axes[1], channel), out.sign))
    return projections


def _mask(call: Call) -> Operand | None:
    """The mask next to "batch heads queries keys"; a padding mask is (batch, keys)."""
    mask = call.get("mask")
    if mask is None or call.get("mask_type") != 1:
        return mask
    batch, keys = mask.rep.axes
    return Operand(Rep((batch, (), (), keys), mask.rep.sign), None, mask.zero)


def _attended(inputs: Sequence[Rep], call: Call) -> tuple[Rep, Rep]:
    """Output "batch tokens channels" and weights "batch heads queries keys" of multi-head attention."""
    solver = call.solver
    query, key, value = _projections(inputs, call)
    weights = attention_weights(query, key, _mask(call), False, call)
    out = matrix_product(Operand(weights), Operand(value), solver)
    # "batch heads tokens channels" to "batch tokens (heads channels)".
    batch, head, tokens, channel = out.axes
    merged = Rep((batch, tokens, head + channel), out.sign)
    return _linear(merged, tensor(call["proj_weight"]), tensor(call["proj_bias"]), call), weights


_PROJECTIONS = (normal(12, 4), normal(12), normal(4, 4), normal(4))


def _layer_sample(average: bool) -> Sample:
    """Self-attention of 2 heads on 4 channels, with one matrix of weights or with one for each head."""
    x = normal(2, 3, 4)
    return sample(x, x, x, 4, 2, *_PROJECTIONS, None, True, average, weights=range(5, 9))


@rule("multi-head attention, fused", "as the linear maps and the attention that it is made of")
@incomplete("channels of queries, keys and values that move differently, although one weight reads them all")
@op("_native_multi_head_attention", _layer_sample(average=True), _layer_sample(average=False))
def multi_head(call: Call) -> Results:
    """The op that a scripted nn.MultiheadAttention calls in eval mode."""
    out, weights = _attended(representations(call, "query", "key", "value"), call)
    # Averaged over heads: the axis is gone, and it carries no signs, since weights have none.
    if call["average_attn_weights"]:
        weights = Rep((weights.axes[0], *weights.axes[2:]), weights.sign)
    return (out, weights if call["need_weights"] else None)


def _encoder_sample(gelu: bool, norm_first: bool) -> Sample:
    """A layer of 2 heads on 4 channels with 3 hidden units; the four vectors belong to the two layer norms."""
    norms = [normal(4)] * 4
    feed_forward = (normal(3, 4), normal(3), normal(4, 3), normal(4))
    args = (normal(2, 3, 4), 4, 2, *_PROJECTIONS, gelu, norm_first, 1e-5, *norms, *feed_forward)
    return sample(*args, weights=(3, 4, 5, 6, *range(10, 18)))


@rule(
    "transformer layer, fused",
    "`+b +t +c -> +b +t +c`, as the attention, linear maps and layer norms that it is made of",
)
@op("_transformer_encoder_layer_fwd", _encoder_sample(True, False), _encoder_sample(False, True))
def encoder_layer(call: Call) -> Results:
    """The op that a scripted nn.TransformerEncoderLayer calls in eval mode."""
    solver = call.solver
    # Two layer norms with a bias stand around the residual sums, so that all of it has to be without signs.
    x = plain_of(tensor(call["src"]), call)
    # A factor and an offset for every channel move as the channels do.
    for name in ("norm_weight_1", "norm_bias_1", "norm_weight_2", "norm_bias_2"):
        solver.equal(tensor(call[name]).rep.axes[0], x.axes[2])
    attended, _ = _attended([x, x, x], call)
    hidden = _linear(x, tensor(call["ffn_weight_1"]), tensor(call["ffn_bias_1"]), call)
    # A ReLU or GELU stands behind the hidden units. Its output carries what they carry.
    demand_plain(hidden, call)
    fed = _linear(hidden, tensor(call["ffn_weight_2"]), tensor(call["ffn_bias_2"]), call)
    return equal_sum([Operand(x), Operand(attended), Operand(fed)], call.shape, solver)
