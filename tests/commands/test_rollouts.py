"""Policies in the loop: against a boat whose every step can be computed, and with everything that can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

import chiralize
from chiralize.body.tensors import parse_spec
from chiralize.commands.on_examples import prepared
from chiralize.commands.rollouts import Episodes, Loop, environment_of, refuse_lost
from chiralize.errors import ChiralizeError, FactoryError, ModelRunError, UsageError
from chiralize.problem.network import Network
from chiralize.report import loop_pictures
from chiralize.report.loop_cautions import loop_cautions
from chiralize.verification.asymmetry.records import Advice
from chiralize.verification.closed_loop import film
from chiralize.verification.closed_loop.advising import advice_after
from chiralize.verification.closed_loop.environment import Environment
from chiralize.verification.closed_loop.film import Film
from chiralize.verification.closed_loop.records import Estimate, Plane, Rollout
from tests.support.command import Shell, working_shell
from tests.support.skiff import EXAMPLE, SPEC, WRONG, Counting, Mirrored, Rower, Skiff, Water, start, step

STARTS, STEPS = 5, 20
CALM = Water()


def rollouts(
    network: Network,
    environment: Environment,
    result: Network | None = None,
    *,
    names: Sequence[str] = (),
    episodes: Episodes,
    film: bool = False,
) -> tuple[Rollout, Film | None]:
    with Loop(network, environment, names, episodes) as loop:
        return loop.record(result, film=film)


def run(
    policy: nn.Module,
    make: Callable[[], Any],
    spec: str = SPEC,
    result: nn.Module | None = None,
    steps: int = STEPS,
    episodes: int = STARTS,
) -> Rollout:
    other = None if result is None else ready(result)
    how = Episodes(episodes, steps)
    record, _ = rollouts(ready(policy, spec), environment_of(make), other, names=("seen",), episodes=how)
    return record


def ready(policy: nn.Module, spec: str = SPEC) -> Network:
    """The policy captured; those of the same weights once."""
    if type(policy) is not Rower:
        return prepared(policy, parse_spec(spec), (EXAMPLE,), None, "forward")
    return _rower(float(policy.layer.bias.detach()[0]), spec)


@cache
def _rower(bias: float, spec: str) -> Network:
    return prepared(Rower(bias - 0.5), parse_spec(spec), (EXAMPLE,), None, "forward")


def briefs(record: Rollout) -> list[str]:
    return [caution.brief for caution in loop_cautions(record)]


def by_hand(act: Callable[[np.ndarray], np.ndarray], state: np.ndarray, water: Water = CALM) -> float:
    total = 0.0
    for _ in range(STEPS):
        state, reward = step(state, act(state), water)
        total += reward
    return total


def rowed(bias: float) -> Callable[[np.ndarray], np.ndarray]:
    weight = np.array([[0.3, 0.4, -0.1], [-0.3, -0.4, -0.1]])
    return lambda seen: weight @ seen + [0.5 + bias, 0.5]


def turned(state: np.ndarray) -> np.ndarray:
    return state * [-1.0, -1.0, 1.0]


class Remembering(nn.Module):
    """A policy that is handed its memory, whose samples lie along the second axis, as torch's layers have them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory, self.head = nn.GRU(3, 4), nn.Linear(4, 2)
        self.double()

    def forward(self, seen: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answer, memory = self.memory(seen[None], memory)
        return self.head(answer[0]), memory


# ---- the figures ----------------------------------------------------------------------------------------------
def test_returns_are_those_that_can_be_computed() -> None:
    """Of the original and of its flip average, from starts and from their mirror images; and all that follows."""
    record = run(Rower(0.3), Mirrored)
    original, average = record.walkers
    act = rowed(0.3)
    ahead = [by_hand(act, start(seed)) for seed in range(STARTS)]
    mirrored = [by_hand(act, turned(start(seed))) for seed in range(STARTS)]
    assert np.allclose(original.ahead.returns, ahead, rtol=0, atol=1e-9)
    assert np.allclose(original.mirrored.returns, mirrored, rtol=0, atol=1e-9)
    assert original.gap.mean == pytest.approx(np.abs(np.subtract(ahead, mirrored)).mean(), abs=1e-9)

    def both(seen: np.ndarray) -> np.ndarray:
        return (act(seen) + act(turned(seen))[::-1]) / 2

    assert np.allclose(average.ahead.returns, [by_hand(both, start(seed)) for seed in range(STARTS)], rtol=0, atol=1e-9)
    assert average.gap.mean < 1e-9 and max(average.parting) < 1e-9 and average.parted == (None,) * STARTS
    assert original.action_gap > 0.1 and average.action_gap == 0 and max(original.parting) > 0.1
    assert record.how == "reset" and record.probe is not None and record.probe.is_symmetric
    assert briefs(record) == []


class Moored(Mirrored):
    """Every start lies on the line, heads along it, and is its own mirror image."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = np.array([0.0, 0.0, 0.2])
        return self.state.copy(), {}


def test_starts_that_are_their_own_mirror_image_are_named() -> None:
    """Turning is paid; from such a start an equivariant policy pulls both oars alike, and never turns."""
    record = run(Rower(0.3), lambda: Moored(Water(spin=4.0)))
    assert record.original.even_starts == STARTS and record.begins_even
    (caution,) = [caution for caution in loop_cautions(record) if "flip average" in caution.text]
    assert "5 of 5 starts are their own mirror image, where an equivariant policy can do only what is" in caution.text
    with pytest.raises(ChiralizeError, match="Begin a little off it"):
        refuse_lost(replace(record, walkers=(*record.walkers, replace(record.average, name="result"))), "boat", "match")
    assert not run(Rower(0.3), Mirrored).begins_even


def test_an_example_of_several_samples_beside_a_memory_is_run_with_one() -> None:
    """The same as with an example of one sample."""
    spec = SPEC.replace("speed}]}]", "speed}]}, {state: true}]").replace('(j d)"}]', '(j d)"}, {state: true}]')
    records: list[Rollout] = []
    for rows in (1, 2):
        example = torch.zeros(rows, 3).double(), torch.zeros(1, rows, 4).double()
        network = prepared(Remembering(), parse_spec(spec), example, None, "forward")
        records.append(
            rollouts(network, environment_of(Mirrored), names=("seen", "memory"), episodes=Episodes(2, 10))[0]
        )
    one, several = records
    assert np.allclose(one.original.ahead.returns, several.original.ahead.returns, rtol=0, atol=1e-9)
    assert (
        one.original.action_gap == pytest.approx(several.original.action_gap, abs=1e-9) and one.original.action_gap > 0
    )


def test_an_even_policy_has_no_gap() -> None:
    record = run(Rower(), Mirrored)
    assert record.original.gap.mean < 1e-9 and record.original.action_gap < 1e-9


@pytest.mark.thorough
def test_errors_are_those_of_the_mean() -> None:
    assert Estimate.of([1.0, 2.0, 3.0]) == Estimate(2.0, pytest.approx(1 / np.sqrt(3)))
    assert Estimate.of([1.0]).error == np.inf
    record = run(Rower(0.3), Mirrored, result=Rower(0.3))
    assert record.result is not None
    share = record.share(record.result)
    assert share is not None and share.mean == pytest.approx(1) and share.error == pytest.approx(0, abs=1e-12)


@pytest.mark.thorough
def test_the_mirror_image_of_the_policy_where_starts_have_none() -> None:
    """The figures of a symmetric environment are the same then, and it is said that nobody asked it."""
    seen, asked = run(Rower(0.3), Skiff), run(Rower(0.3), Mirrored)
    assert seen.how == "view" and seen.probe is None
    for one, other in zip(seen.walkers, asked.walkers, strict=True):
        assert np.allclose(one.mirrored.returns, other.mirrored.returns, rtol=0, atol=1e-9)
        assert np.allclose(one.parting, other.parting, atol=1e-6)
    assert "no MuJoCo environment of gymnasium, and has no mirrored_reset(seed)" in seen.notes[0]


def test_states_begin_as_stored() -> None:
    """Of a policy that keeps one: all episodes from one start are the same, and none is that of a stateless policy."""
    record = run(Counting(), lambda: Mirrored(Water(same=True)))
    returns = {round(value, 9) for value in record.original.ahead.returns}
    assert len(returns) == 1
    assert returns != {round(by_hand(rowed(0.2), start(0)), 9)}


# ---- what is wrong --------------------------------------------------------------------------------------------
def test_an_asymmetric_environment() -> None:
    """The gap is the environment's, and the flip average has it as well."""
    record = run(Rower(), lambda: Mirrored(Water(right=1.3)))
    assert record.probe is not None and record.probe.start == 0 and record.probe.steps > 0.01
    assert record.walkers[1].gap.mean > 1e-3
    assert briefs(record) == ["the environment itself is asymmetric"]
    assert "heading" in loop_cautions(record)[0].text


def test_a_one_sided_reward() -> None:
    record = run(Rower(), lambda: Mirrored(Water(slant=0.3)))
    assert record.probe is not None and record.probe.steps < 1e-9 < record.probe.reward
    assert max(record.walkers[1].parting) < 1e-9 < record.walkers[1].gap.mean
    assert briefs(record) == ["the reward is one-sided"]


def test_a_wrong_mirror() -> None:
    """It is named by the entry; the residual of a result would not show it."""
    record = run(Rower(), Mirrored, WRONG)
    assert record.probe is not None and record.probe.start > 0.1
    assert briefs(record)[0].startswith("the observation is mirrored wrongly: heading (")
    said = loop_cautions(record)[0].text
    assert record.how == "reset" and "or the environment's mirrored_reset does" in said and "give the" not in said
    assert "give the environment a method mirrored_reset" in loop_cautions(replace(record, how="state"))[0].text


class Ahead(Mirrored):
    """It begins in the direction of its line."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state[1] = 0.0
        return self.state.copy(), {}


def test_a_wrong_sign_of_what_is_0_at_the_start() -> None:
    """It is suspected before the environment is."""
    record = run(Rower(), Ahead, WRONG)
    assert record.probe is not None and record.probe.start == 0 and record.probe.contrary.opposed == ("heading",)
    assert briefs(record)[0] == "the specification may have the wrong sign of heading"


class Learning(Mirrored):
    """Shows the state less the mean of what it has shown, as a normaliser that goes on learning does."""

    count, total = 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        seen, told = super().reset(seed=seed)
        self.count, self.total = self.count + 1, self.total + seen
        return seen - self.total / self.count, told


def test_noise_is_not_taken_for_asymmetry() -> None:
    record = run(Rower(), lambda: Mirrored(Water(noise=0.1)))
    assert record.probe is not None and not record.probe.is_repeatable
    assert "the environment draws at random" in briefs(record)
    assert "the environment itself is asymmetric" not in briefs(record)


@pytest.mark.thorough
def test_a_normaliser_that_goes_on_learning() -> None:
    """The specification is not blamed for it."""
    assert briefs(run(Rower(), Learning)) == ["the environment does not begin again where it began"]


def test_falls_at_once() -> None:
    """Both sides return the same, since both fall; that is said rather than praised."""
    record = run(Rower(0.3), lambda: Mirrored(Water(edge=0.01)), steps=100)
    assert all(walker.falls == 2 * STARTS for walker in record.walkers)
    assert "the original falls at once" in briefs(record)


@pytest.mark.thorough
def test_a_result_that_does_worse() -> None:
    record = run(Rower(), Mirrored, result=Rower(1.5))
    assert any(brief.startswith("the result returns less than the original") for brief in briefs(record))
    assert "the result is one-sided in the loop" in briefs(record)


@pytest.mark.thorough
def test_a_flip_average_that_does_worse() -> None:
    """Where turning pays, a policy that turns to one side earns more than both of its views together."""
    record = run(Rower(0.8), lambda: Mirrored(Water(spin=5.0)))
    assert briefs(record) == ["the flip average returns less than the original"]
    assert record.probe is not None and record.probe.is_symmetric


def test_a_result_that_falls() -> None:
    """Rewards may be such that falling pays."""
    record = run(Rower(), lambda: Mirrored(Water(edge=0.9)), result=Rower(1.5), steps=60, episodes=2)
    assert any("the result falls" in brief for brief in briefs(record))


# ---- what is refused ------------------------------------------------------------------------------------------
class Discrete(Skiff):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = gymnasium.spaces.Discrete(2)  # type: ignore[assignment]


class Wide(Mirrored):
    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros(4), super().reset(**given)[1]


class Breaking(Skiff):
    def step(self, action: Any) -> Any:
        raise RuntimeError("the sea is rough")


def raising() -> Any:
    raise OSError("no display")


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (Discrete, UsageError, "its actions are Discrete(2), not arrays of real numbers"),
        (Wide, UsageError, "an observation has 4 numbers, the network reads (1, 3)"),
        (Breaking, ModelRunError, "its step fails: RuntimeError: the sea is rough"),
        (raising, UsageError, "raising() raised OSError: no display"),
        (lambda: None, UsageError, "it returned a NoneType, which has no reset"),
        ("no_colon", FactoryError, "'no_colon' is not of the form package.module:attribute"),
        ("tests.support.skiff:Skif", FactoryError, "nearest name: 'Skiff'"),
    ],
)
def test_environments_that_do_not_fit(make: Any, kind: type[ChiralizeError], words: str) -> None:
    with pytest.raises(kind) as caught:
        run(Rower(), make, episodes=1)
    assert words in str(caught.value)


def test_wrappers_see_a_reset_on_both_sides() -> None:
    """A limit of time, and a scale: the mirrored episode is as long, and is seen through them as well."""

    def make() -> Any:
        limited: Any = gymnasium.wrappers.TimeLimit(Mirrored(), 7)
        return gymnasium.wrappers.TransformObservation(limited, lambda seen: 2 * seen, limited.observation_space)

    record = run(Rower(0.3), make)
    assert record.original.ahead.steps == record.original.mirrored.steps == (7,) * STARTS
    assert record.original.falls == 0 and record.probe is not None and record.probe.is_symmetric


def test_the_first_of_several_environments() -> None:
    record = run(Rower(0.3), lambda: gymnasium.vector.SyncVectorEnv([Mirrored, Mirrored]))
    assert np.allclose(record.original.ahead.returns, [by_hand(rowed(0.3), start(seed)) for seed in range(STARTS)])


# ---- a simulated robot ----------------------------------------------------------------------------------------
ANT = """
joints: [hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3, hip_4, ankle_4]
pairs: [[hip_1, hip_4], [ankle_1, ankle_4], [hip_2, hip_3], [ankle_2, ankle_3]]
dims: [q]
negate: []
signs: {hip_1: [-1], hip_2: [-1], hip_3: [-1], hip_4: [-1]}
lateral: y
inputs:
  - layout: b f
    fields:
      - {scalar: 1, name: height}
      - {signs: [1, -1, 1, -1], name: orientation}
      - {joints: joint_angles}
      - {vector: velocity}
      - {axial: angular_velocity}
      - {joints: joint_velocities}
outputs:
  - layout: b (j d)
    joints: [hip_4, ankle_4, hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3]
"""


def ant(heavy: float = 1.0) -> Any:
    environment = gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False)
    simulator: Any = environment.unwrapped
    simulator.model.body_mass[4] *= heavy
    return environment


def walker() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(27, 16), nn.Tanh(), nn.Linear(16, 8)).eval()
    with torch.no_grad():
        network[2].weight *= 0.2  # so that it does not fall
    return network


def walked(make: Callable[[], Any], spec: str = ANT) -> Rollout:
    return rollouts(ant_policy(spec), environment_of(make), episodes=Episodes(2, 20))[0]


@cache
def ant_policy(spec: str) -> Network:
    return prepared(walker(), parse_spec(spec), (torch.zeros(1, 27),), None, "forward")


def test_an_ant() -> None:
    """Its state is mirrored by what its file says; both views walk mirror images, one does not."""
    record = walked(ant)
    original, average = record.walkers
    assert record.how == "state" and record.unit == "m" and record.probe is not None and record.probe.is_symmetric
    assert max(average.parting) < 1e-9 and min(original.parting) > 1e-3
    assert len(original.ahead.paths[0]) == 21 and briefs(record) == []


FRONT_AND_BACK = ANT
for before, after in (
    ("[hip_1, hip_4], [ankle_1, ankle_4]", "[hip_1, hip_2], [ankle_1, ankle_2]"),
    ("[hip_2, hip_3], [ankle_2, ankle_3]", "[hip_3, hip_4], [ankle_3, ankle_4]"),
    ("hip_4: [-1]}", "hip_4: [-1], ankle_1: [-1], ankle_2: [-1], ankle_3: [-1], ankle_4: [-1]}"),
    ("lateral: y", "lateral: x"),
    ("[1, -1, 1, -1]", "[1, 1, -1, -1]"),
):
    FRONT_AND_BACK = FRONT_AND_BACK.replace(before, after)


@pytest.mark.parametrize(("spec", "lateral"), [(ANT, "y"), (FRONT_AND_BACK, "x")])
def test_paths_are_drawn_in_the_mirror_of_the_environment(
    spec: str, lateral: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flip average's dashed path, from the mirrored start, lies on the full one, whatever axis is lateral."""
    pytest.importorskip("matplotlib", reason="the extra report is not installed")
    record = walked(ant, spec)
    assert record.plane is not None and record.plane.lateral == lateral and max(record.average.parting) < 1e-9
    figures: list[Any] = []
    monkeypatch.setattr(loop_pictures, "_png", lambda figure: bytes(figures.append(figure) or 0))
    loop_pictures.draw(record)
    lines = figures[0].axes[2].lines
    assert len(lines) == 4
    for full, dashed in zip(lines[::2], lines[1::2], strict=True):
        np.testing.assert_allclose(full.get_xydata(), dashed.get_xydata(), atol=1e-6)


@pytest.mark.parametrize(("lateral", "image"), [("x", (1.0, 2.0)), ("y", (3.0, 0.0)), ("z", (3.0, 2.0))])
def test_the_image_of_a_place(lateral: str, image: tuple[float, float]) -> None:
    """The plane need not go through the origin: at 2 for x, at 1 for y."""
    assert Plane(lateral, {"x": 2.0, "y": 1.0, "z": 1.0}[lateral]).image((3.0, 2.0)) == image


@pytest.mark.thorough
def test_an_asymmetric_ant() -> None:
    record = walked(lambda: ant(1.5))
    assert briefs(record) == ["the environment itself is asymmetric"]
    assert "the robot's model: mass" in loop_cautions(record)[0].text


def test_actions_that_are_mirrored_otherwise_than_the_robots() -> None:
    last = ANT.rindex("joints:")
    wrong = ANT[:last] + "joints: [hip_1, ankle_1, hip_2, ankle_2, hip_3, ankle_3, hip_4, ankle_4]\n"
    assert "the actions are mirrored otherwise than the robot's" in briefs(walked(ant, wrong))


def test_without_a_renderer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report says which were tried, and why none works."""
    monkeypatch.setattr(film, "_RENDERERS", ("none_such",))
    record, frames = rollouts(ant_policy(ANT), environment_of(ant), episodes=Episodes(1, 2), film=True)
    assert frames is None
    assert any("no renderer of MuJoCo works here (none_such: ModuleNotFoundError" in note for note in record.notes)


# ---- whether to convert ---------------------------------------------------------------------------------------
BEFORE = Advice("one-sided data", "The task may not be symmetric", "do not convert")
ADVISED: dict[str, tuple[Callable[[], Any], str, float | None, str, str]] = {
    "a result that does the task": (Mirrored, SPEC, 0.0, "convert", "take the result"),
    "a result that does not": (Mirrored, SPEC, 1.5, "one-sided network", "--distill"),
    "the flip average alone": (Mirrored, SPEC, None, "convert", "run the result here as well (--chiral)"),
    "an asymmetric environment": (lambda: Mirrored(Water(right=1.5)), SPEC, 0.0, "one-sided data", "do not convert"),
    "a one-sided reward": (lambda: Mirrored(Water(slant=0.5)), SPEC, 0.0, "one-sided data", "do not convert"),
    "noise": (lambda: Mirrored(Water(noise=0.1)), SPEC, 0.0, "one-sided data", "do not convert"),
    "another mirror": (Mirrored, WRONG, 0.0, "wrong mirror", "correct the specification"),
}


AVERAGED = ("a result that does not", "a one-sided reward", "noise")
"""Where nobody takes the result, but the flip average beside it returns as much as the original."""


@pytest.mark.one_in(3)
@pytest.mark.parametrize("case", ADVISED)
def test_what_the_loop_showed_outweighs_what_data_look_like(case: str) -> None:
    """Where the environment is its own mirror image, nobody says that the task may not be symmetric."""
    make, spec, bias, kind, remedy = ADVISED[case]
    record = run(Rower(0.3), make, spec, None if bias is None else Rower(bias))
    advice = advice_after(BEFORE, record)
    assert advice is not None and advice.kind == kind and remedy in advice.remedy
    settled = "the task is symmetric, and T is its mirror" in advice.text
    contradicted = "the environment contradicts T: from mirrored starts it has otherwise heading" in advice.text
    assert [settled, contradicted, advice.text == BEFORE.text].count(True) == 1
    assert settled == (kind in ("convert", "one-sided network")) and contradicted == (kind == "wrong mirror")
    averaged = advice.remedy.startswith("convert with `--method average`, since the flip average returns as much")
    assert averaged == (case in AVERAGED)
    assert advice_after(None, record) is None


UNEVEN: dict[str, tuple[Water, float, float | None, str]] = {
    "a result that does the task": (Water(right=1.03), 0.01, 0.0, "convert"),
    "the flip average alone": (Water(right=1.03), 0.01, None, "convert"),
    "a result that does not": (Water(right=1.03), 0.01, 1.5, "one-sided data"),
    "a result that the environment makes worse": (Water(right=1.5), 0.3, 0.0, "one-sided data"),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("case", UNEVEN)
def test_in_an_environment_whose_sides_differ_the_returns_count(case: str) -> None:
    """Models of real robots are not quite their own mirror images, which says nothing against a result."""
    water, bias, made, kind = UNEVEN[case]
    record = run(Rower(bias), lambda: Mirrored(water), SPEC, None if made is None else Rower(made))
    assert record.probe is not None and not record.probe.is_symmetric
    advice = advice_after(BEFORE, record)
    assert advice is not None and advice.kind == kind
    assert ("over starts and their mirror images, in an environment whose two sides differ" in advice.text) == (
        kind == "convert"
    )
    names_average = advice.remedy.startswith("convert with `--method average`, since the flip average returns as much")
    assert names_average == (case == "a result that does not")


def test_advice_to_convert_is_taken_back_where_the_result_does_not_do_the_task() -> None:
    """The data looked well, and the environment's sides differ a little."""
    record = run(Rower(0.01), lambda: Mirrored(Water(right=1.03)), SPEC, Rower(1.5))
    advice = advice_after(Advice("convert", "converting is sensible", "convert"), record)
    assert advice is not None and advice.kind == "one-sided network" and "--distill" in advice.remedy


@pytest.mark.parametrize("water", [Water(), Water(right=1.03)])
def test_a_result_that_is_not_equivariant_is_not_to_be_taken(water: Water) -> None:
    """The original in its place, or a file that was converted with another specification, returns as much."""
    record = run(Rower(0.01), lambda: Mirrored(water), SPEC, Rower(0.01))
    advice = advice_after(BEFORE, record)
    assert record.result is not None and record.result.action_gap > 0.01
    assert advice is not None and not advice.speaks_for and "see whether it is the converted file" in advice.remedy
    assert advice.text.startswith("the result is not equivariant under T: its mirror error along the way is 0.14")


# ---- the command ----------------------------------------------------------------------------------------------
@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name, policy in (("policy", Rower(0.3)), ("chiral", Rower())):
        torch.export.save(torch.export.export(policy, (EXAMPLE,)), tmp_path / f"{name}.pt2")
    (tmp_path / "boat.yaml").write_text(SPEC)
    yield from working_shell(tmp_path, capsys, monkeypatch)


WORDS = ("audit", "policy.pt2", "--skeleton", "boat.yaml", "--rollout", "tests.support.skiff:Mirrored", "--steps", "10")


@pytest.mark.thorough
def test_the_command(shell: Shell, tmp_path: Path) -> None:
    """Text, JSON and a page with its pictures say the same."""
    done = shell(*WORDS, "--chiral", "chiral.pt2", "--episodes", "5", "-o", "loop.html")
    assert done.status == 0, done.err
    assert "In the loop: tests.support.skiff:Mirrored, 5 starts and their mirror images" in done.out
    assert "the environment is its own mirror image" in done.out
    page = (tmp_path / "loop.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "no film strip: the environment has no MuJoCo model" in page
    told = json.loads(shell(*WORDS, "--format", "json", "--episodes", "3").out)
    original, average = told["rollout"]["walkers"]
    assert original["name"] == "original" and original["gap"]["mean"] > 0.01 > average["gap"]["mean"]
    assert told["rollout"]["probe"]["is_symmetric"] and len(original["ahead"]["returns"]) == 3


def test_what_the_command_refuses(shell: Shell) -> None:
    done = shell("audit", "policy.pt2", "--skeleton", "boat.yaml", "--chiral", "chiral.pt2")
    assert done.status == 2 and "there is no environment to run it in" in done.err
    done = shell(*WORDS, "-o", "loop.pdf")
    assert done.status == 2 and "loop.pdf is neither .html nor .json" in done.err


def test_from_python() -> None:
    """The environment as a function, the result as a module, and what goes wrong as a warning."""
    with pytest.warns(chiralize.LoopWarning, match="the result returns less"):
        report = chiralize.audit(
            Rower(0.3), parse_spec(SPEC), (EXAMPLE,), rollout=Mirrored, chiral=Rower(1.5), episodes=3, steps=20
        )
    assert report.rollout is not None and "in the loop the original returns" in report.verdict
    assert report.advice is not None and "but the result returns" in report.advice.text
