"""Robots written for tests: small ones by hand, and random ones that are symmetric because numpy mirrored one half."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chiralize.body.robots.deriving import derive
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import OpenedModel, open_model
from chiralize.body.robots.reading import poses, read_robot

Array = npt.NDArray[np.float64]

LEG = """
<body name="{side}_thigh" pos="0 {y} 0">
  <joint name="{side}_hip_roll" axis="1 0 0" range="{low} {high}" armature="0.01" damping="1"/>
  <joint name="{side}_hip_pitch" axis="0 {pitch} 0" range="-1 1" armature="0.01"/>
  <geom name="{side}_thigh_geom" type="capsule" fromto="0 0 0 0 0 -.3" size=".04" mass="{mass}"/>
  <body name="{side}_shin" pos="0 0 -.3">
    <joint name="{side}_knee" axis="0 1 0" range="-2 0" armature="0.01" damping=".5"/>
    <geom name="{side}_shin_geom" type="capsule" fromto="0 0 0 0 0 -.3" size=".03" mass="1" friction="{friction}"/>
  </body>
</body>
"""
BIPED = """
<mujoco model="biped">
  <option timestep="0.002"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1"/>
    <body name="pelvis" pos="0 0 .7">
      <freejoint name="root"/>
      <geom name="pelvis_geom" type="box" size=".1 .12 .08" mass="5"/>
      {left}{right}
      <body name="torso" pos="0 0 .1">
        <joint name="waist_yaw" axis="0 0 1" range="-1 1" armature="0.01"/>
        <geom name="torso_geom" type="box" size=".08 .1 .2" pos="0 {com} .2" mass="6"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="waist" joint="waist_yaw" ctrlrange="-5 5"/>
    <motor name="right_knee" joint="right_knee" ctrlrange="-5 5"/>
    <motor name="right_pitch" joint="right_hip_pitch" ctrlrange="-5 5"/>
    <motor name="right_roll" joint="right_hip_roll" ctrlrange="-5 5" gear="{gear}"/>
    <motor name="left_roll" joint="left_hip_roll" ctrlrange="-5 5"/>
    <motor name="left_pitch" joint="left_hip_pitch" ctrlrange="-5 5"/>
    <motor name="left_knee" joint="left_knee" ctrlrange="-5 5"/>
  </actuator>
  {more}
</mujoco>
"""


def biped(
    *,
    mass: float = 2,
    friction: float = 1,
    com: float = 0,
    gear: float = 1,
    span: tuple[float, float] = (-0.3, 0.5),
    more: str = "",
) -> str:
    """A biped with seven driven joints. The axis of the right hip's pitch points the other way than the left one's.

    mass, friction, span: of the right leg, whose image has 2, 1 and (-.5, .3).  com: of the torso, sideways.
    """
    left = LEG.format(side="left", y=0.1, low=-0.5, high=0.3, pitch=1, mass=2, friction=1)
    right = LEG.format(side="right", y=-0.1, low=span[0], high=span[1], pitch=-1, mass=mass, friction=friction)
    return BIPED.format(left=left, right=right, com=com, gear=gear, more=more)


BIPED_JOINTS = {
    "left_hip_roll": ("right_hip_roll", -1),
    "right_hip_roll": ("left_hip_roll", -1),
    "left_hip_pitch": ("right_hip_pitch", -1),
    "right_hip_pitch": ("left_hip_pitch", -1),
    "left_knee": ("right_knee", 1),
    "right_knee": ("left_knee", 1),
    "waist_yaw": ("waist_yaw", -1),
}
"""Partner and sign of every joint of the biped."""


def write(folder: Path, text: str, name: str = "robot.xml") -> Path:
    """The path of a file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def opened_mirror(path: Path, lateral: str | None = None, **partners: str) -> tuple[OpenedModel, RobotMirror]:
    """A file's model and its mirror."""
    opened = open_model(path)
    return opened, derive([read_robot(opened, name, qpos) for name, qpos in poses(opened)], lateral, partners)


def mirror_of(folder: Path, text: str, lateral: str | None = None, **partners: str) -> RobotMirror:
    """The mirror of a robot's text."""
    return opened_mirror(write(folder, text), lateral, **partners)[1]


# ---- random robots --------------------------------------------------------------------------------------------
@dataclass(frozen=True, eq=False)
class Part:
    """A body of a random robot, in the world's frame.

    parent: index, -1 for the world.  partner: index.  turn, origin: of its frame.  kind, axis, anchor: of its joint.
    sign: of its joint, as numpy made it.  mass, center, inertia: of the body.
    """

    parent: int
    partner: int
    turn: Array
    origin: Array
    kind: str
    axis: Array
    anchor: Array
    sign: int
    mass: float
    center: Array
    inertia: Array


def random_turn(rng: np.random.Generator) -> Array:
    """A rotation matrix, uniform."""
    square, upper = np.linalg.qr(rng.standard_normal((3, 3)))
    square = square * np.sign(np.diag(upper))
    return square * np.array([1, 1, np.linalg.det(square)])


def random_robot(seed: int, centers: int, limbs: int, length: int, lateral: int) -> list[Part]:
    """A chain of links in the middle, limbs on its links and their images: exactly symmetric, frames at random."""
    rng = np.random.default_rng(seed)
    signs = np.ones(3)
    signs[lateral] = -1
    parts: list[Part] = []
    for number in range(centers):
        parts.append(_center(rng, number, signs, lateral))
    for limb in range(limbs):
        parent = image_parent = int(rng.integers(centers))
        for step in range(length):
            one = _side(rng, parent, len(parts) + 1, limb, step, lateral)
            flip = int(rng.choice([-1, 1]))
            parts.append(one)
            parts.append(_image(rng, one, image_parent, len(parts) - 1, signs, flip))
            parts[-2] = _with_sign(one, flip)
            parent, image_parent = len(parts) - 2, len(parts) - 1
    return parts


def _with_sign(part: Part, sign: int) -> Part:
    return Part(**{**vars(part), "sign": sign})


def _body(rng: np.random.Generator, origin: Array) -> tuple[float, Array, Array]:
    """Mass, centre and inertia of six points."""
    points = origin + 0.1 * rng.standard_normal((6, 3))
    masses = rng.uniform(0.2, 1, 6)
    center = masses @ points / masses.sum()
    away = points - center
    inertia = sum(m * (p @ p * np.eye(3) - np.outer(p, p)) for m, p in zip(masses, away, strict=True))
    return float(masses.sum()), center, np.asarray(inertia)


def _center(rng: np.random.Generator, number: int, signs: Array, lateral: int) -> Part:
    """A link whose joint lies in the plane of the mirror, about or along a line in it or across it."""
    kind = str(rng.choice(["hinge", "slide"]))
    is_across = bool(rng.integers(2))
    axis = np.eye(3)[lateral] if is_across else rng.standard_normal(3) * (signs > 0)
    axis /= np.linalg.norm(axis)
    place = rng.uniform(-0.3, 0.3, 3) * (signs > 0) + np.array([0, 0, 0.4 * number]) * (signs > 0)
    mass, center, inertia = _body(rng, place)
    center = (center + signs * center) / 2
    inertia = (inertia + signs[:, None] * inertia * signs) / 2
    sign = (1 if is_across else -1) * (1 if kind == "hinge" else -1)
    return Part(number - 1, number, random_turn(rng), place, kind, axis, place, sign, mass, center, inertia)


def _side(rng: np.random.Generator, parent: int, partner: int, limb: int, step: int, lateral: int) -> Part:
    place = rng.uniform(-0.2, 0.2, 3) + np.array([0.3 * limb, 0, -0.3 * step])
    place[lateral] = 0.3 + 0.3 * limb + rng.uniform(0, 0.1)
    kind = str(rng.choice(["hinge", "hinge", "slide"]))
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    origin = place + 0.05 * rng.standard_normal(3)
    return Part(parent, partner, random_turn(rng), origin, kind, axis, place, 1, *_body(rng, place))


def _image(rng: np.random.Generator, one: Part, parent: int, partner: int, signs: Array, flip: int) -> Part:
    """The other side's part: places are reflected, the axis of a hinge is a pseudo-vector, the frame is its own."""
    axis = (signs if one.kind == "slide" else -signs) * one.axis * flip
    inertia = signs[:, None] * one.inertia * signs
    origin = signs * one.origin + 0.05 * rng.standard_normal(3)
    return Part(
        parent,
        partner,
        random_turn(rng),
        origin,
        one.kind,
        axis,
        signs * one.anchor,
        flip,
        one.mass,
        signs * one.center,
        inertia,
    )


def mjcf(parts: list[Part], names: list[str]) -> str:
    """MuJoCo XML of random parts; joints are called by `names`."""

    def numbers(values: Array) -> str:
        return " ".join(repr(float(value)) for value in np.ravel(values))

    def body(index: int) -> str:
        part = parts[index]
        above = parts[part.parent] if part.parent >= 0 else None
        turn, origin = (above.turn, above.origin) if above is not None else (np.eye(3), np.zeros(3))
        local = turn.T @ part.turn
        inertia = part.turn.T @ part.inertia @ part.turn
        full = [inertia[0, 0], inertia[1, 1], inertia[2, 2], inertia[0, 1], inertia[0, 2], inertia[1, 2]]
        children = "".join(body(child) for child, other in enumerate(parts) if other.parent == index)
        return (
            f'<body name="b_{names[index]}" pos="{numbers(turn.T @ (part.origin - origin))}"'
            f' xyaxes="{numbers(local[:, 0])} {numbers(local[:, 1])}">'
            f'<inertial pos="{numbers(part.turn.T @ (part.center - part.origin))}" mass="{part.mass!r}"'
            f' fullinertia="{numbers(np.array(full))}"/>'
            f'<joint name="{names[index]}" type="{part.kind}" axis="{numbers(part.turn.T @ part.axis)}"'
            f' pos="{numbers(part.turn.T @ (part.anchor - part.origin))}"/>{children}</body>'
        )

    roots = "".join(body(index) for index, part in enumerate(parts) if part.parent < 0)
    return f'<mujoco model="random"><option gravity="0 0 0"/><worldbody>{roots}</worldbody></mujoco>'
