"""The policy example: its mirror against the simulator, its networks, its walks; without gymnasium, its algebra."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from chiralize import chiralize, verify
from chiralize.body.robots.agreement import agreement
from chiralize.body.robots.asymmetry import differences
from chiralize.body.robots.stepping import deviations, random_states
from chiralize.body.tensors import load_spec, parse_spec
from chiralize.cli.app import app as command_line
from chiralize.symmetry.involution import SignedPermutation
from examples.policy import networks
from examples.policy.gait import ACTIONS, ACTUATED, FIELDS, OBSERVATIONS, PERIOD, SPECIFICATION, clock, trot
from examples.policy.symmetry import WALKER, robot
from examples.policy.task import acting, mirror, representations, tasks

simulated = pytest.mark.skipif(
    find_spec("gymnasium") is None or find_spec("mujoco") is None,
    reason="gymnasium[mujoco] is not installed",
)


def observations(count: int = 64) -> Tensor:
    return torch.randn(count, OBSERVATIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def policy(make: Any, width: int = 20) -> networks.Policy:
    """Untrained, with a normaliser that is symmetric."""
    torch.manual_seed(1)
    into, out = representations()
    return networks.Policy(make(into, out, width), *networks.statistics(3 * observations() + 1, into)).eval()


# ---- without a simulator ---------------------------------------------------------------------------
def test_fields_lie_where_the_gait_looks_for_them() -> None:
    """Names and sizes of ant.yaml are those of `FIELDS`, and its actions are in the order of the actuators."""
    spec = load_spec(SPECIFICATION)
    at = 0
    for field in spec.inputs[0].fields or ():
        size = field.size(spec.skeleton)
        assert FIELDS[field.name] == slice(at, at + size)
        at += size
    assert at == OBSERVATIONS
    assert spec.outputs[0].override.joints == tuple(spec.skeleton.joints[joint] for joint in ACTUATED)


def test_trot_commutes_with_the_mirror() -> None:
    into, out = representations()
    seen = observations()
    assert torch.equal(
        torch.from_numpy(trot(mirror(seen, into).numpy())), mirror(torch.from_numpy(trot(seen.numpy())), out)
    )


def test_mirrored_clock_is_half_a_period_ahead() -> None:
    np.testing.assert_allclose(clock(0.3 + PERIOD / 2), -clock(0.3), atol=1e-12)


def test_orientation_is_mirrored_as_a_rotation() -> None:
    """R(T q) = M R(q) M with M = diag(1, -1, 1)."""

    def rotation(q: Any) -> np.ndarray:
        w, v = q[0], q[1:]
        cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
        return (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * cross

    seen = observations(1)
    place, flip = FIELDS["orientation"], np.diag([1.0, -1.0, 1.0])
    one, other = seen[0, place].numpy(), mirror(seen, representations()[0])[0, place].numpy()
    np.testing.assert_allclose(rotation(other), flip @ rotation(one) @ flip, atol=1e-12)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("make", [networks.chiral_layers, networks.paper_layers])
def test_chiral_policies_commute(make: Any) -> None:
    network = policy(make)
    assert verify(network, SPECIFICATION, (observations().float(),)).passed
    act, (into, out) = acting(network), representations()
    answer = torch.from_numpy(act(mirror(observations(), into).numpy()))
    torch.testing.assert_close(answer, mirror(torch.from_numpy(act(observations().numpy())), out), atol=1e-14, rtol=0)


def test_plain_policy_does_not_commute_and_its_two_views_do() -> None:
    network, (into, out) = policy(networks.plain_layers), representations()
    for averaged in (False, True):
        act = acting(network, averaged)
        answer = torch.from_numpy(act(mirror(observations(), into).numpy()))
        far = (answer - mirror(torch.from_numpy(act(observations().numpy())), out)).abs().max()
        assert (far < 1e-14) == averaged


def test_normaliser_is_symmetric() -> None:
    network, (into, _) = policy(networks.plain_layers), representations()
    assert torch.equal(mirror(network.mean, into), network.mean)
    assert torch.equal(network.scale[torch.tensor(into.action.partner)], network.scale)


@pytest.mark.thorough
def test_policy_from_the_shell(tmp_path: Path) -> None:
    """`chiralize convert policy.pt2 --skeleton ant.yaml --calibration observations.npz`, and `verify` of the result."""
    seen = observations(96).float()
    sizes = {"observation": {0: torch.export.Dim("batch")}}
    program = torch.export.export(policy(networks.plain_layers), (seen[:2],), dynamic_shapes=sizes, strict=False)
    torch.export.save(program, tmp_path / "policy.pt2")
    np.savez(tmp_path / "observations.npz", observation=seen.numpy())
    source, made = str(tmp_path / "policy.pt2"), str(tmp_path / "policy.chiral.pt2")
    asked = ["--calibration", str(tmp_path / "observations.npz"), "--method", "reduce", "--force", "-o", made]
    for arguments in (["convert", source, "--skeleton", str(SPECIFICATION), *asked], ["verify", made]):
        result = CliRunner().invoke(command_line, arguments)
        assert result.exit_code == 0, result.output


class DictPolicy(nn.Module):
    """Reads an observation as gymnasium's `Dict` spaces give it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.legs, self.head = nn.Linear(7, 8), nn.Linear(8, 8), nn.Linear(16, ACTIONS)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        seen = [self.body(observation["torso"]), self.legs(observation["joints"])]
        return self.head(torch.tanh(torch.cat(seen, dim=-1)))


@pytest.mark.thorough
def test_policy_of_a_dict_of_observations() -> None:
    """Entries of the specification go by the order of the keys."""
    skeleton = SPECIFICATION.read_text(encoding="utf-8").split("inputs:")[0]
    spec = parse_spec(
        skeleton
        + """
inputs:
  - {fields: [{signs: [1, -1, 1, -1], name: orientation}, {axial: angular_velocity}]}
  - {fields: [{joints: joint_angles}]}
outputs: [{fields: [{joints: torques}]}]
"""
    )
    seen = {"torso": torch.randn(5, 7), "joints": torch.randn(5, 8)}
    made = chiralize(DictPolicy(), spec, (seen,), method="match", force=True)
    assert verify(made, example_inputs=(seen,)).passed


# ---- with a simulator ---------------------------------------------------------------------------
@simulated
def test_specification_is_what_the_joints_say() -> None:
    """Partners and signs of ant.yaml, from the places and the axes of the simulator's joints."""
    body, found = load_spec(SPECIFICATION).skeleton, robot("Ant-v5")[1].joints
    signs = body.sign_table()[:, 0]
    assert found == {name: (body.joints[body.partner(at)], signs[at]) for at, name in enumerate(body.joints)}


@simulated
def test_simulator_agrees_with_the_mirror() -> None:
    """T of a step is the step of T."""
    result = agreement(*robot("Ant-v5"))
    assert result.is_exact and result.rungs[0].many < 1e-9


@simulated
def test_simulator_refutes_wrong_mirrors() -> None:
    """Torques of the legs that the bodies' names suggest (front_left_leg with front_right_leg), hips without signs."""
    opened, right = robot("Ant-v5")
    states = random_states(opened.model, right.robot, 1, 4)
    named = SignedPermutation(np.array([6, 7, 4, 5, 2, 3, 0, 1]), right.ctrl.sign)  # legs 4 1 2 3
    for wrong in (named, abs(right.ctrl)):
        assert deviations(opened.model, replace(right, ctrl=wrong), states, skip=5).max() > 1e-3


@simulated
def test_observations_are_mirrored_as_the_specification_says() -> None:
    from examples.policy.robot import draw_walk, mirrored_walk, observe

    walk = draw_walk(np.random.default_rng(0), 4, 1)
    walk.states[:] += 0.1 * np.random.default_rng(1).standard_normal(walk.states.shape)
    seen, other = (observe(own.states, own.turns[:, 0], own.times) for own in (walk, mirrored_walk(walk)))
    expected = mirror(torch.from_numpy(seen), representations()[0])
    torch.testing.assert_close(torch.from_numpy(other), expected, atol=1e-12, rtol=0)


@simulated
@pytest.mark.parametrize(("name", "partners"), [("Humanoid-v5", {}), ("Walker2d-v4", WALKER)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_robots_that_are_not_symmetric(name: str, partners: dict[str, str]) -> None:
    """The joints at fault are named, and with them made equal the simulator agrees."""
    opened, mirror = robot(name, partners)
    named = {one.property for one in differences(mirror)}
    assert named in ({"stiffness", "armature"}, {"friction 0"})
    result = agreement(opened, mirror)
    assert result.rungs[0].one > 1e-2 and result.rungs[1].many < 1e-9


@pytest.mark.thorough
@simulated
def test_mirrored_starts_give_mirrored_walks() -> None:
    """For a converted policy as far as rounding allows; for the original not."""
    from examples.policy.robot import draw_walk, mirrored_walk, roll_out

    walk = draw_walk(np.random.default_rng(0), 2, 20)
    original = policy(networks.plain_layers)
    seen = observations(200).float()
    made = chiralize(original, SPECIFICATION, (seen[:2],), method="reduce", calibration=seen, force=True)
    far = {}
    for network in (original, made):
        act = acting(network)
        far[network] = roll_out(act, walk).parting(roll_out(act, mirrored_walk(walk))).max()
    assert far[made] < 1e-9 and far[original] > 1e-4


@simulated
def test_walking_straight() -> None:
    """The trot goes forward and follows its command."""
    from examples.policy.robot import draw_walk, forward_speed, roll_out

    rolled = roll_out(trot, draw_walk(np.random.default_rng(0), 2, 60))
    assert forward_speed(rolled.states[20:]).mean() > 0.4
    assert rolled.rewards[20:].mean() > 0.2


@pytest.mark.thorough
@simulated
def test_study(tmp_path: Path) -> None:
    """Tiny networks: every figure is there, and chiral ways have no gap."""
    from examples.study.results import read
    from examples.study.run import Unit, do

    task = tasks(smoke=True)[0]
    ways = ("baseline", "baseline, TTA", "chiralized 0.5, no flips", "from scratch, paper")
    unit = Unit(tasks, task.name, 0, ways, tmp_path, True)
    do(unit)
    values = {(row.way, row.figure): row.value for row in read(unit.part)}
    for way in ways:
        assert np.isfinite([values[way, name] for name in ("error_percent", "return_left", "return_right")]).all()
        assert (values[way, "parting_m"] < 1e-9) == (way != "baseline")
