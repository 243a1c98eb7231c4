"""Which numbers of a force, a wrench, an inertia or a rotation does the mirror negate?

A reflection of one axis multiplies a number by -1 for every time that this axis occurs in it. A force along y holds y
once. A torque about y is made of x and z, since it is a cross product; so is a turn about y, and the y part of a
quaternion. A product of inertia Ixy holds x and y; an entry (i, j) of a rotation matrix holds axis i and axis j. A mass
holds none.

So every kind is a list of components, each with the axes that it is made of, and one rule gives all signs for any
lateral axis. Under y -> -y: roll holds y and z, one y, and is negated; pitch holds x and z, and is kept; w of a
quaternion holds none, and is kept; entry (y, y) of a matrix holds two y, and is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chiralize.body.skeleton import AXES

ABOUT: Mapping[str, str] = {"x": "yz", "y": "xz", "z": "xy"}
"""The axes that a turn about an axis, or a torque, is made of."""
TURNS: Mapping[str, str] = {"r": "roll", "p": "pitch", "y": "yaw"}
AXIS_OF_TURN: Mapping[str, str] = {"roll": "x", "pitch": "y", "yaw": "z"}
EULER = "euler"
ORDERS: Mapping[str, tuple[str, ...]] = {
    "scalar": (),
    "vector": (),
    "axial": (),
    "wrench": ("force_first", "torque_first"),
    "twist": ("linear_first", "angular_first"),
    "inertia": ("mujoco",),
    "quaternion": ("wxyz", "xyzw"),
    "rotation": ("matrix", "6d_by_column", "6d_by_row", "axis_angle"),
    EULER: ("rpy", "ypr", "rp"),
}
"""The orders in which the numbers of a kind are written down; of `euler`, examples."""
TURNED = ("rotation", "quaternion", EULER)
"""Kinds that say how something is turned; the mean of two lists of such numbers is none, in general."""
WITH_DIMS = ("vector", "axial")
"""Kinds of which a tensor may hold some of the axes only, as a planar robot's."""


@dataclass(frozen=True)
class Component:
    """One number.  label: its name.  axes: those it is made of, each as often as it occurs."""

    label: str
    axes: str

    def sign(self, lateral: str) -> int:
        """-1 where the mirror of that axis negates it.

        >>> Component("y", ABOUT["y"]).sign("y"), Component("x", ABOUT["x"]).sign("y")
        (1, -1)
        """
        if self.axes.count(lateral) % 2:
            return -1
        return 1


@dataclass(frozen=True)
class Quantity:
    """The numbers of one thing.  kind: a key of `ORDERS`.  order: of its numbers.  dims: axes of a vector.

    >>> [component.label for component in Quantity("wrench", "torque_first").components()][:4]
    ['torque.x', 'torque.y', 'torque.z', 'force.x']
    """

    kind: str
    order: str = ""
    dims: tuple[str, ...] = AXES

    def components(self) -> list[Component]:
        """Every number in its order."""
        # A number made of no axis at all, which no mirror negates.
        if self.kind == "scalar":
            return [Component("", "")]
        if self.kind in WITH_DIMS:
            return _vector("", self.dims, self.kind == "axial")
        if self.kind == "wrench":
            return _motion("force", "torque", self.order == "torque_first")
        if self.kind == "twist":
            return _motion("linear", "angular", self.order == "angular_first")
        if self.kind == "inertia":
            return _mujoco_inertia()
        if self.kind == "quaternion":
            return [_part_of_quaternion(letter) for letter in self.order]
        if self.kind == "rotation":
            return _rotation(self.order)
        return [turn(TURNS[letter]) for letter in self.order]

    def signs(self, lateral: str) -> list[int]:
        """What the mirror of that axis multiplies every number by."""
        return [component.sign(lateral) for component in self.components()]

    def negated(self, lateral: str) -> tuple[str, ...]:
        """The names of the numbers that the mirror of that axis negates.

        >>> Quantity("rotation", "axis_angle").negated("x")
        ('ry', 'rz')
        """
        signs = zip(self.names(), self.signs(lateral), strict=True)
        return tuple(name for name, sign in signs if sign < 0)

    def names(self) -> tuple[str, ...]:
        """Every number's name where it stands for a coordinate of a joint; other names than those of positions.

        >>> Quantity("axial").names(), Quantity("quaternion", "wxyz").names()
        (('rx', 'ry', 'rz'), ('qw', 'qx', 'qy', 'qz'))
        """
        # A turn about x is no position along x: a skeleton that negates x must not negate it for its name.
        prefix = ""
        if self.kind == "axial" or self.order == "axis_angle":
            prefix = "r"
        elif self.kind == "quaternion":
            prefix = "q"
        return tuple(prefix + component.label for component in self.components())


def turn(name: str) -> Component:
    """The angle of a turn: roll about x, pitch about y, yaw about z."""
    return Component(name, ABOUT[AXIS_OF_TURN[name]])


def is_euler_order(text: str) -> bool:
    """Whether a text lists turns by their letters, each once: `rpy`, `yaw` first as in `ypr`, or some of them."""
    return bool(text) and set(text) <= set(TURNS) and len(set(text)) == len(text)


def _vector(prefix: str, dims: Sequence[str], is_axial: bool) -> list[Component]:
    """The coordinates of a polar vector or of a pseudo-vector along these axes."""
    components = []
    for axis in dims:
        components.append(Component(prefix + axis, ABOUT[axis] if is_axial else axis))
    return components


def _motion(polar: str, axial: str, axial_first: bool) -> list[Component]:
    """A force with a torque, or a velocity with an angular one."""
    first, second = _vector(f"{polar}.", AXES, False), _vector(f"{axial}.", AXES, True)
    if axial_first:
        return second + first
    return first + second


def _mujoco_inertia() -> list[Component]:
    """MuJoCo's `cinert`: moments, products of inertia, mass times the offset of the centre of mass, mass."""
    moments = [Component(f"I{axes}", axes) for axes in ("xx", "yy", "zz", "xy", "xz", "yz")]
    return [*moments, *_vector("mass_offset.", AXES, False), Component("mass", "")]


def _part_of_quaternion(letter: str) -> Component:
    """w is the cosine of half the angle; x, y and z are a pseudo-vector."""
    return Component(letter, ABOUT.get(letter, ""))


def _rotation(order: str) -> list[Component]:
    """Entries of a matrix by row and column: all of them, or the first two columns as networks predict them.

    Or the axis times the angle, which is a pseudo-vector.
    """
    if order == "axis_angle":
        return _vector("", AXES, True)
    places = {
        "matrix": [(row, column) for row in AXES for column in AXES],
        "6d_by_column": [(row, column) for column in "xy" for row in AXES],
        "6d_by_row": [(row, column) for row in AXES for column in "xy"],
    }
    return [Component(f"[{row},{column}]", row + column) for row, column in places[order]]
