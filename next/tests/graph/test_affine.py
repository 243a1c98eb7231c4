"""Pixels: the graph seen from its centre is h(u) = f(u + c) - c', and weights of h go back into f."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import OffsetError
from chiralize.graph.affine import Centered, center
from chiralize.graph.rewrite import with_weights
from chiralize.infer.capture import captured
from chiralize.infer.rule import traits
from chiralize.symmetry.action import Center
from tests.graph.nets import Net, exported, normal, run_graph
from tests.support.pixel_nets import IN, NETS, OUT, Trunk, network, pixels


def at(x: float, size: int = 2) -> Center:
    """The centre of coordinates "... x y ..", None for 0."""
    return np.array([x, *[0.0] * (size - 1)]) if x else None


def centered(net: nn.Module, x: Tensor, inputs: Center, outputs: Center) -> Centered:
    return center(captured(exported(net, x), (x,), {}), [inputs], [outputs], traits())


def gap(graph: Centered, net: nn.Module, x: Tensor, inputs: Center, outputs: Center) -> float:
    """max |h(u) - (f(u + c) - c')| for u = x - c, relative to the spread of f."""
    of = torch.zeros(1, dtype=x.dtype)
    shift_in = of if inputs is None else torch.from_numpy(inputs).to(x.dtype)
    shift_out = of if outputs is None else torch.from_numpy(outputs).to(x.dtype)
    with torch.no_grad():
        answer, expected = run_graph(graph.captured, [x - shift_in])[0], net(x)
    return float((answer - (expected - shift_out)).abs().max() / (expected - expected.mean()).abs().max())


@pytest.mark.parametrize("name", NETS)
def test_the_graph_is_that_of_the_centred_network_and_goes_back(name: str) -> None:
    """With its own weights, and with any others: what is found for h is put into f."""
    _, shape, out = NETS[name]
    net, x = network(name), pixels(*shape)
    outputs = at(out, 2 if out else 3)
    graph = centered(net, x, at(IN), outputs)
    other = pixels(*shape, seed=3)
    assert gap(graph, net, other, at(IN), outputs) < 1e-11
    own = {leaf.names[0]: leaf.tensor for leaf in graph.captured.weights}
    for key, value in graph.restored(own).items():
        torch.testing.assert_close(value, net.state_dict()[key], rtol=1e-11, atol=1e-11)
    # Other weights for all of h but what numbers are computed from.
    changed = {}
    for leaf in graph.captured.weights:
        scale = 0 if leaf.names[0] == "deviation" else 0.1
        changed[leaf.names[0]] = leaf.tensor + scale * normal(*leaf.shape, seed=len(changed)) * leaf.tensor.std()
    theirs = with_weights(net, graph.restored(changed))
    again = centered(theirs, x, at(IN), outputs)
    for leaf in again.captured.weights:
        torch.testing.assert_close(leaf.tensor, changed[leaf.names[0]], rtol=1e-9, atol=1e-9)


def test_float32_up_to_rounding() -> None:
    net, x = network("temporal", torch.float32), pixels(2, 9, 17, 2, dtype=torch.float32)
    assert gap(centered(net, x, at(IN), None), net, x, at(IN), None) < 1e-5


def test_centres_of_both_coordinates() -> None:
    net, x = network("pixels out"), pixels(2, 17, 2)
    inputs, outputs = np.array([320.0, 240.0]), np.array([500.0, 300.0])
    assert gap(centered(net, x, inputs, outputs), net, x, inputs, outputs) < 1e-11


def test_a_number_that_is_the_centre_leaves_nothing() -> None:
    """So that what follows may be odd; half a pixel off, it may not."""

    def squashed(_: object, x: Tensor) -> Tensor:
        return torch.tanh(x / 320 - torch.tensor([1.0, 0.75], dtype=x.dtype)).flatten(1)

    net, x = Trunk(squashed).double().eval(), pixels(2, 17, 2)
    graph = centered(net, x, at(IN), None)
    constants = [leaf.tensor for leaf in graph.captured.leaves.values() if leaf.kind == "constant"]
    assert any(tensor.flatten()[0] == 0 for tensor in constants) and gap(graph, net, x, at(IN), None) < 1e-12
    with pytest.raises(OffsetError) as caught:
        centered(net, x, at(319.5), None)
    assert "aten.tanh.default" in caught.value.facts


REFUSED = {
    "an activation": Net(lambda s, x: s.layer(x.relu().flatten(1)), layer=nn.Linear(34, 5)),
    "a product": Net(lambda s, x: s.layer((x * x).flatten(1)), layer=nn.Linear(34, 5)),
    "a divisor": Net(lambda s, x: s.layer((1 / x).flatten(1)), layer=nn.Linear(34, 5)),
    "zero padding": Net(lambda s, x: s.layer(x.flatten(2)), layer=nn.Conv1d(17, 5, 3, padding=1)),
    "a bias read twice": Net(lambda s, x: s.layer(x.flatten(1)) + s.layer(2 * x.flatten(1)), layer=nn.Linear(34, 5)),
    "a recurrence": Net(lambda s, x: s.gru(x.flatten(2))[0], gru=nn.GRU(2, 5)),
    "a layer norm": Net(lambda s, x: s.norm(x), norm=nn.LayerNorm(2)),
}


@pytest.mark.parametrize("net", REFUSED.values(), ids=REFUSED)
def test_what_is_not_linear_in_the_centre_is_refused(net: nn.Module) -> None:
    net = net.double().eval()
    with pytest.raises(OffsetError):
        centered(net, pixels(2, 17, 2), at(IN), None)


def test_an_output_whose_centre_no_bias_can_give_is_refused() -> None:
    net = Net(lambda s, x: s.layer(x.flatten(1) * 0.01).view(-1, 17, 2), layer=nn.Linear(34, 34, bias=False))
    with pytest.raises(OffsetError) as caught:
        centered(net.double(), pixels(2, 17, 2), None, at(OUT))
    assert caught.value.where.startswith("output 0")


def test_a_state_that_keeps_pixels_is_refused() -> None:
    net = Net(
        lambda s, x: s.layer((x - s.last.copy_(x)).flatten(1)), layer=nn.Linear(34, 3), last=torch.zeros(2, 17, 2)
    )
    with pytest.raises(OffsetError) as caught:
        centered(net.double().eval(), pixels(2, 17, 2), at(IN), None)
    assert "last" in caught.value.facts
