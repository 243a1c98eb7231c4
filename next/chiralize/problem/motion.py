"""People in motion before a camera, drawn from what comes with the package.

A motion is a chain of key poses, 0.16 s apart: directions of 16 bones and the height of the hip, in a frame that turns
with the body, as numbers of a linear code; a step to the next is (turn, sideways, forward). 1,024 chains of 40 key
poses were drawn from a model of motion capture; those that left its range (codes beyond 7 spreads) were not taken. A
motion starts anywhere on one. Between key poses runs a cubic spline.
Bones keep their lengths, which are drawn once a motion, equal on both sides. Half of the motions are mirrored, so that
the distribution is exactly symmetric whatever the capture was.

A body that faces along z has its left side along x; y is up. Arrays are "motion key ..." first, and
"motion frame joint 3" in metres at the end. Nothing here knows another skeleton (`landmarks`) or a network (`poses`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_DATA = Path(__file__).parents[1] / "data"
JOINTS = tuple(
    "hip right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax neck head "
    "left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist".split()
)
"""Human3.6M's 17: `neck` is the base of the skull, `head` the top of the head, `thorax` lies between the shoulders."""
PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
"""The joint that the bone of every joint comes from; bone b ends in joint b + 1, since the hip has none."""
PARTNERS = (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
STEP, RATE = 8, 50.0
"""Frames from one key pose to the next, and frames a second: those of the capture."""
_SIZES = 0.05
"""Spread of the size of bodies, in units of the mean; bones vary by half of that beside it."""
_DISTANCES, _HEIGHTS, _LOOKED_AT, _FOCAL = (4.0, 5.6), (1.1, 1.8), (0.8, 1.0), (2.1, 2.5)
"""Of cameras as motion capture studios have them, metres; focal lengths in half widths, Human3.6M's are 2.29."""
_AROUND, _WALK = 1.2, 1.8
"""Metres about the axis in which motions have their middle, and that a motion leads away from it at most."""
_NEAREST = 0.5
"""Metres: nothing is projected from nearer."""


# ---- motions --------------------------------------------------------------------------------------------------------
@cache
def _chains() -> Mapping[str, Array]:
    """Codes "chain key 30" with their center and basis, steps "chain key-1 3" with their scale, lengths of bones."""
    with np.load(_DATA / "motion.npz", allow_pickle=False) as file:
        return {name: file[name].astype(np.float64) for name in file.files}


def longest(rate: float = RATE) -> int:
    """How many frames a motion may have."""
    return int((_chains()["codes"].shape[1] - 2) * STEP * rate / RATE) + 1


def draw(count: int, frames: int, seed: int, rate: float = RATE) -> Array:
    """Motions, "motion frame joint 3": metres, y up, the floor at 0, the hip above the origin in the middle frame.

    rate: frames a second.  They face any direction; each is as likely as its mirror image.
    """
    chains, generator = _chains(), np.random.default_rng(seed)
    # 1. Key poses that span so many frames, with one beyond each end, from anywhere on a chain.
    keys = max(3, int(np.ceil((frames - 1) * RATE / rate / STEP)) + 2)
    chain = generator.integers(len(chains["codes"]), size=(count, 1))
    at = generator.integers(chains["codes"].shape[1] - keys + 1, size=(count, 1)) + np.arange(keys)
    codes, steps = chains["codes"][chain, at], chains["steps"][chain, at[:, :-1]] * chains["scale"]
    # 2. Frames, in units of key poses, about the middle of the chain.
    times = np.linspace(-0.5, 0.5, frames) if frames > 1 else np.zeros(1)
    times = times * ((frames - 1) * RATE / rate / STEP) + (keys - 1) / 2
    # 3. Codes, heading and position of every frame, in one spline.
    turn, path = _path(steps, generator.uniform(0, 2 * np.pi, count))
    track = _between(np.concatenate([codes, turn[..., None], path], 2), times)
    # 4. The body: bones put together, turned, and moved to its position.
    size = codes.shape[-1]
    pose = track[..., :size] @ chains["basis"].T + chains["center"]
    bones = len(JOINTS) - 1
    offsets = _standing(pose[..., :-1].reshape(count, frames, bones, 3), _lengths(generator, count))
    joints = _turned(offsets, track[..., size])
    joints[..., 1] += pose[..., -1:]
    joints[..., [0, 2]] += track[..., None, size + 1 :]
    # 5. The hip of the middle frame above the origin; half of the motions mirrored.
    middle = joints[:, (frames - 1) // 2, 0][:, [0, 2]]
    joints[..., [0, 2]] -= middle[:, None, None]
    flipped = generator.random(count) < 0.5
    joints[flipped] = mirrored(joints[flipped])
    return joints


def mirrored(joints: Array) -> Array:
    """Motions mirrored at the plane x = 0, with left and right joints exchanged.  joints: "... joint 3"."""
    return joints[..., list(PARTNERS), :] * np.array([-1.0, 1.0, 1.0])


def _path(steps: Array, facing: Array) -> tuple[Array, Array]:
    """Headings "motion key" in radians and positions "motion key 2" (x, z) that steps in the body's frame lead to."""
    turn = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps[..., 0], 1)], 1) + facing[:, None]
    sine, cosine = np.sin(turn[:, :-1]), np.cos(turn[:, :-1])
    moved = np.stack([cosine * steps[..., 1] + sine * steps[..., 2], -sine * steps[..., 1] + cosine * steps[..., 2]], 2)
    return turn, np.concatenate([np.zeros((len(steps), 1, 2)), np.cumsum(moved, 1)], 1)


def _between(values: Array, times: Array) -> Array:
    """Values "motion key number" at other times, "motion time number": the cubic spline of Catmull and Rom."""
    # One value more at either end, on a straight line: the outermost stretches have neighbours as the others have.
    ends = np.concatenate([2 * values[:, :1] - values[:, 1:2], values, 2 * values[:, -1:] - values[:, -2:-1]], 1)
    first = np.clip(np.floor(times).astype(int), 0, values.shape[1] - 2)
    at = (times - first)[:, None]
    before, start, stop, after = (ends[:, first + shift] for shift in range(4))
    slope, bend = (stop - before) / 2, (after - start) / 2  # the derivatives at `start` and at `stop`
    square, cube = at**2, at**3
    return (
        (2 * cube - 3 * square + 1) * start
        + (cube - 2 * square + at) * slope
        + (3 * square - 2 * cube) * stop
        + (cube - square) * bend
    )


def _lengths(generator: np.random.Generator, count: int) -> Array:
    """Lengths of the bones, "motion 16", metres: bodies of several sizes, the same on both sides."""
    lengths, partner = _chains()["lengths"], np.array(PARTNERS[1:]) - 1  # bones are counted from the second joint
    size = 1 + _SIZES * generator.standard_normal((count, 1))
    each = 1 + _SIZES / 2 * generator.standard_normal((count, len(lengths)))
    return (lengths + lengths[partner]) / 2 * size * (each + each[:, partner]) / 2


def _standing(directions: Array, lengths: Array) -> Array:
    """Joints from the hip, "motion frame 17 3", of bones of these directions and lengths."""
    directions = directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-6)
    joints = np.zeros((*directions.shape[:2], len(JOINTS), 3))
    for joint in range(1, len(JOINTS)):
        bone = directions[:, :, joint - 1] * lengths[:, None, joint - 1, None]
        joints[:, :, joint] = joints[:, :, PARENTS[joint]] + bone
    return joints


def _turned(offsets: Array, turn: Array) -> Array:
    """Joints turned about the vertical axis.  offsets: "motion frame joint 3", turn: "motion frame", radians."""
    sine, cosine = np.sin(turn)[..., None], np.cos(turn)[..., None]
    x, y, z = offsets[..., 0], offsets[..., 1], offsets[..., 2]
    return np.stack([cosine * x + sine * z, y, -sine * x + cosine * z], -1)


# ---- cameras --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scene:
    """Motions before cameras.

    world: the joints "motion frame joint 3": metres, y up, the floor at 0, the camera at x = 0.  camera: in the frame
    of the camera, x right, y down, z forward.  focal: length, in units of half the width of the image, "motion".
    """

    world: Array
    camera: Array
    focal: Array


def projected(points: Array, focal: Array) -> Array:
    """Points "motion frame point 3" before cameras in their images, over half the width: x right, y down."""
    return focal[:, None, None, None] * points[..., :2] / np.maximum(points[..., 2:], _NEAREST)


def scene(joints: Array, seed: int) -> Scene:
    """Motions "motion frame joint 3" (metres, y up) before cameras, one drawn for each.

    The axis lies in the centre of the image, so that projection commutes with the mirror.
    """
    generator, count = np.random.default_rng([seed, 1]), len(joints)
    limits = (_DISTANCES, _HEIGHTS, _LOOKED_AT, _FOCAL)
    distance, height, target, focal = (generator.uniform(*each, (count, 1, 1)) for each in limits)
    radius, angle = _AROUND * np.sqrt(generator.random(count)), generator.uniform(0, 2 * np.pi, count)
    aside = np.stack([radius * np.cos(angle), np.zeros(count), radius * np.sin(angle)], -1)  # evenly within a circle
    world = _held(joints) + aside[:, None, None]
    # The camera stands at (0, height, distance), looks along -z, and is turned down to what it looks at.
    ahead, below = distance - world[..., 2], height - world[..., 1]
    pitch = np.arctan2(height - target, distance)
    sine, cosine = np.sin(pitch), np.cos(pitch)
    camera = np.stack([world[..., 0], cosine * below - sine * ahead, sine * below + cosine * ahead], -1)
    return Scene(world, camera, focal[:, 0, 0])


def _held(joints: Array) -> Array:
    """The motions, with paths that end at most `_WALK` from where they were in the middle."""
    path = joints[:, :, :1] * np.array([1.0, 0.0, 1.0])  # of the hip, on the floor; 0 in the middle frame
    far = np.linalg.norm(path, axis=-1, keepdims=True)
    # A distance d becomes WALK tanh(d / WALK): nearly d while that is small, never more than WALK.
    return joints + path * (_WALK * np.tanh(far / _WALK) / np.maximum(far, 1e-6) - 1)
