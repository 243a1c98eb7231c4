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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from typing import Annotated, Literal

from pydantic.functional_validators import AfterValidator

from chiralize.body.skeleton import AXES
from chiralize.body.values import Exact, Names, Wrong, position_in, shown
from chiralize.errors import MissingKeyError, WrongValueError

ABOUT: Mapping[str, str] = {"x": "yz", "y": "xz", "z": "xy"}
"""The axes that a turn about an axis, or a torque, is made of."""
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
        return -1 if self.axes.count(lateral) % 2 else 1


def _polar(prefix: str = "") -> list[Component]:
    return [Component(prefix + axis, axis) for axis in AXES]


def _axial(prefix: str = "") -> list[Component]:
    return [Component(prefix + axis, ABOUT[axis]) for axis in AXES]


def _matrix(*places: str) -> list[Component]:
    """Entries of a rotation matrix, each by its row and its column: `xy` is the second one of the first row."""
    return [Component(f"[{place[0]},{place[1]}]", place) for place in places]


def _euler() -> Iterator[tuple[tuple[str, str], list[Component]]]:
    """Angles in every order: `rpy`, yaw first as in `ypr`, or some of them."""
    turns = {"r": Component("roll", ABOUT["x"]), "p": Component("pitch", ABOUT["y"]), "y": Component("yaw", ABOUT["z"])}
    for count in (3, 2, 1):
        for letters in permutations(turns, count):
            yield ("euler", "".join(letters)), [turns[letter] for letter in letters]


COMPONENTS: Mapping[tuple[str, str], list[Component]] = {
    ("scalar", ""): [Component("", "")],
    ("vector", ""): _polar(),
    ("axial", ""): _axial(),
    ("wrench", "force_first"): _polar("force.") + _axial("torque."),
    ("wrench", "torque_first"): _axial("torque.") + _polar("force."),
    ("twist", "linear_first"): _polar("linear.") + _axial("angular."),
    ("twist", "angular_first"): _axial("angular.") + _polar("linear."),
    # MuJoCo's `cinert`: moments, products of inertia, mass times the offset of the centre of mass, mass.
    ("inertia", "mujoco"): [
        *(Component(f"I{axes}", axes) for axes in ("xx", "yy", "zz", "xy", "xz", "yz")),
        *_polar("mass_offset."),
        Component("mass", ""),
    ],
    # w is the cosine of half the angle; x, y and z are a pseudo-vector.
    ("quaternion", "wxyz"): [Component("w", ""), *_axial()],
    ("quaternion", "xyzw"): [*_axial(), Component("w", "")],
    # All entries, or the first two columns as networks predict them, or the axis times the angle, a pseudo-vector.
    ("rotation", "matrix"): _matrix("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"),
    ("rotation", "6d_by_column"): _matrix("xx", "yx", "zx", "xy", "yy", "zy"),
    ("rotation", "6d_by_row"): _matrix("xx", "xy", "yx", "yy", "zx", "zy"),
    ("rotation", "axis_angle"): _axial(),
    **dict(_euler()),
}
"""The numbers of every kind, in the orders in which they are written down; "" of a kind that has but one."""


@dataclass(frozen=True)
class Quantity:
    """The numbers of one thing.  kind, order: a key of `COMPONENTS`.  dims: axes of a vector.

    >>> [component.label for component in Quantity("wrench", "torque_first").components()][:4]
    ['torque.x', 'torque.y', 'torque.z', 'force.x']
    """

    kind: str
    order: str = ""
    dims: tuple[str, ...] = AXES

    def components(self) -> list[Component]:
        """Every number in its order."""
        components = COMPONENTS[self.kind, self.order]
        if self.kind not in WITH_DIMS:
            return components
        return [components[AXES.index(axis)] for axis in self.dims]

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
        is_turn = self.kind == "axial" or self.order == "axis_angle"
        prefix = "q" if self.kind == "quaternion" else "r" if is_turn else ""
        return tuple(prefix + component.label for component in self.components())


# ---- what a file may say of them -----------------------------------------------------------------------------------
_FARTHEST_CENTRE = 10**30
"""A centre c beyond it is refused: x is mirrored to 2 c - x, and float32 ends at 3.4e38."""


def _near(value: Fraction) -> Fraction:
    if abs(value) > _FARTHEST_CENTRE:
        raise Wrong(f"centre {shown(value)} lies beyond 1e30", "give it in the unit of the data")
    return value


def _of_space(names: tuple[str, ...]) -> tuple[str, ...]:
    for number, name in enumerate(names):
        position_in(AXES, name, "axis of the body", (number,))
    return names


Axes = Annotated[Names, AfterValidator(_of_space)]
Centres = dict[str, Annotated[Exact, AfterValidator(_near)]]
"""`reflect: {x: 320}`: the mirror image of x is 640 - x, as for pixels of a picture 640 wide."""
Kind = Literal["scalar", "vector", "axial", "wrench", "twist", "inertia", "quaternion", "rotation", "euler"]


def check_quantity(kind: str, order: str, dims: Sequence[str] | None) -> None:
    """Raises Wrong where the numbers of a kind have no such order, need one that is not said, or have no dims."""
    orders = [option for known, option in COMPONENTS if known == kind]
    if order not in orders:
        choices = [option for option in orders if option]
        remedy = f"use one of {', '.join(choices)}" if choices else "drop it"
        facts = f"the order of the numbers of a {kind} is {repr(order) if order else 'not said'}"
        raise Wrong(facts, remedy, ("order",), kind=WrongValueError if order else MissingKeyError)
    if dims and kind not in WITH_DIMS:
        raise Wrong(f"`dims` of a {kind}", "drop it; dims are of a vector or an axial vector", ("dims",))
