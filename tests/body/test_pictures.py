"""Pictures, maps of joints, bins and voxels: axes that the mirror reverses."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.tensors import ConversionSpec, load_spec, parse_spec, resolve
from chiralize.body.tensors.acting import acted_on
from chiralize.body.tensors.reversal import reversal
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
    action = resolve(spec, [PICTURE], []).inputs[0]
    assert action is not None and (action.act(values) == values[..., ::-1]).all()
    assert ConversionSpec.from_dict(spec.to_dict()).inputs == spec.inputs


def test_maps_of_joints_swap_and_are_reversed() -> None:
    spec = load_spec("coco", input_layouts=["b c h ~w"], output_layouts=["b j h ~w"])
    action = resolve(spec, [PICTURE], [MAPS]).outputs[0]
    values = RNG.normal(size=MAPS)
    assert action is not None and (action.act(values) == values[:, SWAPPED, :, ::-1]).all()


def test_a_shifted_map_is_the_flip_test_of_toolboxes() -> None:
    """Their shifted copy is column w - i at column i; the first column, which has no partner here, stays."""
    spec = parse_spec('skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{layout: "b j h w", mirror: {w: 6}}]\n')
    values = RNG.normal(size=MAPS)
    shifted = values[:, SWAPPED, :, ::-1].copy()
    shifted[..., 1:] = shifted[..., :-1].copy()
    action = resolve(spec, [PICTURE], [MAPS]).outputs[0]
    assert action is not None
    assert (action.act(values)[..., 1:] == shifted[..., 1:]).all()
    assert (action.act(values)[..., 0] == values[:, SWAPPED][..., 0]).all()
    assert ConversionSpec.from_dict(spec.to_dict()).outputs == spec.outputs


def test_fields_of_vectors_are_negated_and_reversed() -> None:
    spec = parse_spec('skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{layout: "b j d h ~w", dims: [x, y]}]\n')
    values = RNG.normal(size=(2, 17, 2, 8, 6))
    expected = values[:, SWAPPED, :, :, ::-1] * np.array([-1, 1])[:, None, None]
    action = resolve(spec, [PICTURE], [values.shape]).outputs[0]
    assert action is not None and (action.act(values) == expected).all()


def test_voxels_with_organs_that_swap() -> None:
    classes = "{swap: [[left, right]], names: [none, left, right]}"
    text = f'skeleton: coco\ninputs: ["b c z y ~x"]\noutputs: [{{layout: "b classes z y ~x", classes: {classes}}}]\n'
    values = RNG.normal(size=(2, 3, 4, 5, 6))
    resolved = resolve(parse_spec(text), [(2, 1, 4, 5, 6)], [values.shape])
    action = resolved.outputs[0]
    assert action is not None and (action.act(values) == values[:, [0, 2, 1], ..., ::-1]).all()
    assert resolved.label("output", 0, (0, 1, 2, 2, 2)) == "left"


def test_merged_axes_of_tokens() -> None:
    spec = load_spec("coco", input_layouts=["b c h ~w"], output_layouts=["b (h ~w) j"])
    values = RNG.normal(size=(2, 12, 17))
    action = resolve(parse_spec('skeleton: coco\ninputs: [{layout: "b (j ~w) c", dims: []}]\n'), [(2, 51, 4)], [])
    assert spec.outputs is not None and spec.outputs[0].mirror == (("w", None),)
    with pytest.raises(LayoutSizeError, match="2 sizes are open"):
        resolve(spec, [PICTURE], [values.shape])
    tokens = RNG.normal(size=(2, 51, 4))
    expected = tokens.reshape(2, 17, 3, 4)[:, SWAPPED, ::-1].reshape(2, 51, 4)
    assert action.inputs[0] is not None and (action.inputs[0].act(tokens) == expected).all()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ('inputs: [{layout: "b c h w", mirror: x}]', WrongValueError, "has no axis 'x'"),
        ('inputs: [{layout: "~b c h w"}]', WrongValueError, "'b' in layout 'b c h w' is no axis of a picture"),
        ('inputs: [{layout: "b ~j d"}]', WrongValueError, "'j' in layout"),
        ("inputs: [{mirror: w}]", SpecError, "`mirror` without `layout`"),
        ('inputs: [{layout: "b ~w f", fields: [{scalar: 3}]}]', WrongValueError, "no meaning beside `fields`"),
        ('inputs: ["b c h ~~w"]', WrongValueError, "is not a word"),
        ('outputs: [{layout: "b k h w", classes: {swap: []}}]', WrongValueError, "mark their axis with classes"),
        ('inputs: [{layout: "b c h w", mirror: {w: left}}]', WrongValueError, "must be a number"),
        ('inputs: [{layout: "b c h w", mirror: w, reverse: w}]', UnknownKeyError, "reverse"),
    ],
)
def test_what_is_no_mirror(text: str, error: type[SpecError], message: str) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        parse_spec(f"skeleton: coco\n{text}\n")


@pytest.mark.parametrize(
    ("cell", "message"), [("48", "cells 0 to 11"), ("-1/2", "cells 0 to 11"), ("23/4", "give a whole or a half cell")]
)
def test_cells_outside_or_in_between(cell: str, message: str) -> None:
    text = f'skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{{layout: "b j h w", mirror: {{w: {cell}}}}}]\n'
    with pytest.raises(LayoutSizeError, match=message):
        resolve(parse_spec(text), [PICTURE], [MAPS])


# ---- what would pass every residual and be no mirror ------------------------------------------------------------
@pytest.mark.parametrize("given", ["{free: true}", '"b c h w"'])
def test_a_mirror_that_moves_outputs_alone_is_refused(given: str) -> None:
    spec = parse_spec(f'skeleton: coco\ninputs: [{given}]\noutputs: [{{layout: "b j h w", dims: []}}]\n')
    with pytest.raises(
        WrongValueError, match="leaves every input as it is, but swaps or negates entries of output 0"
    ) as caught:
        resolve(spec, [PICTURE], [MAPS])
    assert "(y + T y) / 2 behind the network is that, and needs no conversion" in caught.value.remedy


def test_a_picture_that_is_reversed_in_one_place_only_is_refused() -> None:
    spec = parse_spec('skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{layout: "b j h w", dims: []}]\n')
    with pytest.raises(WrongValueError, match="axis 'w' of 'b j h w' is not reversed, that of 'b c h ~w' is"):
        resolve(spec, [PICTURE], [MAPS])


# ---- read by the sizes ------------------------------------------------------------------------------------------
def test_pictures_and_maps_are_read_by_their_sizes() -> None:
    resolved = resolve(load_spec("coco"), [PICTURE], [MAPS])
    assert [tensor.layout for tensor in (*resolved.input_tensors, *resolved.output_tensors)] == ["b c h w", "b j h w"]
    (notice,) = resolved.spec.notices
    assert notice.startswith("taken as pictures b c h ~w = (2, 3, 64, 48)") and "b j h ~w = (2, 17, 16, 12)" in notice
    again = ConversionSpec.from_dict(resolved.spec.to_dict())
    assert resolve(again, [PICTURE], [MAPS]).outputs == resolved.outputs


def test_bins_of_columns_and_rows_are_read_by_their_sizes() -> None:
    resolved = resolve(load_spec("coco"), [PICTURE], [(2, 17, 96), (2, 17, 128)])
    columns, rows = (RNG.normal(size=(2, 17, size)) for size in (96, 128))
    first, second = resolved.outputs
    assert first is not None and (first.act(columns) == columns[:, SWAPPED, ::-1]).all()
    assert second is not None and (second.act(rows) == rows[:, SWAPPED]).all()


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


def test_recognisers_of_poses_are_not_read_as_pictures() -> None:
    """Of another skeleton than the network's, "b d t j" has the shape of a picture; the scores tell that it is none."""
    with pytest.raises(LayoutSizeError):
        resolve(load_spec("coco", invariant=True), [(2, 3, 64, 25)], [(2, 60)])
    resolved = resolve(load_spec("ntu-25", invariant=True), [(2, 3, 64, 25)], [(2, 60)])
    assert resolved.input_tensors[0].layout == "b d t j"


def test_a_reversed_axis_that_is_merged_beside_classes_is_refused() -> None:
    classes = "{swap: [[0, 1]]}"
    text = f'skeleton: coco\ninputs: ["b c h ~w"]\noutputs: [{{layout: "b classes (h ~w)", classes: {classes}}}]\n'
    with pytest.raises(LayoutSizeError, match="axis 'w' is reversed, and layout .* merges it"):
        resolve(parse_spec(text), [(2, 3, 32, 32)], [(2, 2, 64)])


def test_a_cell_far_out_asks_for_no_tensor_of_that_size() -> None:
    spec = parse_spec('skeleton: coco\ninputs: [{layout: "b c h w", mirror: {w: 100000000000}}]\n')
    (line,) = map(str, acted_on(spec))
    assert line == "input 0 'b c h w': not known without its sizes (more than 1000000 entries)"
