"""A world without a preferred direction has several mirrors, of which none raises a doubt about another."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.graph.running import Call
from chiralize.problem.preparation import prepare
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence

WALKERS = """
joints: [walker]
pairs: []
dims: [x, y]
negate: {axis}
lateral: {axis}
inputs: [{{layout: "b t f", fields: [{{vector: p, dims: [x, y]}}]}}]
outputs: [{{layout: "b t f", fields: [{{vector: p, dims: [x, y]}}]}}]
"""
BODY = """
joints: [hip, l_arm, r_arm, l_leg, r_leg]
pairs: [[l_arm, r_arm], [l_leg, r_leg]]
dims: [x, y, z]
negate: {negated}
inputs: [{{layout: "b j d"}}]
outputs: [{{layout: "b j d"}}]
"""
SWAPPED = (0, 2, 1, 4, 3)
NOTE = "no reason to doubt T"


class World(nn.Module):
    """Nearly equivariant under sign changes of coordinates, and under one of them less nearly.

    exact, less: what it commutes with nearly, and less nearly, as signs by coordinate.  swaps: what the joints do in
    both.
    """

    def __init__(self, shape: tuple[int, ...], exact: list[int], less: list[int], swaps: tuple[int, ...]) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = shape[0] * shape[1]
        self.shape, self.swaps = shape, list(swaps)
        self.exact = nn.Buffer(torch.tensor(exact, dtype=torch.float32))
        self.less = nn.Buffer(torch.tensor(less, dtype=torch.float32))
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(size, 48), nn.Tanh(), nn.Linear(48, size)) for _ in range(3))
        for weight in self.parameters():  # no longer as an initialisation leaves them
            weight.data = weight.data + 0.05 * torch.randn_like(weight) ** 3

    def part(self, number: int, x: Tensor) -> Tensor:
        """One of the small networks on "b j d"."""
        return self.parts[number](x.flatten(1)).view(-1, *self.shape)

    def under(self, number: int, x: Tensor, *signs: Tensor) -> Tensor:
        """The mean of a small network over the images under these, each its own inverse."""
        answer = self.part(number, x)
        for sign in signs:
            answer = answer + self.part(number, x[:, self.swaps] * sign)[:, self.swaps] * sign
        return answer / (1 + len(signs))

    def forward(self, x: Tensor) -> Tensor:
        """Joints to joints, "b j d"."""
        both = self.exact * self.less
        whole = self.under(0, x, self.exact) + self.under(0, x * both, self.exact) * both
        return whole + 0.12 * self.under(1, x, self.exact) + 0.02 * self.part(2, x)


def asked(network: World, text: str, away: tuple[float, ...] = ()) -> Evidence:
    """What the network says of T. away: where the inputs lie in the mean, by coordinate."""
    given = torch.randn(256, *network.shape, generator=torch.Generator().manual_seed(1)) ** 3 / 3
    if away:
        given = given + torch.tensor(away)
    call: Call = ((given,), {})
    return ask_network(prepare(network, parse_spec(text), (given[:2],)), [call])


def walkers(exact: list[int], less: list[int]) -> World:
    return World((4, 2), exact, less, (0, 1, 2, 3))


@pytest.mark.parametrize(("axis", "less"), [("y", [1, -1]), ("x", [-1, 1])])
def test_walkers_may_be_turned_and_mirrored_along_any_axis(axis: str, less: list[int]) -> None:
    """A turn by 180 degrees fits such a network better than either mirror, whichever of them is named."""
    found = asked(walkers([-1, -1], less), WALKERS.format(axis=axis))
    assert found.warnings == () and found.fit is not None and not found.fit.doubt
    assert any(NOTE in note and f"the other sign of p.{'xy'[axis == 'x']}" in note for note in found.notes)


@pytest.mark.parametrize("away", [(0.0, 1.5), (1.0, 0.0)], ids=["upright", "forward"])
def test_the_wrong_axis_is_doubted_where_the_world_has_a_direction(away: tuple[float, ...]) -> None:
    """Of robots that drive along x, and of people who stand along y."""
    wrong, right = ("y", [-1, 1]) if away[1] else ("x", [1, -1])
    less = [-sign for sign in right]
    found = asked(walkers(right, less), WALKERS.format(axis=wrong), away)
    assert found.fit is not None and (found.fit.doubt or found.fit.is_refuted) and found.warnings
    assert not any(NOTE in note for note in found.notes)


@pytest.mark.parametrize(
    ("away", "doubted"), [((0.0, 2.0, 0.0), False), ((0.0, 2.0, 1.0), True)], ids=["any heading", "facing a camera"]
)
def test_bodies_that_face_any_way_may_be_turned_about_their_upright_axis(
    away: tuple[float, ...], doubted: bool
) -> None:
    """With left and right swapped z negated is a mirror as x is, unless all bodies face one way."""
    found = asked(World((5, 3), [1, 1, -1], [-1, 1, 1], SWAPPED), BODY.format(negated="x"), away)
    assert bool(found.warnings) == doubted
    assert any(NOTE in note for note in found.notes) != doubted


def test_a_turn_that_swaps_sides_is_no_mirror() -> None:
    """Where joints change places a specification that negates two coordinates is wrong, however the bodies face."""
    found = asked(World((5, 3), [-1, 1, 1], [-1, 1, -1], SWAPPED), BODY.format(negated="[x, z]"), (0.0, 2.0, 0.0))
    assert found.warnings and not any(NOTE in note for note in found.notes)


def test_a_mirror_that_does_not_fit_is_doubted_all_the_same() -> None:
    """Where T has a gap that networks of both sides do not have, another mirror of the same world is named."""
    network = walkers([-1, -1], [1, -1])
    for weight in network.parts[1].parameters():
        weight.data *= 3.0
    found = asked(network, WALKERS.format(axis="y"))
    assert found.fit is not None and found.fit.gap > 0.25 and (found.fit.doubt or found.fit.is_refuted)
