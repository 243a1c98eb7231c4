"""Pin-hole cameras around drawn motions, as those of motion capture studios stand: Human3.6M's and others'.

Nobody stands still before a camera: the middle of a motion lies within 1.2 m of the axis, and those who walk on are
slowed down before they pass the camera. Distance, height, focal length and what the camera looks at are drawn once a
motion. The axis lies in the centre of the image, so that projection commutes with the mirror.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DISTANCES = (4.0, 5.6)
HEIGHTS = (1.1, 1.8)
LOOKED_AT = (0.8, 1.0)
FOCAL = (2.1, 2.5)
"""Of half the width of the image; Human3.6M's are 2.29."""
AROUND = 1.2
WALK = 1.8
"""Metres that a motion may lead away from where it was in the middle."""


@dataclass(frozen=True)
class Seen:
    """Motions before cameras. image: "motion frame joint 2", over half the width, x right, y down, the axis at 0.

    camera: the joints "motion frame joint 3" in the frame of the camera: metres, x right, y down, z forward.
    """

    image: Array
    camera: Array


def seen(joints: Array, seed: int) -> Seen:
    """Motions "motion frame joint 3" (metres, y up) as cameras see them, one drawn for each."""
    generator = np.random.default_rng([seed, 1])
    count = len(joints)
    distance, height, target, focal = (
        generator.uniform(*limits, (count, 1, 1)) for limits in (DISTANCES, HEIGHTS, LOOKED_AT, FOCAL)
    )
    radius = AROUND * np.sqrt(generator.random((count, 1)))
    angle = generator.uniform(0, 2 * np.pi, (count, 1))
    joints = _held(joints)
    x = joints[..., 0] + (radius * np.cos(angle))[..., None]
    ahead = distance - joints[..., 2] - (radius * np.sin(angle))[..., None]
    below = height - joints[..., 1]
    pitch = np.arctan2(height - target, distance)
    sine, cosine = np.sin(pitch), np.cos(pitch)
    camera = np.stack([x, cosine * below - sine * ahead, sine * below + cosine * ahead], -1)
    return Seen(focal[..., None] * camera[..., :2] / np.maximum(camera[..., 2:], 0.5), camera)


def _held(joints: Array) -> Array:
    """The motions, with paths that end at most `WALK` from where they were in the middle."""
    path = joints[:, :, :1] * np.array([1.0, 0.0, 1.0])
    far = np.linalg.norm(path, axis=-1, keepdims=True)
    return joints + path * (WALK * np.tanh(far / WALK) / np.maximum(far, 1e-6) - 1)
