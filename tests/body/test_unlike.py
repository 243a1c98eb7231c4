"""Things that swap in one place and not in another are questioned; what is meant is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from chiralize.body.tensors import parse_spec
from chiralize.body.tensors.conversion import doubts_of
from chiralize.body.tensors.linting import lint_specification
from tests.support.small_body import BODY

FILE = BODY + "negate: x\nlateral: x\n"
HANDS = "{bodies: [head, left_hand, right_hand], kind: vector, name: position}"


def of_fields(*blocks: str) -> str:
    lines = "".join(f"      - {block}\n" for block in blocks)
    return FILE + f"inputs:\n  - fields:\n{lines}outputs: [{{layout: 'b j d'}}]\n"


@pytest.mark.parametrize(
    ("blocks", "questioned"),
    [
        (("{bodies: [head, c0, c1], kind: vector, name: velocity}",), True),
        (("{history: 2, of: [{bodies: [head, c0, c1], kind: axial, name: velocity}]}",), True),
        (("{bodies: [head, left_hand, right_hand], kind: axial, name: velocity}",), False),
        (("{bodies: [head, c0], kind: vector, name: velocity}",), False),  # not as many
        (("{sites: [head, c0, c1], kind: vector, name: velocity}",), False),  # things of another kind
    ],
)
def test_blocks_of_as_many_things(blocks: tuple[str, ...], questioned: bool, tmp_path: Path) -> None:
    text = of_fields(HANDS, *blocks)
    found = [doubt for doubt in doubts_of(parse_spec(text)) if "none swap" in doubt]
    assert bool(found) == questioned
    if questioned:
        assert found[0].endswith(
            "block 'velocity' lists head, c0, c1, of which none swap, while left_hand and right_hand of block "
            "'position' do"
        )
    (tmp_path / "s.yaml").write_text(text)
    assert any("none swap" in finding.message for finding in lint_specification(tmp_path / "s.yaml")) == questioned


def test_joints_of_one_name() -> None:
    edges = "{joints: [x1, y1, x2, y2], pairs: PAIRS, dims: [p], negate: []}"
    swapped, still = edges.replace("PAIRS", "[[x1, x2]]"), edges.replace("PAIRS", "[]")
    entry = "{{skeleton: {}, layout: 'b j', dims: [p], name: {}}}"
    for one, other, questioned in ((still, swapped, True), (swapped, swapped, False), (still, still, False)):
        text = FILE + f"inputs: [{entry.format(one, 'box')}]\noutputs: [{entry.format(other, 'next')}]\n"
        found = [doubt for doubt in doubts_of(parse_spec(text)) if "none swap" in doubt]
        assert bool(found) == questioned
        if questioned:
            assert (
                "tensor 'box' lists x1, y1, x2, y2, of which none swap, while x1 and x2 of tensor 'next' do" in found[0]
            )


@pytest.mark.parametrize(
    ("inputs", "questioned"),
    [
        ("{fields: [{bodies: [head, c0, c1], kind: vector, name: place}]}", True),
        ("{free: true}", False),
        ("{layout: 'b j d', joints: [head]}", False),  # one thing has no partner
        ("{fields: [{vector: way}, {signs: [-1, 1]}]}", False),  # signs tell the sides
        ("{fields: [{bodies: [head, left_hand, right_hand], kind: vector, name: place}]}", False),
        ("{layout: 'b j d'}", False),
        ("{layout: 'b c h w', mirror: w}", False),
        ("{state: true}", False),  # nobody says
    ],
)
def test_inputs_of_which_nothing_swaps(inputs: str, questioned: bool) -> None:
    spec = parse_spec(FILE + f"inputs: [{inputs}]\noutputs: [{{layout: 'b j d'}}]\n")
    found = [doubt for doubt in doubts_of(spec) if "nothing in the inputs swaps" in doubt]
    assert bool(found) == questioned
    assert not questioned or "not head, c0, c1 of block 'place' either, though" in found[0]


CAMERAS = (
    "inputs: [{{layout: 'b c h ~w', name: {}}}, {{layout: 'b c h ~w', name: {}}}]\noutputs: [{{layout: 'b j d'}}]\n"
)


@pytest.mark.parametrize(
    ("names", "questioned"),
    [
        (("left_wrist_image", "right_wrist_image"), True),
        (("image_right", "image_left"), True),
        (("left_wrist_image", "head_image"), False),
        (("top", "front"), False),
    ],
)
def test_tensors_of_two_sides(names: tuple[str, str], questioned: bool, tmp_path: Path) -> None:
    """T acts on every tensor by itself: it cannot exchange the pictures of two wrists."""
    text = FILE + CAMERAS.format(*names)
    found = [doubt for doubt in doubts_of(parse_spec(text)) if "of two sides" in doubt]
    assert bool(found) == questioned
    (tmp_path / "spec.yaml").write_text(text)
    linted = [finding for finding in lint_specification(tmp_path / "spec.yaml") if "of two sides" in finding.message]
    assert bool(linted) == questioned
    if questioned:
        assert "T exchanges no tensor for another: it leaves each where it is. Wrap the network" in found[0]
