"""What a robot does not share between its sides: masses, inertias, axes, ranges, friction, gears.

Everything is compared in the world's frame and in the reference pose, each part with the image of its partner. An
import lists the differences for the user; `mending` takes their mean, part by part. Example, under y -> -y:

    left knee   mass 2.1 kg, centre ( 0, 0.1, -0.3), range (-2.0, 0.1), sign -1
    right knee  mass 1.9 kg, centre ( 0, -0.1, -0.3), range (-0.1, 2.0)
    image of the right one: 1.9 kg, (0, 0.1, -0.3), (-2.0, 0.1)      one difference: mass, share 0.2 / 2.1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chiralize.body.robots.matching import FARTHEST, Reflection
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.robot import BALL, FREE, HINGE, SLIDE, Array, Joint, Shape
from chiralize.errors.words import percent, when

_IN_METRES = ("place", "centre of mass", "place of the shape")
"""Properties whose difference is said as a distance."""
SAME = 1e-6
"""Shares by which values may differ, and metres of the robot's size by which places may."""


@dataclass(frozen=True)
class Difference:
    """A property that a part does not share with its partner; a part of the middle differs from its own image.

    value, other: as the part has it, and as the image of its partner has it.  share: the difference over the larger.
    """

    part: str
    partner: str
    property: str
    value: tuple[float, ...]
    other: tuple[float, ...]
    share: float

    def __str__(self) -> str:
        """`mass: left_knee 2.1, right_knee 1.9 (10 %)`; vectors and tensors without their numbers."""
        share = percent(self.share)
        partner = self.partner if self.partner != self.part else "its image"
        if not self.value:
            return f"{self.property}: {self.part}"
        if len(self.value) <= 2:
            return f"{self.property}: {self.part} {_numbers(self.value)}, {partner} {_numbers(self.other)} ({share})"
        if self.property in _IN_METRES:
            away = 1000 * float(np.linalg.norm(np.subtract(self.value, self.other)))
            share = f"{away:.2g} mm"
        return f"{self.property}: {self.part} and {partner} differ by {share}"

    def to_dict(self) -> dict[str, object]:
        """The difference as JSON values."""
        return {
            "part": self.part,
            "partner": self.partner,
            "property": self.property,
            "value": list(self.value),
            "image_of_partner": list(self.other),
            "share": self.share,
        }


def _numbers(values: Sequence[float]) -> str:
    """One number as it is, several in brackets."""
    texts = [f"{value:.6g}" for value in values]
    if len(texts) == 1:
        return texts[0]
    return f"({', '.join(texts)})"


def differences(mirror: RobotMirror) -> list[Difference]:
    """All that differs, the largest share of each property first."""
    parts = [*_world(mirror), *_links(mirror), *_joints(mirror), *_actuators(mirror), *_shapes(mirror)]
    return sorted(parts, key=lambda difference: (difference.property, -difference.share))


def summary(asymmetric: Sequence[Difference]) -> list[str]:
    """A line for each property: the part that differs most, and how many more do."""
    lines = []
    for of_one in _by_property(asymmetric).values():
        more = when(len(of_one) > 1, f", and {len(of_one) - 1} more")
        lines.append(f"{of_one[0]}{more}")
    return lines


def short_summary(asymmetric: Sequence[Difference]) -> str:
    """The same in one sentence: `mass (2 parts, up to 10 %), range (1 part, up to 3 %)`."""
    words = []
    for name, of_one in _by_property(asymmetric).items():
        count = f"{len(of_one)} part" + ("s" if len(of_one) > 1 else "")
        words.append(f"{name} ({count}, up to {percent(of_one[0].share)})")
    return ", ".join(words)


def _by_property(asymmetric: Sequence[Difference]) -> dict[str, list[Difference]]:
    """Differences by what differs, the largest first."""
    by_property: dict[str, list[Difference]] = {}
    for difference in asymmetric:
        by_property.setdefault(difference.property, []).append(difference)
    return {name: sorted(of_one, key=lambda one: -one.share) for name, of_one in by_property.items()}


def around(mirror: RobotMirror, link: int) -> Reflection:
    """The mirror of a link; of a thing that lies about, through its own middle, wherever it lies."""
    robot = mirror.robot
    if mirror.links[link] == link and robot.is_thing(link):
        # A puck beside the plane is symmetric in itself. A slide is anchored anywhere: the mass says where it is.
        anchor = robot.joints[robot.links[link].joints[0]].anchor
        if robot.joints[robot.links[link].joints[0]].kind == SLIDE:
            anchor = robot.links[link].center
        return Reflection(mirror.reflection.lateral, float(anchor[mirror.reflection.lateral]))
    return mirror.reflection


def _compared(
    part: str, partner: str, name: str, value: Array | float, other: Array | float, scale: float = 0.0
) -> Iterator[Difference]:
    """A difference where two values are not the same up to `SAME`, else nothing.

    value, other: a number or an array, of equal shape.  scale: what the difference is a share of, if more than the
    largest entry of both; of places the size of the robot, since a place near 0 is not small in itself.
    """
    # Numbers, vectors and matrices alike: only how far entries differ counts, and where they stand does not.
    one, two = np.ravel(np.asarray(value, float)), np.ravel(np.asarray(other, float))
    largest = max(scale, float(np.abs(one).max(initial=0)), float(np.abs(two).max(initial=0)))
    gap = float(np.abs(one - two).max(initial=0))
    if gap > SAME * largest:
        yield Difference(part, partner, name, tuple(one.tolist()), tuple(two.tolist()), gap / largest)


def _world(mirror: RobotMirror) -> Iterator[Difference]:
    """Settings of the whole model that point sideways, such as gravity."""
    for name, vector in (("gravity", mirror.robot.gravity), ("wind", mirror.robot.wind)):
        # Under y -> -y the entry y alone differs from its image, by twice itself.
        sideways = vector * (mirror.reflection.signs < 0)
        if np.abs(sideways).max() > 0:
            share = float(np.abs(sideways).max() / np.abs(vector).max())
            image = mirror.reflection.signs * vector
            yield Difference("world", "world", name, tuple(vector.tolist()), tuple(image.tolist()), share)


def _links(mirror: RobotMirror) -> Iterator[Difference]:
    """Masses, their centres and inertias, each pair once."""
    robot = mirror.robot
    for index, link in enumerate(robot.links):
        image = mirror.links[index]
        if index == 0 or image < index:
            continue  # the world, or a pair that was compared already
        other, reflection = robot.links[image], around(mirror, index)
        if not link.mass and not other.mass:
            continue  # no centre and no inertia either
        yield from _compared(link.name, other.name, "mass", link.mass, other.mass)
        center = reflection.point(other.center)
        yield from _compared(link.name, other.name, "centre of mass", link.center, center, robot.size)
        yield from _compared(link.name, other.name, "inertia", link.inertia, reflection.tensor(other.inertia))


def _joints(mirror: RobotMirror) -> Iterator[Difference]:
    """Axes, places, ranges and the like, each pair once. Of all properties a spring's reference alone has a sign."""
    robot, reflection = mirror.robot, mirror.reflection
    for index, joint in enumerate(robot.joints):
        image = mirror.partner[index]
        if image < index:
            continue
        other = robot.joints[image]
        yield from _geometry(joint, other, reflection, robot.size)
        yield from _spans(joint, other, mirror, index)
        for name, value in joint.properties.items():
            image_value = other.properties[name] * (mirror.sign[index] if name == "spring reference" else 1)
            yield from _compared(joint.name, other.name, name, value, image_value)


def _geometry(joint: Joint, other: Joint, reflection: Reflection, size: float) -> Iterator[Difference]:
    """Axis and place of a joint.  size: of the robot, metres. A slide has no place, a ball no axis."""
    if joint.kind == FREE:
        return
    if joint.kind in (HINGE, SLIDE):
        # Either direction is the same line: which of the two it is, the joint's sign says.
        axis = reflection.axis(other)
        axis = axis * (1 if axis @ joint.axis >= 0 else -1)
        yield from _compared(joint.name, other.name, "axis", joint.axis, axis)
    if joint.kind in (HINGE, BALL):
        center = reflection.point(other.anchor)
        away = joint.anchor - center
        if joint.kind == HINGE:
            away = away - (away @ joint.axis) * joint.axis  # where on its line it is anchored is no difference
        yield from _compared(joint.name, other.name, "place", joint.anchor, joint.anchor - away, size)


def _spans(joint: Joint, other: Joint, mirror: RobotMirror, index: int) -> Iterator[Difference]:
    """Ranges, the partner's as its image has it; one range alone differs by a share of 1."""
    nothing = (-np.inf, np.inf)
    # The range of a ball is how far it turns, which has no sign; two joints without limits are alike.
    if joint.kind not in (HINGE, SLIDE) or joint.span == other.span is None:
        value, image = joint.span or (0.0, 0.0), other.span or (0.0, 0.0)
    elif joint.span is None or other.span is None:
        value, image = joint.span or nothing, other.span or nothing
        yield Difference(joint.name, other.name, "range", value, image, 1.0)
        return
    else:
        shift = float(mirror.qpos_shift[joint.position])
        value, image = joint.span, mirrored_span(other.span, mirror.sign[index], shift)
    yield from _compared(joint.name, other.name, "range", np.array(value), np.array(image))


def mirrored_span(span: tuple[float, float], sign: int, shift: float = 0.0) -> tuple[float, float]:
    """The image of a range (lower, upper) under q -> sign q + shift, again with the lower end first.

    >>> mirrored_span((-0.5, 2.0), -1)
    (-2.0, 0.5)
    """
    lower, upper = sorted((sign * span[0] + shift, sign * span[1] + shift))
    return lower, upper


def _actuators(mirror: RobotMirror) -> Iterator[Difference]:
    """Gears, control ranges, gains and forces, each pair once. Signs of gears are in the sign of the control."""
    robot = mirror.robot
    for index, actuator in enumerate(robot.actuators):
        image, sign = mirror.actuators[index], int(mirror.ctrl.sign[index])
        other = robot.actuators[image]
        if image < index:
            continue
        names = actuator.name, other.name
        yield from _compared(*names, "gear", np.abs(actuator.gear), np.abs(other.gear))
        nothing = (-np.inf, np.inf)
        if actuator.control is not None and other.control is not None:
            span = mirrored_span(other.control, sign, float(mirror.ctrl_shift[index]))
            yield from _compared(*names, "control range", np.array(actuator.control), np.array(span))
        elif actuator.control != other.control:
            value, theirs = actuator.control or nothing, other.control or nothing
            yield Difference(*names, "control range", value, theirs, 1.0)
        # One of the two may have a force range and the other none.
        for name in dict.fromkeys((*actuator.properties, *other.properties)):
            value, theirs = actuator.properties.get(name, 0.0), other.properties.get(name, 0.0)
            yield from _compared(*names, name, value, _force(name, other.properties, sign, theirs))


def _force(name: str, properties: object, sign: int, value: float) -> float:
    """The image of a property of an actuator: constant forces and force ranges turn round with the sign.

    With the sign -1 the image of the range (-1, 4) is (-4, 1): its least force is minus the largest one. `bias 0` is a
    force that does not depend on the state; gains and the other biases multiply what has a sign already.
    """
    table = dict(properties) if isinstance(properties, dict) else {}
    if sign < 0 and name == "least force":
        return -table.get("largest force", 0.0)
    if sign < 0 and name == "largest force":
        return -table.get("least force", 0.0)
    if name == "bias 0":
        return sign * value
    return value


# ---- shapes ---------------------------------------------------------------------------------------------------
def _shapes(mirror: RobotMirror) -> Iterator[Difference]:
    """Shapes that touch: those without an image, and those that their image differs from."""
    for index, shape in enumerate(mirror.robot.shapes):
        # Looked for from both sides: of two feet, one with a sole more, that sole alone has no image.
        image = image_of_shape(mirror, index)
        if image is None:
            yield Difference(shape.name, shape.name, "shape without an image", (), (), 1.0)
            continue
        other = mirror.robot.shapes[image]
        reflection, size = around(mirror, shape.link), mirror.robot.size
        if image < index:
            continue
        if shape.kind != "plane":  # which lies in all of its points; its height is part of the distance to its image
            center = reflection.point(other.center)
            yield from _compared(shape.name, other.name, "place of the shape", shape.center, center, size)
        form = reflection.tensor(other.form)
        yield from _compared(shape.name, other.name, "size or turn of the shape", shape.form, form)
        for name, value in shape.properties.items():
            if name != "index":  # its number in the model, no property
                yield from _compared(shape.name, other.name, name, value, other.properties[name])


def image_of_shape(mirror: RobotMirror, index: int) -> int | None:
    """The shape at the mirrored place, of the same kind and about the same size; None where there is none."""
    robot, shape = mirror.robot, mirror.robot.shapes[index]
    link = mirror.links[shape.link]
    others = [number for number, other in enumerate(robot.shapes) if other.link == link and other.kind == shape.kind]
    if not others:
        return None
    # The nearest is taken, since several shapes of one kind on a link are told apart by their places alone.
    far = {number: _shape_distance(mirror, shape, robot.shapes[number]) for number in others}
    nearest = min(others, key=lambda number: far[number])
    if far[nearest] <= FARTHEST * robot.size:
        return nearest
    return None


def _shape_distance(mirror: RobotMirror, shape: Shape, other: Shape) -> float:
    """How far a shape is from the image of another, metres: places, and half sizes.

    A plane has the form n n^T: its point with n n^T p is the foot of the perpendicular from 0, whichever p it is given
    by, and so two planes are compared by these points and by their normals.
    """
    reflection = around(mirror, shape.link)
    form = reflection.tensor(other.form)
    if shape.kind == "plane":
        heights = shape.form @ shape.center - form @ reflection.point(other.center)
        return float(np.linalg.norm(heights) + np.linalg.norm(shape.form - form))
    sizes = float(np.sqrt(np.abs(shape.form - form).max()))
    return float(np.linalg.norm(shape.center - reflection.point(other.center))) + sizes
