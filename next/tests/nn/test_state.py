"""What chiral layers keep: state in both layouts, copies, dtypes, networks that are made without memory."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.nn import (
    GRU,
    LSTM,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    InvariantHead,
    LayerNorm,
    Linear,
    MultiheadAttention,
    ReversedConv2d,
    hidden,
)
from chiralize.symmetry.representation import Representation
from tests.support.chiral_nets import (
    MIXED,
    PAIRS,
    PAPER,
    Perceptron,
    Recurrent,
    Temporal,
    Transformer,
    relu,
    tanh,
    turned,
)
from tests.support.chiral_oracle import apart, noise, scrambled

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron": (lambda: Perceptron(PAPER, tanh), (3, 6, 2)),
    "temporal": (lambda: Temporal(PAIRS, relu), (3, 4, 6, 2)),
    "temporal, signs": (lambda: Temporal(MIXED, tanh), (3, 4, 6, 2)),
    "lstm": (lambda: Recurrent(MIXED, LSTM), (3, 4, 6, 2)),
    "gru": (lambda: Recurrent(PAIRS, GRU), (3, 4, 6, 2)),
    "transformer": (lambda: Transformer(PAIRS, 2), (3, 4, 6, 2)),
}
LAYERS: dict[str, Callable[..., Any]] = {
    "linear": partial(Linear, MIXED, PAIRS), "head": partial(InvariantHead, MIXED, 3),
    "conv1d": partial(Conv1d, MIXED, PAIRS, 3), "conv2d": partial(Conv2d, MIXED, PAIRS, 3),
    "reversed": partial(ReversedConv2d, MIXED, PAIRS, 3), "batch norm": partial(BatchNorm1d, MIXED),
    "batch norm, halves": partial(BatchNorm2d, PAIRS), "layer norm": partial(LayerNorm, PAIRS),
    "lstm": partial(LSTM, MIXED, PAPER, 2, bidirectional=True),
    "lstm, projected": partial(LSTM, MIXED, PAIRS, rep_proj=MIXED),
    "gru": partial(GRU, MIXED, PAIRS, bias=False), "attention": partial(MultiheadAttention, MIXED, 2),
}  # fmt: skip


def net(name: str, seed: int = 0) -> nn.Module:
    return scrambled(NETS[name][0]().double(), seed).eval()


def example(name: str) -> Tensor:
    return noise(*NETS[name][1])


# ---- both layouts ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", LAYERS)
def test_dense_keys_both_ways(name: str) -> None:
    """Strictly: ours from torch's, torch's from ours, alone and among other modules; the state handed in is kept."""
    layer, other = scrambled(LAYERS[name]().double(), 1), scrambled(LAYERS[name]().double(), 2)
    theirs = layer.folded()  # type: ignore[operator]
    state = theirs.state_dict()
    keys = list(state)
    assert not other.load_state_dict(state, strict=True).missing_keys and list(state) == keys
    for key, item in other.state_dict().items():
        torch.testing.assert_close(item, layer.state_dict()[key], rtol=0, atol=1e-12)
    theirs.load_state_dict({**theirs.state_dict(), **other.dense()}, strict=True)  # type: ignore[operator]
    mixed = nn.Sequential(nn.Linear(3, 3), LAYERS[name]().double())
    result = {"0.weight": torch.eye(3), "0.bias": torch.ones(3), **{f"1.{key}": item for key, item in state.items()}}
    mixed.load_state_dict(result, strict=True)
    for key, item in mixed[1].state_dict().items():
        torch.testing.assert_close(item, layer.state_dict()[key], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_own_keys(name: str) -> None:
    layer, other = scrambled(LAYERS[name](), 1), scrambled(LAYERS[name](), 2)
    other.load_state_dict(layer.state_dict(), strict=True)
    assert all(torch.equal(item, layer.state_dict()[key]) for key, item in other.state_dict().items())


@pytest.mark.parametrize("name", LAYERS)
def test_strict_means_strict(name: str) -> None:
    layer = LAYERS[name]()
    state = layer.folded().state_dict()
    dropped = next(iter(state))
    with pytest.raises(RuntimeError):
        layer.load_state_dict({key: item for key, item in state.items() if key != dropped})
    with pytest.raises(RuntimeError):
        layer.load_state_dict({**state, "more": torch.ones(1)})


# ---- copies and files -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
def test_copies(name: str) -> None:
    """deepcopy, pickle, and a state that is saved and loaded with weights_only."""
    first, x = net(name), example(name)
    with torch.no_grad():
        expected = first(x)
        for again in (copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
            assert torch.equal(again(x), expected)
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        other = net(name, 50)
        assert not torch.equal(other(x), expected)
        other.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(other(x), expected)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtypes(name: str, dtype: torch.dtype) -> None:
    """half(), double(), to(bfloat16): a network of that dtype, equivariant within its rounding."""
    drawn, x = net(name).float().to(dtype), example(name).to(dtype)
    with torch.no_grad():
        y, image = drawn(x), drawn(turned(x))
    assert y.dtype == dtype and bool(y.isfinite().all())
    exact = not any(word in name for word in ("lstm", "gru", "transformer"))
    assert apart(image, turned(y)) <= (0.0 if exact else 16 * 12 * torch.finfo(dtype).eps * float(y.abs().max()))


# ---- without memory -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
def test_made_without_memory(name: str) -> None:
    """On `meta`, then loaded with assign=True, or given memory that holds anything: index tables are right again."""
    first, x = net(name), example(name)
    expected = first(x)
    for load in ("assign", "to_empty", "moved"):
        with torch.device("meta"):
            other = NETS[name][0]().eval()
        if load == "moved":
            other = NETS[name][0]().eval().to("meta")
        if load == "to_empty":
            other.to_empty(device="cpu")
            assert not any(item.is_meta for item in other.buffers())
        other.load_state_dict(first.state_dict(), assign=True)
        assert torch.equal(other(x), expected), load


@pytest.mark.parametrize("name", LAYERS)
def test_device_and_dtype_arguments(name: str) -> None:
    """Everything of the state lies where it was asked for; tables never on `meta`."""
    layer = LAYERS[name](device="meta", dtype=torch.float64)
    assert all(item.is_meta for item in layer.state_dict().values())
    assert all(item.dtype == torch.float64 for item in layer.parameters())
    assert not any(item.is_meta for key, item in layer.named_buffers() if key not in layer.state_dict())


def test_names_of_tables_are_not_in_the_state() -> None:
    layer = Linear(Representation.parse("4: (0 3)"), hidden(4))
    assert set(layer.state_dict()) == {"weight_even", "weight_odd", "bias_even"} and layer.into.order is not None
