"""The calibrated cameras of Human3.6M and HumanEva-I: where a point of the world is for a camera, and in its image."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

CALIBRATION = Path(__file__).with_name("cameras.json")


@dataclass(frozen=True)
class Camera:
    """orientation: unit quaternion w, x, y, z of the rotation from camera to world.  position: in the world, metres.

    size: width and height of the image, pixels.  focal, center: pixels; radial (k1, k2, k3), tangential (p1, p2):
    lens distortion; None where they are not published.
    """

    orientation: tuple[float, ...]
    position: tuple[float, ...]
    size: tuple[int, int]
    focal: tuple[float, float] | None = None
    center: tuple[float, float] | None = None
    radial: tuple[float, ...] = (0.0, 0.0, 0.0)
    tangential: tuple[float, ...] = (0.0, 0.0)

    @cached_property
    def rotation(self) -> np.ndarray:
        """From camera to world, `3 3`."""
        w, *axis = np.asarray(self.orientation, float) / np.linalg.norm(self.orientation)
        x, y, z = axis
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return np.eye(3) + 2 * w * cross + 2 * cross @ cross  # Rodrigues' formula in the half angle

    def seen(self, world: np.ndarray) -> np.ndarray:
        """Points of the world, `... 3` in metres, in the camera's frame: x right, y down, z forward."""
        return (world - np.asarray(self.position)) @ self.rotation

    def project(self, seen: np.ndarray) -> np.ndarray:
        """Pixels, `... 2`, of points in the camera's frame, by the camera model of Human3.6M.

        With x = (X, Y) / Z and r2 = |x|²: f (x (1 + k1 r2 + k2 r2² + k3 r2³ + p · x) + p r2) + c.
        Raises ValueError where the camera's lens is not known.
        """
        if self.focal is None or self.center is None:
            raise ValueError("the lens of this camera is not published; give a file of 2D poses.")
        flat = seen[..., :2] / seen[..., 2:]
        square = np.square(flat).sum(-1, keepdims=True)
        bend = 1 + sum(k * square ** (power + 1) for power, k in enumerate(self.radial))
        tangential = np.asarray(self.tangential)
        bend = bend + (flat * tangential).sum(-1, keepdims=True)
        return np.asarray(self.focal) * (flat * bend + tangential * square) + np.asarray(self.center)

    def normalised(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels over half the width, with the centre of the image at 0: x in [−1, 1]."""
        width, height = self.size
        return (np.asarray(pixels) - np.array([width / 2, height / 2])) / (width / 2)


def load_cameras(dataset: str) -> dict[str, tuple[Camera, ...]]:
    """Cameras by subject, in the order of the published files. dataset: h36m or humaneva."""
    table = json.loads(CALIBRATION.read_text(encoding="utf-8"))[dataset]
    return {
        subject: tuple(
            Camera(
                tuple(place["orientation"]),
                tuple(value / 1000 for value in place["translation_mm"]),
                **{key: tuple(value) for key, value in lens.items() if key != "name"},
            )
            for place, lens in zip(places, table["intrinsics"], strict=True)
        )
        for subject, places in table["extrinsics"].items()
    }
