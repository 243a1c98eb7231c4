"""One number that the mirror negates, as a turn rate or a lean: an axis of one entry has no place for its sign.

A weight of shape (n, 1) or (1, n) takes the sign itself, and the bias of one number beside it is 0.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.infer.symbolic import evaluate
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import TensorRepresentation
from tests.infer.nets import ROUNDING, Net, finished, normal, rep, residual, trained, turn_of

RATE = SignedPermutation.of(negated=[0], size=1)
SIDES = SignedPermutation.of([(0, 2), (1, 3)], negated=[0, 2], size=4)
WIDTH, STEPS = 16, 5


def layered(leaving: int, first: nn.Module, last: nn.Module) -> Net:
    def compute(net: Net, x: Tensor) -> Tensor:
        hidden = net.first(x)
        return net.last(torch.relu(hidden[0] if isinstance(hidden, tuple) else hidden))

    return Net(compute, first=first, last=last)


def by_products(entering: int, leaving: int) -> Net:
    sizes = {"first": (entering, WIDTH), "bias": (WIDTH,), "last": (WIDTH, leaving)}
    weights = {name: nn.Parameter(torch.zeros(size)) for name, size in sizes.items()}
    return Net(lambda net, x: torch.relu(x @ net.first + net.bias) @ net.last, **weights)


NETS = {
    "dense": lambda i, o: layered(o, nn.Linear(i, WIDTH), nn.Linear(WIDTH, o)),
    "convolved": lambda i, o: layered(o, nn.Conv1d(i, WIDTH, 3), nn.Conv1d(WIDTH, o, 1)),
    "lstm": lambda i, o: layered(o, nn.LSTM(i, WIDTH, batch_first=True), nn.Linear(WIDTH, o)),
    "gru": lambda i, o: layered(o, nn.GRU(i, WIDTH, batch_first=True), nn.Linear(WIDTH, o)),
    "products": by_products,
}


def tensor(name: str, size: int, steps: int) -> TensorRepresentation:
    """One number, or two joints of x and y, with frames where the network has them."""
    action = RATE if size == 1 else SIDES
    if name == "convolved":
        return rep(2, action, steps)
    return rep(2, steps, action) if name in ("lstm", "gru") else rep(2, action)


@pytest.mark.parametrize("sides", [(1, 4), (4, 1), (1, 1)], ids=["in", "out", "both"])
@pytest.mark.parametrize("name", NETS)
def test_one_pass_with_one_number(name: str, sides: tuple[int, int]) -> None:
    source, result = tensor(name, sides[0], STEPS), tensor(name, sides[1], 3 if name == "convolved" else STEPS)
    x = normal(*source.shape)
    net, _ = finished(trained(NETS[name](*sides)), x, source, result)
    assert residual(net, x, turn_of(source), turn_of(result)) <= ROUNDING


def test_the_bias_of_a_negated_number_is_zero() -> None:
    net, repmap = finished(trained(NETS["dense"](4, 1)), normal(2, 4), rep(2, SIDES), rep(2, RATE))
    assert not net.last.bias.any() and net.last.weight.any()
    assert evaluate(repmap.leaves["p_last_bias"], {}).sign == -1


def test_one_pass_beside_a_single_unit() -> None:
    """Frames are weighed by a score of each: one unit, past which the features go."""

    def pooled(net: Net, x: Tensor) -> Tensor:
        features = torch.relu(net.first(x))
        return net.last((features * torch.softmax(net.score(torch.tanh(features)), 1)).sum(1))

    layers = {"first": nn.Linear(4, WIDTH), "score": nn.Linear(WIDTH, 1), "last": nn.Linear(WIDTH, 1)}
    source, result = rep(2, STEPS, SIDES), rep(2, RATE)
    net, _ = finished(trained(Net(pooled, **layers)), normal(2, STEPS, 4), source, result)
    assert residual(net, normal(3, STEPS, 4), turn_of(source), turn_of(result)) <= ROUNDING


def test_filters_in_groups_keep_their_sign() -> None:
    """Those of partners are alike, whatever the mirror negates; odd ones would all be 0."""
    action = SignedPermutation.of([(0, 1), (2, 3)], negated=range(4), size=4)
    layers = {"filters": nn.ConvTranspose1d(4, 4, 3, padding=1, groups=4), "last": nn.Conv1d(4, 4, 1)}
    net = trained(Net(lambda net, x: net.last(torch.tanh(net.filters(x))), **layers))
    net.filters.weight.data[:] = net.filters.weight.data[:1]
    result, _ = finished(net, normal(2, 4, STEPS), rep(2, action, STEPS), rep(2, action, STEPS))
    torch.testing.assert_close(result.filters.weight, net.filters.weight)
