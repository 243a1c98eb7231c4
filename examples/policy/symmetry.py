"""How the mirror y -> -y acts on a MuJoCo robot, read off its joints, and how far the simulator agrees.

`python -m examples.policy.symmetry` prints it for gymnasium's robots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chiralize.symmetry.involution import SignedPermutation

Array = npt.NDArray[np.float64]

LATERAL = 1
"""The world's axis that the mirror negates."""
_POLAR = np.array([1.0, -1.0, 1.0])
_AXIAL = -_POLAR
_FREE, _BALL, _SLIDE = 0, 1, 2  # mjtJoint
_NEWTON = 2  # mjtSolver
_TOLERANCE = 1e-6
_PROPERTIES = ("jnt_stiffness", "dof_damping", "dof_armature", "dof_frictionloss", "actuator_gear", "body_mass",
               "geom_friction")  # fmt: skip


@dataclass(frozen=True)
class RobotMirror:
    """T on the simulator's coordinates: `qpos`, `qvel` and `ctrl` are signed permutations.

    joints: name of every joint to that of its partner and its sign; free joints are left out.
    """

    joints: Mapping[str, tuple[str, int]]
    qpos: SignedPermutation
    qvel: SignedPermutation
    ctrl: SignedPermutation


class Difference(NamedTuple):
    """A property of a joint that its partner does not share."""

    joint: str
    partner: str
    property: str
    value: float
    other: float


def derive(model: Any, partners: Mapping[str, str] | None = None) -> RobotMirror:
    """The mirror of a `mujoco.MjModel` in its initial pose.

    A joint's partner is the one at the mirrored place with the mirrored axis, up to its sign. The axis of a hinge is a
    pseudo-vector: its lateral component is kept, and the two others are negated; that of a slide is a polar vector.
    partners: names, for planar robots whose legs lie in one another.
    Raises ValueError where a joint has no partner, or more than one.
    """
    mujoco: Any = import_module("mujoco")

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    given = {**(partners or {}), **{right: left for left, right in (partners or {}).items()}}
    found = [_partner(model, data, joint, given) for joint in range(model.njnt)]
    position, velocity = np.zeros((2, model.nq), np.int64), np.zeros((2, model.nv), np.int64)
    for joint, (other, sign) in enumerate(found):
        at, seen = model.jnt_qposadr[[joint, other]]
        dof, seen_dof = model.jnt_dofadr[[joint, other]]
        if model.jnt_type[joint] == _FREE:
            position[:, at : at + 7] = np.arange(seen, seen + 7), [*_POLAR, 1, *_AXIAL]
            velocity[:, dof : dof + 6] = np.arange(seen_dof, seen_dof + 6), [*_POLAR, *_AXIAL]
        else:
            position[:, at], velocity[:, dof] = (seen, sign), (seen_dof, sign)
    actuated = model.actuator_trnid[:, 0].tolist()
    control = [(actuated.index(found[joint][0]), found[joint][1]) for joint in actuated]
    names = [model.joint(joint).name for joint in range(model.njnt)]
    joints = {names[i]: (names[j], sign) for i, (j, sign) in enumerate(found) if model.jnt_type[i] != _FREE}
    return RobotMirror(joints, *(SignedPermutation(*table) for table in (position, velocity, np.array(control).T)))


def _partner(model: Any, data: Any, joint: int, given: Mapping[str, str]) -> tuple[int, int]:
    """Index and sign of a joint's partner."""
    kind, name = model.jnt_type[joint], model.joint(joint).name
    if kind == _BALL:
        raise ValueError(f"joint {name}: ball joints are not read.")
    if kind == _FREE:
        return joint, 1
    place = _POLAR * data.xanchor[joint]
    axis = (_POLAR if kind == _SLIDE else _AXIAL) * data.xaxis[joint]
    found = []
    for other in range(model.njnt):
        along = float(axis @ data.xaxis[other])
        here = kind == _SLIDE or np.allclose(data.xanchor[other], place, atol=_TOLERANCE)
        meant = given.get(name, model.joint(other).name) == model.joint(other).name
        if model.jnt_type[other] == kind and here and meant and abs(abs(along) - 1) < _TOLERANCE:
            found.append((other, round(along)))
    if len(found) != 1:
        names = ", ".join(model.joint(other).name for other, _ in found) or "none"
        raise ValueError(f"joint {name}: joints at its mirrored place are: {names}; there has to be one.")
    return found[0]


def differences(model: Any, mirror: RobotMirror) -> list[Difference]:
    """What of joints, and of the bodies that they move, differs from the partner's: range, stiffness, friction, ..."""
    found = []
    for name, (partner, sign) in mirror.joints.items():
        if name >= partner:
            continue
        ranges = [np.sort(turn * model.joint(joint).range) for joint, turn in ((name, sign), (partner, 1))]
        for values, others, what in [(*ranges, "jnt_range"), *_properties(model, name, partner)]:
            for value, other in zip(np.ravel(values), np.ravel(others), strict=True):
                if not np.isclose(value, other):
                    found.append(Difference(name, partner, what, float(value), float(other)))
    return found


def _properties(model: Any, name: str, partner: str) -> list[tuple[Array, Array, str]]:
    rows = [(place(model, name, what), place(model, partner, what), what) for what in _PROPERTIES]
    return [(getattr(model, what)[one], getattr(model, what)[other], what) for one, other, what in rows]


def place(model: Any, joint: str, what: str) -> list[int]:
    """Rows of the property `what` that belong to a joint or to the body that it moves."""
    index = model.joint(joint).id
    body = int(model.jnt_bodyid[index])
    if what.startswith("body_"):
        return [body]
    if what.startswith("geom_"):
        return np.flatnonzero(model.geom_bodyid == body).tolist()
    if what.startswith("jnt_"):
        return [index]
    if what.startswith("dof_"):
        return [int(model.jnt_dofadr[index])]
    return np.flatnonzero(model.actuator_trnid[:, 0] == index).tolist()


def mend(model: Any, mirror: RobotMirror) -> None:
    """Gives the joints and bodies that differ from their partners the partners' values, in place; ranges are left."""
    mujoco: Any = import_module("mujoco")
    for found in differences(model, mirror):
        if found.property != "jnt_range":
            own, other = (place(model, joint, found.property) for joint in (found.joint, found.partner))
            getattr(model, found.property)[own] = getattr(model, found.property)[other]
    mujoco.mj_setConst(model, mujoco.MjData(model))  # what the compiler derives from masses and armatures


def deviations(model: Any, mirror: RobotMirror, steps: int, starts: int, seed: int = 0, skip: int = 5) -> Array:
    """Largest |T s(t) - s'(t)| over all starts, `step`; s' is what starts from T s(0) and is given T of all controls.

    starts: random states around the initial pose, some of them in contact with the ground.  skip: simulator's steps
    for one of the controls, which are uniform in their range.
    """
    mujoco: Any = import_module("mujoco")

    rng = np.random.default_rng(seed)
    far = np.zeros(steps)
    one, other = mujoco.MjData(model), mujoco.MjData(model)
    for _ in range(starts):
        qpos = model.qpos0 + 0.1 * rng.standard_normal(model.nq)
        qvel = rng.standard_normal(model.nv)
        if model.jnt_type[0] == _FREE:
            qpos[2] = model.qpos0[2] * rng.uniform(0.6, 1.1)
            qpos[3:7] /= np.linalg.norm(qpos[3:7])
        begin(model, one, qpos, qvel)
        begin(model, other, mirror.qpos.act(qpos), mirror.qvel.act(qvel))
        for step in range(steps):
            control = rng.uniform(*model.actuator_ctrlrange.T)
            for data, given in ((one, control), (other, mirror.ctrl.act(control))):
                data.ctrl[:] = given
                mujoco.mj_step(model, data, nstep=skip)
            gaps = [mirror.qpos.act(one.qpos) - other.qpos, mirror.qvel.act(one.qvel) - other.qvel]
            far[step] = max(far[step], *(float(np.abs(gap).max()) for gap in gaps))
    return far


def begin(model: Any, data: Any, qpos: Array, qvel: Array) -> None:
    """Puts the simulator into a state; what its solver remembers of an earlier one is forgotten."""
    mujoco: Any = import_module("mujoco")

    mujoco.mj_resetData(model, data)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)


WALKER = {"thigh_joint": "thigh_left_joint", "leg_joint": "leg_left_joint", "foot_joint": "foot_left_joint"}
ROBOTS: dict[str, Mapping[str, str] | None] = {"Ant-v5": None, "Humanoid-v5": None, "Walker2d-v5": WALKER,
                                               "Walker2d-v4": WALKER}  # fmt: skip


def main() -> None:
    """Prints, for each robot, how far the simulator is from the mirror and which joints differ."""
    gymnasium: Any = import_module("gymnasium")
    for name, partners in ROBOTS.items():
        model = gymnasium.make(name).unwrapped.model
        mirror = derive(model, partners)
        _show(name, model, mirror)
        found = differences(model, mirror)
        for own in found:
            print(f"  {own.property}: {own.joint} {own.value:g}, {own.partner} {own.other:g}")
        if found:
            mend(model, mirror)
            _show("  with these made equal", model, mirror)
        if found and model.opt.solver != _NEWTON:
            model.opt.solver = _NEWTON
            _show("  and Newton's solver, which does not depend on the order of the contacts", model, mirror)


def _show(what: str, model: Any, mirror: RobotMirror) -> None:
    far = deviations(model, mirror, steps=20, starts=50)
    print(f"{what}: {far[0]:.1e} after 1 step, {far[4]:.1e} after 5, {far[19]:.1e} after 20")


if __name__ == "__main__":
    main()
