"""Pictures, maps of joints, bins and voxels: axes that the mirror reverses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.catalog import load_skeleton
from chiralize.body.fitting import reversal
from chiralize.body.resolve import resolve
from chiralize.body.spec import Spec, load_spec, parse_spec
from chiralize.errors import LayoutSizeError, SpecError, UnknownKeyError, WrongValueError

COCO = load_skeleton("coco")
SWAPPED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
PICTURE, MAPS = (2, 3, 64, 48), (2, 17, 16, 12)
RNG = np.random.default_rng(0)


@given(st.integers(1, 40), st.data())
def test_a_reversal_is_an_involution_about_its_cell(size: int, data: st.DataObject) -> None:
    twice = data.draw(st.integers(0, 2 * size - 2))
    action = reversal(size, Fraction(twice, 2), "axis w")
    for cell, partner in enumerate(action.partner.tolist()):
        assert partner == (twice - cell if 0 <= twice - cell < size else cell)
    if twice == size - 1:
        assert action == reversal(size, None, "axis w")


@pytest.mark.parametrize(
    "entry",
    ['{layout: "b c h ~w"}', '{layout: "b c h w", mirror: w}', '{layout: "b c h w", mirror: [w]}', '"b c h ~w"'],
)
def test_four_ways_to_say_it(entry: str) -> None:
    spec = parse_spec(f"skeleton: coco\ninputs: [{entry}]\n")
    values = RNG.normal(size=PICTURE)
    action = resolve(spec, [PICTURE], []).inputs[0].representation
    assert action is not None and (action.act(values) == values[..., ::-1]).all()
    assert Spec.from_dict(spec.to_dict()).inputs == spec.inputs


def test_a_shifted_map_is_the_flip_test_of_toolboxes() -> None:
    """Their shifted copy is column w - i at column i; the first column, which has no partner here, stays."""
    spec = parse_spec('skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{layout: "b j h w", mirror: {w: 6}}]\n')
    values = RNG.normal(size=MAPS)
    shifted = values[:, SWAPPED, :, ::-1].copy()
    shifted[..., 1:] = shifted[..., :-1].copy()
    action = resolve(spec, [PICTURE], [MAPS]).outputs[0].representation
    assert action is not None
    assert (action.act(values)[..., 1:] == shifted[..., 1:]).all()
    assert (action.act(values)[..., 0] == values[:, SWAPPED][..., 0]).all()
    assert Spec.from_dict(spec.to_dict()).outputs == spec.outputs


def test_voxels_with_organs_that_swap() -> None:
    classes = "{swap: [[left, right]], names: [none, left, right]}"
    text = f'skeleton: coco\ninputs: ["b c z y ~x"]\noutputs: [{{layout: "b classes z y ~x", classes: {classes}}}]\n'
    values = RNG.normal(size=(2, 3, 4, 5, 6))
    resolved = resolve(parse_spec(text), [(2, 1, 4, 5, 6)], [values.shape])
    action = resolved.outputs[0].representation
    assert action is not None and (action.act(values) == values[:, [0, 2, 1], ..., ::-1]).all()
    assert resolved.label("output", 0, (0, 1, 2, 2, 2)) == "left"


def test_merged_axes_of_tokens() -> None:
    spec = parse_spec('skeleton: coco\ninputs: [{layout: "b (j ~w) c", dims: []}]\n')
    (action,) = resolve(spec, [(2, 51, 4)], []).representations("input")
    tokens = RNG.normal(size=(2, 51, 4))
    expected = tokens.reshape(2, 17, 3, 4)[:, SWAPPED, ::-1].reshape(2, 51, 4)
    assert action is not None and (action.act(tokens) == expected).all()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('inputs: [{layout: "b c h w", mirror: x}]', WrongValueError),
        ('inputs: [{layout: "~b c h w"}]', WrongValueError),
        ('inputs: [{layout: "b ~j d"}]', WrongValueError),
        ("inputs: [{mirror: w}]", SpecError),
        ('inputs: [{layout: "b ~w f", fields: [{scalar: 3}]}]', WrongValueError),
        ('inputs: ["b c h ~~w"]', WrongValueError),
        ('outputs: [{layout: "b k h w", classes: {swap: []}}]', WrongValueError),
        ('inputs: [{layout: "b c h w", mirror: {w: left}}]', WrongValueError),
        ('inputs: [{layout: "b c h w", mirror: w, reverse: w}]', UnknownKeyError),
    ],
)
def test_what_is_no_mirror(text: str, error: type[SpecError]) -> None:
    with pytest.raises(error):
        parse_spec(f"skeleton: coco\n{text}\n")


@pytest.mark.parametrize("cell", ["48", "-1/2", "23/4"])
def test_cells_outside_or_in_between(cell: str) -> None:
    text = f'skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{{layout: "b j h w", mirror: {{w: {cell}}}}}]\n'
    with pytest.raises(LayoutSizeError):
        resolve(parse_spec(text), [PICTURE], [MAPS])


# ---- what would pass every residual and be no mirror ------------------------------------------------------------
@pytest.mark.parametrize("given", ["{free: true}", '"b c h w"'])
def test_a_mirror_that_moves_outputs_alone_is_refused(given: str) -> None:
    spec = parse_spec(f'skeleton: coco\ninputs: [{given}]\noutputs: [{{layout: "b j h w", dims: []}}]\n')
    with pytest.raises(WrongValueError, match="leaves every input as it is, but swaps or negates entries of output 0"):
        resolve(spec, [PICTURE], [MAPS])


def test_a_picture_that_is_reversed_in_one_place_only_is_refused() -> None:
    spec = parse_spec('skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{layout: "b j h w", dims: []}]\n')
    with pytest.raises(WrongValueError):
        resolve(spec, [PICTURE], [MAPS])


# ---- read by the sizes ------------------------------------------------------------------------------------------
def test_pictures_and_maps_are_read_by_their_sizes() -> None:
    resolved = resolve(load_spec("coco"), [PICTURE], [MAPS])
    assert [tensor.layout for tensor in (*resolved.inputs, *resolved.outputs)] == ["b c h w", "b j h w"]
    (notice,) = resolved.spec.notices
    assert notice.startswith("taken as pictures b c h ~w = (2, 3, 64, 48)") and "b j h ~w = (2, 17, 16, 12)" in notice
    again = Spec.from_dict(resolved.spec.to_dict())
    assert resolve(again, [PICTURE], [MAPS]).outputs == resolved.outputs


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([(2, 3, 64, 48)], [(2, 17, 16, 16)]),  # cells that are no squares
        ([(2, 3, 64, 48)], [(2, 16, 16, 12)]),  # other joints
        ([(2, 3, 64, 48)], [(2, 400)]),  # scores
        ([(2, 4, 64, 48)], [(2, 17, 16, 12)]),  # no picture
        ([(2, 3, 64, 48)], [(2, 17, 128), (2, 17, 96)]),  # rows first
        ([(2, 3, 64, 48), (2, 4)], [(2, 17, 16, 12)]),
    ],
)
def test_other_sizes_are_not_read_as_pictures(inputs: list[tuple[int, ...]], outputs: list[tuple[int, ...]]) -> None:
    with pytest.raises(SpecError):
        resolve(load_spec("coco"), inputs, outputs)


def test_a_reversed_axis_that_is_merged_beside_classes_is_refused() -> None:
    classes = "{swap: [[0, 1]]}"
    text = f'skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{{layout: "b classes (h ~w)", classes: {classes}}}]\n'
    with pytest.raises(LayoutSizeError):
        resolve(parse_spec(text), [(2, 3, 32, 32)], [(2, 2, 64)])
