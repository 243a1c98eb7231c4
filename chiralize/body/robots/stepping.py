"""The simulator as the judge of a mirror: T of a step has to be the step of T of the state and of the controls.

    s(0) ──step──> s(1) ──step──> ...
     │T             │T
    s'(0) ──step─> s'(1) ──step──> ...        deviation at t:  |T s(t) - s'(t)|

`deviations` runs both rows from random states. Roundings grow along a row, a wrong sign shows after one step:
`agreement` and `checking` tell them apart by the bound `agreement.EXACT`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from chiralize.body.robots.robot import FREE, Array, Robot
from chiralize.symmetry.involution import SignedPermutation

_AROUND = 0.1
"""Standard deviation of joint positions about the reference pose, radians or metres."""
_LARGEST_CONTROL = 1.0
"""The largest control of actuators without limits."""
_SHARE = 0.2
"""How far from the middle of their ranges controls go."""
_PUSH = 3.0
"""Accelerations with which joints are pushed in addition, radians or metres per second squared."""
_FREE = 0  # mjtJoint


class Acting(Protocol):
    """T on positions, velocities and controls."""

    @property
    def qvel(self) -> SignedPermutation:
        """T on velocities."""
        ...

    def act_qpos(self, qpos: Array) -> Array:
        """T on positions."""
        ...

    def act_ctrl(self, ctrl: Array) -> Array:
        """T on controls."""
        ...


@dataclass(frozen=True, eq=False)
class State:
    """Where a robot starts and what drives it.  qpos: "nq".  qvel: "nv".  controls: "step nu".  pushes: generalized
    forces, "step nv".
    """

    qpos: Array
    qvel: Array
    controls: Array
    pushes: Array


def random_states(model: Any, robot: Robot, steps: int, starts: int, seed: int = 0) -> list[State]:
    """States around the reference pose, some of which touch the ground, with controls about the middle of their ranges.

    Every joint but the free ones is pushed besides, so that those without an actuator are asked, too.
    steps: how many controls and pushes a state has.  starts: how many states.
    """
    # The same states at every run, so that a check says the same of the same file.
    rng = np.random.default_rng(seed)
    lower, upper = model.actuator_ctrlrange.T.copy()
    limited = model.actuator_ctrllimited.astype(bool)
    lower[~limited], upper[~limited] = -_LARGEST_CONTROL, _LARGEST_CONTROL
    pushed = np.ones(model.nv)  # 1 for velocities that are pushed
    for joint in robot.joints:
        if joint.kind == FREE:
            pushed[joint.velocity : joint.velocity + 6] = 0
    states = []
    for _ in range(starts):
        qpos = robot.qpos + _AROUND * rng.standard_normal(model.nq)
        # Noise has taken the quaternions of free joints (type 0, behind three positions) and balls (1) off length 1.
        for joint in np.flatnonzero(model.jnt_type <= 1).tolist():
            start = int(model.jnt_qposadr[joint]) + (3 if model.jnt_type[joint] == _FREE else 0)
            qpos[start : start + 4] /= np.linalg.norm(qpos[start : start + 4])
        if robot.base is not None:
            # Lower than it stands in most cases, so that feet touch the ground.
            height = robot.joints[robot.base].position + 2
            qpos[height] = robot.qpos[height] * rng.uniform(0.6, 1.1)
        controls = (lower + upper) / 2 + _SHARE * (upper - lower) / 2 * rng.uniform(-1, 1, (steps, model.nu))
        # A force is an acceleration times what it moves: M0 is the diagonal of the mass matrix.
        pushes = _PUSH * pushed * model.dof_M0 * rng.standard_normal((steps, model.nv))
        states.append(State(qpos, rng.standard_normal(model.nv), controls, pushes))
    return states


def deviations(model: Any, mirror: Acting, states: list[State], skip: int = 1) -> Array:
    """Largest |T s(t) - s'(t)| over all starts, "step entry"; entries are those of qvel.

    s' is what starts from T s(0) and is given T of all controls and pushes.  Positions and velocities both count, those
    of positions as the simulator subtracts them.  skip: simulator's steps for one of the controls.
    """
    mujoco: Any = import_module("mujoco")
    far = np.zeros((len(states[0].controls), model.nv))
    with quiet(mujoco):
        for state in states:
            far = np.maximum(far, _parting(mujoco, model, mirror, state, skip))
    return far


@contextmanager
def quiet(mujoco: Any) -> Iterator[None]:
    """MuJoCo's warnings go neither to the terminal nor into a file; numbers that blow up are seen as such."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _parting(mujoco: Any, model: Any, mirror: Acting, state: State, skip: int) -> Array:
    """|T s(t) - s'(t)| from one start, "step entry"."""
    far = np.zeros((len(state.controls), model.nv))
    one, other = mujoco.MjData(model), mujoco.MjData(model)
    begin(model, one, state.qpos, state.qvel)
    begin(model, other, mirror.act_qpos(state.qpos), mirror.qvel.act(state.qvel))
    for step, (control, push) in enumerate(zip(state.controls, state.pushes, strict=True)):
        one.ctrl[:], other.ctrl[:] = control, mirror.act_ctrl(control)
        one.qfrc_applied[:], other.qfrc_applied[:] = push, mirror.qvel.act(push)
        mujoco.mj_step(model, one, nstep=skip)
        mujoco.mj_step(model, other, nstep=skip)
        far[step] = _gap(mujoco, model, mirror, one, other)
    return far


def fastest(model: Any, states: list[State]) -> float:
    """The largest speed that any coordinate comes to; infinite where the model blows up."""
    mujoco: Any = import_module("mujoco")
    data, speed = mujoco.MjData(model), 0.0
    with quiet(mujoco):
        for state in states:
            begin(model, data, state.qpos, state.qvel)
            for control, push in zip(state.controls, state.pushes, strict=True):
                data.ctrl[:], data.qfrc_applied[:] = control, push
                mujoco.mj_step(model, data)
                speed = max(speed, float(np.nan_to_num(np.abs(data.qvel), nan=np.inf).max()))
    return speed


def _gap(mujoco: Any, model: Any, mirror: Acting, one: Any, other: Any) -> Array:
    """How far two states are from being each other's images, "entry"; not a number counts as infinitely far."""
    # Positions are subtracted as the simulator does it, "nv": two quaternions q and -q are the same turn.
    turned = np.zeros(model.nv)
    mujoco.mj_differentiatePos(model, turned, 1.0, mirror.act_qpos(one.qpos), other.qpos)
    speeds = mirror.qvel.act(one.qvel) - other.qvel
    return np.nan_to_num(np.maximum(np.abs(turned), np.abs(speeds)), nan=np.inf)


def begin(model: Any, data: Any, qpos: Array, qvel: Array) -> None:
    """Puts the simulator into a state; what its solver remembers of an earlier one is forgotten."""
    mujoco: Any = import_module("mujoco")
    mujoco.mj_resetData(model, data)
    data.qpos[:], data.qvel[:] = qpos, qvel
    mujoco.mj_forward(model, data)
