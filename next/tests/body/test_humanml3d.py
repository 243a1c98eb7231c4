"""The 263 numbers of a frame of HumanML3D, worked out of a body that moves and of its mirror image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from chiralize.body.catalog import load_skeleton
from chiralize.body.resolve import resolve
from chiralize.body.spec import load_spec

Array = npt.NDArray[np.float64]
JOINTS = load_skeleton("humanml3d").joints
SWAP = [JOINTS.index(name.replace("left", "@").replace("right", "left").replace("@", "right")) for name in JOINTS]
FRAMES = 12
LEFT_HIP, RIGHT_HIP, LEFT_SHOULDER, RIGHT_SHOULDER = (
    JOINTS.index(name) for name in ("left_hip", "right_hip", "left_shoulder", "right_shoulder")
)
HEELS_AND_TOES = [JOINTS.index(name) for name in ("left_ankle", "left_foot", "right_ankle", "right_foot")]


def turns(axes: Array) -> Array:
    """The rotation matrices of turns about axes, "... 3 3"."""
    angle = np.linalg.norm(axes, axis=-1)[..., None, None] + 1e-12
    x, y, z = np.moveaxis(axes, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3) / angle
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def body(seed: int) -> tuple[Array, Array]:
    """A body that walks a curve: its joints, "frame joint coordinate", and their rotations, "frame joint 3 3"."""
    rng, time = np.random.default_rng(seed), np.linspace(0, 1, FRAMES)[:, None, None]
    first, second = rng.normal(size=(2, 22, 3))
    limbs = 0.3 * rng.normal(size=(22, 3)) + 0.2 * np.sin(3 * time + first)
    limbs[:, [LEFT_HIP, LEFT_SHOULDER], 0] += 1
    limbs[:, [RIGHT_HIP, RIGHT_SHOULDER], 0] -= 1
    limbs[:, HEELS_AND_TOES[:3]] = limbs[:1, HEELS_AND_TOES[:3]]  # three that may be in contact
    heading = turns(time[:, 0] * [0.0, rng.normal(), 0.0])
    places = np.einsum("tij,tkj->tki", heading, limbs) + time * rng.normal(size=3) * 0.1
    return places, turns(np.sin(2 * time + second))


def mirrored(places: Array, rotations: Array) -> tuple[Array, Array]:
    """The body seen in a mirror: x negated, left and right exchanged."""
    mirror = np.diag([-1.0, 1.0, 1.0])
    return places[:, SWAP] @ mirror, mirror @ rotations[:, SWAP] @ mirror


def numbers(places: Array, rotations: Array) -> Array:
    """The 263 numbers of every frame but the last."""
    across = places[:, LEFT_HIP] - places[:, RIGHT_HIP] + places[:, LEFT_SHOULDER] - places[:, RIGHT_SHOULDER]
    heading = np.arctan2(-across[:, 2], across[:, 0])
    back = turns(heading[:, None] * [0.0, -1.0, 0.0])[:-1]
    moved = np.diff(places, axis=0)
    root = places[:-1, :1] * [1, 0, 1]
    velocity = np.einsum("tij,tkj->tki", back, moved)
    parts = (
        np.diff(heading)[:, None],
        velocity[:, 0, [0, 2]],
        places[:-1, 0, 1:2],
        np.einsum("tij,tkj->tki", back, places[:-1] - root)[:, 1:],
        np.moveaxis(rotations[:-1, 1:, :, :2], -1, -2),
        velocity,
        (moved[:, HEELS_AND_TOES] ** 2).sum(-1) < 0.002,
    )
    return np.concatenate([part.reshape(FRAMES - 1, -1) for part in parts], -1)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_of_the_mirrored_body_are_the_mirrored_numbers(seed: int) -> None:
    resolved = resolve(load_spec("humanml3d-263"), [(1, FRAMES - 1, 263)], [(1, FRAMES - 1, 263)])
    plain, turned = numbers(*body(seed)), numbers(*mirrored(*body(seed)))
    assert 0 < plain[:, 259:].mean() < 1, "contacts that are, and that are not"
    for representation in (resolved.inputs[0].representation, resolved.outputs[0].representation):
        assert representation is not None
        np.testing.assert_allclose(representation.axes[2].action.act(plain, axis=1), turned, atol=1e-12)
    assert np.abs(plain - turned).max(0).reshape(-1)[:2].min() > 1e-3, "a turn and a side step are negated"


def test_the_joints_are_those_of_amass() -> None:
    one, other = load_skeleton("humanml3d-263"), load_skeleton("amass-22")
    assert (one.joints, one.pairs, one.negate) == (other.joints, other.pairs, other.negate)
