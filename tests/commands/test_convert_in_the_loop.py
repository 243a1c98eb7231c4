"""`convert --rollout`: a result is run where it will be used, and refused where it does worse than the original."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import chiralize
from chiralize.body.skeleton.catalog import shipped_file
from chiralize.body.tensors import load_spec, parse_spec
from chiralize.commands.convert import Request, convert
from chiralize.commands.on_examples import prepared
from chiralize.commands.records import Conversion, Trial
from chiralize.commands.rollouts import Episodes, Loop, environment_of, refuse_lost
from chiralize.errors import DriftError, MirrorError, OneSidedError, UsageError
from chiralize.graph.mirror import MirrorFit
from chiralize.graph.running import Arguments
from chiralize.methods.targets import with_target
from chiralize.problem.network import Network
from chiralize.problem.problem import Problem
from chiralize.problem.several import under_each
from chiralize.symmetry.action import act
from chiralize.verification.closed_loop import recording
from chiralize.verification.closed_loop.records import Rollout, Walker
from chiralize.verification.verdicts import Evidence
from tests.support import four_legs
from tests.support.command import Shell, working_shell
from tests.support.skiff import EXAMPLE, SPEC, WRONG, Counting, Mirrored, Rower, Water, start, step

COUNT, STEPS = 5, 20


class Steersman(nn.Module):
    """A Rower with hidden units."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rower, self.up, self.down = Rower(bias), nn.Linear(3, 8).double(), nn.Linear(8, 2).double()

    def forward(self, seen: Tensor) -> Tensor:
        return self.rower(seen) + 0.1 * self.down(torch.tanh(self.up(seen)))


def turning() -> Mirrored:
    """Turning pays, so that a policy that turns to one side earns more than both of its views together."""
    return Mirrored(Water(spin=5.0))


def ready(policy: nn.Module, rows: int = 1) -> Network:
    return prepared(policy, parse_spec(SPEC), (EXAMPLE.repeat(rows, 1),), None, "forward")


def in_water(network: Network, make: Callable[[], Any] = Mirrored, count: int = COUNT) -> Loop:
    return Loop(network, environment_of(make), ("seen",), Episodes(count, STEPS))


# ---- the result -----------------------------------------------------------------------------------------------
def test_from_python() -> None:
    """The report has what the result does, and says what it was fitted on, where nothing was given."""
    made: Any = chiralize.chiralize(
        Steersman(0.3), parse_spec(SPEC), (EXAMPLE,), rollout=Mirrored, episodes=2, steps=STEPS, force=True
    )
    report = made.chirality.report
    assert report.rollout.result is not None and report.rollout.result.gap.mean < 1e-6
    assert "in the loop the original returns" in report.verdict and "; the result " in report.verdict
    assert "fitted on 400 observations that the original made in Mirrored, in 20 episodes" in str(report.notes)
    page = report.to_html()
    assert "the result" in page and "In the loop: Mirrored, 2 starts and their mirror images" in page


def test_a_flip_average_is_not_run_twice() -> None:
    network = ready(Rower(0.3))
    with in_water(network) as loop:
        done = convert(network, "boat", Request("average"), loop.judged)
    record = done.report.rollout
    assert record is not None and record.result == replace(record.average, name="result")


def test_a_result_that_does_worse_is_refused() -> None:
    network = ready(Rower(0.8))
    with in_water(network, turning) as loop:
        with pytest.raises(DriftError) as caught:
            convert(network, "boat", Request("average"), loop.judged)
        forced = convert(network, "boat", Request("average", force=True), loop.judged)
    assert "average: in the loop it returns less than the original (" in caught.value.facts
    assert caught.value.facts.endswith("0.9 of it is the least")
    assert caught.value.remedy.startswith("the flip average returns less, too: the gait is one-sided. Train on with")
    assert not forced.report.passed
    assert forced.report.verdict.startswith("NOT converted as it should be: equivariant, but it does worse in its env")


def test_an_original_that_falls_at_once_says_nothing() -> None:
    """Wrong units of what is seen make a policy fall, and whatever comes of it returns as much."""
    network = ready(Rower(0.3))
    with in_water(network, lambda: Mirrored(Water(edge=0.01))) as loop:
        with pytest.raises(UsageError) as caught:
            loop.trial(is_forced=False)
        assert loop.trial(is_forced=True) == loop.judged
    assert "the original falls from every start, after 2 of 20 steps on average" in caught.value.facts
    assert caught.value.remedy.startswith("check units, offsets, scales and the order of what the environment shows")


def test_a_mirror_in_doubt_comes_before_the_gait() -> None:
    """Of a result that returns less the specification may be the reason, and training would be in vain."""
    lost = convert_in(turning, Rower(0.8))
    with pytest.raises(DriftError) as caught:
        refuse_lost(lost, "boat", "average", "try heading without signs in the specification")
    assert caught.value.remedy.startswith("T may not be the mirror: try heading without signs in the specification. ")
    assert "Where it is, the flip average returns less, too: the gait is one-sided" in caught.value.remedy
    fit = MirrorFit(1.2, "heading without signs", 0.4, better=("heading without signs",))
    with in_water(ready(Rower(0.8)), turning) as loop:
        assert loop.first_of(Evidence(fit=fit, warnings=("another mirror fits better",))).startswith("try heading")
        assert not loop.first_of(Evidence())


def convert_in(water: Callable[[], Any], policy: nn.Module) -> Rollout:
    """What the flip average does there."""
    network = ready(policy)
    with in_water(network, water) as loop:
        record = convert(network, "boat", Request("average", force=True), loop.judged).report.rollout
    assert record is not None
    return record


def refusing(name: str) -> tuple[list[str], Trial]:
    """A trial that refuses what is not the average, and the methods that it was shown."""
    tried: list[str] = []

    def trial(conversion: Conversion, is_forced: bool) -> Conversion:
        tried.append(conversion.report.method)
        assert not is_forced
        if conversion.report.is_average:
            return conversion
        raise DriftError(name, "reduce: in the loop it returns less", "use another")

    return tried, trial


LEANING = tuple(((row.unsqueeze(0),), {}) for row in torch.randn(120, 3, dtype=torch.float64) + 3)
"""Inputs of a boat that is always right of the line."""
FITS = Request("reduce", width=0.5, calibration=LEANING, rounds=0)
BOTH, ALONE = "fitted to both views, though", "fitted to the answers to unmirrored inputs alone"


def test_walks_that_lean_are_fitted_to_both_views() -> None:
    """Where the environment decides. Fitted to the walks alone a result is right only as long as it leans, too."""
    notes, rho = {}, {}
    for trial in (None, lambda conversion, is_forced: conversion):
        report = convert(ready(Steersman(0.3)), "boat", replace(FITS, force=True), trial).report
        assert report.drift is not None
        notes[trial is None], rho[trial is None] = str(report.notes), report.drift.rho
    assert ALONE in notes[True] and BOTH not in notes[True]
    assert BOTH in notes[False] and "of these two targets the environment decides" in notes[False]
    assert rho[False] < rho[True]


@pytest.mark.one_in(2)
@pytest.mark.parametrize("method", ["auto", "reduce"])
def test_the_environment_may_prefer_the_walks_alone(method: str) -> None:
    """A gait that rests on its lean: the mean of both views is refused, and what was fitted to the walks is taken."""
    tried: list[str] = []

    def trial(conversion: Conversion, is_forced: bool) -> Conversion:
        tried.append(BOTH if BOTH in str(conversion.report.notes) else ALONE)
        if tried[-1] == BOTH:
            raise DriftError("boat", "boat: in the loop it returns less", "use another")
        return conversion

    request = replace(FITS, method=method, width=None if method == "auto" else 0.5, max_drift=100.0)
    report = convert(ready(Steersman(0.3)), "boat", request, trial).report
    assert tried[:2] == [BOTH, ALONE] and ALONE in str(report.notes) and report.method == "reduce"
    if method == "auto":
        assert "reduce at width 0.5, fitted to both views was not taken: in the loop it returns less" in report.notes


def test_of_two_refusals_the_first_is_raised() -> None:
    def trial(conversion: Conversion, is_forced: bool) -> Conversion:
        raise DriftError("boat", BOTH if BOTH in str(conversion.report.notes) else ALONE, "use another")

    with pytest.raises(DriftError, match=BOTH):
        convert(ready(Steersman(0.3)), "boat", replace(FITS, max_drift=100.0), trial)


@pytest.mark.parametrize("water", [pytest.param(Mirrored, marks=pytest.mark.thorough), turning])
def test_of_two_results_the_better_is_taken(water: Callable[[], Any]) -> None:
    """By force neither is refused; both are run, where the first may return less."""
    network = ready(Steersman(0.8))
    with in_water(network, water, 2) as loop:
        chosen = convert(network, "boat", replace(FITS, force=True), loop.judged).report
        records: list[Rollout] = []
        for both_views in (True, False):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr("chiralize.commands.better_target.with_target", with_target_of(both_views))
                record = convert(network, "boat", replace(FITS, force=True), loop.judged).report.rollout
            assert record is not None and record.result is not None
            records.append(record)
    assert chosen.rollout is not None and chosen.rollout.result is not None
    first, second = (record.result.mean.mean for record in records if record.result is not None)
    assert records[0].is_lost == (water is turning)
    expected = max(first, second) if water is turning else first
    assert chosen.rollout.result.mean.mean == pytest.approx(expected)
    assert first != pytest.approx(second)


def with_target_of(both_views: bool) -> Callable[[Problem, bool], Problem]:
    """Always the same target, whichever is asked for."""
    return lambda problem, _: with_target(problem, both_views)


def test_auto_goes_on_to_the_next_candidate() -> None:
    """A trial that refuses what is not the average: it is taken in the end, and the notes say why."""
    tried, trial = refusing("boat")

    network = ready(Steersman(0.3))
    inputs = tuple(((row.unsqueeze(0),), {}) for row in torch.randn(80, 3, dtype=torch.float64))
    done = convert(network, "boat", Request(calibration=inputs, rounds=0), trial)
    assert tried[:2] == ["reduce", "reduce"] and tried[-1] == "average" and done.report.is_average
    assert "reduce at width 0.5 was not taken: in the loop it returns less" in done.report.notes


def unlucky(network: Network, changed: Callable[[Walker], Walker]) -> Trial:
    """A trial that runs nothing of the result: it has the flip average's walks, but for a change."""
    loop = in_water(network)

    def trial(conversion: Conversion, is_forced: bool) -> Conversion:
        with loop:
            record, _ = loop.record()
        result = replace(record.average, name="result")
        if not conversion.report.is_average:
            result = changed(result)
        record = replace(record, walkers=(*record.walkers, result))
        if not is_forced:
            refuse_lost(record, "boat", conversion.report.method)
        return replace(conversion, report=replace(conversion.report, rollout=record))

    return trial


def falling(walker: Walker) -> Walker:
    """It falls from most starts, and returns what it did."""
    return replace(walker, ahead=replace(walker.ahead, fallen=(True,) * (COUNT - 1) + (False,)))


def varying(walker: Walker) -> Walker:
    """It returns 0.92 ± 0.08 of what it did: less from one start."""
    first, *others = walker.ahead.returns
    less = 0.08 * sum(walker.ahead.returns + walker.mirrored.returns)
    return replace(walker, ahead=replace(walker.ahead, returns=(first - less, *others)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (falling, "in the loop it falls in 4 of 10 walks, the original in 0 and its flip average in 0"),
        pytest.param(varying, "in the loop it may return less than the original (", marks=pytest.mark.thorough),
    ],
)
def test_auto_goes_on_where_a_result_falls_or_its_return_is_open(
    changed: Callable[[Walker], Walker], words: str
) -> None:
    network = ready(Steersman(0.0))
    inputs = tuple(((row.unsqueeze(0),), {}) for row in torch.randn(80, 3, dtype=torch.float64))
    done = convert(network, "boat", Request(calibration=inputs, rounds=0), unlucky(network, changed))
    assert done.report.is_average
    assert any(note.startswith(f"reduce at width 0.5 was not taken: {words}") for note in done.report.notes)


@pytest.mark.parametrize("bias", [0.3, 0.8])
def test_the_environment_decides_in_place_of_the_gap(bias: float) -> None:
    """A gap that stops `auto` elsewhere says nothing of what the flip average does."""
    network = ready(Rower(bias), 4)
    rows = torch.rand(200, 3, dtype=torch.float64) ** 3 - 0.2
    request = Request("auto", calibration=tuple(((four,), {}) for four in rows.split(4)))
    with pytest.raises((OneSidedError, MirrorError), match="apart|away"):
        convert(network, "boat", request)
    done = convert(network, "boat", request, lambda conversion, is_forced: conversion)
    assert done.report.judgement.numeric is not None and done.report.judgement.numeric.passed


# ---- the mirror -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("make", [Mirrored, partial(Mirrored, Water(right=1.03))])
def test_a_mirror_that_the_environment_contradicts(make: Callable[[], Any]) -> None:
    """It is refused before anything is converted, also where the two sides of the robot differ a little."""
    options: Any = {"rollout": make, "episodes": COUNT, "steps": STEPS}
    with pytest.raises(MirrorError, match="CH404") as caught:
        chiralize.chiralize(Steersman(0.3), parse_spec(WRONG), (EXAMPLE,), **options)
    facts = str(caught.value)
    assert "is not the mirror image of what is seen at the start: heading (" in facts
    assert "skeleton check --robot" in facts and "--force" in facts


def test_a_mirror_that_the_environment_contradicts_is_warned_of_when_forced() -> None:
    options: Any = {"rollout": Mirrored, "episodes": 2, "steps": 10}
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        chiralize.chiralize(Steersman(0.3), parse_spec(WRONG), (EXAMPLE,), **options, method="average", force=True)
    assert any("the specification mirrors these wrongly" in str(each.message) for each in caught_warnings)


# ---- several mirrors ------------------------------------------------------------------------------------------
class Handed(nn.Module):
    """Four legs that learned both mirrors, and beside them something that knows none."""

    def __init__(self, handedness: float) -> None:
        super().__init__()
        self.learned, self.handedness = four_legs.policy(hidden=8), handedness
        torch.manual_seed(3)
        self.other = nn.Sequential(nn.Linear(four_legs.SIZE, 8), nn.Tanh(), nn.Linear(8, 4)).double()

    def forward(self, seen: Tensor) -> Tensor:
        return self.learned(seen) + self.handedness * self.other(seen)


def legs(handedness: float, spec: str = four_legs.SPEC) -> tuple[Network, Request]:
    """Inputs are skewed, as real ones are and noise is not."""
    rows = torch.rand(200, four_legs.SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rows = 3 * rows**3 - 0.75
    network = prepared(Handed(handedness).eval(), parse_spec(spec), (rows[:8],), None, "forward")
    return network, Request("auto", calibration=tuple(((eight,), {}) for eight in rows.split(8)))


@pytest.mark.parametrize(
    ("handedness", "error"), [pytest.param(0.2, OneSidedError, marks=pytest.mark.thorough), (0.5, MirrorError)]
)
def test_the_environment_decides_for_several_mirrors(handedness: float, error: type[Exception]) -> None:
    """In place of the gap under each of them; and `auto` goes on where a candidate returns less."""
    network, request = legs(handedness)
    with pytest.raises(error, match="under left_right"):
        convert(network, "legs", request)
    tried, trial = refusing("legs")

    done = convert(network, "legs", replace(request, rounds=0, width=0.25, max_drift=5.0), trial)
    assert tried[0] == "reduce"
    assert done.report.is_average and done.report.passed
    assert any("in the loop it returns less" in note for note in done.report.notes)
    assert max(four_legs.residuals(done.module)) <= 1e-12


def test_a_mirror_that_fits_better_is_refused_all_the_same() -> None:
    """A network that knows both mirrors, and a specification that has a sign wrong under one of them."""
    network, request = legs(
        0.0, four_legs.SPEC.replace("lateral: x", "lateral: x, signs: {FL: [-1], FR: [-1], RL: [-1], RR: [-1]}")
    )
    with pytest.raises(MirrorError, match="under front_back"):
        convert(network, "legs", request, lambda conversion, is_forced: conversion)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_the_environment_is_asked_about_every_mirror(is_wrong: bool) -> None:
    text = shipped_file("ant-27-k4").read_text(encoding="utf-8")
    if is_wrong:
        text = text.replace("front_back: [1, 1, -1, -1]", "front_back: [1, 1, 1, -1]")
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(27, 4), nn.Tanh(), nn.Linear(4, 8))
    network = prepared(policy, parse_spec(text), (torch.zeros(1, 27),), None, "forward")
    make = partial(gymnasium.make, "Ant-v5", include_cfrc_ext_in_observation=False)
    with Loop(network, environment_of(make), (), Episodes(2, 5)) as loop:
        if is_wrong:
            with pytest.raises(MirrorError, match=r"--rollout under front_back: .* orientation\[2\]"):
                loop.trial(is_forced=False)
        else:
            loop.trial(is_forced=False)
        record, _ = loop.record()
    assert record.notes[0] == "mirrored starts and gaps are those of left_right alone"
    assert any(note.startswith("under front_back what is seen") for note in record.notes) == is_wrong


def test_a_mirror_that_no_start_is_turned_by_is_named() -> None:
    """An environment that turns its starts itself knows one mirror."""
    two = "mirrors: {sides: {pairs: [[left_oar, right_oar]]}, ends: {pairs: [], center: [left_oar, right_oar]}}"
    spec = SPEC.replace("pairs: [[left_oar, right_oar]]", two)
    spec = spec.replace("{signs: [-1], name: heading}", "{signs: {sides: [-1], ends: [1]}, name: heading}")
    network = prepared(Rower(), parse_spec(spec), (EXAMPLE,), None, "forward")
    with in_water(network, count=1) as loop:
        record, _ = loop.record()
    assert "the environment was not asked about ends: its starts cannot be mirrored by that" in record.notes


# ---- what it is fitted on -------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [1, 4])
def test_observations_are_what_the_original_saw(rows: int) -> None:
    """From other starts than those that returns come from, every other one mirrored; a call has the example's size."""
    network = ready(Rower(0.3), rows)
    with in_water(network, count=2) as loop:
        calls, sequences, _ = loop.observations()
    seen = torch.cat([Arguments.of(*call).tensors[0] for call in calls]).numpy()
    expected: list[Any] = []
    for seed in range(2, 22):
        state = start(seed) * ([-1.0, -1.0, 1.0] if seed % 2 else 1.0)
        for _ in range(STEPS):
            expected.append(state)
            action = Rower(0.3)(torch.from_numpy(state)).detach().numpy()
            state, _ = step(state, action, Water())
    assert not sequences and len(calls) == 20 * STEPS // rows
    assert np.allclose(seen, expected, rtol=0, atol=1e-9)


def test_observations_take_turns_under_every_mirror() -> None:
    """A start as it is, its mirror image left to right, then another's front to back."""
    policy = nn.Sequential(nn.Linear(27, 8))
    network = prepared(policy, load_spec("ant-27-k4"), (torch.zeros(1, 27),), None, "forward")
    make = partial(gymnasium.make, "Ant-v5", include_cfrc_ext_in_observation=False)
    with Loop(network, environment_of(make), (), Episodes(1, 1)) as loop:
        calls, _, _ = loop.observations()
    actions = [None, *(under.resolved.inputs[0] for under in under_each(network).values())]
    raw = make()
    assert len(calls) == 10 and len(actions) == 3
    for number, call in enumerate(calls):
        start = torch.from_numpy(raw.reset(seed=1 + number)[0])[None]
        action = actions[number % 3]
        expected = start if action is None else act(start, action)
        assert torch.allclose(Arguments.of(*call).tensors[0].double(), expected, rtol=0, atol=1e-5), number


def test_observations_of_a_policy_with_a_state_are_sequences() -> None:
    network = ready(Counting())
    with in_water(network, count=1) as loop:
        calls, sequences, _ = loop.observations()
    assert [len(steps) for steps in sequences] == [STEPS] * 10 and len(calls) == 10 * STEPS


def test_enough_observations_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more episodes than were asked for, where they are long."""
    monkeypatch.setattr(recording, "ENOUGH", 250)
    network = ready(Rower(0.3))
    with Loop(network, environment_of(Mirrored), ("seen",), Episodes(1, 260)) as loop:
        calls, _, _ = loop.observations()
    assert len(calls) == 260


# ---- from a shell ---------------------------------------------------------------------------------------------
@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_from_a_shell(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does worse is not written."""
    monkeypatch.setattr("chiralize.verification.beyond.SAMPLES", 64)  # each is a run of its own
    program = partial(torch.export.export, args=(EXAMPLE,), strict=False)
    torch.export.save(program(Steersman(0.3).eval()), shell.folder / "boat.pt2")
    torch.export.save(program(Rower(0.8).eval()), shell.folder / "lopsided.pt2")
    (shell.folder / "boat.yaml").write_text(SPEC)
    (shell.folder / "waters.py").write_text(
        "from tests.support.skiff import Mirrored, Water\n\n\ndef turning():\n    return Mirrored(Water(spin=5.0))\n"
    )
    words = ("--skeleton", "boat.yaml", "--episodes", "2", "--steps", "10", "--rollout")
    done = shell("convert", "boat.pt2", *words, "tests.support.skiff:Mirrored", "-v")
    assert done.status == 0, done.err
    assert "In the loop" in done.out and "fitted on 200 observations" in done.out
    assert (shell.folder / "boat.chiral.pt2").exists()
    refused = shell("convert", "lopsided.pt2", *words, "waters:turning", "--method", "average")
    assert refused.status == 1 and "CH401" in refused.err and "in the loop it returns less" in refused.err
    assert not (shell.folder / "lopsided.chiral.pt2").exists()
