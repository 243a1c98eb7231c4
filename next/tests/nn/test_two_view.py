"""The two-view form: T on tensors bit for bit, and a plain wrapper for any module, with states and named arguments."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chiralize.errors import UsageError
from chiralize.nn.two_view import MirrorTensor, TwoView, averages, state_representation, two_states
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation

PAIRS = [(0, 1), (2, 3)]
BODY = TensorRepresentation(
    (
        Representation.trivial(3),
        Representation.of(SignedPermutation.of(PAIRS, size=5)),
        Representation.of(SignedPermutation.of(negated=[0], size=2)),
    )
)
SAME = TensorRepresentation(tuple(Representation.trivial(size) for size in (3, 5, 2)))
TURN, STILL = (BODY, None), (SAME, None)


def turned(x: Tensor) -> Tensor:
    """T written out by hand: the joints swap, and the first coordinate changes its sign."""
    return x[:, [1, 0, 3, 2, 4]] * torch.tensor([-1, 1]).to(x.dtype)


def test_mirror_of_a_tensor() -> None:
    mirror = MirrorTensor(TURN)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.int64):
        x = (100 * torch.randn(7, 5, 2)).to(dtype)  # along trivial axes any size
        assert torch.equal(mirror(x), turned(x))
        assert torch.equal(mirror(mirror(x)), x)
    assert list(mirror.state_dict()) == []
    flipped = MirrorTensor((TensorRepresentation(BODY.axes, -1), None))
    assert torch.equal(flipped(x), -mirror(x))


class Named(nn.Module):
    """Two poses that T treats differently, in a dictionary or as arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(10, 5), nn.Linear(10, 5), nn.Linear(5, 10)

    def forward(self, pose: Any, turn: Any = None, scale: float = 1.0) -> Tensor:
        pose, turn = (pose["pose"], pose["turn"]) if isinstance(pose, dict) else (pose, turn)
        hidden = torch.tanh(self.a(pose.flatten(1)) + self.b(turn.flatten(1)))
        return scale * self.c(hidden).unflatten(1, (5, 2))


def of_named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Named, TwoView]:
    torch.manual_seed(0)
    net = Named().double()
    return net, TwoView(net, [TURN, STILL], [TURN], example=(args, kwargs))


def test_it_is_the_average_and_finds_arguments_by_name() -> None:
    pose, turn = torch.randn(2, 3, 5, 2).double()
    given, backwards = {"pose": pose, "turn": turn}, {"turn": turn, "pose": pose}
    net, by_key = of_named((given,), {})
    expected = 0.5 * (net(pose, turn) + turned(net(turned(pose), turn)))
    assert torch.equal(by_key(given), expected)
    assert torch.equal(by_key(backwards), expected)
    for example in (((pose, turn), {}), ((), given)):
        two = of_named(*example)[1]
        calls = [two(pose, turn), two(pose, turn=turn), two(**given), two(**backwards), two(pose, turn, 1.0)]
        assert all(torch.equal(call, expected) for call in calls)
    twice = 0.5 * (net(pose, pose) + turned(net(turned(pose), pose)))
    assert torch.equal(two(turn=pose, pose=pose), twice)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (({"pose": torch.ones(3, 5, 2)},), {}),
        (({"pose": torch.ones(3, 5, 2), "turn": torch.ones(3, 5, 2), "more": torch.ones(1)},), {}),
        (({"pose": torch.ones(3, 5, 2), "turn": None},), {}),
        ((torch.ones(3, 5, 2), torch.ones(3, 5, 2)), {}),
        (({"pose": torch.ones(3, 5, 2), "turn": torch.ones(3, 5, 2)},), {"scale": torch.ones(1)}),
    ],
)
def test_other_arguments_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    average = of_named(({"pose": torch.ones(3, 5, 2), "turn": torch.ones(3, 5, 2)},), {})[1]
    with pytest.raises(UsageError) as caught:
        average(*args, **kwargs)
    assert "['pose']" in caught.value.facts


def test_as_many_tensors_as_are_described() -> None:
    with pytest.raises(UsageError):
        TwoView(nn.Bilinear(2, 2, 2), [TURN, TURN], [TURN])(torch.ones(3, 5, 2))


def test_a_view_does_not_see_what_the_other_wrote_into_its_inputs() -> None:
    """Into the pose as well as into what the mirror leaves alone; the callers' tensors as the original does."""

    class Writing(nn.Module):
        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            step.div_(1000.0)
            x.sub_(x[:, :1].clone())
            return x * step

    x, step = torch.randn(3, 5, 2).double(), 500 * torch.ones(3, 1, 1).double()
    average = TwoView(Writing(), [TURN, (TensorRepresentation((Representation.trivial(1),) * 3), None)], [TURN])
    net, given = Writing(), step.clone()
    expected = (net(x.clone(), step.clone()) + turned(net(turned(x), step.clone()))) / 2
    assert torch.equal(average(x.clone(), given), expected)
    assert torch.equal(given, step / 1000)


def test_states_stand_side_by_side() -> None:
    """A state that is an argument has twice the size, and each view goes on with its half."""
    assert state_representation((2, 3, 4)).axes[2].action == SignedPermutation.of([(0, 2), (1, 3)], size=4)
    torch.manual_seed(0)
    cell = nn.GRUCell(2, 4).double()
    turn = (TensorRepresentation((Representation.trivial(3), BODY.axes[2])), None)
    x, h = torch.randn(3, 2).double(), two_states(torch.randn(3, 4).double())
    out = TwoView(cell, [turn, None], [None])(x, h)
    image = x * torch.tensor([-1, 1])
    assert torch.equal(out, torch.cat([cell(x, h[:, :4]), cell(image, h[:, 4:])], -1))


class Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(2, 2)
        self.register_buffer("h", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.h.add_(self.a(x).mean((0, 1)))
        return x + self.h


def test_weights_are_held_once_and_buffers_once_per_view() -> None:
    lifted = TwoView(Remembering(), [TURN], [TURN], own_buffers=True)
    assert sum(weight.numel() for weight in lifted.parameters()) == 6
    assert {name for name, _ in lifted.named_buffers()} >= {"views.0.h", "views.1.h"}
    for two in (lifted, copy.deepcopy(lifted)):
        assert two.get_parameter("views.0.a.weight") is two.get_parameter("views.1.a.weight")
    # An average by construction only while both views begin alike, and over this mirror alone.
    assert averages(lifted, [TURN], [TURN]) and not averages(lifted, [TURN], [STILL])
    assert not averages(Remembering(), [TURN], [TURN])
    lifted.get_buffer("views.1.h").fill_(1.0)
    assert not averages(lifted, [TURN], [TURN])


def test_whole_numbers_are_averaged_as_real_ones() -> None:
    class Counting(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return (x > 0).sum((1, 2)), x[..., :1] > 0

    count = (TensorRepresentation((Representation.trivial(3),)), None)
    side = (TensorRepresentation((*BODY.axes[:2], Representation.trivial(1))), None)
    x = torch.randn(3, 5, 2)
    counts, truths = TwoView(Counting(), [TURN], [count, side])(x)
    assert torch.equal(counts, ((x > 0).sum((1, 2)) + (turned(x) > 0).sum((1, 2))) / 2)
    assert truths.dtype == torch.float32
    _, as_given = TwoView(Counting(), [TURN], [count, side], same=[1])(x)
    assert as_given.dtype == torch.bool
