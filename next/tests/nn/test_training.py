"""Training chiral networks: an exact reparametrisation of dense ones, with whatever torch puts around a module."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from chiralize.nn import GRU, LSTM, ChiralModule, InvariantParameter
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
from tests.support.chiral_oracle import apart, noise, project_leading, scrambled
from tests.support.oracle import action_matrix

NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron": (lambda: Perceptron(PAPER, tanh), (8, 6, 2)),
    "perceptron, relu": (lambda: Perceptron(PAIRS, relu), (8, 6, 2)),
    "temporal": (lambda: Temporal(PAIRS, relu), (8, 4, 6, 2)),
    "temporal, signs": (lambda: Temporal(PAPER, tanh), (8, 4, 6, 2)),
    "lstm": (lambda: Recurrent(MIXED, LSTM), (8, 4, 6, 2)),
    "gru": (lambda: Recurrent(PAIRS, GRU), (8, 4, 6, 2)),
    "transformer": (lambda: Transformer(PAIRS, 2), (8, 4, 6, 2)),
}
EXACT = ("perceptron", "temporal")


def drawn(name: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Tensor, Tensor]:
    """A network and a task: inputs, targets."""
    torch.manual_seed(0)
    net = scrambled(NETS[name][0]().to(dtype))
    return net, noise(*NETS[name][1], dtype=dtype), noise(*NETS[name][1], seed=1, dtype=dtype)


def without_dropout(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def residual(net: nn.Module, x: Tensor) -> float:
    """max |F(T x) - T F(x)| in units of eps of the output's scale."""
    net.eval()
    with torch.no_grad():
        y = net(x)
        result = apart(net(turned(x)), turned(y)) / (float(y.abs().max()) * torch.finfo(y.dtype).eps)
    net.train()
    return result


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, count: int) -> float:
    loss = torch.zeros(())
    for _ in range(count):
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


# ---- equivariance stays ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETS)
def test_after_many_steps_saved_and_loaded(name: str) -> None:
    net, x, y = drawn(name)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3)
    start = steps(net, optimizer, x, y, 1)
    assert steps(net, optimizer, x, y, 59) < start
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    kept = torch.load(file, weights_only=True)
    other = NETS[name][0]()
    other.load_state_dict(kept["net"])
    again = torch.optim.AdamW(other.parameters(), 1e-3)
    again.load_state_dict(kept["optimizer"])
    for module, item in ((net, optimizer), (other, again)):
        torch.manual_seed(3)
        steps(module, item, x, y, 1)
        assert residual(module, x) <= (0.0 if name.startswith(EXACT) else 16 * 12)
    assert all(torch.equal(item, other.state_dict()[key]) for key, item in net.state_dict().items())


# ---- an exact reparametrisation -------------------------------------------------------------------------------------
class _Table(nn.Module):
    """What an invariant parameter is in a dense network."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(value.detach().clone())

    def forward(self) -> Tensor:
        return self.weight


def chiral_layers(net: nn.Module, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The outermost chiral layers by name."""
    for name, child in net.named_children():
        if isinstance(child, ChiralModule):
            yield prefix + name, child
        else:
            yield from chiral_layers(child, f"{prefix}{name}.")


def dense_twin(net: nn.Module) -> nn.Module:
    twin = copy.deepcopy(net)
    for name, layer in list(chiral_layers(twin)):
        parent, _, item = name.rpartition(".")
        folded = _Table(layer()) if isinstance(layer, InvariantParameter) else layer.folded()
        setattr(twin.get_submodule(parent), item, folded)
    return twin


def rates(layer: Any) -> dict[str, Tensor]:
    """For every coordinate c of a layer 1 / |dW/dc|^2, the learning rate at which it moves as the dense weights do.

    W depends linearly on the coordinates, W = J c. A projected step W - r P(G) with P = J (J'J)^-1 J' is
    c - r (J'J)^-1 J'G, and J'G is the gradient for c. J'J is diagonal: 1 for the weights of linear maps; 2 for their
    biases, of a pair (two entries) and of a fixed entry (sqrt 2, squared); elsewhere the size of the orbit.
    """
    item = {name: value.detach() for name, value in layer.named_parameters()}

    def dense(values: Mapping[str, Tensor]) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(layer, dict(values)):
            result = [
                value.flatten() for value in layer.dense().values() if value.requires_grad or torch.is_tensor(value)
            ]
        return torch.cat(result)

    columns = torch.func.jacrev(dense)(item)
    flat = torch.cat([column.flatten(1) for column in columns.values()], 1)
    gram = flat.T @ flat
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), rtol=0, atol=1e-12)
    return {name: 1 / column.square().sum(0) for name, column in columns.items()}


@pytest.mark.parametrize("name", NETS)
def test_documented_rates(name: str) -> None:
    """1 for weights of linear maps, 1/2 for their biases, 1/2 or 1 (pair or fixed entry) for all the rest."""
    for _, layer in chiral_layers(drawn(name, torch.float64)[0]):
        for key, rate in rates(layer).items():
            if key.endswith(("weight_even", "weight_odd")) and len(rate.shape) > 1:
                torch.testing.assert_close(rate, torch.ones_like(rate), rtol=0, atol=1e-12)
            elif key.endswith("bias_even") and not hasattr(layer, "representation"):
                torch.testing.assert_close(rate, torch.full_like(rate, 0.5), rtol=0, atol=1e-12)
            else:
                assert set(rate.flatten().tolist()) <= {0.5, 1.0}


@pytest.mark.parametrize("name", NETS)
def test_twenty_steps_as_the_dense_network(name: str) -> None:
    """SGD with momentum, and weight decay on the weights: the dense network on {x, T x} with projected gradients."""
    net, x, y = drawn(name, torch.float64)
    without_dropout(net)
    twin, layers = dense_twin(net), dict(chiral_layers(net))
    reps = {f"{at}.{key}": rep for at, layer in layers.items() for key, rep in layer.dense_representations().items()}
    factors = {f"{at}.{key}": rate for at, layer in layers.items() for key, rate in rates(layer).items()}
    assert factors.keys() == dict(net.named_parameters()).keys()
    assert reps.keys() >= dict(twin.named_parameters()).keys()
    optimizers = []
    for module in (net, twin):
        named = dict(module.named_parameters())
        decayed = [item for key, item in named.items() if item.ndim > 1 and key != "places.weight"]
        others = [item for key, item in named.items() if item.ndim <= 1 or key == "places.weight"]
        groups = [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
        optimizers.append(torch.optim.SGD(groups, 0.02, momentum=0.8))
    start = 0.0
    for step in range(20):
        loss = (net(x) - y).square().mean()
        both = (twin(torch.cat([x, turned(x)])) - torch.cat([y, turned(y)])).square().mean()
        assert abs(float(loss.detach()) - float(both.detach())) < 1e-9
        start = start or float(loss.detach())
        for optimizer, item in zip(optimizers, (loss, both), strict=True):
            optimizer.zero_grad()
            item.backward()
        for key, item in net.named_parameters():
            assert item.grad is not None
            item.grad.mul_(factors[key])
        for key, item in twin.named_parameters():
            assert item.grad is not None
            matrices = [action_matrix(axis.action) for axis in reps[key].axes]
            item.grad.copy_(torch.from_numpy(project_leading(item.grad.unsqueeze(-1).numpy(), matrices)).squeeze(-1))
        for optimizer in optimizers:
            optimizer.step()
        if step == 19:
            assert float(loss.detach()) < 0.95 * start
    result = dict(twin.named_parameters()) | dict(twin.named_buffers())
    for at, layer in layers.items():
        for key, value in layer.dense().items():
            torch.testing.assert_close(value, result[f"{at}.{key}"], rtol=0, atol=1e-9)


# ---- what torch puts around a module --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["temporal, signs", "lstm", "transformer"])
def test_compiles_without_a_break(name: str) -> None:
    """Forward, and forward + backward, in training and in eval."""
    torch._dynamo.reset()
    net, x, y = drawn(name)
    without_dropout(net)
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager" if name == "transformer" else "eager")
    (compiled(x) - y).square().mean().backward()
    ours = [item.grad for item in net.parameters()]
    other = drawn(name)[0]
    without_dropout(other)
    (other(x) - y).square().mean().backward()
    for item, expected in zip(ours, other.parameters(), strict=True):
        assert item is not None and expected.grad is not None
        torch.testing.assert_close(item, expected.grad, rtol=1e-4, atol=1e-5)
    net.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), net(x), rtol=0, atol=1e-5)


def test_gradient_checkpointing() -> None:
    net, x, y = drawn("temporal", torch.float64)
    without_dropout(net)
    other = copy.deepcopy(net)
    (net(x) - y).square().mean().backward()
    (checkpoint(other, x, use_reentrant=False) - y).square().mean().backward()  # type: ignore[operator]
    for item, again in zip(net.parameters(), other.parameters(), strict=True):
        assert item.grad is not None and torch.equal(item.grad, again.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NETS)
def test_averaged_weights(name: str) -> None:
    """An EMA by torch is the chiral network of the averaged coordinates, and follows every update."""
    net, x, y = drawn(name)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    seen = []
    for _ in range(3):
        steps(net, optimizer, x, y, 1)
        average.update_parameters(net)
        average.eval()
        with torch.no_grad():
            seen.append(average(x))
            torch.testing.assert_close(average(x), copy.deepcopy(average.module)(x), rtol=0, atol=0)
        assert residual(average.module, x) <= (0.0 if name.startswith(EXACT) else 16 * 12)
    assert apart(seen[0], seen[2]) > 1e-5
