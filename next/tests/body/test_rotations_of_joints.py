"""`kind: rotation` in a layout: joints with rotations in place of coordinates."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from chiralize.body.resolve import resolve
from chiralize.body.spec import parse_spec
from chiralize.errors import SpecError

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
    by_axes, by_coordinate = resolve(spec, [values.shape, merged.shape], []).representations("input")
    assert by_axes is not None and by_coordinate is not None
    assert_array_equal(by_axes.act(values), expected)
    assert_array_equal(by_coordinate.act(merged), expected.transpose(0, 2, 1).reshape(4, -1))
    assert [entry.to_dict() for entry in parse_spec(text).tensors][0] == {
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
    (poses,), (root, matrices) = resolved.representations("input"), resolved.representations("output")
    assert poses is not None and root is not None and matrices is not None
    ones = np.ones((2, 21, 3))
    assert_array_equal(poses.act(ones), ones * [1, -1, -1])
    assert_array_equal(root.act(np.ones((2, 1, 4)))[0, 0], [1, 1, -1, -1])
    assert_array_equal(matrices.act(np.ones((2, 21, 9)))[0, 3], [1, -1, -1, -1, 1, 1, -1, 1, 1])


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ("order: matrix", "CH106"),
        ("kind: rotation", "CH107"),
        ("kind: rotation, order: rows", "CH106"),
        ("kind: axial, signs: [1, -1, -1]", "CH106"),
        ("kind: axial, negate: [x]", "CH106"),
        ("kind: rotation, order: matrix, reflect: {x: 1}", "CH106"),
        ("kind: rotation, order: matrix, free: true", "CH106"),
    ],
)
def test_what_is_said_twice_or_by_half(keys: str, code: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(BODY.format("x") + f"inputs: [{{layout: b j d, {keys}}}]", "f.yaml")
    assert (caught.value.code, caught.value.where) == (code, "f.yaml:5")


def test_a_translation_among_rotations() -> None:
    """As motion diffusion has it: padded with zeros, which have any sign, so that joints and numbers make a product."""
    keys = "kind: rotation, order: 6d_by_column, signs: {root: [-1, 1, 1, 1, -1, -1]}"
    text = BODY.format("x") + f"inputs: [{{layout: b j d t, {keys}}}]"
    (on_poses,) = resolve(parse_spec(text), [(2, 3, 6, 4)], []).representations("input")
    assert on_poses is not None
    values = np.random.default_rng(0).normal(size=(2, 3, 6, 4))
    values[:, 0, 3:] = 0
    signs = np.tile([1, -1, -1, -1, 1, 1], (3, 1))
    signs[0, :3] = [-1, 1, 1]
    assert_array_equal(on_poses.act(values), values[:, SWAPPED] * signs[:, :, None])
    (entry,) = parse_spec(text).tensors
    again = parse_spec(BODY.format("x") + f"inputs: [{entry.to_dict()}]")
    assert again.tensors == (entry,)


def test_signs_that_are_no_product_of_joints_and_coordinates_are_refused() -> None:
    keys = "kind: rotation, order: 6d_by_column, signs: {move: [-1, 1, 1, 1, 1, 1]}"
    text = f"joints: [left, right, move]\npairs: [[left, right]]\ninputs: [{{layout: b j d, {keys}}}]"
    with pytest.raises(SpecError):
        resolve(parse_spec(text), [(2, 3, 6)], [])
