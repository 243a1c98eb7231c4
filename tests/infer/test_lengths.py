"""Networks that read a part of a table of positions, and clips longer than the one that they were converted at."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.problem.mirror import infer
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare
from tests.support.cases import mainly
from tests.support.small_body import CLIP, ROUNDING, converted, converted_from, normal, residual, trained

SHORT, LONGEST = (2, 5, 6, 2), 16


def sliced(net: nn.Module, frames: int) -> Tensor:
    return net.positions[:frames]


def batched(net: nn.Module, frames: int) -> Tensor:
    return net.positions[None, :, :][:, :frames]


def turned_first(net: nn.Module, frames: int) -> Tensor:
    return net.positions.T[:, :frames].T


def embedded(net: nn.Module, frames: int) -> Tensor:
    return nn.functional.embedding(torch.arange(frames), net.positions)


READ: list[Callable[[nn.Module, int], Tensor]] = [sliced, batched, turned_first, embedded]


class Positions(nn.Module):
    """A table for clips of up to 16 frames."""

    def __init__(self, read: Callable[[nn.Module, int], Tensor], units: int = 8) -> None:
        super().__init__()
        self.read = read
        self.expand, self.shrink = nn.Linear(12, units), nn.Linear(units, 12)
        self.positions = nn.Parameter(torch.empty(LONGEST, units))
        self.backwards = False

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(x.flatten(2)) + self.read(self, x.shape[1])
        hidden = hidden.flip(2) if self.backwards else hidden
        return self.shrink(torch.relu(hidden)).reshape(x.shape)


@cache
def ready(read: Callable[[nn.Module, int], Tensor]) -> Network:
    return prepare(trained(Positions(read)), parse_spec(CLIP), (normal(*SHORT),))


LEARNT = itertools.product(READ, ("match", "project", "average"))
OF_EACH = [(sliced, "match"), (batched, "project"), (turned_first, "average"), (embedded, "match")]


@pytest.mark.parametrize(("read", "method"), mainly(LEARNT, OF_EACH))
def test_frames_that_the_example_has_not(read: Callable[[nn.Module, int], Tensor], method: str) -> None:
    net = converted_from(ready(read), method=method)
    found = [residual(net, (2, frames, 6, 2)) for frames in (1, 5, 6, LONGEST)]
    assert max(found) < ROUNDING


def test_beside_a_rule_that_waits_for_the_units() -> None:
    """The units in reverse order: nothing is said of them before they have a mirror."""
    net = Positions(sliced)
    net.backwards = True
    assert residual(converted(trained(net), CLIP, SHORT), (2, LONGEST, 6, 2)) < ROUNDING


def test_positions_are_no_hidden_space() -> None:
    assert [space.label for space in infer(ready(sliced)).result().spaces] == ["expand.weight[0]"]


def test_frames_that_no_example_has_stay_apart() -> None:
    """The table's rows keep their places: none is averaged with another one."""
    net = trained(Positions(sliced))
    with torch.no_grad():
        net.positions.copy_(torch.arange(1.0, LONGEST + 1)[:, None].expand(-1, 8))
    table = converted(net, CLIP, SHORT, form="folded").positions
    shares = table / net.positions  # what is left of a row that is the same in all units
    torch.testing.assert_close(shares, shares[:1].expand_as(shares))
    assert shares.max() == 1


def test_after_a_fit() -> None:
    inputs = normal(60, *SHORT[1:])
    net = converted(
        trained(Positions(sliced)), CLIP, SHORT, method="reduce", calibration=inputs, max_drift=1e9, rounds=0
    )
    assert max(residual(net, (2, frames, 6, 2)) for frames in (5, LONGEST)) < ROUNDING


@pytest.mark.one_in(2)
@pytest.mark.parametrize("read", [sliced, embedded])
def test_a_program_with_frames_left_open(read: Callable[[nn.Module, int], Tensor]) -> None:
    """Its verdict looks at other lengths too."""
    frames = torch.export.Dim("frames", min=2, max=LONGEST)
    net = trained(Positions(read))
    program = torch.export.export(net, (normal(*SHORT),), dynamic_shapes=({1: frames},))
    done = chiralize.chiralize(program, parse_spec(CLIP), (normal(*SHORT),), method="project")
    assert max(residual(done, (2, length, 6, 2)) for length in (2, 5, LONGEST)) < ROUNDING
