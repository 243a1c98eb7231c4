"""Calibration inputs that are foreign, few or poorly spread: told with numbers; and samples mixed with them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chiralize.body.tensors import parse_spec
from chiralize.cli.opening import refuse_unfit
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import DataFileError, UsageError
from chiralize.graph.running import Call
from chiralize.problem import preparation
from chiralize.problem.data.checks import LEAST, judged
from chiralize.problem.data.cutting import check
from chiralize.problem.data.drawn import supplied
from chiralize.problem.data.examples import Examples
from chiralize.problem.data.foreign import foreign_unit
from chiralize.problem.data.moments import fitting, judging
from chiralize.problem.data.moments.recovery import Gaussian
from chiralize.problem.preparation import prepare
from chiralize.storage.load import load_model
from tests.methods.test_reduce_trained import error, learnt, poses
from tests.methods.test_reduce_trained import ready as learnt_subject
from tests.problem.test_moments import Convolved, Lifter, gaussian, mirrored, ready, remembering
from tests.support.command import scrambled
from tests.support.problems import posed
from tests.support.small_body import CLIP, POSE, Net, normal, trained, turned

LIFTER27 = Path(__file__).parents[2] / "chiralize" / "storage" / "pretrained" / "lifter27.pt2"


MEAN, COVARIANCE = 4 * (gaussian()[0] + mirrored(gaussian()[0])), gaussian()[1]


@cache
def network(width: int = 40) -> Lifter:
    """Too narrow for moments to be recovered."""
    return remembering(Lifter(width), (MEAN, COVARIANCE))


def inputs(count: int = 1000, seed: int = 3) -> Tensor:
    """As the network saw them."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    return Gaussian(MEAN, vectors * values.clamp_min(0).sqrt()).draw(count, seed).reshape(-1, 6, 2)


def calls_of(x: Tensor, rows: int = 5) -> list[Call]:
    return [((part,), {}) for part in x.split(rows)]


def remarks(x: Tensor, net: nn.Module | None = None, **options: Any) -> str:
    given = Request(**{"method": "reduce", "calibration": calls_of(x), **options})
    return " | ".join(judged(posed(ready(net or network()), given)).batches.remarks)


@pytest.mark.one_in(3)
# ---- of the right kind ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(3))
def test_inputs_as_in_training_pass(seed: int) -> None:
    """Mirrored ones, others than in training a little, and batches of other sizes too."""
    x = inputs(600, seed)
    assert remarks(x) == remarks(turned(x)) == remarks(1.2 * x) == ""
    assert remarks(x, calibration=calls_of(x, 32)) == ""


def test_few_are_remarked_on() -> None:
    says = (
        "warning: the calibration inputs are few: 499 samples, where 2,000 are nearly enough, and below 500 it costs "
        "percents"
    )
    assert remarks(inputs(499)) == says and remarks(inputs(500)) == ""
    clips = normal(90, 3, 6, 2)
    net = remembering(Convolved(1), gaussian(), (1, 6, 2))
    options = Request("match", calibration=calls_of(clips))
    assert "inputs are few: 270 samples" in judged(posed(ready(net, (3, 6, 2)), options)).batches.remarks[0]


@pytest.mark.parametrize(("clips", "are_few"), [(12, True), (95, True), (96, False)])
def test_frames_of_a_clip_are_no_samples_of_their_own(clips: int, are_few: bool) -> None:
    """Twelve clips of 64 frames are 768 frames, and tell what twelve clips tell."""
    net = remembering(Convolved(1), gaussian(), (1, 6, 2))
    options = Request("match", calibration=calls_of(normal(clips, 64, 6, 2)))
    said = " ".join(judged(posed(ready(net, (64, 6, 2)), options)).batches.remarks)
    assert (f"inputs are few: {clips} clips, where 200 are nearly enough" in said) == are_few


def test_scores_are_no_samples() -> None:
    """Sixty classes make no sixty samples of one."""
    net = trained(Net(lambda own, x: (own.a(x.flatten(1)).unflatten(1, (6, 2)), own.b(x.flatten(1).abs())),
                      a=nn.Linear(12, 12), b=nn.Linear(12, 60)))  # fmt: skip
    spec = parse_spec(POSE.replace('outputs: [{layout: "b j d"}]', 'outputs: [{layout: "b j d"}, {invariant: true}]'))
    network = prepare(net, spec, (normal(5, 6, 2),))
    options = Request("match", calibration=calls_of(normal(40, 6, 2)))
    assert "warning: the calibration inputs are few: 40 samples" in judged(posed(network, options)).batches.remarks[0]


def test_fewer_clips_are_enough() -> None:
    """A weight works on every frame of a clip."""
    net = trained(Net(lambda own, x: own.b(own.a(x.flatten(2).mT).relu().mean(2)), a=nn.Conv1d(12, 8, 1),
                      b=nn.Linear(8, 4)))  # fmt: skip
    spec = parse_spec(CLIP.replace('outputs: [{layout: "b t j d"}]', "outputs: [{invariant: true}]"))
    network = prepare(net, spec, (normal(5, 240, 6, 2),))
    remarks = [
        judged(posed(network, Request("match", calibration=calls_of(normal(count, 240, 6, 2))))).batches.remarks[:1]
        for count in (95, 96)
    ]
    says = "warning: the calibration inputs are few: 95 clips, where 200 are nearly enough, and below 96 it costs "
    assert remarks[0] == (f"{says}percents",) and says not in str(remarks[1])


@pytest.mark.one_in(6)
@pytest.mark.parametrize("count", [2, 3, 9])
@pytest.mark.parametrize("method", ["auto", "reduce", "match"])
def test_too_few_to_hold_some_out(count: int, method: str) -> None:
    """What fits two samples exactly would be judged on those."""
    options = Request(method, calibration=calls_of(inputs(count), 1))
    with pytest.raises(DataFileError, match=f"{count} samples, of which too few can be held out"):
        judged(posed(ready(network(), (6, 2)), options))
    assert judged(posed(ready(network(), (6, 2)), replace(options, force=True))).batches.given
    assert judged(posed(ready(network(), (6, 2)), replace(options, method="average"))).batches.given


def test_one_batch_alone() -> None:
    """Which the network does not let be cut."""
    prepared = replace(ready(network(), (6, 2)), program=None)
    options = Request("match", calibration=calls_of(inputs(20), 20))
    assert any(
        "rho is measured on the inputs that were fitted" in own
        for own in judged(posed(prepared, options)).batches.remarks
    )


# ---- poorly spread --------------------------------------------------------------------------------------------------
def one_person(count: int = 1000) -> Tensor:
    """Near one pose, along two directions."""
    x = inputs(count)
    about = normal(count, 2, seed=4) @ normal(2, 12, seed=5)
    return (x[:1].flatten(1) + 0.2 * about + 0.02 * normal(count, 12, seed=6)).reshape(-1, 6, 2)


def test_one_person_is_remarked_on() -> None:
    """With the norm, the numbers and the remedy; not where the remedy is taken."""
    says = remarks(one_person())
    assert says.startswith(
        "warning: the calibration inputs are not spread as those that the network was trained on: at norm"
    )
    assert "(more than 2; spread 0." in says and "--mix-gaussian 0.5" in says
    assert remarks(one_person(), mix=0.5) == ""


def test_without_a_norm_directions_tell() -> None:
    plain = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 12), nn.Unflatten(1, (6, 2))
    ).double()
    unchecked = (
        "there is no batch norm and no normaliser that could be read to hold the calibration inputs against: their "
        "joint order, axes and "
        "units are not checked, and rho holds for inputs like these"
    )
    assert remarks(inputs(), plain) == remarks(inputs(), plain, mix=0.5) == unchecked
    says = remarks(inputs()[:1] + 0.1 * normal(1000, 1, 1, seed=2), plain)
    narrow = "warning: the calibration inputs are narrow: they vary in 1.00 directions (of 12): one person, one action?"
    assert says.startswith(f"{unchecked} | {narrow}")


def test_a_normaliser_tells_foreign_inputs() -> None:
    """Like a norm; but how widely its inputs are spread tells nothing, as robots vary less in use."""
    x = inputs()
    mean, spread = x.mean(0), x.std(0)
    layers = [nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 12), nn.Unflatten(1, (6, 2))]
    parts = {"layers": nn.Sequential(*layers), "mean": mean, "spread": spread}
    net = Net(lambda net, x: net.layers((x - net.mean) / net.spread), **parts).double()
    assert remarks(x, net) == remarks(mean + 0.4 * (x - mean), net) == ""
    for foreign in (x.flip(1), x.flip(2), 8 * x):
        with pytest.raises(DataFileError) as caught:
            remarks(foreign, net)
        says = str(caught.value)
        assert "not what the network was trained on: at its normaliser (mean, spread) the means of 12 channels" in says
        assert " in the mean (" in says and "check joint order, axes, units" in says


def test_integers_may_be_all_there_is() -> None:
    calls: list[Call] = [((torch.full((4, 3), place),), {}) for place in range(3)]
    network = prepare(nn.Tanh(), parse_spec(POSE), (normal(2, 6, 2),))
    check(network, calls)
    with pytest.raises(DataFileError, match="every sample is the same"):
        check(network, [calls[0]] * 3)


@pytest.mark.parametrize("shape", [(2, 6, 2), (6, 2)])
def test_sizes_that_change_are_refused(shape: tuple[int, ...]) -> None:
    """With an axis that counts samples, and without."""
    network = prepare(
        nn.Tanh(), parse_spec(POSE.replace("b j d", "j d") if len(shape) == 2 else POSE), (normal(*shape),)
    )
    sizes = enumerate((6, 6, 5))
    calls: list[Call] = [((normal(*shape[:-2], joints, 2, seed=seed),), {}) for seed, joints in sizes]
    check(network, calls[:2])
    with pytest.raises(DataFileError, match=r"5, 2\) in one batch, \(1, 6, 2\) in the first"):
        check(network, calls)


# ---- foreign --------------------------------------------------------------------------------------------------------
FOREIGN = {
    "millimetres": lambda x: 1000 * x,
    "another scale": lambda x: x / 20,
    "y the other way": lambda x: x * torch.tensor([1.0, -1.0]).double(),
    "another order": lambda x: x[:, [2, 0, 4, 5, 1, 3]],
    "axes exchanged": lambda x: x.flip(-1),
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_inputs_are_refused(name: str) -> None:
    """By every method that fits; with --force, and by `average`, they are remarked on."""
    x = FOREIGN[name](inputs())
    with pytest.raises(DataFileError) as caught:
        remarks(x)
    says = str(caught.value)
    assert says.startswith(
        "DataFileError CH204  calibration: not what the network was trained on: at norm the means of 40"
    )
    assert "(more than 1.5 is foreign), the spread is " in says and " in the mean (" in says
    in_its_unit = "give the calibration inputs in the unit of its training"
    units = {"millimetres": f"{in_its_unit}; else ", "another scale": f"{in_its_unit} (x20 or so); else "}
    assert says.endswith(
        f"    Fix: {units.get(name, '')}check joint order, axes, units and normalisation of the calibration inputs, "
        "and the arguments that the class was built with (--arg), which weights do not always tell; --force goes on"
    )
    warning = "warning: the calibration inputs are of another kind: not what the network was trained on: at norm"
    assert remarks(x, force=True).startswith(warning)
    assert remarks(x, method="average").startswith(warning)


def test_another_unit_is_named() -> None:
    """By the factor between the spreads, be it one of two known units or another one that all spreads share."""
    with pytest.raises(DataFileError) as caught:
        remarks(FOREIGN["millimetres"](inputs()))
    assert ", as if they were in millimetres and it was trained in metres (x0.001)" in caught.value.facts
    named = "as if they were in metres and it was trained in centimetres (x100)"
    assert foreign_unit(ready(network()), calls_of(inputs() / 100, 8)) == named
    alike = "at all of them alike, as in another unit or standardised (x20)"
    assert foreign_unit(ready(network()), calls_of(inputs() / 20, 8)) == alike
    assert foreign_unit(ready(network()), calls_of(inputs(), 8)) == ""
    uneven = torch.tensor([1.0, 30.0, 4.0, 90.0, 2.0, 50.0], dtype=torch.float64)[:, None]
    assert foreign_unit(ready(network()), calls_of(inputs() / uneven, 8)) == ""


def test_no_unit_is_named_against_the_means() -> None:
    """Inputs of one task alone are spread less, about the same means: no unit does that."""
    x = inputs()
    narrow = MEAN.reshape(6, 2) + (x - x.mean(0)) / 100
    with pytest.raises(DataFileError) as caught:
        remarks(narrow)
    assert "is 0.01 of that in training; " in caught.value.facts and "as if they were" not in caught.value.facts
    assert foreign_unit(ready(network()), calls_of(narrow, 8)) == ""


def test_the_entries_that_are_furthest_off_are_named() -> None:
    """By joint and axis, with both means."""
    x = inputs()
    x[:, 2, 1] += 40
    with pytest.raises(DataFileError) as caught:
        remarks(x)
    mean = MEAN.reshape(6, 2)[2, 1]
    here = float(x[:, 2, 1].mean())
    assert f"l_leg.y is {here:.3g} in the mean ({mean:.3g} in training), " in caught.value.facts


def test_statistics_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: without a look at the means, wrong axes pass."""
    monkeypatch.setattr(judging, "MOST_SHIFT", float("inf"))
    assert "not what" not in remarks(FOREIGN["y the other way"](inputs()), force=True)


def test_the_shipped_lifter_knows_its_inputs() -> None:
    """Clips of people that it has not seen pass, the same in pixels do not."""
    net = torch.export.load(LIFTER27).module()
    with np.load(LIFTER27.with_name("lifter27_inputs.npz")) as arrays:
        clips = torch.from_numpy(arrays["poses"])
    from chiralize.body.tensors import load_spec
    from chiralize.problem.preparation import prepare

    network = prepare(net, load_spec("h36m", input_layouts=["b t j d"], output_layouts=["b t j d"]), (clips[:8],))
    options = Request("reduce", calibration=calls_of(clips, 8))
    assert not any("not spread" in own for own in judged(posed(network, options)).batches.remarks)
    with pytest.raises(DataFileError, match="not what the network was trained on"):
        judged(posed(network, Request("reduce", calibration=calls_of(500 + 500 * clips, 8))))


@pytest.mark.thorough
# ---- mixed ----------------------------------------------------------------------------------------------------------
def test_mixed_in_shares() -> None:
    """Half, and three quarters; both kinds among what is seen and what is held out; the user's come unchanged."""
    own = calls_of(one_person(500))
    for share, count in ((0.5, 100), (0.75, 300)):
        found = supplied(posed(ready(network()), Request("reduce", calibration=own, mix=share))).batches
        assert len(found.inputs) == 100 + count and found.given is own
        mine = {id(call) for call in own}
        for part in (found.seen, found.held_out):
            assert sum(id(call) in mine for call in part) / len(part) == pytest.approx(1 - share, abs=0.06)
        assert {id(call) for call in found.inputs} >= mine


def test_a_gaussian_that_meets_the_statistics() -> None:
    """From one person's moments: nearer to the truth by far, every equation met."""
    prepared, rows = ready(network()), one_person().flatten(1)
    found, origin = fitting.nearest(prepared.graph(), prepared.resolved.inputs, rows)
    assert origin == "the calibration's moments, fitted to norm"
    net = network()
    weight = net.first.weight.detach()
    variance = ((weight @ found.covariance) * weight).sum(1)
    torch.testing.assert_close(variance, net.kept[1], rtol=0.05, atol=0)
    torch.testing.assert_close(weight @ found.mean + net.first.bias.detach(), net.kept[0], rtol=0, atol=1e-6)
    own = float((torch.cov(rows.T) - COVARIANCE).norm() / COVARIANCE.norm())
    assert float((found.covariance - COVARIANCE).norm() / COVARIANCE.norm()) < 0.3 * own
    assert float((found.mean - MEAN).abs().max()) < 1e-6


def test_determined_moments_are_taken() -> None:
    network = ready(remembering(Lifter(), (MEAN, COVARIANCE)))
    found, origin = fitting.nearest(network.graph(), network.resolved.inputs, one_person().flatten(1))
    assert origin == "moments recovered from norm, 128 channels for 42 unknowns"
    assert float((found.mean - MEAN).abs().max()) < 1e-6


def test_without_a_norm_the_inputs_own_moments_are_broadened() -> None:
    plain = nn.Sequential(
        nn.Flatten(), nn.Linear(12, 20), nn.ReLU(), nn.Linear(20, 12), nn.Unflatten(1, (6, 2))
    ).double()
    network, x = ready(plain), one_person()
    found, origin = fitting.nearest(network.graph(), network.resolved.inputs, x.flatten(1))
    both = torch.cat([x - x.mean(0), turned(x - x.mean(0))]).flatten(1)
    wanted = both.T @ both / (2 * (len(x) - 1))
    wanted = wanted + 0.1 * wanted.diagonal().diag()
    torch.testing.assert_close(found.covariance, wanted, rtol=1e-4, atol=1e-4)
    assert origin == "the moments of the calibration inputs, broadened"


@cache
def from_one_person(mix: float) -> Conversion:
    """A trained network reduced on poses near one pose."""
    x = poses(1280, 21).double()
    calls = calls_of(x[:1] + 0.3 * (x - x[:1]), 32)
    return convert(
        learnt_subject(), "net", Request("reduce", calibration=calls, mix=mix, samples=1, rounds=0, force=True)
    )


@pytest.mark.thorough
def test_mixing_repairs_a_conversion() -> None:
    """The report says what it stands on, with or without."""
    poor, mended = from_one_person(0.0), from_one_person(0.5)
    assert error(mended.module) < 1.05 * error(learnt()) < 1.1 * error(learnt()) < error(poor.module)
    assert any("not spread as those" in note for note in poor.report.notes)
    source = "samples of a Gaussian, moments recovered from norm, 64 channels for 42 unknowns"
    assert "fitted for 50% on " + source.replace(",", ":", 1) in mended.report.notes
    assert mended.report.drift is not None
    assert mended.report.drift.source == f"held-out calibration inputs and {source}"


REFUSED = {
    "a share of 1": ({"mix": 1.0}, "--mix-gaussian: 1.0 is no share"),
    "a share below 0": ({"mix": -0.1}, "--mix-gaussian: -0.1 is no share"),
    "nothing to mix with": ({"mix": 0.5, "calibration": ()}, "--mix-gaussian: there are no inputs to mix samples with"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    options, says = REFUSED[name]
    with pytest.raises(UsageError) as caught:
        convert(ready(network()), "net", Request(**{"method": "reduce", "calibration": calls_of(inputs()), **options}))
    assert f"UsageError CH207  {says}" in str(caught.value)


def test_too_few_are_refused_before_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The export takes most of the time until then; frames of answers count as samples."""
    torch.save(network().state_dict(), tmp_path / "w.pt")
    np.save(tmp_path / "few.npy", inputs(LEAST - 1).numpy())
    np.save(tmp_path / "enough.npy", inputs(LEAST).numpy())
    monkeypatch.chdir(tmp_path)
    for name in ("few.npy", "enough.npy"):
        refuse, examples = refuse_unfit(Path(name), few=True), Examples(((inputs(1),), {}), parse_spec(POSE))
        loaded = load_model(tmp_path / "w.pt", factory=network())
        if name == "enough.npy":
            refuse(loaded, examples, "forward")
            continue
        with monkeypatch.context() as patched, pytest.raises(DataFileError) as raised:
            patched.setattr(preparation, "exported", None)
            refuse(loaded, examples, "forward")
        assert raised.value.facts.startswith("9 samples, of which too few can be held out")
        assert raised.value.remedy == (
            "give 10 at least, better 2,000 (300 cost about two percent), or leave them out; --force goes on with these"
        )


UNFIT = {
    "another last axis": ((40, 27, 6, 3), "(b, t, 6, 2), chosen: t = 9, since nobody said; others run as well"),
    "another number of axes": ((40, 5), "(b, t, 6, 2), chosen: t = 9"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_arrays_that_do_not_fit_are_refused_before_the_export(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes that nobody gave are not put down to the network: it takes others."""
    shape, says = UNFIT[name]
    net = scrambled(nn.Linear(2, 2))
    np.save(tmp_path / "poses.npy", np.random.default_rng(0).standard_normal(shape, dtype="f"))
    torch.save(net.state_dict(), tmp_path / "w.pt")
    loaded = load_model(tmp_path / "w.pt", factory=net)
    examples = Examples(((torch.ones(1, 9, 6, 2),), {}), parse_spec(CLIP), open_axes=({0: "b", 1: "t"},))
    monkeypatch.setattr(preparation, "exported", None)
    with pytest.raises(DataFileError) as raised:
        refuse_unfit(tmp_path / "poses.npy")(loaded, examples, "forward")
    assert says in raised.value.facts
    assert "t, 6, 2)" in raised.value.remedy
