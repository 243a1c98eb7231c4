"""Weights put into copies of modules and programs: the network that was handed over is never written to."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import InternalError
from chiralize.graph import rewrite
from chiralize.symmetry.action import act
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.graph.nets import Net, captured, exported

SWAP = Representation.of(SignedPermutation.of([(0, 1)], negated=[2], size=3))


class Named(nn.Module):
    """An argument with the name of a Python function, a tied weight, a plain tensor, an activation of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.tied, self.plain = self.first[0], torch.ones(3)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return torch.relu(self.tied(self.first(input))) + self.plain


def test_weights_go_into_a_copy() -> None:
    torch.manual_seed(0)
    net, x = Named().eval(), torch.randn(2, 3)
    program = exported(net, x)
    names = [node.name for node in program.graph.nodes]
    before = copy.deepcopy(net.state_dict())
    values = {"first.0.weight": torch.eye(3), "tied.weight": torch.eye(3), "plain": torch.zeros(3)}
    module = rewrite.with_weights(net, values)
    assert module.tied is module.first[0] and torch.equal(module.plain, torch.zeros(3))
    edited = rewrite.program_with_weights(program, {name: values[name] for name in ("first.0.weight", "plain")})
    assert torch.equal(edited.module()(x), module(x)) and not torch.equal(module(x), net(x))
    assert [node.name for node in edited.graph.nodes] == names
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    shared = rewrite.program_of(module, program)
    assert torch.equal(shared.module()(x), module(x))
    for holding in (rewrite.with_weights, lambda net, values: rewrite.program_with_weights(program, values)):
        with pytest.raises(InternalError):
            holding(net, {"no": torch.zeros(1)})


def test_symmetric_weights_are_left_alone_by_the_mirror() -> None:
    graph = captured(Named().eval(), torch.randn(2, 3))
    representations = {}
    for leaf in graph.weights:
        representations[leaf.name] = TensorRepresentation((SWAP,) * len(leaf.shape))
    values, moved = rewrite.symmetric_weights(graph, representations, {})
    assert set(values) == {"first.0.weight", "first.0.bias", "tied.weight", "tied.bias"}
    for name, value in values.items():
        torch.testing.assert_close(act(value, TensorRepresentation((SWAP,) * value.ndim)), value)
        assert torch.equal(value, values[name.replace("tied", "first.0")])
    # W[0, 2] = -W[1, 2] may stay; a bias of the negated unit can only be zero.
    assert {each.name: each.zeroed for each in moved} == {"first.0.weight": 0, "first.0.bias": 1}


def test_partners_get_the_mirror_images_of_each_other() -> None:
    net = Net(lambda s, x: s.left(x) + s.right(x.flip(-1)), left=nn.Linear(3, 3, False), right=nn.Linear(3, 3, False))
    graph = captured(net, torch.randn(2, 3))
    left, right = (leaf.name for leaf in graph.weights)
    reps = dict.fromkeys((left, right), TensorRepresentation((SWAP, SWAP)))
    values, _ = rewrite.symmetric_weights(graph, reps, {left: right, right: left})
    torch.testing.assert_close(act(values["left.weight"], reps[left]), values["right.weight"])


def test_tanh_in_place_of_activations() -> None:
    net, x = Named().eval(), torch.randn(2, 3)
    module, count = rewrite.with_tanh(net)
    assert count == 1 and isinstance(module.first[1], nn.Tanh) and isinstance(net.first[1], nn.ReLU)
    program, count = rewrite.program_with_tanh(exported(net, x), {"aten.relu.default"})
    expected = torch.tanh(net.tied(torch.tanh(net.tied(x)))) + net.plain
    assert count == 2 and torch.equal(program.module()(x), expected)


def test_modes_of_graphs_change_nothing() -> None:
    module = rewrite.with_modes(nn.Sequential(exported(Named().eval(), torch.randn(2, 3)).module()))
    for mode in (True, False):
        assert module.train(mode) is module and module.training is mode
