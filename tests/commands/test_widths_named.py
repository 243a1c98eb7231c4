"""Strided layers behind columns that are added at one end: the refusal names widths that fit, and what else helps."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.commands.aligning import aligned
from chiralize.commands.convert import Request, convert
from chiralize.commands.plan import plan
from chiralize.errors import NeverEquivariantError, UsageError
from chiralize.problem.network import Network
from chiralize.problem.preparation import prepare

MAPS = "{skeleton: coco, inputs: ['b c h ~w'], outputs: ['b j h ~w']}"
POINTS = "{skeleton: coco, inputs: ['b c h ~w'], outputs: [{layout: b j d, dims: [x, y], reflect: {x: 1/2}}]}"
SIDES = [
    (0, 1),
    pytest.param((1, 2), marks=pytest.mark.thorough),
    (1, 0),
    pytest.param((2, 0), marks=pytest.mark.thorough),
]
"""More at the end, as (0, 1), or more at the beginning, as (1, 0)."""


class Padded(nn.Module):
    """Two strided layers, each behind columns that `pad` adds, as where padding is called SAME; maps at a quarter."""

    def __init__(self, sides: tuple[int, int] = (0, 1), ceil: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sides, self.ceil = sides, ceil
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3, 2), nn.Conv2d(8, 17, 1)

    def trunk(self, x: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            x = layer(nn.functional.pad(x, (*self.sides, 0, 1))).relu()
        return torch.max_pool2d(x, 2, ceil_mode=True) if self.ceil else x

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


class Points(Padded):
    """The same with joints for an answer from all cells at once."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8 * 4 * 4, 34)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.trunk(x).flatten(1)).view(-1, 17, 2)


def prepared(net: nn.Module, width: int = 16, spec: str = MAPS) -> Network:
    return prepare(net.eval(), parse_spec(spec), (torch.randn(2, 3, 16, width),))


def refused(network: Network) -> NeverEquivariantError:
    with pytest.raises(NeverEquivariantError) as caught:
        convert(network, "net", Request("match", samples=1, force=True))
    return caught.value


@pytest.mark.parametrize("sides", SIDES)
def test_the_widths_that_are_named_are_those_that_fit(sides: tuple[int, int]) -> None:
    """Nearest to each width that does not fit: what is named is what inference accepts, and nothing where none is."""
    named: dict[int, list[int]] = {}
    widths = range(14, 23)
    for width in widths:
        blocked = plan(prepared(Padded(sides), width), "net").blocked
        if blocked:
            assert "from one end" in blocked[0]
            words = re.search(r"every layer fits at ([\d or]+) columns in place of", blocked[0])
            named[width] = list(map(int, words[1].split(" or "))) if words is not None else []
    fitting = [width for width in widths if width not in named]
    assert len(fitting) >= 2 if sides[0] < sides[1] else not fitting
    for width, others in named.items():
        below, above = [each for each in fitting if each < width], [each for each in fitting if each > width]
        assert [other for other in others if other in widths] == [*below[-1:], *above[:1]]
        assert bool(others) == bool(fitting)


def test_conversion_and_plan_name_what_helps() -> None:
    network = prepared(Padded())
    error = refused(network)
    assert error.facts.endswith(
        "windows of 3 entries, 2 apart, read an axis of 17 entries, of which the mirror reverses entries 0 to 15 "
        "alone, from one end: what they read has its middle at 8, these at 7.5"
    )
    assert error.remedy == (
        "every layer fits at 15 or 19 columns in place of 16; --align kernel keeps all sizes, --align pad widens "
        "pictures to 19, --method average takes any"
    )
    assert error.remedy in plan(network, "net").blocked[0]
    for way in ("kernel", "pad"):
        assert not plan(aligned(network, (), way)[0], "net").blocked


def test_what_does_not_help_is_not_named() -> None:
    """A pooling that hangs over the border has no kernel to widen."""
    assert "--align" not in refused(prepared(Padded(ceil=True), 22)).remedy
    shifted = MAPS.replace("'b c h ~w'", "{layout: b c h w, mirror: {w: 7}}").replace("'b j h ~w'", "invariant")
    network = prepared(Padded(), spec=shifted)
    assert "columns in place of" not in plan(network, "net").blocked[0]


def test_kernels_are_widened_for_coordinates_too() -> None:
    """Pictures are not: where coordinates are counted from the old width, the new one has another middle."""
    network = prepared(Points(), spec=POINTS)
    assert refused(network).remedy.startswith(
        "every layer fits at 15 or 19 columns in place of 16, if the layers that have no windows take as many; "
        "--align kernel keeps all sizes, --method average"
    )
    wider, _ = aligned(network, (), "kernel")
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(wider.module(x), network.module(x), atol=1e-6)
    report = convert(wider, "net", Request("match", samples=1, force=True)).report
    assert report.numeric is not None and report.numeric.passed
    assert report.certificate is not None and report.certificate.passed
    for way in ("pad", "resample=0.5"):
        with pytest.raises(UsageError, match="no maps to move or to widen") as caught:
            aligned(network, (), way)
        assert caught.value.remedy.startswith("use --align kernel")


class Beams(nn.Module):
    """Two strided layers over beams that are given without an axis of channels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv1d(1, 6, 5, 2, padding=2), nn.Conv1d(6, 6, 5, 2, padding=2)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x[:, None]).relu()).relu().amax(2))


BEAMS = "{joints: [car], pairs: [], negate: [y], lateral: y, inputs: ['b ~beams'], outputs: [invariant]}"


@pytest.mark.parametrize("count", range(14, 22))
def test_widths_of_beams_without_channels(count: int) -> None:
    """Those that fit a layer which reads them as (b, 1, beams)."""
    network = prepare(Beams().eval(), parse_spec(BEAMS), (torch.randn(2, count),))
    blocked = plan(network, "net").blocked
    assert bool(blocked) == (count % 4 != 1)
    if blocked:
        below, above = count - (count - 1) % 4, count - (count - 1) % 4 + 4
        assert f"every layer fits at {below} or {above} columns in place of {count}" in blocked[0]
        wider = aligned(network, (), "kernel")[0]
        assert not plan(wider, "net").blocked
        x = torch.randn(3, count)
        assert torch.allclose(wider.module(x), network.module(x), atol=1e-5)
