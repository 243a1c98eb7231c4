"""Chiral multi-head attention: torch's on projected weights, with its masks and settings."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import RepresentationSizeError
from chiralize.nn import MultiheadAttention, hidden
from chiralize.symmetry.representation import Representation
from tests.support.chiral_oracle import apart, noise, projected, rounding, scrambled, turn
from tests.support.oracle import action_matrix, direct_sum

CASES: dict[str, tuple[Representation, int, dict[str, Any]]] = {
    "heads exchanged": (hidden(8), 2, {}),
    "halves of every head": (hidden(9, fixed=1), 3, {}),
    "one head, signs": (hidden(6, negated=0.5), 1, {}),
    "shuffled": (Representation.parse("8: (0 3) -(1 2) (5 6)"), 4, {}),
    "given": (
        hidden(12),
        3,
        {"rep_heads": Representation.parse("3: (0 2)"), "rep_dims": Representation.parse("4: -1")},
    ),
    "no bias": (hidden(8), 4, {"bias": False}),
}


def pair(case: str, **options: Any) -> tuple[Any, Any]:
    """Ours and torch's, which was projected by the definition."""
    rep, heads, item = CASES[case]
    layer = scrambled(MultiheadAttention(rep, heads, **item, **options).double())
    inner, outer = action_matrix(layer.inner.action), action_matrix(rep.action)  # type: ignore[union-attr, arg-type]
    rows = direct_sum(inner, inner, inner)
    theirs = projected(scrambled(layer.folded(), 20), {  # type: ignore[operator]
        "in_proj_weight": [rows, outer], "in_proj_bias": [rows],
        "out_proj.weight": [outer, inner], "out_proj.bias": [outer],
    })  # fmt: skip
    layer.load_state_dict(theirs.state_dict(), strict=True)
    return layer, theirs


def assert_same(ours: tuple[Tensor, Tensor | None], theirs: tuple[Tensor, Tensor | None]) -> None:
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-9)
    assert (ours[1] is None) == (theirs[1] is None)
    if ours[1] is not None:
        torch.testing.assert_close(ours[1], theirs[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_as_torch(case: str, need_weights: bool, batch_first: bool) -> None:
    layer, theirs = pair(case, batch_first=batch_first)
    size = CASES[case][0].size
    x, memory = noise(5, 5, size), noise(5, 5, size, seed=1)
    for tokens in ((x, x, x), (x, memory, memory), (x[0], memory[0], memory[0])):
        assert_same(layer(*tokens, need_weights=need_weights), theirs(*tokens, need_weights=need_weights))
    options = {"need_weights": True, "average_attn_weights": False}
    assert_same(layer(x, x, x, **options), theirs(x, x, x, **options))


CAUSAL = torch.ones(5, 7, dtype=torch.bool).triu(1)
PADDING = torch.arange(7).repeat(3, 1) > torch.tensor([[6], [4], [2]])
MASKS: dict[str, dict[str, Tensor]] = {
    "booleans": {"attn_mask": CAUSAL},
    "numbers": {"attn_mask": noise(5, 7)},
    "for every head": {"attn_mask": noise(6, 5, 7)},
    "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("need_weights", [True, False])
def test_masks(mask: str, need_weights: bool) -> None:
    layer, theirs = pair("heads exchanged", batch_first=True)
    x, memory = noise(3, 5, 8), noise(3, 7, 8, seed=1)
    options: dict[str, Any] = {**MASKS[mask], "need_weights": need_weights}
    assert_same(layer(x, memory, memory, **options), theirs(x, memory, memory, **options))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("padding", [None, torch.zeros(3, 5, dtype=torch.bool)], ids=["", "padding"])
def test_causal_alone(need_weights: bool, padding: Tensor | None) -> None:
    """The hint is enough, with and without weights, with and without padding."""
    layer, theirs = pair("heads exchanged", batch_first=True)
    x = noise(3, 5, 8)
    expected = theirs(x, x, x, attn_mask=CAUSAL[:, :5])[0]
    result = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights, is_causal=True)[0]
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_equivariant(case: str, dtype: torch.dtype) -> None:
    layer, rep = pair(case)[0].to(dtype), CASES[case][0]
    x = noise(5, 3, rep.size, dtype=dtype)
    y = layer(x, x, x, need_weights=False)[0]
    images = turn(x, rep.action)
    image = layer(images, images, images, need_weights=False)[0]
    assert apart(image, turn(y, rep.action)) <= rounding(dtype, y, 4)


def test_dropout_in_training() -> None:
    layer, theirs = pair("heads exchanged", dropout=0.5, batch_first=True)
    x = noise(3, 5, 8)
    for module in (layer, theirs):
        module.train()
    torch.manual_seed(3)
    ours = layer(x, x, x)
    torch.manual_seed(3)
    torch.testing.assert_close(ours[0], theirs(x, x, x)[0], rtol=0, atol=1e-9)
    assert_same(layer.eval()(x, x, x), theirs.eval()(x, x, x))


def test_half_the_parameters_and_dense_weights() -> None:
    layer, theirs = pair("heads exchanged")
    assert isinstance(theirs, nn.MultiheadAttention)
    assert sum(item.numel() for item in layer.parameters()) * 2 == sum(item.numel() for item in theirs.parameters())
    layer.load_dense(layer.dense())
    assert_same(layer(*[noise(2, 3, 8)] * 3), theirs(*[noise(2, 3, 8)] * 3))
    for name, value in layer.dense().items():
        for axis, rep in enumerate(layer.dense_representations()[name].axes):
            value = turn(value, rep.action, axis)
        assert torch.equal(value, layer.dense()[name]), name


def test_sizes_are_checked() -> None:
    with pytest.raises(RepresentationSizeError):
        MultiheadAttention(hidden(8), 3)
    with pytest.raises(RepresentationSizeError):
        MultiheadAttention(hidden(8), 2, rep_dims=Representation.trivial(6))
