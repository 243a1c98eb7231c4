"""Drawn people: plausible bodies, as likely as their mirror images, in the units that a network knows, or none."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.catalog import load_skeleton
from chiralize.body.resolve import OnTensor, resolve
from chiralize.body.spec import parse_spec
from chiralize.problem.landmarks import landmarks, placed
from chiralize.problem.motion import JOINTS, PARENTS, PARTNERS, draw, longest, mirrored, scene
from chiralize.problem.network import Network
from chiralize.problem.poses import Form, View, conventions, drawn_people
from chiralize.problem.prepare import prepare


# ---- motion -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("frames", [1, 2, 27, 243])
def test_bones_keep_plausible_lengths_equal_on_both_sides(frames: int) -> None:
    joints = draw(30, frames, 3)
    lengths = np.linalg.norm(joints[..., 1:, :] - joints[..., list(PARENTS[1:]), :], axis=-1)
    assert lengths.shape == (30, frames, 16) and np.ptp(lengths, axis=1).max() < 1e-9
    assert np.allclose(lengths, lengths[..., [partner - 1 for partner in PARTNERS[1:]]])
    for name, (low, high) in {"knee": (0.34, 0.5), "elbow": (0.22, 0.35), "spine": (0.09, 0.15)}.items():
        of_kind = [index - 1 for index, joint in enumerate(JOINTS) if joint.endswith(name)]
        assert low < lengths[..., of_kind].min() and lengths[..., of_kind].max() < high
    assert lengths.mean((1, 2)).std() > 0.003, "bodies of several sizes"


def test_the_same_seed_draws_the_same() -> None:
    assert np.array_equal(draw(5, 20, 7), draw(5, 20, 7)) and not np.allclose(draw(5, 20, 7), draw(5, 20, 8))


def test_left_and_right_are_equally_likely() -> None:
    """Means and third moments of a large draw are those of its mirror image, within the noise."""
    joints = draw(20000, 1, 1)[:, 0]
    joints[:, :, [0, 2]] -= joints[:, :1, [0, 2]]
    for power in (1, 3):
        ours, theirs = (np.power(poses, power) for poses in (joints, mirrored(joints)))
        noise = np.sqrt((ours.var(0) + theirs.var(0)) / len(ours)) + 1e-9
        assert np.abs((ours.mean(0) - theirs.mean(0)) / noise).max() < 5


def test_people_stand_on_the_floor_and_do_not_fly() -> None:
    joints = draw(500, 27, 5)
    lowest, hip = joints[..., 1].min(-1), joints[:, :, 0, 1]
    assert np.median(hip) == pytest.approx(1.0, abs=0.15) and np.abs(np.median(lowest)) < 0.25
    speed = 50 * np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    assert 0.3 < np.median(speed) < 1.2 and np.percentile(speed, 99) < 8
    across = joints[:, 0, JOINTS.index("left_hip")] - joints[:, 0, JOINTS.index("right_hip")]
    assert np.histogram(np.arctan2(across[:, 2], across[:, 0]), 8, (-np.pi, np.pi))[0].min() > 30


def test_projection_commutes_with_the_mirror() -> None:
    points = landmarks(load_skeleton("body-25"))
    assert points is not None
    body = load_skeleton("body-25")
    image = [body.partner(index) for index in range(len(points))]
    joints = scene(draw(20, 3, 4), 4).world
    ours, theirs = placed(points, joints), placed(points, mirrored(joints))
    assert np.allclose(theirs, ours[..., image, :] * np.array([-1.0, 1.0, 1.0]))


@pytest.mark.parametrize("name", ["h36m", "coco", "smpl", "ntu", "mediapipe", "openpose"])
def test_human_skeletons_have_landmarks(name: str) -> None:
    skeleton = load_skeleton(name)
    points = landmarks(skeleton)
    assert points is not None and len(points) == len(skeleton.joints)
    assert all(sum(weight for _, weight in point.weights) == pytest.approx(1) for point in points)


@pytest.mark.parametrize("name", ["quadruped", "macaque"])
def test_others_have_none(name: str) -> None:
    assert landmarks(load_skeleton(name)) is None


# ---- layouts ----------------------------------------------------------------------------------------------------
SIZES = {"b": 4, "t": 9, "j": 17, "d": 2, "1": 1, "m": 2}
LAYOUTS = ["b t j d", "b j d", "b d t j", "b t (j d)", "b (d j)", "b (t j d)", "b (j d) t", "b d t j 1", "b 1 j d"]


def laid_out(layout: str, entry: str = "dims: [x, y]") -> OnTensor:
    axes = layout.replace("(", "").replace(")", "*").split()
    shape, merged = list[int](), 1
    inside = False
    for word, raw in zip(axes, layout.split(), strict=True):
        inside = inside or raw.startswith("(")
        merged *= SIZES[word.rstrip("*")]
        if not inside or word.endswith("*"):
            shape.append(merged)
            merged, inside = 1, False
    spec = parse_spec(f"skeleton: h36m\ninputs: [{{layout: {layout}, {entry}}}]\noutputs: [{{free: true}}]\n")
    return resolve(spec, [tuple(shape)], [(4, 1)]).inputs[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_people_in_every_layout_and_back(layout: str) -> None:
    tensor = laid_out(layout)
    form = Form.of(tensor)
    assert form is not None
    values = np.random.default_rng(0).normal(size=(4, 9 if "t" in layout else 1, 17, 2))
    filled = form.filled(values)
    assert filled.shape == tensor.shape and np.array_equal(form.read(torch.from_numpy(filled)), values)


@pytest.mark.parametrize(("layout", "entry"), [
    ("b t j m d", "dims: [x, y]"), ("b j d", "dims: [x, y], negate: [x, y]"), ("b j d", "dims: [x, q], negate: [x]"),
])  # fmt: skip
def test_what_holds_no_positions_has_no_form(layout: str, entry: str) -> None:
    """Several people, a mirror that turns the picture, coordinates that are none."""
    assert Form.of(laid_out(layout, entry)) is None


# ---- what a network knows ---------------------------------------------------------------------------------------
SPEC = "skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]%s}]\noutputs: [{layout: b j d}]\n"


@cache
def lifter(norm: bool = False) -> nn.Module:
    """From people in image coordinates over half the width to metres from the hip, by random features and a ridge.

    norm: with a batch norm that has seen them.
    """
    torch.manual_seed(0)
    form = Form.of(laid_out("b j d"))
    assert form is not None
    view = View.of(form, 8000, 9)
    x = torch.from_numpy(view.image[:, 0]).flatten(1)
    y = torch.from_numpy((view.camera - view.hip)[:, 0]).flatten(1)
    white = torch.linalg.cholesky(torch.linalg.inv(torch.cov(x.T) + 1e-4 * torch.eye(34).double()))
    weight = 1.5 * white @ torch.randn(34, 440).double() / 34**0.5
    before = (x - x.mean(0)) @ weight + 0.7 * torch.randn(440).double()
    features = torch.cat([before.relu(), torch.ones(len(x), 1).double()], 1)
    ridge = 1e-5 * len(x) * features.var() * torch.eye(441).double()
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ y)
    first, last, seen = nn.Linear(34, 440), nn.Linear(440, 51), nn.BatchNorm1d(440, momentum=None)
    with torch.no_grad():
        first.weight.copy_(weight.T)
        first.bias.copy_(before[0] - x[0] @ weight)
        last.weight.copy_(solution[:-1].T)
        last.bias.copy_(solution[-1])
        seen.train()(before.float())
        seen.weight.copy_((seen.running_var + seen.eps).sqrt())  # type: ignore[operator]
        seen.bias.copy_(seen.running_mean)  # type: ignore[arg-type]
    layers: list[nn.Module] = [nn.Flatten(), first, *([seen] if norm else []), nn.ReLU(), last]
    return nn.Sequential(*layers, nn.Unflatten(1, (17, 3))).eval()


class Dressed(nn.Module):
    """A lifter of poses in other units, or with joints in another order."""

    def __init__(self, net: nn.Module, factor: Any = 1.0, offset: Any = 0.0, order: Any = range(17)) -> None:
        super().__init__()
        self.net, self.order = net, list(order)
        self.factor, self.offset = torch.tensor(factor), torch.tensor(offset)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(((x - self.offset) / self.factor)[:, self.order])


def ready(net: nn.Module, said: str = "") -> Network:
    return prepare(net, (torch.randn(2, 17, 2),), {}, parse_spec(SPEC % said))


def convention(network: Network) -> str:
    people = drawn_people(network)
    assert people is not None
    return people.words.partition(";")[0]


UNITS = {
    "image coordinates over half the width": (1.0, 0.0, ""),
    "image coordinates, y up": ([1.0, -1.0], 0.0, ""),
    "image coordinates over half the width, times 500": (500.0, 0.0, ""),
    "pixels of an image of 1000 by 1000": (500.0, 500.0, ", reflect: {x: 500}"),
}


@pytest.mark.parametrize("title", UNITS)
def test_the_answers_tell_the_units(title: str) -> None:
    factor, offset, said = UNITS[title]
    assert convention(ready(Dressed(lifter(), factor, offset), said)) == title


@pytest.mark.parametrize("factor", [1.0, 0.1, 370.0])
def test_the_memory_tells_any_unit(factor: float) -> None:
    name, _, unit = convention(ready(Dressed(lifter(norm=True), factor))).partition(", times ")
    assert name == "image coordinates over half the width" and float(unit or 1) == pytest.approx(factor, rel=0.1)


@pytest.mark.parametrize("norm", [True, False])
def test_joints_in_another_order_are_noticed(norm: bool) -> None:
    """Arms where the specification says legs: the mirror is right, and the people are wrong."""
    order = [0, 14, 15, 16, 11, 12, 13, 7, 8, 9, 10, 4, 5, 6, 1, 2, 3]
    assert drawn_people(ready(Dressed(lifter(norm), order=order))) is None


def test_nothing_tells_of_a_network_without_memory_and_depth() -> None:
    spec = "skeleton: h36m\ninputs: [{layout: b j d, dims: [x, y]}]\noutputs: [{layout: b j d, dims: [x, y]}]\n"
    network = prepare(nn.Linear(2, 2), (torch.randn(2, 17, 2),), {}, parse_spec(spec))
    assert drawn_people(network) is None


def test_a_network_that_hands_the_depth_on_is_not_believed() -> None:
    spec = "skeleton: h36m\ninputs: [{layout: b j d}]\noutputs: [{layout: b j d}]\n"
    assert drawn_people(prepare(nn.Linear(3, 3), (torch.randn(2, 17, 3),), {}, parse_spec(spec))) is None


def test_clips_that_are_longer_than_all_motions_have_none() -> None:
    assert 290 < longest() < 400
    names = [each.name for each in conventions(Form.of(laid_out("b j d")))]  # type: ignore[arg-type]
    assert len(names) == len({*names})
