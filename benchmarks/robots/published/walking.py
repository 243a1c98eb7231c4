"""A published robot that walks as it is told, in MuJoCo: forward, sideways and turning speeds, drawn at the start."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np

from benchmarks.robots.published.policies import Array, PublishedPolicy
from chiralize.body.robots.describing import mirror_of
from chiralize.body.robots.mirroring import RobotMirror
from chiralize.body.robots.opening import OpenedModel, open_model

SECONDS = 10.0
SUBSTEPS = 5
"""Steps of the simulator in one of the motor controllers."""
_SIGMA = 0.25  # m2/s2 and rad2/s2; of the usual reward of such trainings
_FALLEN = 0.5  # cosine of the base's tilt
_LOW = 0.4  # of the height at the start


class Walking(gymnasium.Env[Array, Array]):
    """The robot's model on flat ground. Rewards are those of following the command, at most 1.5 a second."""

    def __init__(self, policy: PublishedPolicy, robots: Path) -> None:
        self.policy = policy
        opened = _on_ground(robots / policy.names.model)
        self.mirror: RobotMirror = mirror_of(opened)
        self.model = opened.model
        self.data: Any = mujoco.MjData(self.model)
        config = policy.config
        self.model.opt.timestep = config["dt"] / SUBSTEPS
        self.steps = SUBSTEPS * config["decimation"]
        self.seconds = config["dt"] * config["decimation"]
        joints = [self.model.joint(name).id for name in policy.joints]
        self.positions, self.velocities = self.model.jnt_qposadr[joints], self.model.jnt_dofadr[joints]
        actuators = {int(self.model.actuator_trnid[at, 0]): at for at in range(self.model.nu)}
        self.actuators = np.array([actuators[joint] for joint in joints])
        self.wheels = np.isin(np.arange(len(joints)), config["wheel_indices"])
        self.default, self.limit = policy.of_joints("default_dof_pos"), policy.of_joints("torque_limits")
        self.stiffness, self.damping = policy.of_joints("rl_kp"), policy.of_joints("rl_kd")
        low, high = policy.of_joints("clip_actions_lower"), policy.of_joints("clip_actions_upper")
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float64)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (policy.inputs,), dtype=np.float64)
        self.command, self.action = np.zeros(3), np.zeros(len(joints))
        self.frames: list[Array] = []
        self.time, self.height = 0, 0.0

    # ---- what gymnasium asks for ----------------------------------------------------------------------------
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self.positions] = self.default
        self._put_on_ground()
        moved = self.np_random.uniform(-0.1, 0.1, len(self.default))
        self.data.qpos[self.positions] += np.where(self.wheels, 0.0, moved)
        self.data.qvel[:2] = self.np_random.uniform(-0.3, 0.3, 2)
        self.command = self.np_random.uniform([0.0, -0.4, -0.8], [0.8, 0.4, 0.8])
        return self._begin()

    def mirrored_reset(self, *, seed: int) -> tuple[Array, dict[str, Any]]:
        """Begin at the mirror image of what `reset(seed=...)` gives, with the mirrored command."""
        self.reset(seed=seed)
        self.data.qpos[:] = self.mirror.act_qpos(np.array(self.data.qpos))
        self.data.qvel[:] = self.mirror.qvel.act(np.array(self.data.qvel), -1)
        self.command = self.command * [1.0, -1.0, -1.0]
        return self._begin()

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        self.action = np.clip(action, self.action_space.low, self.action_space.high)
        for _ in range(self.steps):
            self.data.ctrl[self.actuators] = self._torques()
            mujoco.mj_step(self.model, self.data)
        self.time += 1
        self.frames = [self._frame(), *self.frames[:-1]]
        over = self.time * self.seconds >= SECONDS - 1e-9
        return self._observation(), self._reward(), self._has_fallen(), over, {}

    # ---- the robot ------------------------------------------------------------------------------------------
    def _begin(self) -> tuple[Array, dict[str, Any]]:
        mujoco.mj_forward(self.model, self.data)
        self.action, self.time = np.zeros(len(self.default)), 0
        self.frames = [self._frame()] * (1 + max(self.policy.frames))
        return self._observation(), {}

    def _observation(self) -> Array:
        return np.concatenate([self.frames[age] for age in self.policy.frames])

    def _frame(self) -> Array:
        """One frame, block by block as the policy's configuration lists them."""
        config, data = self.policy.config, self.data
        turned = np.where(self.wheels, 0.0, data.qpos[self.positions] - self.default)
        blocks = {
            "ang_vel": data.qvel[3:6] * config["ang_vel_scale"],
            "gravity_vec": -self._rotation()[2],
            "commands": self.command * np.array(config["commands_scale"]),
            "dof_pos": turned * config["dof_pos_scale"],
            "dof_vel": data.qvel[self.velocities] * config["dof_vel_scale"],
            "actions": self.action,
        }
        return np.concatenate([blocks[name] for name in config["observations"]])

    def _torques(self) -> Array:
        """Of motors that hold an angle, and of wheels that hold a speed."""
        scaled = self.action * self.policy.of_joints("action_scale")
        speeds = self.data.qvel[self.velocities]
        to_angle = self.stiffness * (self.default + scaled - self.data.qpos[self.positions]) - self.damping * speeds
        to_speed = self.damping * (scaled - speeds)
        return np.clip(np.where(self.wheels, to_speed, to_angle), -self.limit, self.limit)

    def _reward(self) -> float:
        ahead = self._rotation().T @ self.data.qvel[:3]
        missed = np.square(ahead[:2] - self.command[:2]).sum()
        turned = np.square(self.data.qvel[5] - self.command[2])
        return float(self.seconds * (np.exp(-missed / _SIGMA) + 0.5 * np.exp(-turned / _SIGMA)))

    def _has_fallen(self) -> bool:
        return bool(self._rotation()[2, 2] < _FALLEN or self.data.qpos[2] < _LOW * self.height)

    def _rotation(self) -> Array:
        """From the base's frame to the world's, `3 3`."""
        flat = np.zeros(9)
        mujoco.mju_quat2Mat(flat, self.data.qpos[3:7])
        return flat.reshape(3, 3)

    def _put_on_ground(self) -> None:
        """Lower it from above until what touches is no more than its size away."""
        self.data.qpos[2] = 1.0
        mujoco.mj_forward(self.model, self.data)
        touching = (self.model.geom_bodyid > 0) & (self.model.geom_contype > 0)
        lowest = float((self.data.geom_xpos[:, 2] - self.model.geom_rbound)[touching].min())
        self.data.qpos[2] -= max(lowest, 0.0)
        self.height = float(self.data.qpos[2])


def _on_ground(path: Path) -> OpenedModel:
    """A robot's file and flat ground, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "flat.xml"
        scene.write_text(
            f'<mujoco model="flat"><include file="{path.resolve()}"/>'
            '<worldbody><geom name="ground" type="plane" size="0 0 0.05"/></worldbody></mujoco>'
        )
        return open_model(scene)
