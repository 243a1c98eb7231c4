"""A specification that reads a tensor wrongly: the advice begins with it, rather than with the network's training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import ConversionSpec, parse_spec, resolve
from chiralize.errors import MirrorError
from chiralize.symmetry.action import act
from chiralize.verification.evidence.misread import free_as_mirrored
from chiralize.verification.evidence.neighbours import nearby

BODY = """\
joints: [hip, l_arm, l_leg, r_arm, r_leg, head]
pairs: [[l_arm, r_arm], [l_leg, r_leg]]
dims: [x, y, z]
"""
POSE = '{layout: "b j d", dims: [x, y]}'
TWO = BODY + f'inputs: [{POSE}, {POSE}]\noutputs: [{{layout: "b j d"}}]\n'
FLAT = BODY + 'inputs: [{layout: "b (d j)", dims: [x, y]}]\noutputs: [{layout: "b (d j)"}]\n'
TWO_SHAPES = ([(6, 2), (6, 2)], (6, 3))
FLAT_SHAPES = ([(12,)], (18,))
Shapes = tuple[list[tuple[int, ...]], tuple[int, ...]]


class Nearly(nn.Module):
    """The flip average of a network under the right mirror, beside a share of the network itself."""

    def __init__(self, spec: str, shapes: Shapes, share: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        inputs, self.answer = shapes
        sizes = [torch.Size(shape).numel() for shape in (*inputs, self.answer)]
        self.net = nn.Sequential(nn.Linear(sum(sizes[:-1]), 48), nn.Tanh(), nn.Linear(48, sizes[-1]))
        for weight in self.net.parameters():
            weight.data = torch.randn_like(weight) ** 3 / 3
        self.share = share
        self.mirror = resolve(parse_spec(spec), [(1, *shape) for shape in inputs], [(1, *self.answer)])

    def plain(self, parts: list[Tensor]) -> Tensor:
        return self.net(torch.cat([part.flatten(1) for part in parts], 1)).reshape(-1, *self.answer)

    def both(self, *parts: Tensor) -> Tensor:
        turned: list[Tensor] = []
        for part, action in zip(parts, self.mirror.inputs, strict=True):
            assert action is not None
            turned.append(act(part, action))
        (action,) = self.mirror.outputs
        assert action is not None
        plain, other = self.plain(list(parts)), act(self.plain(turned), action)
        return (plain + other) / 2 + self.share * (plain - other) / 2


class OfTwo(Nearly):
    def forward(self, pose: Tensor, before: Tensor) -> Tensor:
        return self.both(pose, before)


class OfOne(Nearly):
    def forward(self, pose: Tensor) -> Tensor:
        return self.both(pose)


def refused(net: nn.Module, spec: str, shapes: Shapes) -> MirrorError:
    generator = torch.Generator().manual_seed(1)
    parts = [torch.rand(300, *shape, generator=generator) ** 3 * 2 - 0.3 for shape in shapes[0]]
    calls: list[Any] = [tuple(part[at : at + 50] for part in parts) for at in range(0, 300, 50)]
    with pytest.raises(MirrorError) as caught:
        chiralize.chiralize(
            net, parse_spec(spec), tuple(part[:2] for part in parts), calibration=calls, method="average"
        )
    return caught.value


MISREAD = {
    "a free input": (TWO.replace(f", {POSE}]", ", {free: true}]"), "input 1 mirrored as input 0 is"),
    "both layouts": (FLAT.replace("(d j)", "(j d)"), "(d j) in place of (j d) in all layouts"),
    "an input's layout": (FLAT.replace("(d j)", "(j d)", 1), "layout 'b (d j)' of input 0"),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("case", MISREAD)
def test_the_advice_begins_with_what_was_misread(case: str, share: float) -> None:
    """Whether the network fits the right mirror well, or knows one side better and comes clearly nearer to it."""
    spec, name = MISREAD[case]
    if case == "a free input":
        error = refused(OfTwo(TWO, TWO_SHAPES, share), spec, TWO_SHAPES)
    else:
        error = refused(OfOne(FLAT, FLAT_SHAPES, share), spec, FLAT_SHAPES)
    assert error.remedy.startswith(f"try {name} in the specification"), error.remedy
    assert ("first, which brings the gap from" in error.remedy) == (share > 0.2), error.remedy
    assert name in error.facts and "badly trained" not in error.remedy


PEOPLE = BODY + 'inputs: [{layout: "b ~m j d", dims: [x, y]}]\noutputs: [{layout: "b ~m j d"}]\n'
PEOPLE_SHAPES = ([(2, 6, 2)], (2, 6, 3))
OWN = BODY + "inputs: [{layout: b j d, negate: [x]}]\noutputs: [{layout: b j d, negate: [x]}]\n"
OWN_SHAPES = ([(6, 3)], (6, 3))


def test_two_people_who_change_places_are_named() -> None:
    error = refused(OfOne(PEOPLE, PEOPLE_SHAPES, 0.1), PEOPLE.replace("~m", "m"), PEOPLE_SHAPES)
    assert error.remedy.startswith(
        "try the two entries of axis m of input 0 and output 0 exchanged (people or views: `~m`"
    )
    as_meant = resolve(parse_spec(PEOPLE), [(4, 2, 6, 2)], [(4, 2, 6, 3)])
    assert not any("exchanged" in other.name for other in nearby(as_meant))


MAPS = BODY + 'inputs: [{layout: "b j ~w", dims: []}]\noutputs: [{layout: "b j d"}]\n'
MAPS_SHAPES = ([(6, 5)], (6, 3))


def test_widths_of_maps_that_are_reversed_are_named() -> None:
    """Both feet as pictures of the pressure below them, say, of which T exchanges the joints alone."""
    error = refused(OfOne(MAPS, MAPS_SHAPES, 0.1), MAPS.replace("~w", "w"), MAPS_SHAPES)
    assert error.remedy.startswith("try axis w of input 0 reversed (`~w` in the layout) in the specification")


RING = BODY + 'inputs: [{layout: "b j beams", mirror: {beams: 4}, dims: []}]\noutputs: [{layout: "b j d"}]\n'
RING_SHAPES = ([(6, 8)], (6, 3))


def test_a_ring_that_is_reversed_beside_its_place_is_named() -> None:
    """Beam 0 of a ring looks ahead, and is its own partner; of a fan from right to left it would be the last one's."""
    wrong = RING.replace("mirror: {beams: 4}", "mirror: beams")
    error = refused(OfOne(RING, RING_SHAPES, 0.1), wrong, RING_SHAPES)
    name = "axis beams of input 0 reversed at another cell (`mirror: {beams: 4}`)"
    assert error.remedy.startswith(f"try {name} in the specification"), error.remedy
    tried = [other.name for other in nearby(resolve(parse_spec(wrong), [(4, 6, 8)], [(4, 6, 3)]))]
    assert {name.partition("mirror: ")[2][:10] for name in tried if "another cell" in name} == {
        "{beams: 4}", "{beams: 3}", "{beams: 4.", "{beams: 2.",
    }  # fmt: skip


def test_a_ring_in_two_inputs_is_named_at_once() -> None:
    both = RING.replace('inputs: [{layout: "b j beams", mirror: {beams: 4}, dims: []}]', "inputs: [SCAN, SCAN]")
    both = both.replace("SCAN", '{layout: "b j beams", mirror: {beams: 4}, dims: []}')
    shapes = ([(6, 8), (6, 8)], (6, 3))
    error = refused(OfTwo(both, shapes, 0.1), both.replace("mirror: {beams: 4}", "mirror: beams"), shapes)
    name = "axis beams of input 0 and input 1 reversed at another cell (`mirror: {beams: 4}`)"
    assert error.remedy.startswith(f"try {name} in the specification"), error.remedy


PLACES = "{joints: [ahead, left, right], pairs: [[left, right]], dims: [x, y]}"
MASKED = BODY + (
    f'inputs: [{{layout: "b j d", skeleton: {PLACES}}}, {{layout: "b j", skeleton: {PLACES}, dims: []}}]\n'
    'outputs: [{layout: "b j d"}]\n'
)
MASKED_SHAPES = ([(3, 2), (3,)], (6, 3))


def test_a_mask_of_places_that_swap_is_named() -> None:
    wrong = MASKED.replace(f'{{layout: "b j", skeleton: {PLACES}, dims: []}}', "{free: true}")
    error = refused(OfTwo(MASKED, MASKED_SHAPES, 0.1), wrong, MASKED_SHAPES)
    name = "input 1 swapped as the joints of input 0 are (`layout: b j, dims: []`)"
    assert error.remedy.startswith(f"try {name} in the specification"), error.remedy


CORNERS = "{joints: [c000, c001, c010, c011, c100, c101, c110, c111], pairs: PAIRS}"
BOX = BODY + f'inputs: [{POSE}, {{layout: "b j d", skeleton: {CORNERS}}}]\noutputs: [{{layout: "b j d"}}]\n'
BOX_SHAPES = ([(6, 2), (8, 3)], (6, 3))
ACROSS = "[[c000, c100], [c001, c101], [c010, c110], [c011, c111]]"
ALONG = "[[c000, c001], [c010, c011], [c100, c101], [c110, c111]]"


@pytest.mark.one_in(2)
@pytest.mark.parametrize("wrong", ["[]", ALONG], ids=["no pairs", "pairs along another axis"])
def test_corners_of_a_box_that_swap_otherwise_are_named(wrong: str) -> None:
    """Their names tell no side, and all of their pairs are wrong at once."""
    right = BOX.replace("PAIRS", ACROSS)
    error = refused(OfTwo(right, BOX_SHAPES, 0.1), BOX.replace("PAIRS", wrong), BOX_SHAPES)
    name = "the pairs c000 with c100, c001 with c101 and so on"
    assert error.remedy.startswith(f"try {name} in the specification"), error.remedy


THREE = "{joints: [top, one, other], pairs: [PAIR], dims: [x], negate: []}"
VIEWS = BODY + f'inputs: [{{layout: "b j ~w", dims: [], skeleton: {THREE}}}]\noutputs: [{{layout: "b j d"}}]\n'
VIEWS_SHAPES = ([(3, 5)], (6, 3))
UNSTATED = BODY + 'inputs: [{layout: "b v ~w"}]\noutputs: [{layout: "b j d"}]\n'


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (UNSTATED, "entry 1 and entry 2 of axis v"),
        (VIEWS.replace("PAIR", "[top, one]"), "one and other of axis j"),
    ],
    ids=["not exchanged", "others exchanged"],
)
def test_cameras_that_change_places_are_named(wrong: str, named: str) -> None:
    """One on the head and one on each wrist, whose axis is none of joints."""
    right = VIEWS.replace("PAIR", "[one, other]")
    error = refused(OfOne(right, VIEWS_SHAPES, 0.1), wrong, VIEWS_SHAPES)
    exchanged = f"{named} of input 0 exchanged (as `j` of a skeleton of views, `dims: []`)"
    assert error.remedy.startswith(f"try {exchanged} in the specification"), error.remedy


@pytest.mark.parametrize(("layout", "tried"), [("b c h ~w", False), ("b v h ~w", True)])
def test_colours_change_no_places(layout: str, tried: bool) -> None:
    """A network that sees shapes fits a mirror that exchanges red and blue, and no such mirror is there."""
    spec = parse_spec(BODY + f'inputs: [{{layout: "{layout}"}}]\noutputs: [{{layout: "b j d"}}]\n')
    names = [other.name for other in nearby(resolve(spec, [(2, 3, 8, 8)], [(2, 6, 3)]))]
    assert any(f"axis {layout[2]} of input 0" in name for name in names) == tried


def test_what_single_tensors_negate_is_changed_in_all_of_them() -> None:
    """Mended in one tensor after the other it would be a mirror that no body has."""
    error = refused(OfOne(OWN, OWN_SHAPES, 0.1), OWN.replace("[x]", "[y]"), OWN_SHAPES)
    assert "with x negated instead of y, " in error.facts
    assert "x negated instead of y in the specification" in error.remedy


@pytest.mark.parametrize(
    ("given", "tried"), [("b c ~h w", ["pictures reversed along w instead of h"]), ("b c h ~w", [])]
)
def test_widths_are_tried_where_heights_are_reversed(given: str, tried: list[str]) -> None:
    """Not the other way round: a network of pictures without a top commutes with both."""
    spec = parse_spec(f'{BODY}inputs: ["{given}"]\noutputs: [{{layout: "b j d"}}]\n')
    named = [name.partition(" (")[0] for name in names(spec, [(4, 3, 6, 8)])]
    assert [name for name in named if name.startswith("pictures reversed along")] == tried


def test_a_confidence_in_front_of_the_coordinates_is_named() -> None:
    """[x, y, c] read as [c, x, y]: y is negated, and no single sign mends that."""
    body = BODY.replace("dims: [x, y, z]", "dims: [x, y]")
    right = body + "inputs: [{layout: b d j, dims: [x, y, c]}]\noutputs: [{layout: b j d}]\n"
    shapes = ([(3, 6)], (6, 2))
    error = refused(OfOne(right, shapes, 0.1), right.replace("[x, y, c]", "[c, x, y]"), shapes)
    assert error.remedy.startswith("try x at place 1 of the dims of input 0 instead of 2 in the specification")


def names(spec: ConversionSpec, shapes: list[tuple[int, ...]], numbers: tuple[int, ...] = (0, 1)) -> list[str]:
    return [other.name for other in nearby(resolve(spec, shapes, [(4, 6, 3)]), numbers=numbers)]


def test_only_numbers_with_signs_are_mirrored() -> None:
    """A mask in the shape of a pose has no signs, but joints; a free input of another shape is read as a pose."""
    spec = parse_spec(MISREAD["a free input"][0])
    assert "input 1 mirrored as input 0 is" in names(spec, [(4, 6, 2), (4, 6, 2)])
    assert "input 1 as a pose" in names(spec, [(4, 6, 2), (4, 6, 3)])
    of_a_mask = [name for name in names(spec, [(4, 6, 2), (4, 6, 2)], (0,)) if name.startswith("input 1 ")]
    assert of_a_mask == ["input 1 swapped as the joints of input 0 are (`layout: b j m, dims: []`)"]


def test_every_order_of_a_merged_axis_is_tried() -> None:
    spec = parse_spec(BODY + 'inputs: [{layout: "b (t j d)", dims: [x, y, z]}]\noutputs: [{layout: "b j d"}]\n')
    tried = {name for name in names(spec, [(4, 54)]) if name.startswith("layout")}
    others = ("(t d j)", "(j t d)", "(j d t)", "(d t j)", "(d j t)")
    assert tried == {f"layout 'b {order}' of input 0" for order in others}


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 2), (3, 0)])
def test_a_free_input_of_few_numbers_may_name_a_side(size: int, count: int) -> None:
    """Which hand, as one-hot or as a sign."""
    spec = "{skeleton: h36m, inputs: [{layout: b j d}, {free: true}], outputs: [{layout: b j d}]}"
    resolved = resolve(parse_spec(spec), [(2, 17, 3), (2, size)], [(2, 17, 3)])
    found = dict(free_as_mirrored(resolved, [0, 1]))
    named = [name for name in found if "swapped (`classes" in name or "negated (`fields" in name]
    assert len(named) == count
    assert not any("negated" in name for name in dict(free_as_mirrored(resolved, [0])))
