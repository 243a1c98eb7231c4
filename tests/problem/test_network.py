"""What is handed in besides an ordinary network on an ordinary example: quantised, pruned and empty things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.utils import _pytree as pytree

from chiralize import audit, chiralize, verify
from chiralize.errors import CaptureError, ChiralizeError, SpecError, UsageError

BODY: dict[str, Any] = {
    "joints": ["head", "left_hand", "right_hand"],
    "pairs": [["left_hand", "right_hand"]],
    "dims": ["x", "y"],
    "negate": ["x"],
}
X = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))

pytestmark = pytest.mark.filterwarnings("ignore")


class Lifter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.last = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).tanh()).view(-1, 3, 2)


# ---- networks ---------------------------------------------------------------------------------------------------
def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Lifter().eval(), {nn.Linear}, dtype=torch.qint8)


def test_quantised_networks_are_averaged_and_otherwise_refused_by_name() -> None:
    assert chiralize(quantised(), BODY, X)(X).shape == X.shape
    assert not verify(quantised(), BODY, X).passed
    with pytest.raises(CaptureError, match=r"CH306  first: its weights are quantised and packed") as caught:
        chiralize(quantised(), BODY, X, method="match")
    assert "before it is quantised" in caught.value.remedy


def test_pruned_networks() -> None:
    """The mask is a constant of its own; without it the weights are as others."""
    net = Lifter()
    prune.random_unstructured(net.first, "weight", 0.4)
    before = {name: own.clone() for name, own in net.state_dict().items()}
    assert chiralize(net, BODY, X)(X).shape == X.shape
    with pytest.raises(ChiralizeError, match=r"CH304 .*constant first.weight_mask"):
        chiralize(net, BODY, X, method="match")
    assert all(own.equal(before[name]) for name, own in net.state_dict().items())
    prune.remove(net.first, "weight")
    assert chiralize(net, BODY, X, method="match", force=True)(X).shape == X.shape


def on_meta(*names: str) -> nn.Module:
    net = Lifter()
    for name in names:
        getattr(net, name).to("meta")
    return net


@pytest.mark.parametrize("run", [chiralize, verify, audit])
def test_without_values(run: Callable[..., object]) -> None:
    for names, more in ((("first", "last"), ", as 3 more"), (("last",), ", as 1 more")):
        with pytest.raises(UsageError, match=rf"Lifter: {names[0]}.weight has no values \(meta\){more}") as caught:
            run(on_meta(*names), BODY, (X,))
        assert "load_state_dict(..., assign=True)" in caught.value.remedy
    with pytest.raises(UsageError, match=r"example inputs: a tensor without values \(meta\) is among them"):
        run(Lifter(), BODY, (X.to("meta"),))


# ---- callers ----------------------------------------------------------------------------------------------------
@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("around", [lambda: torch.device("meta"), default_device])
def test_whatever_the_callers_default_device(around: Callable[[], AbstractContextManager[Any]]) -> None:
    net = Lifter()
    with around():
        converted = chiralize(net, BODY, X, method="match", force=True)
        assert verify(converted, BODY, X).passed and not verify(net, BODY, X).passed
        assert audit(net, BODY, (X,)).verdict
        assert torch.empty(1).is_meta
    assert not any(own.is_meta for own in (*converted.parameters(), *converted.buffers()))


# ---- examples ---------------------------------------------------------------------------------------------------
class Nobody(Lifter):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:0]


@pytest.mark.parametrize("run", [chiralize, verify, audit])
def test_empty(run: Callable[..., object]) -> None:
    with pytest.raises(UsageError, match=r"example inputs: they are empty, shape \(0, 3, 2\)") as caught:
        run(Lifter(), BODY, (X[:0],))
    assert caught.value.remedy == "give at least one sample"
    with pytest.raises(UsageError, match=r"output 0 is empty, shape \(0, 3, 2\), of which nothing can be compared"):
        run(Nobody(), BODY, (X,))


class Observations:
    """Tensors by name, as collections of other packages are: torch knows it, and it has no truth value."""

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __bool__(self) -> bool:
        raise RuntimeError("no boolean value")


class Policy(Lifter):
    def forward(self, observations: Observations) -> Tensor:
        return super().forward(observations["pose"] + 0.1 * observations["speed"])


pytree.register_pytree_node(
    Observations,
    lambda own: (list(own.tensors.values()), list(own.tensors)),
    lambda values, names: Observations(**dict(zip(names, values, strict=True))),
    serialized_type_name="tests.Observations",
    flatten_with_keys_fn=lambda own: ([(pytree.MappingKey(k), v) for k, v in own.tensors.items()], list(own.tensors)),
)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["average", "match"])
def test_collections_of_tensors_with_a_class_of_their_own(method: str) -> None:
    net, given = Policy(), Observations(pose=X, speed=X.flip(0))
    converted = chiralize(net, BODY, (given,), method=method, force=True)
    assert converted(Observations(pose=X[:3], speed=X[:3])).shape == (3, 3, 2), "the batch is open"
    assert not verify(net, BODY, (given,)).passed


# ---- names of inputs --------------------------------------------------------------------------------------------
class OfTwo(Lifter):
    """Reads the pose and a first guess of the same sizes."""

    def forward(self, pose: Tensor, guess: Tensor) -> Tensor:
        return super().forward(pose) + guess


def test_inputs_that_are_named_in_another_order_are_refused() -> None:
    """They would be taken by position. Handed over by name, the order of the examples counts."""
    inputs = [{"layout": "b j d", "name": name} for name in ("guess", "pose")]
    with pytest.raises(SpecError, match="in the order guess, pose; the network takes pose, guess"):
        chiralize(OfTwo(), {**BODY, "inputs": inputs}, (X, X), method="match")
    chiralize(OfTwo(), {**BODY, "inputs": inputs[::-1]}, (X, X), method="match")
