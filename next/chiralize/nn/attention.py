"""Multi-head attention: heads exchanged by the mirror, or channels within every head.

Query, key and value are equivariant maps onto inner channels "(head dim)". A score is a sum of products q k over the
channels of one head. If T exchanges heads, scores change with their heads; if T moves (or negates) channels within a
head, the same in q and k, the sum is what it was. Either way softmax(scores) v transforms as v does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn.basis import hidden
from chiralize.nn.maps import Linear
from chiralize.nn.module import ChiralModule, dense_weight, prefixed
from chiralize.symmetry.representation import Representation, TensorRepresentation

_PARTS = ("q", "k", "v")


class MultiheadAttention(ChiralModule):
    """softmax(q k' / sqrt d) v for every head, between equivariant maps.

    rep: of the channels of query, key and value.  rep_heads x rep_dims: how T acts on the inner channels "(head dim)";
    by default it exchanges the first half of the heads with the second, or, where their number is odd, the halves of
    every head. Call and result as `torch.nn.MultiheadAttention`. Heads that T exchanges need the same mask.
    Raises RepresentationSizeError.
    """

    in_proj_weight, in_proj_bias = dense_weight("in_proj_weight"), dense_weight("in_proj_bias")
    _qkv_same_embed_dim = False  # torch's encoder layers then call it, and do not run its dense weights themselves

    def __init__(
        self,
        rep: Representation,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        batch_first: bool = False,
        rep_heads: Representation | None = None,
        rep_dims: Representation | None = None,
        **factory: Any,
    ) -> None:
        super().__init__()
        dims, over = divmod(rep.size, num_heads)
        if over:
            facts = f"{rep.size} channels do not divide into {num_heads} heads"
            raise RepresentationSizeError("chiralize.nn.MultiheadAttention", facts, "choose another number of heads")
        if num_heads % 2 == 0:
            heads, channels = hidden(num_heads), Representation.trivial(dims)
        else:
            heads, channels = Representation.trivial(num_heads), hidden(dims, fixed=dims % 2)
        inner = (rep_heads or heads) * (rep_dims or channels)
        if inner.size != rep.size:
            facts = f"heads and dims make {inner.size} channels, the input has {rep.size}"
            raise RepresentationSizeError("chiralize.nn.MultiheadAttention", facts, "match the sizes")
        self.embed_dim, self.num_heads, self.head_dim = rep.size, num_heads, dims
        self.rep, self.inner, self.dropout, self.batch_first = rep, inner, dropout, batch_first
        for name in _PARTS:
            self.add_module(name, Linear(rep, inner, bias, **factory))
        self.out_proj = Linear(inner, rep, bias, **factory)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """The attended values, and the weights of attention if they are wanted, as torch's layer gives them."""
        has_batch = query.ndim == 3
        if not has_batch:
            query, key, value = query[None], key[None], value[None]
        elif not self.batch_first:  # to "batch token channel"
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        q, k, v = map(self._heads, _PARTS, (query, key, value))
        # torch's fused attention takes `is_causal` by itself only; beside weights or a padding mask it becomes a mask.
        if is_causal and attn_mask is None and (need_weights or key_padding_mask is not None):
            attn_mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1)
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            y = F.dropout(weights, rate, self.training) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            y = F.scaled_dot_product_attention(q, k, v, mask, rate, is_causal and mask is None)
        y = self.out_proj(y.transpose(1, 2).flatten(2))  # batch token channel
        if not has_batch:
            return y[0], weights if weights is None else weights[0]
        return y if self.batch_first else y.transpose(0, 1), weights

    def _heads(self, part: str, x: Tensor) -> Tensor:
        """Query, key or value of every head: "batch head token dim"."""
        return self.get_submodule(part)(x).unflatten(-1, (self.num_heads, self.head_dim)).transpose(1, 2)

    def _mask(self, q: Tensor, k: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Both masks as numbers to be added to the scores. q, k: "batch head token dim"."""
        added = None if mask is None else _additive(mask, q)
        # torch's masks of three axes are "(batch head) query key".
        if added is not None and added.ndim == 3:
            added = added.view(-1, self.num_heads, q.shape[2], k.shape[2])
        if padding is not None:
            padded = _additive(padding.reshape(-1, 1, 1, k.shape[2]), q)
            added = padded if added is None else added + padded
        return added

    # ---- dense weights ------------------------------------------------------------------------------------------
    def dense(self) -> dict[str, Tensor]:
        """Query, key and value maps in one weight and bias, and the map of the output, as torch's layer has them."""
        parts = [self._part(name).dense() for name in _PARTS]
        weights: dict[str, Tensor] = {}
        for name in parts[0]:
            weights[f"in_proj_{name}"] = torch.cat([part[name] for part in parts])
        return weights | prefixed("out_proj.", self.out_proj.dense())

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        """How T acts on each of them."""
        rows = Representation.of(self.inner.action.direct_sum(self.inner.action, self.inner.action))
        reps = {"in_proj_weight": TensorRepresentation((rows, self.rep))}
        if self.out_proj.bias_even is not None:
            reps["in_proj_bias"] = TensorRepresentation((rows,))
        return reps | prefixed("out_proj.", self.out_proj.dense_representations())

    def from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The blocks of the four maps. in_proj_weight has query, key and value as rows, one behind the other."""
        blocks: dict[str, Tensor] = {}
        for name, value in values.items():
            if name.startswith("out_proj."):
                shares = {"out_proj": value}
            else:
                shares = dict(zip(_PARTS, value.chunk(3), strict=True))
            kind = name.removeprefix("out_proj.").removeprefix("in_proj_")
            for part, share in shares.items():
                blocks |= prefixed(f"{part}.", self._part(part).from_dense({kind: share}))
        return blocks

    def _part(self, name: str) -> Linear:
        """One of the four maps."""
        part = self.get_submodule(name)
        assert isinstance(part, Linear)
        return part

    def folded(self) -> nn.MultiheadAttention:
        """torch's layer with the dense weights."""
        bias, factory = self.out_proj.bias_even is not None, self.out_proj.factory
        sizes = self.embed_dim, self.num_heads
        layer = nn.MultiheadAttention(*sizes, self.dropout, bias, batch_first=self.batch_first, **factory)
        return self.folded_into(layer)

    def extra_repr(self) -> str:
        """Heads, and how T acts on the inner channels."""
        return f"{self.num_heads} heads: {self.inner.summary()}"


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers to be added: True, which forbids, becomes minus infinity."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, float("-inf"))
