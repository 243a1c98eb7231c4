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
_NEAREST = 0.5
"""Metres: nothing is projected from nearer."""


@dataclass(frozen=True)
class Scene:
    """Motions before cameras.

    world: the joints "motion frame joint 3": metres, y up, the floor at 0, the camera at x = 0.  camera: in the frame
    of the camera, x right, y down, z forward.  focal: length, in units of half the width of the image, "motion".
    """

    world: Array
    camera: Array
    focal: Array

    @property
    def image(self) -> Array:
        """The joints "motion frame joint 2" in the image."""
        return projected(self.camera, self.focal)

    def cut(self, frames: slice) -> Scene:
        """Some of the frames."""
        return Scene(self.world[:, frames], self.camera[:, frames], self.focal)


def projected(points: Array, focal: Array) -> Array:
    """Points "motion frame point 3" before cameras in their images, over half the width: x right, y down."""
    return focal[:, None, None, None] * points[..., :2] / np.maximum(points[..., 2:], _NEAREST)


def scene(joints: Array, seed: int) -> Scene:
    """Motions "motion frame joint 3" (metres, y up) before cameras, one drawn for each."""
    generator = np.random.default_rng([seed, 1])
    count = len(joints)
    distance, height, target, focal = (
        generator.uniform(*limits, (count, 1, 1)) for limits in (DISTANCES, HEIGHTS, LOOKED_AT, FOCAL)
    )
    radius = AROUND * np.sqrt(generator.random(count))
    angle = generator.uniform(0, 2 * np.pi, count)
    aside = np.stack([radius * np.cos(angle), np.zeros(count), radius * np.sin(angle)], -1)  # evenly within a circle
    world = _held(joints) + aside[:, None, None]
    # The camera stands at (0, height, distance), looks along -z, and is turned down to what it looks at.
    ahead, below = distance - world[..., 2], height - world[..., 1]
    pitch = np.arctan2(height - target, distance)
    sine, cosine = np.sin(pitch), np.cos(pitch)
    camera = np.stack([world[..., 0], cosine * below - sine * ahead, sine * below + cosine * ahead], -1)
    return Scene(world, camera, focal[:, 0, 0])


def _held(joints: Array) -> Array:
    """The motions, with paths that end at most `WALK` from where they were in the middle."""
    path = joints[:, :, :1] * np.array([1.0, 0.0, 1.0])  # of the hip, on the floor; 0 in the middle frame
    far = np.linalg.norm(path, axis=-1, keepdims=True)
    # A distance d becomes WALK tanh(d / WALK): nearly d while that is small, never more than WALK.
    return joints + path * (WALK * np.tanh(far / WALK) / np.maximum(far, 1e-6) - 1)
