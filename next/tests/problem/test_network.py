"""What is handed in besides an ordinary network on an ordinary example, and what is made ready of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from chiralize.body.spec import Spec, load_spec
from chiralize.errors import CaptureError, SpecError, UsageError
from chiralize.problem.network import Network, open_axes
from chiralize.problem.prepare import prepare, without_entry

BODY: dict[str, Any] = {
    "joints": ["head", "left_hand", "right_hand"],
    "pairs": [["left_hand", "right_hand"]],
    "dims": ["x", "y"],
    "negate": ["x"],
}
X = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))


class Lifter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).tanh()).view(-1, 3, 2)

    def doubled(self, x: Tensor) -> Tensor:
        return 2 * self.last(self.first(x.flatten(1)).tanh()).view(-1, 3, 2)


def ready(net: nn.Module, *args: Any, **fields: Any) -> Network:
    spec: Spec = load_spec({**BODY, **fields})
    return prepare(net, args or (X,), {}, spec)


# ---- networks ---------------------------------------------------------------------------------------------------
def test_the_network_is_copied() -> None:
    net = Lifter()
    network = ready(net)
    assert net.training and network.program is not None and network.captured is not None
    assert not {own.data_ptr() for own in net.parameters()} & {own.data_ptr() for own in network.module.parameters()}
    assert (network.rows, network.has_rows, network.is_single, network.parameter_count) == (4, True, False, 110)
    assert network.macs == 4 * 96 and not network.carried and network.findings == ()


def test_without_values() -> None:
    net = Lifter()
    net.last.to("meta")
    with pytest.raises(UsageError):
        ready(net)
    with pytest.raises(UsageError):
        ready(Lifter(), X.to("meta"))


@pytest.mark.parametrize("model", [Lifter, "lifter", None])
def test_no_network(model: Any) -> None:
    with pytest.raises(UsageError):
        ready(model)


def test_wrappers_are_taken_off() -> None:
    assert set(ready(nn.DataParallel(Lifter())).module.state_dict()) == set(Lifter().state_dict())


def test_another_entry() -> None:
    network = prepare(Lifter(), (X,), {}, load_spec(BODY), entry="doubled")
    with torch.no_grad():
        expected = network.module(X)
        assert network.program is not None and torch.allclose(network.program.module()(X), expected)
        assert torch.allclose(without_entry(network.module)(X), expected / 2)
    with pytest.raises(UsageError):
        prepare(Lifter(), (X,), {}, load_spec(BODY), entry="tripled")


def test_a_program_of_the_user() -> None:
    program = torch.export.export(Lifter().eval(), (X,))
    network = prepare(program.module(), (X,), {}, load_spec(BODY), program=program)
    assert network.from_program and network.captured is not None
    weight = torch.zeros(8, 6)
    module, other = network.holding({"first.weight": weight})
    assert other is not None and torch.equal(other.state_dict["first.weight"], weight)
    assert torch.allclose(module(X), other.module()(X))
    assert program.state_dict["first.weight"].any()


def test_other_weights() -> None:
    network = ready(Lifter())
    module, program = network.holding({"last.bias": torch.ones(6), "last.weight": torch.zeros(6, 8)})
    assert program is not None and module(X).eq(1).all() and program.module()(X[:1]).eq(1).all()
    assert not network.module(X).eq(1).all()


class Choosing(Lifter):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else -super().forward(x)


def test_a_network_without_a_graph_says_why() -> None:
    network = ready(Choosing())
    assert network.program is None and network.captured is None and isinstance(network.problem, CaptureError)
    with pytest.raises(CaptureError):
        network.graph()
    assert not network.answers_vary()


class Noisy(Choosing):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + torch.rand(1)


def test_random_numbers_without_a_graph() -> None:
    assert ready(Noisy()).answers_vary()


class Still(Lifter):
    def forward(self, x: Tensor) -> Tensor:
        return self.last.bias.view(1, 3, 2) + 0 * x


def test_answers_that_ignore_the_inputs_are_a_doubt() -> None:
    assert [(each.topic, each.level) for each in ready(Still()).findings] == [("mirror", "doubt")]


# ---- examples ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("args", [(), ("x",), (X[:0],), 3, "x"])
def test_no_example(args: Any) -> None:
    with pytest.raises(UsageError):
        prepare(Lifter(), args, {}, load_spec(BODY))


class Nobody(Lifter):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:0]


def test_an_empty_answer() -> None:
    with pytest.raises(UsageError):
        ready(Nobody())


class Observations:
    """Tensors by name, as collections of other packages are: torch knows it, and it has no truth value."""

    def __init__(self, **tensors: Tensor) -> None:
        self.tensors = tensors

    def __bool__(self) -> bool:
        raise RuntimeError("no boolean value")


class Policy(Lifter):
    def forward(self, observations: Observations) -> Tensor:
        return super().forward(observations.tensors["pose"] + 0.1 * observations.tensors["speed"])


pytree.register_pytree_node(
    Observations,
    lambda own: (list(own.tensors.values()), list(own.tensors)),
    lambda values, names: Observations(**dict(zip(names, values, strict=True))),
    serialized_type_name="tests.Observations",
    flatten_with_keys_fn=lambda own: ([(pytree.MappingKey(k), v) for k, v in own.tensors.items()], list(own.tensors)),
)


def test_collections_of_tensors_with_a_class_of_their_own() -> None:
    network = ready(Policy(), Observations(pose=X, speed=X.flip(0)))
    assert network.captured is not None and len(network.resolved.inputs) == 2


class OfTwo(Lifter):
    """Reads the pose and a first guess of the same sizes."""

    def forward(self, pose: Tensor, guess: Tensor) -> Tensor:
        return super().forward(pose) + guess


def test_inputs_that_are_named_in_another_order_are_refused() -> None:
    """They would be taken by position. Handed over by name, the order of the examples counts."""
    inputs = [{"layout": "b j d", "name": name} for name in ("guess", "pose")]
    with pytest.raises(SpecError):
        ready(OfTwo(), X, X, inputs=inputs)
    ready(OfTwo(), X, X, inputs=inputs[::-1])


# ---- open axes ----------------------------------------------------------------------------------------------------
def test_open_axes_are_those_of_the_layout_and_of_the_batch() -> None:
    """A pose b t j d = 5,9,3,2 beside a state 2,5,64, of which the second axis has the size of the batch."""
    inputs = [{"layout": "b t j d"}, {"state": True}]
    resolved = ready(OfTwo(), X, X).resolved

    class Sequence(nn.Module):
        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            return x + h.mean(), h

    outputs = [{"layout": "b t j d"}, {"state": True}]
    args = torch.randn(5, 9, 3, 2), torch.randn(2, 5, 64)
    other = prepare(Sequence(), args, {}, load_spec({**BODY, "inputs": inputs, "outputs": outputs})).resolved
    assert open_axes(other) == [{0: "b", 1: "t"}, {1: "b"}]
    assert open_axes(resolved) == [{0: "b"}, {0: "b"}]


def test_what_a_sample_may_cost() -> None:
    network = replace(ready(Lifter()), problem=None)
    assert network.affordable(9600) == 100 and network.affordable(1, least=3) == 3
    assert network.affordable(1e9, most=32) == 32
