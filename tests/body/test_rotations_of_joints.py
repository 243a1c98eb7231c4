"""`kind: rotation` in a layout: joints with rotations in place of coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from chiralize.body.tensors import parse_spec, resolve
from chiralize.errors import SpecError, UsageError

BODY = "joints: [root, left, right]\npairs: [[left, right]]\ndims: [x, y, z]\nnegate: [{}]\n"
SWAPPED = [0, 2, 1]


def of_reflected(numbers: str, lateral: int) -> np.ndarray:
    """Signs of the numbers of M R M, M the reflection of one axis, from its entries."""
    m = np.ones(3)
    m[lateral] = -1
    matrix = np.outer(m, m)
    axial = m * -1
    return {
        "rotation, matrix": matrix.reshape(-1),
        "rotation, 6d_by_column": matrix[:, :2].T.reshape(-1),
        "rotation, 6d_by_row": matrix[:, :2].reshape(-1),
        "rotation, axis_angle": axial,
        "quaternion, wxyz": np.array([1, *axial]),
        "quaternion, xyzw": np.array([*axial, 1]),
    }[numbers]


@pytest.mark.parametrize("lateral", range(3))
@pytest.mark.parametrize(
    "numbers",
    ["rotation, matrix", "rotation, 6d_by_column", "rotation, 6d_by_row", "rotation, axis_angle", "quaternion, wxyz",
     "quaternion, xyzw"],
)  # fmt: skip
def test_joints_swap_and_rotations_are_reflected(numbers: str, lateral: int) -> None:
    signs = of_reflected(numbers, lateral)
    kind, order = numbers.split(", ")
    values = np.random.default_rng(0).normal(size=(4, 3, len(signs)))
    expected = values[:, SWAPPED] * signs
    keys = f"kind: {kind}, order: {order}"
    text = BODY.format("xyz"[lateral]) + f"inputs: [{{layout: b j d, {keys}}}, {{layout: b (d j), {keys}}}]"
    spec = parse_spec(text)
    merged = values.transpose(0, 2, 1).reshape(4, -1)
    by_axes, by_coordinate = resolve(spec, [values.shape, merged.shape], []).inputs
    assert by_axes is not None and by_coordinate is not None
    assert_array_equal(by_axes.act(values), expected)
    assert_array_equal(by_coordinate.act(merged), expected.transpose(0, 2, 1).reshape(4, -1))
    assert [entry.to_dict() for entry in parse_spec(text).entries][0] == {
        "layout": "b j d", "kind": kind, "order": order,
    }  # fmt: skip


def test_some_joints_of_another_skeleton() -> None:
    """The root's own rotation beside those of SMPL's body; a skeleton of rotations has its sizes guessed."""
    text = """
skeleton: smplx-body-21
inputs: [{}]
outputs:
  - {layout: b j d, skeleton: smpl, joints: [pelvis], kind: quaternion, order: wxyz}
  - {layout: b j d, kind: rotation, order: matrix}
"""
    resolved = resolve(parse_spec(text), [(2, 21, 3)], [(2, 1, 4), (2, 21, 9)])
    (poses,), (root, matrices) = resolved.inputs, resolved.outputs
    assert poses is not None and root is not None and matrices is not None
    ones = np.ones((2, 21, 3))
    assert_array_equal(poses.act(ones), ones * [1, -1, -1])
    assert_array_equal(root.act(np.ones((2, 1, 4)))[0, 0], [1, 1, -1, -1])
    assert_array_equal(matrices.act(np.ones((2, 21, 9)))[0, 3], [1, -1, -1, -1, 1, 1, -1, 1, 1])


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("order: matrix", "`order` without `kind`"),
        ("kind: rotation", "the order of the numbers of a rotation is not said"),
        ("kind: rotation, order: rows", "rotation (the order of its numbers)"),
        ("kind: axial, signs: [1, -1, -1]", "`signs` as a list beside `kind`, from which all signs follow"),
        ("kind: axial, negate: [x]", "`negate` beside `kind`, from which all signs follow"),
        ("kind: rotation, order: matrix, reflect: {x: 1}", "`reflect` beside `kind`"),
        ("kind: rotation, order: matrix, free: true", "`kind` has no meaning beside `free`"),
    ],
)
def test_what_is_said_twice_or_by_half(keys: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(BODY.format("x") + f"inputs: [{{layout: b j d, {keys}}}]")
    assert message in str(caught.value)


def test_without_a_lateral_axis() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(BODY.format("x, y") + "inputs: [{layout: b j d, kind: rotation, order: matrix}]")
    assert "no `lateral` axis of skeleton" in str(caught.value) and "add `lateral: x`" in str(caught.value)


@pytest.mark.parametrize(
    ("size", "written"),
    [(9, "kind: rotation, order: matrix"), (6, "kind: rotation, order: 6d_by_column"),
     (4, "kind: quaternion, order: wxyz")],
)  # fmt: skip
def test_sizes_of_rotations_are_named(size: int, written: str) -> None:
    with pytest.raises((SpecError, UsageError)) as caught:
        resolve(parse_spec("skeleton: amass-22\noutputs: [{}]"), [], [(2, 22, size)])
    assert f'or, of rotations, outputs: [{{layout: "b j d", {written}}}]' in str(caught.value)


def test_a_translation_among_rotations() -> None:
    """As motion diffusion has it: padded with zeros, which have any sign, so that joints and numbers make a product."""
    keys = "kind: rotation, order: 6d_by_column, signs: {root: [-1, 1, 1, 1, -1, -1]}"
    text = BODY.format("x") + f"inputs: [{{layout: b j d t, {keys}}}]"
    (on_poses,) = resolve(parse_spec(text), [(2, 3, 6, 4)], []).inputs
    assert on_poses is not None
    values = np.random.default_rng(0).normal(size=(2, 3, 6, 4))
    values[:, 0, 3:] = 0
    signs = np.tile([1, -1, -1, -1, 1, 1], (3, 1))
    signs[0, :3] = [-1, 1, 1]
    assert_array_equal(on_poses.act(values), values[:, SWAPPED] * signs[:, :, None])
    (entry,) = parse_spec(text).entries
    again = parse_spec(BODY.format("x") + f"inputs: [{entry.to_dict()}]")
    assert again.entries == (entry,)


def test_a_padded_translation_with_the_signs_of_three_numbers_says_how_to_go_on() -> None:
    keys = "kind: rotation, order: 6d_by_column, signs: {move: [-1, 1, 1, 1, 1, 1]}"
    text = f"joints: [left, right, move]\npairs: [[left, right]]\ninputs: [{{layout: b j d, {keys}}}]"
    with pytest.raises(SpecError) as caught:
        resolve(parse_spec(text), [(2, 3, 6)], [])
    assert "those of move are neither those of left" in str(caught.value)
    assert "0 has any sign, signs: {move: [-1, 1, 1, 1, -1, -1]}" in str(caught.value)


@pytest.mark.parametrize("keys", ["kind: rotation", "order: 6d_by_column", "kind: vector", "each: [{vector: v}]"])
def test_quantities_of_joints_among_fields_are_those_of_bodies(keys: str) -> None:
    with pytest.raises(SpecError, match=r"beside `joints`") as caught:
        parse_spec(f"skeleton: smpl-24\ninputs: [{{fields: [{{joints: pose, {keys}}}]}}]\n")
    assert "{bodies: [NAME, ...], kind: rotation, order: 6d_by_column, name: NAME}" in str(caught.value)
