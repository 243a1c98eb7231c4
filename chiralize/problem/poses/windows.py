"""Windows of drawn motions with their answers: what a lifter takes, and the pose that it should answer with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chiralize.problem.poses.camera import scene
from chiralize.problem.poses.motion import JOINTS, RATE, draw

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Windows:
    """Windows of motions, and the pose in the middle of each.

    inputs: "window frame joint 2", image coordinates over half the width, x right, y down, the centre at 0.  targets:
    "window joint 3", metres in the frame of the camera, relative to the hip.
    """

    inputs: Array
    targets: Array


def windows(count: int, frames: int, seed: int) -> Windows:
    """Windows of so many frames, 50 a second, of Human3.6M's 17 joints; each is another motion before another camera.

    Windows of different seeds have nothing in common but the model of motion that they are drawn from.
    """
    drawn = scene(draw(count, frames, seed, RATE), seed)
    middle = drawn.camera[:, frames // 2]
    hip = JOINTS.index("hip")
    targets = middle - middle[:, hip : hip + 1]
    return Windows(drawn.image.astype(np.float32), targets.astype(np.float32))
