"""The shipped robots: sizes and signs of their observations, and gymnasium's against the simulator's own step."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from chiralize.body.robots.describing import RobotWishes, mirror_of
from chiralize.body.robots.mending import exactly_solved, mended
from chiralize.body.robots.opening import opened_from, simulator
from chiralize.body.robots.stepping import begin
from chiralize.body.skeleton.catalog import load_skeleton, shipped, shipped_file, shipped_robots
from chiralize.body.tensors import ConversionSpec, ResolvedSpec, load_spec, resolve
from chiralize.body.tensors.linting import lint_specification
from chiralize.symmetry.involution import SignedPermutation
from examples.policy.symmetry import WALKER

Array = npt.NDArray[np.float64]
SIZES = {
    "ant-v5": (105, 8),
    "anymal-235": (235, 12),
    "anymal-235-isaaclab": (235, 12),
    "g1-47": (47, 12),
    "humanml3d-263": (263, 263),
    "humanoid-v5": (348, 17),
    "unitree-48": (48, 12),
    "walker2d-v5": (17, 6),
}
NEEDS_SIMULATOR = pytest.mark.skipif(
    find_spec("gymnasium") is None or find_spec("mujoco") is None, reason="gymnasium[mujoco] is not installed"
)


def resolved(name: str) -> ResolvedSpec:
    observations, actions = SIZES[name]
    return resolve(load_spec(name), [(1, observations)], [(1, actions)])


def actions_of(name: str) -> tuple[SignedPermutation, SignedPermutation]:
    """T on an observation and on an action."""
    (observation,), (action,) = resolved(name).inputs, resolved(name).outputs
    assert observation is not None and action is not None
    return observation.axes[1].action, action.axes[1].action


OF_TWO_MIRRORS = ("ant-27-k4", "quadruped-48-k4")
"""Looked at in `test_several_mirrors.py`."""


def test_there_are_eight_and_every_one_has_its_size_and_source() -> None:
    assert shipped_robots() == sorted([*SIZES, *OF_TWO_MIRRORS])
    assert not set(shipped_robots()) & set(shipped())
    for name in SIZES:
        assert load_spec(name).name == name and load_skeleton(name).source.count("https://")
        assert not lint_specification(shipped_file(name)) and not load_spec(name).notices


@pytest.mark.parametrize("name", SIZES)
def test_a_robot_is_fitted_named_and_read_back(name: str) -> None:
    fitted, spec = resolved(name), load_spec(name)
    names = fitted.input_tensors[0].names
    assert len(set(names)) == len(names) == SIZES[name][0]
    assert ConversionSpec.from_dict(spec.to_dict()) == spec


def test_a_robot_is_the_skeleton_of_another_file() -> None:
    """`skeleton: ant-v5` means its joints; what it observes is said by the file that uses it."""
    spec = load_spec({"skeleton": "g1-47", "inputs": [{"fields": [{"joints": "q"}]}]})
    assert spec.skeleton == load_skeleton("g1-47") and spec.outputs is None


def test_height_scans_are_mirrored_as_the_points_lie() -> None:
    """legged_gym takes y fastest, Isaac Lab x: both mirrors take a point (x, y) to (x, -y)."""
    x, y = np.linspace(-0.8, 0.8, 17), np.linspace(-0.5, 0.5, 11)
    for name, points in (
        ("anymal-235", np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)),
        ("anymal-235-isaaclab", np.stack(np.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)),
    ):
        partner = actions_of(name)[0].partner[48:] - 48
        np.testing.assert_allclose(points[partner], points * [1, -1], atol=1e-12)


def test_isaac_lab_is_legged_gym_with_joints_and_points_in_another_order() -> None:
    one, other = resolved("anymal-235").input_tensors[0].names, resolved("anymal-235-isaaclab").input_tensors[0].names
    position = {label: index for index, label in enumerate(one[:48])}
    order = [position[label] for label in other[:48]]
    order += [48 + point for point in np.arange(187).reshape(17, 11).T.reshape(-1)]
    assert actions_of("anymal-235")[0].restrict(order) == actions_of("anymal-235-isaaclab")[0]


# ---- against the simulator ------------------------------------------------------------------------------------
def environment(name: str) -> Any:
    gymnasium: Any = pytest.importorskip("gymnasium")
    return gymnasium.make(name).unwrapped


def started(env: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """A state near the initial one, often in contact with the ground."""
    model = env.model
    qpos = env.init_qpos + 0.1 * rng.standard_normal(model.nq)
    if model.jnt_type[0] == 0:
        qpos[2] = env.init_qpos[2] * rng.uniform(0.6, 1.0)
        qpos[3:7] /= np.linalg.norm(qpos[3:7])
    return qpos, rng.standard_normal(model.nv)


def observed(env: Any, qpos: Array, qvel: Array, controls: Array) -> Array:
    """The observation after some steps from a state."""
    begin(env.model, env.data, qpos, qvel)
    return np.array([env.step(control)[0] for control in controls][-1])


def mirrored_state(env: Any, qpos: Array, qvel: Array, action: SignedPermutation) -> tuple[Array, Array]:
    """T of a state: an observation begins with it, but for the first coordinates of the place, x and y."""
    model, hidden = env.model, int(env.observation_structure["skipped_qpos"])
    seen = np.zeros(action.size)
    seen[: model.nq + model.nv - hidden] = np.concatenate([qpos[hidden:], qvel])
    turned = action.act(seen)
    place = qpos[:hidden] * [1, -1][:hidden]
    return np.concatenate([place, turned[: model.nq - hidden]]), turned[model.nq - hidden :][: model.nv]


def gaps(env: Any, name: str, starts: int, steps: int) -> Array:
    """Largest |obs(T s, T a) - T obs(s, a)| of every entry, relative to its largest value where that is above 1."""
    on_observation, on_action = actions_of(name)
    rng, worst, scale = np.random.default_rng(0), np.zeros(SIZES[name][0]), np.ones(SIZES[name][0])
    for _ in range(starts):
        qpos, qvel = started(env, rng)
        controls = rng.uniform(*env.model.actuator_ctrlrange.T, size=(steps, SIZES[name][1]))
        plain = observed(env, qpos, qvel, controls)
        turned = observed(env, *mirrored_state(env, qpos, qvel, on_observation), on_action.act(controls, axis=1))
        worst = np.maximum(worst, np.abs(turned - on_observation.act(plain)))
        scale = np.maximum(scale, np.abs(plain))
    assert (scale > 1).any()
    return worst / scale


@NEEDS_SIMULATOR
@pytest.mark.parametrize(("robot", "name"), [("Ant-v5", "ant-v5"), ("Walker2d-v5", "walker2d-v5")])
def test_the_simulator_commutes_with_the_mirror(robot: str, name: str) -> None:
    assert gaps(environment(robot), name, starts=8, steps=3).max() < 1e-11


@NEEDS_SIMULATOR
def test_a_wrong_sign_or_order_shows_in_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: forces taken for torques, and a sign of one joint."""
    env = environment("Ant-v5")
    on_observation, on_action = actions_of("ant-v5")
    for entry in (0, 6, 20, 45, 49):
        sign = on_observation.sign.copy()
        sign[[entry, int(on_observation.partner[entry])]] *= -1
        wrong = SignedPermutation(on_observation.partner, sign)
        monkeypatch.setattr(f"{__name__}.actions_of", lambda _, wrong=wrong: (wrong, on_action))
        assert gaps(env, "ant-v5", starts=4, steps=1)[entry] > 1e-3, entry


@NEEDS_SIMULATOR
def test_what_the_humanoid_lacks_is_its_model() -> None:
    """Its 348 entries are mirrored exactly once its armature and stiffness are equal and the solver knows no order."""
    env = environment("Humanoid-v5")
    lopsided = gaps(env, "humanoid-v5", starts=6, steps=1)
    names = resolved("humanoid-v5").input_tensors[0].names
    assert lopsided.max() > 1e-4
    opened = opened_from(env.model, "humanoid")
    env.model = exactly_solved(opened, mended(opened, mirror_of(opened)))
    env.data = simulator("humanoid").MjData(env.model)
    even = gaps(env, "humanoid-v5", starts=6, steps=1)
    assert even.max() < 1e-10, names[int(even.argmax())]


@NEEDS_SIMULATOR
@pytest.mark.parametrize(
    ("robot", "name", "partners"),
    [("Ant-v5", "ant-v5", None), ("Humanoid-v5", "humanoid-v5", None), ("Walker2d-v5", "walker2d-v5", WALKER)],
)
def test_actions_are_those_of_the_actuators(robot: str, name: str, partners: dict[str, str] | None) -> None:
    wishes = RobotWishes(partners=partners or {})
    assert mirror_of(opened_from(environment(robot).model, name), wishes).ctrl == actions_of(name)[1]
