"""Positions within `fields`: boxes, joints and vectors in pixels, against the mirror image of the things themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import chiralize
from chiralize.body.tensors import parse_spec, resolve
from chiralize.body.tensors.fields.box import BY_CORNER, ORDERS
from chiralize.body.tensors.linting import lint_specification
from chiralize.errors import SpecError, UnknownNameError, WrongValueError
from tests.support.small_body import BODY, normal

FILE = BODY + "negate: x\nlateral: x\n"
IMAGE = [0, 3, 4, 1, 2, 5]  # of the small body's joints
Array = np.ndarray


def box_of(points: Array, order: str) -> Array:
    """The box of points "sample point xy" in an order, by its definition."""
    (x1, y1), (x2, y2) = points.min(1).T, points.max(1).T
    numbers = {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "cx": (x1 + x2) / 2, "cy": (y1 + y2) / 2}
    numbers |= {"w": x2 - x1, "h": y2 - y1, "a": (x2 - x1) / (y2 - y1)}
    return np.stack([numbers[name] for name in ORDERS[order]], 1)


def turned(values: Array, file: str) -> Array:
    """T as the specification says it, on "sample entry"."""
    (tensor,) = resolve(parse_spec(file), [values.shape], [(len(values), 1)]).input_tensors
    assert tensor.representation is not None
    action = tensor.representation.axes[1].action
    center = np.zeros(1) if tensor.center is None else tensor.center
    return center + action.sign * (values - center)[:, action.partner]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(ORDERS)), st.sampled_from(["x", "y"]), st.integers(0, 2**32 - 1))
def test_the_box_of_mirrored_points_is_the_mirrored_box(order: str, lateral: str, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 640, (5, 7, 2))
    mirrored = points.copy()
    mirrored[..., "xy".index(lateral)] = 640 - points[..., "xy".index(lateral)]
    file = FILE.replace("lateral: x", f"lateral: {lateral}").replace("negate: x", f"negate: {lateral}")
    file += f"inputs: [{{fields: [{{box: {order}, name: box, reflect: {{{lateral}: 320}}}}]}}]\noutputs: [invariant]\n"
    np.testing.assert_allclose(turned(box_of(points, order), file), box_of(mirrored, order), atol=1e-9)


def test_offsets_of_boxes_count_from_nothing() -> None:
    """The next box less the last one."""
    points = np.random.default_rng(0).uniform(0, 640, (2, 5, 7, 2))
    offset = np.subtract(*(box_of(each, "xyxy") for each in points))
    points[..., 0] = 640 - points[..., 0]
    image = np.subtract(*(box_of(each, "xyxy") for each in points))
    file = FILE + "inputs: [{fields: [{box: xyxy, name: offset}]}]\noutputs: [invariant]\n"
    np.testing.assert_allclose(turned(offset, file), image, atol=1e-9)


MIXED = FILE + (
    "inputs:\n  - fields:\n"
    "      - {joints: pose, dims: [x, y, c], reflect: {x: 320}}\n"
    "      - {history: 2, of: [{vector: hand, dims: [x, y], reflect: {x: 1/2}}, {scalar: 1}], name: past}\n"
    "      - {items: [left, right], kind: vector, dims: [y, x], reflect: {x: 7}, major: entries, name: eyes}\n"
    "      - {box: xyxy, name: box, reflect: {x: 320}}\n"
    "      - {vector: speed, dims: [x, y]}\n"
    "outputs:\n  - fields: [{box: cxcywh, name: box, reflect: {x: 320}}, {vector: step, dims: [x, y]}]\n"
)
WIDTH = 18 + 6 + 4 + 4 + 2


def mirrored(x: Tensor) -> Tensor:
    """The mirror image of such an input, block by block."""
    pose, past, eyes, box, speed = x.split([18, 6, 4, 4, 2], -1)
    pose = pose.unflatten(-1, (6, 3))[:, IMAGE]
    pose = torch.stack([640 - pose[..., 0], pose[..., 1], pose[..., 2]], -1).flatten(1)
    past = past.unflatten(-1, (2, 3))
    past = torch.stack([1 - past[..., 0], past[..., 1], past[..., 2]], -1).flatten(1)
    left_y, right_y, left_x, right_x = eyes.unbind(-1)
    eyes = torch.stack([right_y, left_y, 14 - right_x, 14 - left_x], -1)
    box = torch.stack([640 - box[:, 2], box[:, 1], 640 - box[:, 0], box[:, 3]], -1)
    return torch.cat([pose, past, eyes, box, speed * torch.tensor([-1.0, 1.0])], -1)


def answer_mirrored(y: Tensor) -> Tensor:
    return torch.stack([640 - y[:, 0], *y[:, 1:4].unbind(-1), -y[:, 4], y[:, 5]], -1)


@pytest.mark.parametrize("method", ["average", "match", "project"])
def test_networks_on_mixed_positions_become_equivariant(method: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, 32), nn.ReLU(), nn.Linear(32, 6)).double().eval()
    for weight in net.parameters():
        weight.data = torch.randn_like(weight) ** 3 / 3
    x = (normal(40, WIDTH) * 100 + 200).double()
    chiral = chiralize.chiralize(net, parse_spec(MIXED), (x[:2],), method=method, force=True)
    with torch.no_grad():
        first, image = chiral(x), chiral(mirrored(x))
        wanted = (net(x) + answer_mirrored(net(mirrored(x)))) / 2
    scale = float(first.abs().max())
    assert float((image - answer_mirrored(first)).abs().max()) < 1e-9 * scale
    assert method != "average" or float((first - wanted).abs().max()) < 1e-9 * scale


def test_a_file_is_written_as_it_was_read() -> None:
    spec = parse_spec(MIXED)
    again = type(spec).from_dict(spec.to_dict())
    assert again.inputs == spec.inputs and again.outputs == spec.outputs and spec.is_affine
    assert not parse_spec(FILE + "inputs: [{fields: [{box: xyxy}]}]\noutputs: [invariant]\n").is_affine


@pytest.mark.parametrize(
    ("block", "error", "fragment"),
    [
        *((f"{{box: {order}}}", WrongValueError, "mirrored left edge is W - x - w") for order in BY_CORNER),
        ("{box: xyxy, reflect: {z: 1}}", UnknownNameError, "'z' is no dim"),
        ("{box: xyxy, reflect: {y: 240}}", SpecError, "centre of 'y', which is not negated"),
        ("{joints: pose, reflect: {z: 1}}", UnknownNameError, "the block has no dim 'z'"),
        ("{joints: pose, dims: [x, y], reflect: {z: 1}}", UnknownNameError, "'z' is no dim"),
        ("{joints: pose, kind: scalar, reflect: {x: 1}}", SpecError, "`reflect` beside `kind: scalar`"),
        ("{vector: v, dims: [x], reflect: {y: 1}}", UnknownNameError, "'y' is no dim"),
        ("{axial: w, reflect: {x: 1}}", SpecError, "`reflect` has no meaning beside `axial`"),
        ("{items: [left, right], kind: axial, reflect: {x: 1}}", UnknownNameError, "'x' is no dim"),
        ("{scalar: 4, reflect: {x: 1}}", SpecError, "`reflect` has no meaning beside `scalar`"),
    ],
)
def test_centres_that_mean_nothing_are_refused(block: str, error: type[SpecError], fragment: str) -> None:
    with pytest.raises(error, match=fragment.replace("(", "\\(")):
        resolve(parse_spec(FILE + f"inputs: [{{fields: [{block}]}}]\noutputs: [invariant]\n"), [(2, 4)], [(2, 1)])


def test_lint_asks_for_missing_joints(tmp_path: Path) -> None:
    """Which a box has not."""
    file = tmp_path / "s.yaml"
    for block, asks in (("{joints: pose, reflect: {x: 1}}", True), ("{box: xyxy, reflect: {x: 1}}", False)):
        file.write_text(FILE + f"inputs: [{{fields: [{block}]}}]\noutputs: [invariant]\n")
        assert any("reflect without `missing`" in finding.message for finding in lint_specification(file)) == asks
