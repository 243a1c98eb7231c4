"""An action is a row of numbers: T of it, place by place, is what the simulator is stepped with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chiralize.body.robots.checking import RobotCheck, check
from chiralize.body.robots.stepping import deviations, random_states
from chiralize.body.tensors import load_spec, resolve
from tests.body.robots.test_checking import JOINTS
from tests.support.robots import biped, mjcf, opened_mirror, random_robot, write

pytest.importorskip("mujoco")


def random_biped(folder: Path, seed: int, order: list[int], turned: int) -> tuple[Path, list[str]]:
    """A random robot of which actuators stand in an order, one with a gear below 0; names of joints as in qpos."""
    parts = random_robot(seed, centers=1, limbs=2, length=2, lateral=1)
    text = mjcf(parts, [f"j{number}" for number in range(len(parts))])
    path = write(folder, text)
    joints = list(opened_mirror(path)[1].robot.names)
    motors = [f'<motor joint="{joints[at]}" gear="{1 - 2 * (at == turned)}"/>' for at in order]
    return write(folder, text.replace("</mujoco>", f"<actuator>{''.join(motors)}</actuator></mujoco>")), joints


def specification(folder: Path, robot: Path, joints: list[str], actions: list[str]) -> Path:
    """The joints as in the model, and the actions in this order."""
    mirror = opened_mirror(robot)[1]
    pairs = [[name, image] for name, (image, _) in mirror.joints.items() if name < image]
    signs = {name: [-1] for name, (_, sign) in mirror.joints.items() if sign < 0}
    text = f"joints: {joints}\npairs: {pairs}\ndims: [q]\nnegate: []\nlateral: y\nsigns: {signs}\n"
    text += "inputs:\n  - fields: [{joints: q}, {joints: dq}]\n"
    return write(folder, text + f"outputs:\n  - fields: [{{joints: action, of: {actions}}}]\n", "spec.yaml")


def parts_after_steps(robot: Path, spec: Path) -> float:
    """How far T of the steps is from the steps of T, where the simulator gets T of the action as the file says it."""
    opened, mirror = opened_mirror(robot)
    size = len(mirror.robot.actuators)
    (action,) = resolve(load_spec(str(spec)), [(1, 2 * size)], [(1, size)]).outputs
    assert action is not None
    stated = replace(mirror, ctrl=action.axes[-1].action)
    return float(deviations(opened.model, stated, random_states(opened.model, mirror.robot, 4, 3)).max())


@pytest.mark.parametrize("seed", range(5))
def test_an_order_is_right_where_the_simulator_says_so(seed: int, tmp_path: Path) -> None:
    """Orders at random, the right one, one in which sides are exchanged, and a sign."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(9).tolist()
    turned = 2 if seed == 4 else -1
    robot, joints = random_biped(tmp_path, seed, order, turned)
    actions = [joints[at] for at in order]
    if seed == 1:
        images = opened_mirror(robot)[1].joints
        actions = [images[name][0] for name in actions]
    if seed in (2, 3):
        actions = [actions[at] for at in rng.permutation(9).tolist()]
    spec = specification(tmp_path, robot, joints, actions)
    result = check(robot, str(spec))
    assert result.agrees == (seed < 2)
    assert result.agrees == (parts_after_steps(robot, spec) < 1e-6)
    assert {entry.tensor for entry in result.entries} <= {"output 0"}


def exchanged(folder: Path, outputs: str) -> RobotCheck:
    """The biped's joints in the order of its actuators."""
    return check(write(folder, biped()), str(write(folder, JOINTS + outputs, "spec.yaml")))


def test_without_joints_as_in_the_model_nobody_knows(tmp_path: Path) -> None:
    """An order of the network's own may be put right on the way: that is the user's to say, and no verdict's."""
    joints = "[waist_yaw, left_knee, right_knee, left_hip_roll, right_hip_roll, left_hip_pitch, right_hip_pitch]"
    outputs = f"outputs:\n  - fields: [{{joints: action, of: {joints}}}]\n"
    result = exchanged(tmp_path, outputs)
    assert not result.agrees and not result.entries
    (told,) = result.by_name
    assert told.startswith("output 0: action: the model's order is waist_yaw, right_knee, right_hip_pitch")
    assert any("UNDECIDED" in line and "--by-name" in line for line in result.lines())
    assert exchanged(tmp_path, "outputs:\n  - fields: [{joints: action}]\n").agrees


def test_an_order_across_blocks_counts(tmp_path: Path) -> None:
    """Every block is in the model's order, and the row that they make is not."""
    sides = [f"{side}_{name}" for name in ("knee", "hip_pitch", "hip_roll") for side in ("right", "left")]
    blocks = f"{{joints: action, of: [waist_yaw]}}, {{joints: action_legs, of: [{', '.join(sides[2:])}]}}"
    outputs = f"outputs:\n  - fields: [{blocks}, {{joints: action_knees, of: [{', '.join(sides[:2])}]}}]\n"
    assert exchanged(tmp_path, outputs).by_name
