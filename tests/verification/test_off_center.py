"""Inputs that are not about the point that T mirrors them at: what is said of them, and which mirror is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.running import Call
from chiralize.methods.registry import method_of
from chiralize.problem.preparation import prepare
from chiralize.problem.problem import Problem
from chiralize.problem.request import Request
from chiralize.verification.evidence.off_center import means_away, off_center
from chiralize.verification.evidence.skeleton_changes import NO_SWAP
from chiralize.verification.mirror_evidence import ask_network
from chiralize.verification.verdicts import Evidence
from chiralize.verification.wrong_mirror import refuse_wrong_mirror
from tests.support.cases import mainly

C = 320.0
BODY = "joints: [hip, left_knee, right_knee, left_ear, right_ear]\npairs: [[1, 2], [3, 4]]\ndims: [x, y, z]\n"
PARTNER = [0, 2, 1, 4, 3]


class Pictures(nn.Module):
    """Joints in a picture to joints in the same picture, hardly changed; symmetric about column C but for a little."""

    def __init__(self, merged: bool = False, coordinate: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 10))
        with torch.no_grad():
            for weights in self.inner.parameters():
                weights += 0.5 * torch.randn(weights.shape[0], *[1] * (weights.ndim - 1))  # whole directions move
        self.merged = merged
        # Without a write in place, which torch would take apart for a while.
        signs = torch.ones(2)
        signs[coordinate] = -1
        self.register_buffer("signs", signs)
        self.register_buffer("shift", C * (1 - signs))

    def one_view(self, x: Tensor) -> Tensor:
        return C + 200 * torch.tanh((x - C) / 200) + 20 * self.inner((x / C - 1).flatten(1)).view(-1, 5, 2)

    def image(self, x: Tensor) -> Tensor:
        return self.get_buffer("signs") * x[:, PARTNER] + self.get_buffer("shift")

    def forward(self, x: Tensor) -> Tensor:
        poses = x.view(-1, 5, 2)
        answer = 0.55 * self.one_view(poses) + 0.45 * self.image(self.one_view(self.image(poses)))
        return answer.flatten(1) if self.merged else answer


def pictures(merged: bool = False) -> list[Call]:
    generator = torch.Generator().manual_seed(0)
    poses = C + 40 * torch.randn(64, 1, 2, generator=generator) + 60 * torch.randn(64, 5, 2, generator=generator)
    return [((part.flatten(1) if merged else part,), {}) for part in poses.split(16)]


def asked(net: nn.Module, calls: list[Call], entry: str, output: str = "") -> Evidence:
    spec = parse_spec(BODY + f"inputs: [{{{entry}}}]\noutputs: [{{{output or entry}}}]\n")
    return ask_network(prepare(net, spec, calls[0][0]), calls)


@pytest.mark.parametrize("merged", mainly([[False], [True]], [[True]]))
def test_coordinates_of_a_picture_are_mirrored_where_they_lie(merged: bool) -> None:
    """Without a centre; such a network fits a mirror that negates nothing as well."""
    layout = "b (j d)" if merged else "b j d"
    found = asked(Pictures(merged), pictures(merged), f'layout: "{layout}", dims: [x, y]')
    assert found.fit is not None and found.fit.is_refuted
    assert len(found.fit.better) == 1
    assert found.fit.better[0].startswith("x of all poses mirrored at 32") and found.fit.better[0].endswith("of 0")
    assert found.fit.changes == found.fit.better


def test_a_wrong_point_is_named() -> None:
    found = asked(Pictures(), pictures(), "layout: b j d, dims: [x, y], reflect: {x: 100}")
    assert found.fit is not None and found.fit.better[0].startswith("x mirrored at 32")


def test_a_wrong_point_of_shares_is_named() -> None:
    class Shares(Pictures):
        """The same of shares of the picture, which is 640 columns wide."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(2 * C * x) / (2 * C)

    calls: list[Call] = [((call[0][0] / (2 * C),), {}) for call in pictures()]
    found = asked(Shares(), calls, "layout: b j d, dims: [x, y], reflect: {x: 1/8}")
    assert found.fit is not None and found.fit.better[0] == "x mirrored at 0.5 instead of 0.125"


def test_a_point_that_only_the_inputs_have_is_named() -> None:
    entry = "layout: b j d, dims: [x, y]"
    found = asked(Pictures(), pictures(), f"{entry}, reflect: {{x: 320}}", entry)
    assert found.fit is not None
    assert found.fit.better[0] == "x of all poses mirrored at 320, also where no point is given"


def test_another_coordinate_is_still_named_where_the_given_one_is_positive() -> None:
    net, calls = Pictures(coordinate=1), pictures()
    centered: list[Call] = [((call[0][0] - torch.tensor([0.0, C]),), {}) for call in calls]

    class Upright(nn.Module):
        """A network whose y is about 0, and mirrored there."""

        def forward(self, x: Tensor) -> Tensor:
            shift = torch.tensor([0.0, C])
            return net(x + shift) - shift

    found = asked(Upright(), centered, "layout: b j d, dims: [x, y]")
    assert found.fit is not None and found.fit.nearest == "y negated instead of x"


def test_inputs_away_from_the_point_are_the_first_to_look_at() -> None:
    spec = parse_spec(BODY + "inputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n")
    calls = pictures()
    resolved = prepare(Pictures(), spec, calls[0][0]).resolved
    assert off_center(resolved, calls).startswith(
        "x of input 0 is 325 in the mean, and T mirrors it at 0: where its mirror is W - x, as in pictures, say "
        "`reflect: {x: W/2}` of every tensor in these units, or centre it; then "
    )
    about_zero: list[Call] = [((call[0][0] - C,), {}) for call in calls]
    assert means_away(resolved, about_zero) == {} and off_center(resolved, about_zero) == ""


def test_pairs_are_doubted_last_where_nothing_that_swaps_fits() -> None:
    spec = parse_spec(BODY + "inputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n")
    network = prepare(Pictures(), spec, pictures()[0][0])
    fit = MirrorFit(1.2, NO_SWAP, 0.05, real=True, better=(NO_SWAP,))
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(Problem.of(network, Request(), method_of("auto")), "net", Evidence(fit=fit))
    assert caught.value.remedy.startswith(
        "check joint order, negated coordinates, the point that they are negated at, and units, before the pairs: "
        "where nothing swaps, inputs stay as the network knows them, and one that nearly repeats them fits for that "
        "alone; "
    )


def test_the_mirror_that_comes_much_nearer_is_tried_first() -> None:
    """Though it does not fit: of a network that knows one side, the right mirror does not either."""
    spec = parse_spec(BODY + "inputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n")
    network = prepare(Pictures(), spec, pictures()[0][0])
    problem = Problem.of(network, Request(), method_of("auto"))
    fit = MirrorFit(1.17, "v as a polar vector", 0.546, real=True)
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", Evidence(fit=fit))
    first, _, rest = caught.value.remedy.partition("; ")
    assert first == (
        "try v as a polar vector in the specification first, which brings the gap from 1.17 to 0.546 (the rest may be "
        "a side that the network knows better)"
    )
    assert "none of the mirrors that were tried fits" not in rest
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", Evidence(fit=replace(fit, nearest_gap=0.9)))
    assert caught.value.remedy.startswith("consider that the network may be badly trained or know one side only")
    with pytest.raises(MirrorError) as caught:
        refuse_wrong_mirror(problem, "net", Evidence(fit=replace(fit, nearest=NO_SWAP)))
    assert caught.value.remedy.startswith("check joint order, negated coordinates, the point")


def test_points_of_fields_are_looked_at_too() -> None:
    fields = "{joints: p, dims: [x, y], reflect: {x: POINT}}, {scalar: 1, name: s}"
    x = torch.cat([torch.cat([call[0][0] for call in pictures(merged=True)]), torch.zeros(64, 1)], 1)

    def said(point: str) -> str:
        spec = parse_spec(f"{BODY}inputs: [{{fields: [{fields.replace('POINT', point)}]}}]\n")
        return off_center(resolve(spec, [(64, 11)], []), [((x,), {})])

    assert said("200").startswith("numbers of input 0 that T mirrors at 200, such as p.hip.x, are 3")
    assert said("320") == ""
