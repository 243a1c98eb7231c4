"""T of a whole network: on inputs, outputs, states and weights, as the zoo has it written with plain torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from chiralize.body.spec import load_spec
from chiralize.errors import AsymmetricConstantError, UnsupportedError, UsageError
from chiralize.graph.run import Runner
from chiralize.infer.hidden.match import FromWeights
from chiralize.problem.mirror import (
    Inferred,
    WeightAction,
    analyse,
    infer,
    mirror_at_rest,
    mirror_if_known,
    mirror_of,
    represent,
)
from chiralize.problem.network import Network
from chiralize.problem.prepare import prepare
from chiralize.symmetry.action import act
from tests.support.zoo import CASES

BODY: dict[str, Any] = {"joints": ["l", "r", "c"], "pairs": [["l", "r"]], "dims": ["x", "y"], "negate": ["x"]}
X = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0))


def ready(name: str) -> Network:
    case = CASES[name]
    args, kwargs = case.example()
    return prepare(case.model(), args, kwargs, load_spec(yaml.safe_load(case.spec)), entry=case.entry)


@pytest.mark.parametrize("name", CASES)
def test_the_mirror_of_inputs_and_outputs(name: str) -> None:
    case, network = CASES[name], ready(name)
    mirror = mirror_of(network, represent(network, None))
    turned = tree_leaves(mirror.turned(network.example))
    for index, (turn, tensor) in enumerate(zip(case.turns_in, tree_leaves(network.example), strict=True)):
        if turn is None:
            assert index in mirror.state_inputs
        else:
            assert torch.equal(turned[index], turn(tensor))
    with Runner(network.module) as runner:
        answers = tree_leaves(runner.run([network.example]).steps[0])
    for index, (turn, answer) in enumerate(zip(case.turns_out, answers, strict=True)):
        if turn is None:
            assert index in mirror.state_outputs
        else:
            assert torch.equal(mirror.turned_output(index, answer), turn(answer))
    assert bool(mirror.states) <= case.stateful == network.carried.inside


@pytest.mark.parametrize("name", ["residual layer norm", "policy, lstm in buffers", "parts"])
def test_symmetric_weights_commute_with_the_mirror(name: str) -> None:
    """A network whose weights are all projected by what inference found is equivariant."""
    network = ready(name)
    analysed = analyse(network, FromWeights(network.graph()))
    action = WeightAction.of(network, analysed.repmap)
    held = dict([*network.module.named_parameters(), *network.module.named_buffers()])
    values: dict[str, Tensor] = {}
    for key, representation in action.hidden.items():
        partner = held[action.exchanged[key]] if key in action.exchanged else held[key]
        values[key] = ((held[key] + act(partner, representation)) / 2).detach()
    module, _ = network.holding(values)
    mirror = mirror_of(network, analysed.repmap)
    with Runner(module) as runner:
        plain = tree_leaves(runner.run([network.example] * 3).steps)
        image = tree_leaves(runner.run([mirror.turned(network.example)] * 3).steps)
    for index, (one, other) in enumerate(zip(plain, image, strict=True)):
        assert torch.allclose(mirror.turned_output(index % len(mirror.outputs), one), other, atol=1e-10)
    given = infer(network, action.hidden).finish()
    assert action.hidden.keys() == given.weight_representations(network.graph()).keys()


class Shifted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)
        self.register_buffer("offset", torch.arange(6.0).view(3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1)).view(-1, 3, 2) + self.offset


class Sorting(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x.flatten(1).sort().values).view(-1, 3, 2)


def of(net: nn.Module, *args: Tensor, **fields: Any) -> Network:
    return prepare(net, args or (X,), {}, load_spec({**BODY, **fields}))


def test_refusals_are_part_of_the_record() -> None:
    inferred = Inferred.of(of(Shifted()))
    assert inferred.repmap is not None and isinstance(inferred.asymmetric, AsymmetricConstantError)
    inferred = Inferred.of(of(Sorting(6, 6)))
    assert inferred.repmap is None and inferred.refusal is not None
    with pytest.raises(UnsupportedError):
        inferred.known()
    inferred = Inferred.of(of(nn.Flatten(), outputs=["b (j d)"]))
    assert inferred.refusal is None and inferred.asymmetric is None


def test_a_mirror_whose_states_nobody_knows() -> None:
    network = ready("policy, lstm in buffers")
    assert mirror_if_known(network, None) is None
    rest = mirror_at_rest(network)
    assert (rest is not None) == (not any(buffer.any() for buffer in network.module.buffers()))
    assert mirror_if_known(of(Shifted()), None) is not None


def test_calls_of_other_tensors_than_the_mirror_describes() -> None:
    mirror = mirror_if_known(of(Shifted()), None)
    assert mirror is not None
    with pytest.raises(UsageError):
        mirror.turned(((X, X), {}))


def test_labels_are_those_of_the_skeleton() -> None:
    mirror = mirror_if_known(of(Shifted()), None)
    assert mirror is not None and mirror.label("output", 0, (9, 1, 0)) == "r.x"
    assert mirror.part("output", 0, (9, 1, 0)) == "r"
