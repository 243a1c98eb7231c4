"""What the simulator says of bodies: forces on them, how they move, their inertia; in a state and in its image.

Observations such as Ant-v5's `cfrc_ext` are not read off a state but computed by the simulator, so MuJoCo computes them
here: `scene_of` puts the robot into a few states and their images, and the readers take blocks of numbers out of both.
`observation` holds T of the first against the second. T of bodies exchanges them by place: the left foot's force is
mirrored into the right foot's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from chiralize.body.robots.agreement import Agreement
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.reading import links_of_bodies
from chiralize.body.robots.robot import Array
from chiralize.body.robots.stepping import begin
from chiralize.body.skeleton.skeleton import AXES
from chiralize.body.tensors.fields.quantities import Quantity

_STATES = 6
_PUSH = 10.0
"""Forces and torques on every body besides contacts, N and N m: contacts alone reach few bodies."""
_FORCE = re.compile(r"cfrc|contact|force|wrench|grf|load|touch")
_ENDS = ("foot", "toe", "ankle", "calf", "shank", "shin", "hand", "wrist")
"""Bodies that are meant where a specification names a leg or an arm alone, the first that there is."""
_LINEAR, _ANGULAR = slice(3, 6), slice(0, 3)
"""Where MuJoCo has them in `cvel`, "body 6"; likewise torque (first) and force in `cfrc_ext`, "body 6"."""

BodyReader = Callable[[Any], Array]
"""The numbers of one quantity of some bodies, "bodies numbers" or flat, from an `mjData`."""


@dataclass(frozen=True, eq=False)
class Scene:
    """States and their images in the simulator, forces computed.

    names: of all bodies but the world.  states, images: `mjData`, one for one.  conditions: how the model was changed
    so that T of a step is the step of T.
    """

    names: tuple[str, ...]
    states: tuple[Any, ...]
    images: tuple[Any, ...]
    conditions: str

    def both(self, read: Callable[[Any], Array]) -> tuple[Array, Array]:
        """What is read of the states, and of their images, "state entry"."""
        return _read_of_all(read, self.states), _read_of_all(read, self.images)


def _read_of_all(read: Callable[[Any], Array], states: Sequence[Any]) -> Array:
    """The numbers that a reader takes of every state, "state entry"."""
    return np.stack([read(data).reshape(-1) for data in states])


def scene_of(agreed: Agreement, mirror: RobotMirror) -> Scene | None:
    """The robot in some states, pushed at every body, and in their images; None where the simulator disagrees."""
    if not agreed.agrees:
        return None
    mujoco, model = import_module("mujoco"), agreed.model
    partner, signs = partners_of_bodies(model, mirror), mirror.reflection.signs
    rng, states, images = np.random.default_rng(3), list[Any](), list[Any]()
    for state in agreed.states[:_STATES]:
        # Force and torque on every body but the world, "body 6"; a force is a polar vector, a torque a pseudo-vector.
        push = _PUSH * rng.standard_normal((model.nbody, 6)) * (np.arange(model.nbody) > 0)[:, None]
        mirrored = push[partner] * np.r_[signs, -signs]
        data, image = mujoco.MjData(model), mujoco.MjData(model)
        begin(model, data, state.qpos, state.qvel)
        begin(model, image, mirror.act_qpos(state.qpos), mirror.qvel.act(state.qvel))
        for one, control, force in (
            (data, state.controls[0], push),
            (image, mirror.act_ctrl(state.controls[0]), mirrored),
        ):
            one.ctrl[:], one.xfrc_applied[:] = control, force
            mujoco.mj_forward(model, one)
            mujoco.mj_rnePostConstraint(model, one)  # `cfrc_ext` is filled by this alone
        states.append(data)
        images.append(image)
    names = tuple(model.body(body).name for body in range(1, model.nbody))
    return Scene(names, tuple(states), tuple(images), agreed.rungs[-1].label)


def partners_of_bodies(model: Any, mirror: RobotMirror) -> list[int]:
    """For every body the one at the mirrored place on the partner of its link, by its centre of mass and its origin.

    The list is an involution where welded bodies lie at mirrored places; bodies need no joints of their own.
    """
    data = import_module("mujoco").MjData(model)
    begin(model, data, mirror.robot.qpos, np.zeros(model.nv))
    link_of, _ = links_of_bodies(model)
    partner = []
    for body, link in enumerate(link_of):
        others = [other for other, owner in enumerate(link_of) if owner == mirror.links[link]]
        image = np.r_[mirror.reflection.point(data.xipos[body]), mirror.reflection.point(data.xpos[body])]
        far = {other: float(np.abs(np.r_[data.xipos[other], data.xpos[other]] - image).sum()) for other in others}
        # Of bodies at the same place the body itself comes first; rounding keeps the last digits out of it.
        partner.append(min(others, key=lambda other: (round(far[other], 6), other != body)))
    return partner


def bodies_named(scene: Scene, items: Sequence[str]) -> list[int] | None:
    """The bodies that a block means: by their names, by the leg and its end, or all of them in the model's order.

    The world is one where it is named, though nothing is felt by it.
    """
    words = [name.lower() for name in scene.names]
    chosen = [_body(words, item.lower()) for item in items]
    if None not in chosen and len(set(chosen)) == len(chosen):
        return [number + 1 for number in chosen if number is not None]  # `names` leaves out the world, body 0
    # Names that mean no bodies: a block of all of them can be meant by its size alone.
    first = 0 if "world" in map(str.lower, items) else 1
    if len(items) != len(words) + 1 - first:
        return None
    return list(range(first, len(words) + 1))


def _body(words: Sequence[str], item: str) -> int | None:
    """The position of a body by its name, or by the name of its limb: `FL` is FL_foot, or FL_calf without feet.

    -1 is the world; None where no body is meant, or several are.
    """
    if item in words:
        return words.index(item)
    if item == "world":
        return -1
    # Bodies whose names have all words of the item; of these the one farthest out that has a name of an end.
    # The ends come in the order of `_ENDS`: where a leg has a foot, its calf is not meant.
    limb = [number for number, name in enumerate(words) if set(_split(item)) <= set(_split(name))]
    for end in _ENDS:
        ends = [number for number in limb if end in words[number]]
        if ends:
            if len(ends) != 1:
                return None
            return ends[0]
    return None


def _split(name: str) -> list[str]:
    """The words and numbers of a name in small letters: `fl_foot2` is fl, foot, 2."""
    return re.findall("[a-z]+|[0-9]+", name)


def body_reader(quantity: Quantity, name: str, bodies: Sequence[int]) -> tuple[BodyReader, str] | None:
    """How one quantity of bodies is read, and in which words; None where its kind and name do not say.

    The name decides where it says what the numbers are: `cfrc_ext` has the torque first, a `contact_torque` is one,
    whatever the specification takes it for.
    """
    rows, word, kind = list(bodies), name.lower(), quantity.kind
    if kind == "inertia":
        return lambda data: data.cinert[rows], "inertia of bodies"
    if kind == "twist":
        order = _motion(quantity.order == "angular_first" or "cvel" in word)
        return lambda data: data.cvel[rows][:, order], "velocities of bodies"
    if kind == "wrench":
        order = _motion(quantity.order == "torque_first" or "cfrc" in word)
        return lambda data: data.cfrc_ext[rows][:, order], "forces on bodies"
    if kind == "scalar" and _FORCE.search(word):
        return lambda data: np.linalg.norm(data.cfrc_ext[rows][:, _LINEAR], axis=1)[:, None], "forces on bodies"
    if kind not in ("vector", "axial"):
        return None
    return _vector_reader(rows, word, [AXES.index(axis) for axis in quantity.dims])


# In this order: a `contact_torque` is a torque, an `ang_vel` an angular velocity.
_VECTORS = (
    (re.compile(r"torque|moment"), "cfrc_ext", _ANGULAR, "torques on bodies"),
    (_FORCE, "cfrc_ext", _LINEAR, "forces on bodies"),
    (re.compile(r"ang|gyro|omega|spin"), "cvel", _ANGULAR, "angular velocities of bodies"),
    (re.compile(r"vel|speed"), "cvel", _LINEAR, "velocities of bodies"),
)


def _vector_reader(rows: Sequence[int], word: str, columns: Sequence[int]) -> tuple[BodyReader, str] | None:
    """How three numbers of bodies are read, as far as the name says what they are."""
    for pattern, source, part, words in _VECTORS:
        if pattern.search(word):
            return _columns(source, rows, part, columns), words
    if "pos" in word:
        # From the common centre of mass of the robot's first tree: the place of the world's origin does not count.
        return lambda data: (data.xipos[rows] - data.subtree_com[1])[:, columns], "positions of bodies"
    return None


def _columns(source: str, rows: Sequence[int], part: slice, columns: Sequence[int]) -> BodyReader:
    """Some axes of the linear or of the angular half of an array of bodies."""
    return lambda data: getattr(data, source)[rows][:, part][:, columns]


def _motion(axial_first: bool) -> list[int]:
    """The columns of MuJoCo's order, which has the torque, or the angular velocity, first; or of the other order."""
    if axial_first:
        return [0, 1, 2, 3, 4, 5]
    return [3, 4, 5, 0, 1, 2]


_ARRAYS = (("cfrc_ext", 6), ("cvel", 6), ("cinert", 10))
"""MuJoCo's arrays of bodies, and how many numbers of each: Ant-v5 has 13 bodies and 13 * 6 = 78 of `cfrc_ext`."""


def is_array(name: str) -> bool:
    """Whether a block is one of MuJoCo's arrays of bodies, by its name."""
    return any(source in name.lower() for source, _ in _ARRAYS)


def array_reader(scene: Scene, name: str, width: int) -> tuple[BodyReader, str] | None:
    """How MuJoCo's arrays are read that a block has by their names, of all bodies with or without the world."""
    for source, numbers in _ARRAYS:
        without_world = width == numbers * len(scene.names)
        if source in name.lower() and (without_world or width == numbers * (len(scene.names) + 1)):
            first = int(without_world)
            return _array(source, first), f"MuJoCo's {source}"
    return None


def _array(source: str, first: int) -> BodyReader:
    """One of MuJoCo's arrays of bodies, from a body on."""
    return lambda data: getattr(data, source)[first:]


def generalized_force(columns: Sequence[int]) -> BodyReader:
    """`qfrc_actuator` of some velocities."""
    wanted = list(columns)
    return lambda data: data.qfrc_actuator[wanted]
