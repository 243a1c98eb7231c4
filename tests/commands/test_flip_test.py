"""`flip_test`: the average of both views, as the method `average` makes it, and by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import chiralize
from chiralize import Mirror, flip_test
from chiralize.body.tensors import parse_spec
from chiralize.errors import ChiralizeError
from tests.commands.test_zoo import contents, unchanged
from tests.support.reflect_nets import PIXELS_OUT, Trunk, pixels, spec
from tests.support.zoo import CASES
from tests.support.zoo.case import scrambled
from tests.support.zoo.judging import answers, apart, residual

NAMES = (
    "temporal", "confidence, two outputs", "swapped classes", "states passed along", "policy, gru in buffers",
    "policy, act",
)  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_the_method_average_gives(name: str) -> None:
    """Bit for bit, and equivariant by T as it is written beside the network; the model itself stays."""
    case = CASES[name]
    model, (args, kwargs) = case.model(), case.example()
    before = contents(model)
    both = flip_test(model, parse_spec(case.spec), args, kwargs, entry=case.entry)
    method = chiralize.chiralize(
        case.model(), parse_spec(case.spec), args, kwargs, method="average", samples=1, entry=case.entry
    )
    assert apart(answers(both, case, lifted=True), answers(method, case, lifted=True)) == 0
    assert residual(both, case, lifted=True) <= 1e-10 and unchanged(before, model)
    assert not hasattr(both, "chirality") and not both.training


def test_it_is_the_average_of_two_calls_with_the_mirror() -> None:
    """(f(x) + T f(T x)) / 2 written with `Mirror`, in pixels on both sides."""
    net = scrambled(Pixels().double(), 3).eval()
    given = spec(outputs=PIXELS_OUT)
    mirror = Mirror.of(given, input_shapes=[(1, 17, 2)], output_shapes=[(1, 17, 2)])
    x = pixels(5, 17, 2)
    with torch.no_grad():
        both = flip_test(net, given, x)(x)
        by_hand = 0.5 * (net(x) + mirror.outputs(net(mirror.inputs(x))))
        torch.testing.assert_close(both, by_hand, rtol=1e-12, atol=1e-9)
        image = flip_test(net, given, x)(mirror(x))
        torch.testing.assert_close(image, mirror.outputs(both), rtol=1e-12, atol=1e-9)


class Pixels(Trunk):
    """17 joints in pixels to 17 joints in pixels."""

    def __init__(self) -> None:
        super().__init__(34, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.middle(torch.relu(self.first(x.flatten(1) / 100))))
        return 100 * self.last(hidden).unflatten(1, (17, 2))


def test_it_holds_a_copy_and_keeps_open_sizes() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(34, 51), nn.Unflatten(1, (17, 3))).eval()
    both, x = flip_test(net, "h36m", (torch.randn(2, 17, 2),)), torch.randn(7, 17, 2)
    before = both(x)
    with torch.no_grad():
        next(net.parameters()).zero_()
    assert torch.equal(both(x), before) and torch.equal(copy.deepcopy(both)(x), before)


def test_random_answers_have_no_average() -> None:
    class Drawing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.rand_like(x)

    with pytest.raises(ChiralizeError, match="CH30"):
        flip_test(Drawing(), "h36m", torch.randn(2, 17, 3))
