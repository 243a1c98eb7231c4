"""Which link of a robot is at the mirrored place of which, and joint by joint with which sign.

In: a robot in one pose, one plane, and what names say. Out: a partner for every link, or why some have none.
`deriving` calls this for each plane that may be the mirror's, and keeps the plane that fits best.

The tree of links is walked from the world down. A child of one link may be the mirror image of a child of its partner
where their joints are of the same kinds, at the mirrored places, about the mirrored axes. The same has to hold of all
that hangs on them. The axis of a hinge is a pseudo-vector: its lateral component is kept, and the two others are
negated; that of a slide is a polar vector.

Four links under y -> -y, axes in brackets:

    0 world ── 1 trunk ─┬─ 2 left hip   at ( 0.1,  0.2, 0), hinge about (1, 0, 0)
                        └─ 3 right hip  at ( 0.1, -0.2, 0), hinge about (1, 0, 0)

The image of link 2 lies at link 3, so they are partners: partner = [0, 1, 3, 2]. The image of its axis is
-diag(1, -1, 1) (1, 0, 0) = (-1, 0, 0), opposite to the axis of link 3, so the sign of the joint is -1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from chiralize.body.robots.robot import FREE, HINGE, SLIDE, Array, Joint, Robot
from chiralize.body.skeleton.naming import infer_pairs

FARTHEST = 0.03
"""How far a joint may be from its partner's mirrored place, as a share of the robot's size."""
_FARTHEST_MASS = 0.1
"""How far the centre of a link's mass may be from its partner's mirrored one, likewise; farther is no partner."""
_STRAIGHT = 0.96
"""Cosine of 16 degrees, by which axes of partners may differ; smaller differences are listed as asymmetric."""
_EQUALLY_FAR = 1e-3
"""Between candidates whose distances differ by less than this share of the robot's size, names alone decide."""
_ANYWHERE = 0.9
"""A free body is its own partner wherever it lies, unless another one lies at its mirrored place.

It counts as being this share of `FARTHEST` from its image: near enough to be a candidate, farther than a true image.
"""


@dataclass(frozen=True)
class Reflection:
    """The mirror in the world: points on axis `lateral` (0, 1, 2) go to 2 `offset` minus themselves."""

    lateral: int
    offset: float = 0.0

    @property
    def signs(self) -> Array:
        """Of polar vectors, "3"."""
        signs = np.ones(3)
        signs[self.lateral] = -1
        return signs

    def point(self, point: Array) -> Array:
        """The image of a point, "... 3"."""
        image = self.signs * point
        image[..., self.lateral] += 2 * self.offset
        return image

    def tensor(self, tensor: Array) -> Array:
        """The image of a symmetric tensor, "3 3"."""
        return self.signs[:, None] * tensor * self.signs

    def turn(self, joint: Joint, other: Joint) -> Array:
        """How the mirror takes polar vectors in the frame of a joint's body to the frame of its partner's, "3 3".

        With frames F and F' and S = diag(signs) it is F'^T S F; its determinant is -1.
        """
        return other.frame.T @ (self.signs[:, None] * joint.frame)

    def axis(self, joint: Joint) -> Array:
        """The image of a joint's axis: of a pseudo-vector for hinges, of a polar one for slides. Without meaning for
        balls and free joints.
        """
        return (self.signs if joint.kind == SLIDE else -self.signs) * joint.axis


@dataclass
class Matching:
    """partner: of every link; -1 where none was found.  ambiguous: a link to several equal ones.

    unmatched: links without a partner, each with what comes nearest.
    """

    partner: list[int]
    ambiguous: dict[int, tuple[int, ...]] = field(default_factory=dict)
    unmatched: dict[int, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every link has exactly one partner."""
        return not self.ambiguous and not self.unmatched


Names = Callable[[int, int], bool]
"""Whether names say that two links are partners."""


def match(robot: Robot, reflection: Reflection, named: Sequence[Names]) -> Matching:
    """Partners of all links.

    named: where several links are equally near, the first of these that says of exactly one that it is meant decides.
    Nothing is raised: links without a partner, and those with several, are listed in the result.
    """
    return _Walk(robot, reflection, named).matching()


def sign_of_joint(reflection: Reflection, joint: Joint, other: Joint) -> int:
    """1 where the image of the joint's axis points as its partner's does, else -1."""
    if reflection.axis(joint) @ other.axis >= 0:
        return 1
    return -1


class _Walk:
    """The walk down the tree, which remembers how far links are from the images of others.

    far: distances by (link, image). lonely: joints whose name has a side while no joint has the name of the other side.
    """

    def __init__(self, robot: Robot, reflection: Reflection, named: Sequence[Names]) -> None:
        self.robot, self.reflection, self.named = robot, reflection, named
        self.children = {index: robot.children(index) for index in range(len(robot.links))}
        self.far: dict[tuple[int, int], float] = {}
        self.lonely = {robot.names[index] for index in infer_pairs(robot.names).sided}
        self.result = Matching([0] + [-1] * (len(robot.links) - 1))

    def matching(self) -> Matching:
        """Partners from the world down."""
        waiting = [(0, 0)]  # the world is its own partner
        # A link is only visited with its partner, so the children of an unpaired one stay unpaired, too.
        while waiting:
            link, other = waiting.pop()
            for child, image in self._pairs(link, other).items():
                # Both directions at once: the children of two partners need a visit from one side only.
                self.result.partner[child], self.result.partner[image] = image, child
                waiting.append((child, image))
        return self.result

    def _pairs(self, link: int, other: int) -> Mapping[int, int]:
        """Children of a link and their partners among the children of its partner.

        Where the link is its own partner, both members of a pair are its children, and the pair is listed once.
        """
        pairs: dict[int, int] = {}
        taken: set[int] = set()
        images = self.children[other]
        candidates = {child: self._candidates(child, images) for child in self.children[link]}
        # The child with the fewest candidates chooses first: with candidates {a: [a, b], b: [a]}, `a` would take itself
        # and leave `b` without a partner.
        for child, near in sorted(candidates.items(), key=lambda item: len(item[1])):
            if link == other and child in taken:
                continue  # it is the image of an earlier sibling
            free = [image for image in near if image not in taken]
            image = self._chosen(child, free, images)
            if image is None:
                continue
            pairs[child] = image
            taken.add(image)
            if link == other:
                taken.add(child)
        return pairs

    def _candidates(self, link: int, images: Sequence[int]) -> list[int]:
        """Those of the images that may be the link's partner, the nearest first."""
        near = [image for image in images if self.distance(link, image) <= FARTHEST * self.robot.size]
        return sorted(near, key=lambda image: self.distance(link, image))

    def _chosen(self, link: int, near: Sequence[int], images: Sequence[int]) -> int | None:
        """The one at the mirrored place; of several that are equally near, the one that names mean.

        near: candidates that are still free, the nearest first.  images: all siblings, for the explanation. Returns
        None and notes why where there is none, or where nothing tells several apart.
        """
        if not near:
            self._explain(link, images)
            return None
        least = self.distance(link, near[0])
        equal = [image for image in near if self.distance(link, image) - least <= _EQUALLY_FAR * self.robot.size]
        # The order is that of trust: names, then masses, and last that a link in the middle is its own partner.
        # One candidate alone is taken whatever it is called: places decide, and `deriving` says where names disagree.
        for says in (*self.named, self._is_heavy_alike, self._is_itself):
            meant = [image for image in equal if says(link, image)]
            if len(meant) == 1 and len(equal) > 1 and not self._is_contested(says, equal):
                return meant[0]
        if len(equal) > 1:
            self.result.ambiguous[link] = tuple(equal)
            return None
        return equal[0]

    def _is_contested(self, says: Names, equal: Sequence[int]) -> bool:
        """Whether another candidate names a side whose other side is missing: it may be this one's partner.

        MuJoCo's walker has `thigh_joint` and `thigh_left_joint`, both in the plane. The first must not become its own
        partner, since it is the missing right one.
        """
        names = {self.robot.names[joint] for image in equal for joint in self.robot.links[image].joints}
        return says == self._is_itself and bool(names & self.lonely)

    def _is_itself(self, link: int, image: int) -> bool:
        """Whether a link is its own partner and its name does not ask for another one."""
        names = [self.robot.names[joint] for joint in self.robot.links[link].joints]
        return link == image and not any(name in self.lonely for name in names)

    def _is_heavy_alike(self, link: int, image: int) -> bool:
        """Whether the mass lies at the mirrored place. This separates slides, whose axes have no place."""
        one, other = self.robot.links[link], self.robot.links[image]
        if not any(self.robot.joints[joint].kind == SLIDE for joint in one.joints):
            return False
        away = np.linalg.norm(self.reflection.point(one.center) - other.center)
        return bool(away <= _EQUALLY_FAR * self.robot.size)

    def distance(self, link: int, image: int) -> float:
        """How far a link and all that hangs on it are from the mirrored places, metres; infinite where they differ."""
        key = (link, image)
        if key not in self.far:
            self.far[key] = self._distance(link, image)
        return self.far[key]

    def _distance(self, link: int, image: int) -> float:
        """The largest distance in the two subtrees: of the links themselves, and of each child to its nearest image."""
        below, below_image = self.children[link], self.children[image]
        if len(below) != len(below_image):
            return np.inf
        far = self._distance_alone(link, image)
        if far > FARTHEST * self.robot.size:
            return far  # no candidate already, whatever hangs on it
        for child in below:
            # A lower bound: two children may be nearest to the same image. The walk gives each image away once.
            far = max(far, min(self.distance(child, other) for other in below_image))
        return far

    def _distance_alone(self, link: int, image: int) -> float:
        """The distance of a link without the links that hang on it."""
        robot = self.robot
        joints, others = robot.links[link].joints, robot.links[image].joints
        if len(joints) != len(others) or self._weighs_elsewhere(link, image):
            return np.inf
        pairs = zip(joints, others, strict=True)
        return max(joint_distance(robot, self.reflection, joint, other) for joint, other in pairs)

    def _weighs_elsewhere(self, link: int, image: int) -> bool:
        """Whether the centres of mass are too far apart for two links to be partners, but for an asymmetric mass."""
        one, other = self.robot.links[link], self.robot.links[image]
        is_base = self.robot.base is not None and self.robot.joints[self.robot.base].link == link
        # The base is its own partner whatever it carries on one side; a thing may lie anywhere; no mass has no centre.
        if not one.mass or not other.mass or self.robot.is_thing(link) or is_base:
            return False
        away = self.reflection.point(one.center) - other.center
        return bool(np.linalg.norm(away) > _FARTHEST_MASS * self.robot.size)

    def _explain(self, link: int, images: Sequence[int]) -> None:
        """Note the nearest candidate for a link without a partner, or for the links on it that are the cause.

        A shoulder without a partner because of a finger far out is noted as that finger.
        """
        # Links that would do but for what hangs on them: then the cause is below.
        like = [image for image in images if self._distance_alone(link, image) <= FARTHEST * self.robot.size]
        for image in like:
            below = self.children[image]
            blamed = [child for child in self.children[link] if not self._candidates(child, below)]
            for child in blamed:
                self._explain(child, below)
            if blamed:
                return
        # The link itself is the cause, or the numbers of links on the two differ.
        self.result.unmatched[link] = self._nearest(link, like)

    def _nearest(self, link: int, like: Sequence[int]) -> str:
        """The candidate that comes nearest to being the partner of a link, in words."""
        if like:
            theirs, mine = len(self.children[like[0]]), len(self.children[link])
            return f"{mine} links hang on it, and {theirs} on what is at its mirrored place"
        # Of all joints of the robot, also on links that could be no partner: the slip may be anywhere.
        best, words = np.inf, "no joint of its kind is there"
        for joint in self.robot.links[link].joints:
            for other, image in enumerate(self.robot.joints):
                far = joint_distance(self.robot, self.reflection, joint, other, turned=True)
                if far < best:
                    best, words = far, f"{image.name} comes nearest, {self._gap(joint, other, far)}"
        return words

    def _gap(self, joint: int, other: int, far: float) -> str:
        """What keeps two joints that are `far` metres apart from being partners: the mass, or place and angle."""
        one, image = self.robot.joints[joint], self.robot.joints[other]
        if one.kind in (HINGE, SLIDE):
            cosine = abs(float(self.reflection.axis(one) @ image.axis))
        else:
            cosine = 1.0
        angle = np.degrees(np.arccos(min(1.0, cosine)))
        if far <= FARTHEST * self.robot.size and cosine > _STRAIGHT:  # then it can only be the mass
            away = self.reflection.point(self.robot.links[one.link].center) - self.robot.links[image.link].center
            return f"but its mass is {1000 * float(np.linalg.norm(away)):.3g} mm off"
        return f"{1000 * far:.3g} mm and {angle:.2g} degrees off"


def joint_distance(robot: Robot, reflection: Reflection, joint: int, other: int, *, turned: bool = False) -> float:
    """How far a joint is from another one's mirrored place, metres; infinite where kind or axis differ.

    turned: whatever the axis, and from anchor to anchor; for messages. Otherwise hinges are compared as lines, and
    slides have no place, since a slide moves its body alike wherever it is anchored.
    """
    one, image = robot.joints[joint], robot.joints[other]
    if one.kind != image.kind:
        return np.inf
    # Parallel axes of either direction: the direction is the sign of the joint.
    axis = reflection.axis(one)
    if one.kind in (HINGE, SLIDE) and not turned and abs(float(axis @ image.axis)) < _STRAIGHT:
        return np.inf
    if one.kind == FREE and joint == other:
        if joint == robot.base:
            return 0.0  # the base is its own partner, wherever it floats
        return _ANYWHERE * FARTHEST * robot.size
    away = reflection.point(one.anchor) - image.anchor
    if one.kind == SLIDE and not turned:
        return 0.0
    if one.kind == HINGE and not turned:
        return _line_distance(robot, reflection, one, image, away)
    return float(np.linalg.norm(away))


def _line_distance(robot: Robot, reflection: Reflection, one: Joint, image: Joint, away: Array) -> float:
    """How far two hinges are apart, metres: the larger of the distance across and along their line.

    away: "3", from the partner's anchor to the mirrored one.

    Where on its line a hinge is anchored makes no difference to how it moves, so that the mass that it moves may say
    that two are partners whose anchors are not at mirrored places. Along the line the smaller of both distances counts.
    """
    # away = along axis + across it: two ankles about y at the mirrored height, one anchored 5 cm farther out, have
    # across = 0 and along = 5 cm, or less where the centres of their feet lie at mirrored places.
    along = float(abs(away @ image.axis))
    across = float(np.linalg.norm(away - (away @ image.axis) * image.axis))
    first, second = robot.links[one.link], robot.links[image.link]
    if first.mass and second.mass:
        along = min(along, float(abs((reflection.point(first.center) - second.center) @ image.axis)))
    return max(along, across)
