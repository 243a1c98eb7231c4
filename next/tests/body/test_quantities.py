"""What the mirror does to forces, inertias and rotations, against the reflection of the things themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from chiralize.body.quantities import Quantity

Array = npt.NDArray[np.float64]
AXES = "xyz"


def reflection(lateral: str) -> Array:
    """The matrix that negates one axis."""
    return np.diag([-1.0 if axis == lateral else 1.0 for axis in AXES])


def turned(angle: float, axis: int) -> Array:
    """The matrix of a turn about an axis."""
    one, other = [number for number in range(3) if number != axis]
    matrix = np.eye(3)
    matrix[one, one] = matrix[other, other] = np.cos(angle)
    sign = -1 if axis != 1 else 1
    matrix[one, other], matrix[other, one] = sign * np.sin(angle), -sign * np.sin(angle)
    return matrix


def rotation(angles: Array) -> Array:
    """Of roll, pitch and yaw."""
    return turned(angles[2], 2) @ turned(angles[1], 1) @ turned(angles[0], 0)


def euler(matrix: Array) -> Array:
    """Roll, pitch and yaw of a matrix."""
    roll, yaw = np.arctan2(matrix[2, 1], matrix[2, 2]), np.arctan2(matrix[1, 0], matrix[0, 0])
    return np.array([roll, -np.arcsin(matrix[2, 0]), yaw])


def quaternion(matrix: Array) -> Array:
    """w x y z of a matrix, w positive."""
    w = np.sqrt(1 + np.trace(matrix)) / 2
    return np.array([w, *[(matrix[k, j] - matrix[j, k]) / (4 * w) for j, k in ((1, 2), (2, 0), (0, 1))]])


def axis_angle(matrix: Array) -> Array:
    """The axis times the angle."""
    w, *axis = quaternion(matrix)
    return np.array(axis) / np.linalg.norm(axis) * 2 * np.arccos(w)


def inertia(points: Array, masses: Array) -> Array:
    """MuJoCo's ten numbers of a cloud of points."""
    x, y, z = points.T
    moments = [y * y + z * z, x * x + z * z, x * x + y * y, -x * y, -x * z, -y * z]
    return np.array([*[float(masses @ moment) for moment in moments], *(masses @ points), masses.sum()])


def wrench(points: Array, forces: Array) -> Array:
    """Torque and force of forces at points."""
    return np.concatenate([np.cross(points, forces).sum(0), forces.sum(0)])


def twist(points: Array, velocities: Array) -> Array:
    """Angular velocity of the rigid motion nearest to that of some points, and their mean velocity."""
    rows, targets = [], []
    for point, velocity in zip(points - points.mean(0), velocities - velocities.mean(0), strict=True):
        x, y, z = point
        rows.append(np.array([[0, z, -y], [-z, 0, x], [y, -x, 0]]))
        targets.append(velocity)
    angular = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]
    return np.concatenate([angular, velocities.mean(0)])


RNG = np.random.default_rng(0)
POINTS, VECTORS, MASSES = RNG.standard_normal((9, 3)), RNG.standard_normal((9, 3)), RNG.uniform(1, 2, 9)
ANGLES = np.array([0.3, -0.4, 0.7])
CASES: dict[str, tuple[Quantity, Callable[[Array], Array]]] = {
    "vector": (Quantity("vector"), lambda m: m @ POINTS[0]),
    "axial": (Quantity("axial"), lambda m: np.cross(m @ POINTS[0], m @ VECTORS[0])),
    "wrench": (Quantity("wrench", "torque_first"), lambda m: wrench(POINTS @ m, VECTORS @ m)),
    "wrench, force first": (Quantity("wrench", "force_first"), lambda m: np.roll(wrench(POINTS @ m, VECTORS @ m), 3)),
    "twist": (Quantity("twist", "angular_first"), lambda m: twist(POINTS @ m, VECTORS @ m)),
    "twist, linear first": (Quantity("twist", "linear_first"), lambda m: np.roll(twist(POINTS @ m, VECTORS @ m), 3)),
    "inertia": (Quantity("inertia", "mujoco"), lambda m: inertia(POINTS @ m, MASSES)),
    "quaternion": (Quantity("quaternion", "wxyz"), lambda m: quaternion(m @ rotation(ANGLES) @ m)),
    "quaternion, w last": (Quantity("quaternion", "xyzw"), lambda m: np.roll(quaternion(m @ rotation(ANGLES) @ m), 3)),
    "matrix": (Quantity("rotation", "matrix"), lambda m: (m @ rotation(ANGLES) @ m).reshape(-1)),
    "6d by column": (Quantity("rotation", "6d_by_column"), lambda m: (m @ rotation(ANGLES) @ m)[:, :2].T.reshape(-1)),
    "6d by row": (Quantity("rotation", "6d_by_row"), lambda m: (m @ rotation(ANGLES) @ m)[:, :2].reshape(-1)),
    "axis and angle": (Quantity("rotation", "axis_angle"), lambda m: axis_angle(m @ rotation(ANGLES) @ m)),
    "euler": (Quantity("euler", "rpy"), lambda m: euler(m @ rotation(ANGLES) @ m)),
    "euler, yaw first": (Quantity("euler", "ypr"), lambda m: euler(m @ rotation(ANGLES) @ m)[::-1]),
}


@pytest.mark.parametrize("lateral", AXES)
@pytest.mark.parametrize("case", CASES)
def test_signs_are_those_of_the_reflected_thing(case: str, lateral: str) -> None:
    """Every number of the reflected points, forces and rotations is that of the plain ones, times its sign."""
    quantity, measure = CASES[case]
    plain = measure(np.eye(3))
    assert np.abs(plain).min() > 1e-3, "a number of 0 has no sign"
    np.testing.assert_allclose(measure(reflection(lateral)), np.array(quantity.signs(lateral)) * plain, atol=1e-12)


def test_every_entry_has_a_label_of_its_own() -> None:
    for quantity, _ in CASES.values():
        labels = [component.label for component in quantity.components()]
        assert len(set(labels)) == len(labels)
