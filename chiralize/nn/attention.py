"""Multi-head attention: heads exchanged by the mirror, or channels within every head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn._module import ChiralModule, dense_weight
from chiralize.nn.butterfly import hidden
from chiralize.nn.linear import Linear
from chiralize.symmetry.representation import Representation, TensorRepresentation

_PARTS = ("q", "k", "v")


class MultiheadAttention(ChiralModule):
    """softmax(q k' / sqrt d) v for every head, between equivariant maps.

    rep: of the channels of query, key and value.  rep_heads x rep_dims: how T acts on the inner channels "(head dim)";
    by default it exchanges the first half of the heads with the second, or, where their number is odd, the halves of
    every head. Call and result as `torch.nn.MultiheadAttention` (a mask for every head alone has to be symmetric).
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
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        dims, over = divmod(rep.size, num_heads)
        if over:
            facts = f"{rep.size} channels do not divide into {num_heads} heads"
            raise RepresentationSizeError("chiralize.nn.MultiheadAttention", facts, "choose another number of heads")
        even = num_heads % 2 == 0
        rep_heads = rep_heads or (hidden(num_heads) if even else Representation.trivial(num_heads))
        inner = rep_heads * (rep_dims or (Representation.trivial(dims) if even else hidden(dims, fixed=dims % 2)))
        if inner.size != rep.size:
            facts = f"heads and dims make {inner.size} channels, the input has {rep.size}"
            raise RepresentationSizeError("chiralize.nn.MultiheadAttention", facts, "match the sizes")
        self.embed_dim, self.head_dim = rep.size, dims
        self.rep, self.inner, self.num_heads, self.dims = rep, inner, num_heads, dims
        self.dropout, self.batch_first = dropout, batch_first
        for name in _PARTS:
            self.add_module(name, Linear(rep, inner, bias, device, dtype))
        self.out_proj = Linear(inner, rep, bias, device, dtype)

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
        alone = query.ndim == 2
        if not self.batch_first and not alone:
            query, key, value = (own.transpose(0, 1) for own in (query, key, value))  # batch token channel
        if alone:
            query, key, value = query[None], key[None], value[None]
        q, k, v = (self._heads(part, own) for part, own in zip(_PARTS, (query, key, value), strict=True))
        if is_causal and attn_mask is None and (need_weights or key_padding_mask is not None):
            attn_mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).triu(1)
        mask = self._mask(q, k, attn_mask, key_padding_mask)
        rate = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.dims**-0.5
            weights = torch.softmax(scores if mask is None else scores + mask, -1)
            y = F.dropout(weights, rate, self.training) @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            causal = is_causal and mask is None
            y = F.scaled_dot_product_attention(q, k, v, mask, rate, causal)
        y = self.out_proj(y.transpose(1, 2).flatten(2))  # batch token channel
        if alone:
            return y[0], weights if weights is None else weights[0]
        return y if self.batch_first else y.transpose(0, 1), weights

    def _heads(self, part: str, x: Tensor) -> Tensor:
        """ "batch head token dim"."""
        return self.get_submodule(part)(x).unflatten(-1, (self.num_heads, self.dims)).transpose(1, 2)

    def _mask(self, q: Tensor, k: Tensor, mask: Tensor | None, padding: Tensor | None) -> Tensor | None:
        """Both masks as numbers to be added to the scores."""
        added = None if mask is None else _additive(mask, q)
        if added is not None and added.ndim == 3:
            added = added.view(-1, self.num_heads, q.shape[2], k.shape[2])
        if padding is not None:
            own = _additive(padding.reshape(-1, 1, 1, k.shape[2]), q)
            added = own if added is None else added + own
        return added

    # ---- dense weights ------------------------------------------------------------------------------------------
    def dense(self) -> dict[str, Tensor]:
        made = [self.get_submodule(name).dense() for name in _PARTS]  # type: ignore[operator]
        found = {f"in_proj_{name}": torch.cat([own[name] for own in made]) for name in made[0]}
        return found | {f"out_proj.{name}": value for name, value in self.out_proj.dense().items()}

    def dense_representations(self) -> Mapping[str, TensorRepresentation]:
        rows = Representation.of(self.inner.action.direct_sum(self.inner.action, self.inner.action))
        found = {"in_proj_weight": TensorRepresentation((rows, self.rep))}
        if self.out_proj.bias_even is not None:
            found["in_proj_bias"] = TensorRepresentation((rows,))
        return found | {f"out_proj.{name}": rep for name, rep in self.out_proj.dense_representations().items()}

    def _from_dense(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        last = {name.removeprefix("out_proj."): own for name, own in values.items() if name.startswith("out_proj.")}
        found = {f"out_proj.{name}": block for name, block in self.out_proj._from_dense(last).items()}
        for name, value in values.items():
            if name.startswith("out_proj."):
                continue
            for part, own in zip(_PARTS, value.chunk(3), strict=True):
                linear = self.get_submodule(part)
                assert isinstance(linear, Linear)
                made = linear._from_dense({name.removeprefix("in_proj_"): own})
                found |= {f"{part}.{key}": block for key, block in made.items()}
        return found

    def folded(self) -> nn.MultiheadAttention:
        bias, like = self.out_proj.bias_even is not None, self.out_proj.weight_even
        layer = nn.MultiheadAttention(
            self.rep.size, self.num_heads, self.dropout, bias, batch_first=self.batch_first, device=like.device,
            dtype=like.dtype,
        )  # fmt: skip
        layer.load_state_dict(self.dense())
        return layer.train(self.training)

    def extra_repr(self) -> str:
        return f"{self.num_heads} heads: {self.inner.summary()}"


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, float("-inf"))
