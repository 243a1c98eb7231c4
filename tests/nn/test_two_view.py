"""The two-view form: T on tensors bit for bit, plain wrappers for networks that cannot be analysed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.errors import NoRuleError, UsageError
from chiralize.nn.two_view import MirrorTensor, TwoView, state_representation, two_states
from chiralize.problem.preparation import prepare
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation, TensorRepresentation
from tests.support.small_body import BODY, Net, converted, normal, trained, turned, verdicts
from tests.support.zoo.case import H36M, both, negated, pose, swapped

REP = TensorRepresentation(
    (
        Representation.trivial(3),
        Representation.of(SignedPermutation.of(H36M, size=17)),
        Representation.of(SignedPermutation.of(negated=[0], size=2)),
    )
)


def test_mirror_of_a_tensor() -> None:
    mirror = MirrorTensor(REP)
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.int64):
        x = (100 * torch.randn(5, 17, 2)).to(dtype)  # along trivial axes any size
        assert torch.equal(mirror(x), both(swapped(H36M, -2), negated([0], -1))(x))
        assert torch.equal(mirror(mirror(x)), x)
    assert list(mirror.state_dict()) == []
    flipped = MirrorTensor(TensorRepresentation(REP.axes, -1))
    assert torch.equal(flipped(x), -mirror(x))


def test_as_many_tensors_as_are_described() -> None:
    """Also without an example to compare a call with."""
    average = TwoView(nn.Bilinear(2, 2, 2), [REP, REP], [REP])
    with pytest.raises(UsageError, match="1 tensors, 2 in the conversion"):
        average(normal(5, 17, 2))


class DataDependent(nn.Module):
    """Python looks at the data: there is no graph of it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(34, 51), nn.Linear(34, 51)

    def forward(self, x: Tensor) -> Tensor:
        net = self.a if x.sum() > 0 else self.b
        return net(x.flatten(1)).view(-1, 17, 3)


def test_a_network_without_a_graph_is_lifted_as_it_is() -> None:
    model = DataDependent().double().eval()
    x = torch.randn(3, 17, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    network = prepare(model, parse_spec("skeleton: h36m\n"), (x,))
    assert network.captured is None and network.origin.problem is not None
    found = convert(network, "net", Request("average", samples=2))
    assert (
        found.program is None
        and found.report.judgement.certificate is not None
        and found.report.judgement.certificate.passed
    )
    turn = pose()
    with torch.no_grad():
        expected = 0.5 * (model(x) + turn(model(turn(x))))
        assert torch.equal(found.module(x), expected)


def test_states_of_both_views_stand_side_by_side() -> None:
    state = torch.randn(2, 3, 4)
    rep = state_representation((2, 3, 8))
    assert two_states(state).shape == (2, 3, 8)
    assert rep.axes[2].action == SignedPermutation.halves(8)


def test_a_view_does_not_see_what_the_other_wrote_into_its_inputs() -> None:
    """Into the pose as well as into what the mirror leaves alone; the callers' tensors as the original does."""

    class Writing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(13, 12)

        def forward(self, x: Tensor, step: Tensor) -> Tensor:
            step.div_(1000.0)
            x.sub_(x[:, :1].clone())
            return torch.tanh(self.a(torch.cat([x.flatten(1), step], 1))).unflatten(1, (6, 2))

    net, spec = trained(Writing()), BODY + 'inputs: [{layout: "b j d"}, {free: true}]\noutputs: [{layout: "b j d"}]\n'
    x, step = normal(3, 6, 2), 500 * normal(3, 1, seed=1)
    found = chiralize.chiralize(net, parse_spec(spec), (x.clone(), step.clone()), method="average", samples=2)
    expected = (net(x.clone(), step.clone()) + turned(net(turned(x), step.clone()))) / 2
    given = step.clone()
    torch.testing.assert_close(found(x.clone(), given), expected, rtol=0, atol=1e-12)
    assert torch.equal(given, step / 1000)


TWO = BODY + 'inputs: [{layout: "b j d"}, {layout: "b j d", signs: [1, -1]}]\noutputs: [{layout: "b j d"}]\n'


class Named(nn.Module):
    """Two poses that T treats differently, in a dictionary or as arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(12, 5), nn.Linear(12, 5), nn.Linear(5, 12)

    def forward(self, pose: Any, turn: Any = None, scale: float = 1.0) -> Tensor:
        pose, turn = (pose["pose"], pose["turn"]) if isinstance(pose, dict) else (pose, turn)
        hidden = torch.tanh(self.a(pose.flatten(1)) + self.b(turn.flatten(1)))
        return scale * self.c(hidden).unflatten(1, (6, 2))


@pytest.mark.thorough
def test_arguments_are_found_by_their_names() -> None:
    """In whatever order the caller has them."""
    net, pose, turn = trained(Named()), normal(3, 6, 2), normal(3, 6, 2, seed=1)
    given = {"pose": pose, "turn": turn}
    by_key = chiralize.chiralize(net, parse_spec(TWO), (given,), method="average", samples=1)
    by_place = chiralize.chiralize(net, parse_spec(TWO), (pose, turn), method="average", samples=1)
    by_name = chiralize.chiralize(net, parse_spec(TWO), (), given, method="average", samples=1)
    expected = by_key(given)
    backwards = {"turn": turn, "pose": pose}
    assert torch.equal(by_key(backwards), expected)
    for own in (by_place, by_name):
        calls = [own(pose, turn), own(pose, turn=turn), own(**given), own(**backwards), own(pose, turn, 1.0)]
        assert all(torch.equal(call, expected) for call in calls)


@cache
def of_two_named_poses() -> nn.Module:
    """Converted with both poses in a dictionary."""
    example = {"pose": normal(3, 6, 2), "turn": normal(3, 6, 2)}
    return chiralize.chiralize(trained(Named()), parse_spec(TWO), (example,), method="average", samples=1)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("given", "kwargs"),
    [
        (({"pose": normal(3, 6, 2)},), {}),
        (({"pose": normal(3, 6, 2), "turn": normal(3, 6, 2), "more": normal(1)},), {}),
        (({"pose": normal(3, 6, 2), "turn": None},), {}),
        ((normal(3, 6, 2), normal(3, 6, 2)), {}),
        (({"pose": normal(3, 6, 2), "turn": normal(3, 6, 2)},), {"scale": normal(1)}),
    ],
)
def test_other_arguments_are_refused(given: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="in the conversion at .*pose.*turn"):
        of_two_named_poses()(*given, **kwargs)


def test_weights_are_held_once() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(2, 2)
            self.register_buffer("h", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            self.h.add_(self.a(x).mean((0, 1)))
            return x + self.h

    lifted = TwoView(Remembering(), [REP], [REP], own_buffers=True)
    assert sum(own.numel() for own in lifted.parameters()) == 6
    assert lifted.views[0].a.weight is lifted.views[1].a.weight  # type: ignore[union-attr]
    assert lifted.views[0].h is not lifted.views[1].h  # type: ignore[union-attr]
    other = copy.deepcopy(lifted)
    assert other.views[0].a.weight is other.views[1].a.weight  # type: ignore[union-attr]
    # An average by construction only while both views begin alike.
    turns = ((REP, None),)
    assert lifted.averages(turns, turns)
    lifted.get_buffer("views.1.h").fill_(1.0)
    assert not lifted.averages(turns, turns)


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    "cast", [lambda own, x: own.float(), lambda own, x: own.to(x.dtype).to(x.device), lambda own, x: own.cpu().to(x)]
)
def test_weights_that_forward_casts(cast: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Export has the second view cast what the first has cast already, though both ask for the same."""

    class Cast(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.linear(x.flatten(1), -torch.exp(cast(self.weight, x)), self.bias).view(-1, 17, 3)

    network = prepare(Cast(34, 51).eval(), parse_spec("skeleton: h36m\n"), (torch.randn(3, 17, 2),))
    assert convert(network, "net", Request("average", samples=1)).report.judgement.certificate.passed  # type: ignore[union-attr]


RANDOM = {
    "sample": lambda s, x: torch.distributions.Normal(s.a(x), 1.0).rsample(),
    "dropout": lambda s, x: F.dropout(s.a(x)),
    "coin": lambda s, x: s.a(x) if torch.rand(()) < 0.5 else x,
    "numpy": lambda s, x: s.a(x) * float(np.random.rand()),  # noqa: NPY002
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", RANDOM)
def test_networks_that_draw_random_numbers_are_told_so(name: str) -> None:
    net = Net(lambda s, x: RANDOM[name](s, x.flatten(1)).view(-1, 6, 2), a=nn.Linear(12, 12))
    with pytest.raises(NoRuleError, match="draws random numbers") as caught:
        converted(trained(net), method="average")
    assert "average" not in caught.value.remedy
    if name in ("sample", "dropout"):  # of the others no trace says what they do
        with pytest.raises(NoRuleError, match="draws random numbers"):
            converted(trained(net), on_blocked="average")


def test_randomness_that_is_switched_off() -> None:
    net = Net(lambda s, x: s.a(F.rrelu(x.flatten(1), training=False)).view(-1, 6, 2), a=nn.Linear(12, 12))
    assert verdicts(converted(trained(net), method="average"))[:2] == (True, True)
