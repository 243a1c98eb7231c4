"""A robot as plain records, all of it in the world's frame and in one reference pose.

`reading` makes a `Robot` of a compiled MuJoCo model; the rest of this folder works with it and not with the simulator,
as far as no step is taken. Numbers of joints, links and actuators are indices into the tuples of the robot. MuJoCo
counts positions and velocities apart, since a turn has four numbers as a quaternion and three as a velocity:

    joints      free base       ball        hinge
    qpos        0 ... 6         7 ... 10    11          nq = 12
    qvel        0 ... 5         6 ... 8     9           nv = 10
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
HINGE, SLIDE, BALL, FREE = "hinge", "slide", "ball", "free"
POSITIONS = {HINGE: 1, SLIDE: 1, BALL: 4, FREE: 7}
"""How many entries of qpos a joint of a kind has."""
VELOCITIES = {HINGE: 1, SLIDE: 1, BALL: 3, FREE: 6}
"""How many entries of qvel a joint of a kind has."""


@dataclass(frozen=True, eq=False)
class Joint:
    """One joint.

    link: index of the link that it moves.  anchor: a point on its axis, metres.  axis: unit vector; of balls and free
    joints it has no meaning.  frame: "3 3", the orientation of the body that it moves, which balls and free joints are
    measured in.  position, velocity: its first entry in qpos and in qvel.  zero: qpos in the reference pose.
    span: lower and upper end, None where it is not limited.  properties: stiffness, damping, armature, friction.
    """

    name: str
    kind: str
    link: int
    anchor: Array
    axis: Array
    frame: Array
    position: int
    velocity: int
    zero: Array
    span: tuple[float, float] | None
    properties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shape:
    """A geom that can touch others.

    link: index of the link that it is part of.  center: "3".  properties: what contacts depend on, and its `index` in
    the model.
    form: "3 3", its half sizes squared along its axes, in the world's frame, so that turns which leave the shape as it
    is make no difference; of a plane, the normal's outer product.
    """

    name: str
    kind: str
    link: int
    center: Array
    form: Array
    properties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Link:
    """A body that moves by joints of its own, with all bodies welded to it; link 0 is the world.

    parent: index of the link that it hangs on.  joints: indices, in their order.  bodies: names of its bodies, the
    moved one first.  mass: kg.  center: of mass, "3", metres.  inertia: "3 3" about the center of mass, kg m2.
    """

    bodies: tuple[str, ...]
    parent: int
    joints: tuple[int, ...]
    mass: float
    center: Array
    inertia: Array

    @property
    def name(self) -> str:
        """The name of the body that moves."""
        return self.bodies[0]


@dataclass(frozen=True, eq=False)
class Actuator:
    """What drives a joint.  joint: its index, None where it drives a tendon, a site or a body.  gear: "6", force and
    torque for one unit of force; of hinges and slides the first counts.
    moment: force on every velocity for one unit, in the reference pose.  is_servo: whether its control is a position.
    control: range, None where it is not limited.  properties: gains and force range."""

    name: str
    joint: int | None
    gear: Array
    moment: Array
    is_servo: bool
    control: tuple[float, float] | None
    properties: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Robot:
    """A robot in its reference pose.

    pose: the pose's name, `initial pose` or `keyframe NAME`.  qpos: of the pose, "nq".
    velocities: the size of qvel, nv.  gravity, wind: of the world, m/s2 and m/s.
    document: names of the joints in the order of the file.
    """

    name: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    shapes: tuple[Shape, ...]
    actuators: tuple[Actuator, ...]
    pose: str
    qpos: Array
    velocities: int
    gravity: Array
    wind: Array
    document: tuple[str, ...] = ()

    @cached_property
    def size(self) -> float:
        """How far the joints and the masses of its largest tree are apart, metres, at least 0.1.

        Whatever else stands in the world does not count.
        """
        # Distances are judged as shares of this size, so a ball that lies ten metres away must not count.
        roots = self.children(0)
        largest = max(roots, key=self.links_below, default=0)
        tree = self.tree(largest)
        places = [joint.anchor for joint in self.joints if joint.link in tree]
        places += [self.links[link].center for link in tree if self.links[link].mass]
        if places:
            return max(0.1, float(np.ptp(np.array(places).reshape(-1, 3), axis=0).max()))
        return 0.1

    def tree(self, link: int) -> set[int]:
        """A link and all that hangs on it."""
        return {link}.union(*(self.tree(child) for child in self.children(link)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all joints."""
        return tuple(joint.name for joint in self.joints)

    def children(self, link: int) -> tuple[int, ...]:
        """Links that hang on a link."""
        return tuple(index for index, other in enumerate(self.links) if index and other.parent == link)

    @cached_property
    def base(self) -> int | None:
        """The free joint that the robot's base moves by, which most others hang on; None where it stands fixed."""
        free = [index for index, joint in enumerate(self.joints) if joint.kind == FREE]
        weights = {index: self.links_below(self.joints[index].link) for index in free}
        best = max(free, key=lambda index: weights[index], default=None)
        # A free body that nothing hangs on is a thing beside a fixed arm, unless all that moves is such: a drone.
        if best is not None and (weights[best] or len(free) == len(self.joints)):
            return best
        return None

    def links_below(self, link: int) -> int:
        """How many links hang on a link."""
        return len(self.tree(link)) - 1

    def is_thing(self, link: int) -> bool:
        """Whether a link is no part of the robot: it flies or slides about freely, and nothing hangs on it."""
        first = self.links[link]
        loose = all(self.joints[joint].kind in (FREE, SLIDE) for joint in first.joints)
        on_base = self.base is not None and self.joints[self.base].link == link
        return bool(first.joints) and loose and first.parent == 0 and not self.children(link) and not on_base
