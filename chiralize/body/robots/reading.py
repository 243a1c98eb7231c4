"""A compiled MuJoCo model as a `Robot`, in its initial pose or in that of a keyframe.

In go an `OpenedModel` and a pose, out come plain records (`robot.Robot`), all in the world's frame. MuJoCo runs its
kinematics once, and no step. Bodies that are welded to each other are one link: of

    torso (free joint) ── head (no joint) ── visor (no joint)
                       └─ arm (hinge)

there are three links: the world, {torso, head, visor} with masses and inertias summed, and {arm}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chiralize.body.robots.opening import OpenedModel, simulator
from chiralize.body.robots.robot import BALL, FREE, HINGE, SLIDE, Actuator, Array, Joint, Link, Robot, Shape

_KINDS = (FREE, BALL, SLIDE, HINGE)  # mjtJoint
_GEOMS = ("plane", "hfield", "sphere", "capsule", "ellipsoid", "cylinder", "box", "mesh", "sdf")  # mjtGeom
_ON_JOINT = (0, 1)  # mjtTrn: joint, joint in the parent's frame
_NO_TURN = np.array([1.0, 0.0, 0.0, 0.0])


def poses(opened: OpenedModel) -> Iterator[tuple[str, Array]]:
    """Name and qpos of the poses in which the robot may be symmetric: the initial one, then keyframes.

    Free bodies are unturned, so that the axes of the base are those of the world.
    """
    model = opened.model
    yield "initial pose", _unturned(model, np.array(model.qpos0))
    for key in range(model.nkey):
        yield f"keyframe {model.key(key).name or key}", _unturned(model, np.array(model.key_qpos[key]))


def _unturned(model: Any, qpos: Array) -> Array:
    """The pose with the quaternions of free bodies set to no turn, in place.  qpos: "nq"."""
    free = np.flatnonzero(model.jnt_type == _KINDS.index(FREE))
    for start in model.jnt_qposadr[free].tolist():
        qpos[start + 3 : start + 7] = _NO_TURN
    return qpos


def read_robot(opened: OpenedModel, pose: str, qpos: Array) -> Robot:
    """The robot of a compiled model as it stands in a pose.  pose: its name.  qpos: "nq"."""
    mujoco, model = simulator(opened.path), opened.model
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    # In the order in which they build on each other, up to the forces of actuators on joints.
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_tendon(model, data)
    mujoco.mj_transmission(model, data)
    link_of, moved = links_of_bodies(model)
    links = tuple(_link(model, data, link_of, moved, index) for index in range(len(moved)))
    name = model.names[: model.names.index(b"\0")].decode() or opened.path.stem  # the model's own name comes first
    return Robot(
        name=name,
        links=links,
        joints=tuple(_joint(model, data, link_of, index) for index in range(model.njnt)),
        shapes=tuple(_shapes(model, data, link_of)),
        actuators=_actuators(mujoco, model, data),
        pose=pose,
        qpos=qpos,
        velocities=model.nv,
        gravity=np.array(model.opt.gravity),
        wind=np.array(model.opt.wind),
        document=opened.document,
    )


def links_of_bodies(model: Any) -> tuple[list[int], list[int]]:
    """For every body its link, and for every link the body that moves by joints; the world comes first."""
    link_of, moved = [0], [0]
    for body in range(1, model.nbody):  # parents before their children, so that the parent's link is known
        if model.body_jntnum[body]:
            link_of.append(len(moved))
            moved.append(body)
        else:
            link_of.append(link_of[model.body_parentid[body]])
    return link_of, moved


def _link(model: Any, data: Any, link_of: list[int], moved: list[int], index: int) -> Link:
    """A link with the mass of all its bodies, about their common centre."""
    bodies = [body for body, link in enumerate(link_of) if link == index]
    masses = model.body_mass[bodies]
    total = float(masses.sum())
    if total:
        center = masses @ data.xipos[bodies] / total
    else:
        center = np.array(data.xipos[bodies[0]])
    # Each body's inertia turned into the world's frame, and moved to the common centre by the parallel axis theorem.
    inertia = np.zeros((3, 3))
    for body, mass in zip(bodies, masses, strict=True):
        turn = data.ximat[body].reshape(3, 3)
        away = data.xipos[body] - center
        inertia += turn @ np.diag(model.body_inertia[body]) @ turn.T
        inertia += mass * (away @ away * np.eye(3) - np.outer(away, away))
    start, count = model.body_jntadr[moved[index]], model.body_jntnum[moved[index]]
    return Link(
        bodies=tuple(model.body(body).name for body in bodies),
        parent=link_of[model.body_parentid[moved[index]]],
        joints=tuple(range(start, start + count)),
        mass=total,
        center=center,
        inertia=inertia,
    )


def _joint(model: Any, data: Any, link_of: list[int], index: int) -> Joint:
    """A joint as it stands in the pose; the reference of its spring counts from that pose."""
    # Numbers of a joint begin at `jnt_qposadr` in qpos and at `jnt_dofadr` in qvel: a quaternion has one more in qpos.
    kind = _KINDS[model.jnt_type[index]]
    body, start, dof = int(model.jnt_bodyid[index]), int(model.jnt_qposadr[index]), int(model.jnt_dofadr[index])
    width = {FREE: 7, BALL: 4}.get(kind, 1)
    is_single = kind in (HINGE, SLIDE)
    spring = float(model.qpos_spring[start] - data.qpos[start]) if is_single else 0.0
    properties = {
        "stiffness": float(np.ravel(model.jnt_stiffness[index])[0]),
        "damping": float(np.ravel(model.dof_damping[dof])[0]),
        "armature": float(model.dof_armature[dof]),
        "friction loss": float(model.dof_frictionloss[dof]),
    }
    if model.jnt_limited[index]:
        span = (float(model.jnt_range[index, 0]), float(model.jnt_range[index, 1]))
    else:
        span = None
    return Joint(
        name=model.joint(index).name or f"joint{index}",
        kind=kind,
        link=link_of[body],
        anchor=np.array(data.xanchor[index]),
        axis=np.array(data.xaxis[index]),
        frame=np.array(data.xmat[body].reshape(3, 3)),
        position=start,
        velocity=dof,
        zero=np.array(data.qpos[start : start + width]),
        span=span,
        properties=properties | {"spring reference": spring if properties["stiffness"] else 0.0},
    )


def _shapes(model: Any, data: Any, link_of: list[int]) -> Iterator[Shape]:
    """Geoms that can be in contact: those with a contact type or affinity."""
    for geom in np.flatnonzero((model.geom_contype != 0) | (model.geom_conaffinity != 0)).tolist():
        kind = _GEOMS[model.geom_type[geom]]
        turn = data.geom_xmat[geom].reshape(3, 3)
        size = model.geom_size[geom].copy()
        # Half sizes along the shape's own axes, "3"; MuJoCo has fewer numbers of round shapes, whose axis is z. A
        # plane keeps its normal alone.
        if kind == "plane":
            size = np.array([0.0, 0.0, 1.0])
        elif kind == "sphere":
            size = np.repeat(size[0], 3)
        elif kind in ("capsule", "cylinder"):
            size = np.array([size[0], size[0], size[1]])
        friction = {f"friction {index}": float(value) for index, value in enumerate(model.geom_friction[geom])}
        yield Shape(
            name=model.geom(geom).name or f"geom{geom}",
            kind=kind,
            link=link_of[model.geom_bodyid[geom]],
            center=np.array(data.geom_xpos[geom]),
            form=turn @ np.diag(size**2) @ turn.T,
            properties={"index": geom, **friction, **_contact(model, geom)},
        )


def _contact(model: Any, geom: int) -> dict[str, float]:
    """Further properties of a geom that its contacts depend on."""
    properties = {"margin": float(model.geom_margin[geom]), "condim": float(model.geom_condim[geom])}
    for name in ("solref", "solimp"):
        values = getattr(model, f"geom_{name}")[geom]
        properties |= {f"{name} {number}": float(value) for number, value in enumerate(values)}
    for name in ("contype", "conaffinity", "priority"):
        properties[name] = float(getattr(model, f"geom_{name}")[geom])
    return properties


def _actuators(mujoco: Any, model: Any, data: Any) -> tuple[Actuator, ...]:
    """All actuators, with their forces on joints."""
    # "actuator velocity": how much each control pushes each velocity, in the pose.
    moments = np.zeros((model.nu, model.nv))
    # Flat and sparse, or dense: versions of MuJoCo differ.
    if model.nu and data.actuator_moment.ndim == 1:
        table = data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind
        mujoco.mju_sparse2dense(moments, *table)
    elif model.nu:
        moments[:] = data.actuator_moment
    return tuple(_actuator(model, index, moments[index]) for index in range(model.nu))


def _actuator(model: Any, index: int, moment: Array) -> Actuator:
    """One actuator.  moment: its force on every velocity, "nv"."""
    on_joint = int(model.actuator_trntype[index]) in _ON_JOINT
    limits = model.actuator_ctrlrange[index]
    if model.actuator_ctrllimited[index]:
        control = float(limits[0]), float(limits[1])
    else:
        control = None
    properties = {f"gain {number}": float(value) for number, value in enumerate(model.actuator_gainprm[index][:3])}
    properties |= {f"bias {number}": float(value) for number, value in enumerate(model.actuator_biasprm[index][:3])}
    if model.actuator_forcelimited[index]:
        lower, upper = model.actuator_forcerange[index]
        properties |= {"least force": float(lower), "largest force": float(upper)}
    return Actuator(
        name=model.actuator(index).name or f"actuator{index}",
        joint=int(model.actuator_trnid[index, 0]) if on_joint else None,
        gear=np.array(model.actuator_gear[index]),
        moment=moment.copy(),
        is_servo=bool(model.actuator_biasprm[index, 1]),  # its force depends on the position
        control=control,
        properties=properties,
    )
