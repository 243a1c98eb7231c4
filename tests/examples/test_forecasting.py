"""The forecasting example: networks, loss and figures, Penn Action's files, conversion, and the command."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import savemat
from typer.testing import CliRunner

from chiralize import chiralize
from chiralize.errors import DataFileError, RepresentationSizeError
from chiralize.nn import LSTM
from examples.forecasting import __main__ as command
from examples.forecasting.example import steps_tables
from examples.forecasting.factories import motion_capture, penn_action
from examples.forecasting.networks import PAPER_WIDTH, Forecaster, forecaster
from examples.forecasting.penn import normalised, read_labels, read_video, with_gaps_filled
from examples.forecasting.task import LEFT, OBSERVED, RIGHT, Forecasting, cooled_decay, paper_decay
from examples.study.results import Row, read
from examples.study.run import Unit, do
from examples.study.task import Samples

WAYS = ("flips", "from scratch, paper")


def motion(frames: int, seed: int = 0) -> np.ndarray:
    """A smooth random sequence, `frame joint 3`, all joints visible."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.02, (frames, 13, 2)).cumsum(0) + rng.normal(0, 0.4, (13, 2))
    return np.concatenate([steps, np.ones((frames, 13, 1))], -1).astype(np.float32)


@pytest.fixture
def task() -> Forecasting:
    return Forecasting("tiny", [motion(30), motion(12)], [motion(14, 1)], width=26, updates=2, batch=4, forecast=3)


def poses(count: int = 5) -> torch.Tensor:
    return 0.4 * torch.randn(count, OBSERVED, 13, 2, generator=torch.Generator().manual_seed(0))


def built(layout: str, steps: int = 3) -> Forecaster:
    """With weights large enough that answers differ from the last pose."""
    torch.manual_seed(1)
    network = forecaster(layout, 26, steps).eval()  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.data *= 3
    return network


# ---- networks -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["plain", "free", "paper"])
def test_teacher_forcing_on_own_answers_is_the_roll_out(layout: str) -> None:
    network, x = built(layout), poses()
    with torch.no_grad():
        answers = network(x)
        assert (answers - x[:, -1:]).abs().max() > 0.1
        torch.testing.assert_close(network.following(x, answers), answers, rtol=0, atol=1e-5)
        other = answers.clone()
        other[:, 0] += 1.0  # the first answer follows from what was observed, the second from the truth
        forced = network.following(x, other)
    torch.testing.assert_close(forced[:, 0], answers[:, 0], rtol=0, atol=1e-5)
    assert (forced[:, 1] - answers[:, 1]).abs().min() > 0.5


@pytest.mark.parametrize("layout", ["free", "paper"])
def test_chiral_layouts_commute_with_the_mirror(layout: str, task: Forecasting) -> None:
    network, x = built(layout).double(), poses().double()
    with torch.no_grad():
        answers = network(x)
        assert (network(task.mirror_inputs(x)) - task.mirror_answers(answers)).abs().max() < 1e-12
        forced = network.following(task.mirror_inputs(x), task.mirror_answers(answers))
        assert (forced - task.mirror_answers(network.following(x, answers))).abs().max() < 1e-12


def test_plain_layout_does_not(task: Forecasting) -> None:
    network, x = built("plain"), poses()
    assert (network(task.mirror_inputs(x)) - task.mirror_answers(network(x))).abs().max() > 1e-3


def test_paper_width() -> None:
    """1040 hidden units, 80 a joint, half of them negated; 100 cannot be divided by 13 joints."""
    network = forecaster("paper", PAPER_WIDTH)
    assert isinstance(network.encoder, LSTM)
    signs = network.encoder.rep_hidden.action.sign
    assert len(signs) == 1040 and int((signs < 0).sum()) == 520
    with pytest.raises(RepresentationSizeError):
        forecaster("paper", 100)


def test_paper_decay() -> None:
    assert [paper_decay(share) for share in (0, 1.9 / 30, 2.1 / 30)] == [1, 1, 0.95]
    assert paper_decay(1.0) == pytest.approx(0.95**15)
    assert cooled_decay(10 / 11) == pytest.approx(0.95**15) and cooled_decay(0.5) == paper_decay(0.55)
    assert cooled_decay(21 / 22) == pytest.approx(0.5 * 0.95**15) and cooled_decay(1.0) == 0


# ---- task -----------------------------------------------------------------------------------------------------------
def test_windows_stay_within_sequences(task: Forecasting) -> None:
    """30 and 12 frames hold 20 and 2 windows of 11 frames; inputs and targets are one motion."""
    samples = task.draw(np.random.default_rng(0), 500)
    whole = torch.cat([samples.inputs, samples.targets[..., :2]], 1)
    assert len(torch.unique(whole[:, 0, 0, 0])) == 22
    assert whole.diff(dim=1).abs().max() < 0.12
    assert len(task.test_samples().inputs) == 4
    with pytest.raises(ValueError, match="none of the 1 test sequences has 11 frames"):
        Forecasting("tiny", [motion(30)], [motion(10)], width=26, forecast=3)


def test_updates_of_thirty_epochs() -> None:
    assert Forecasting("tiny", [motion(30)], [motion(30)], 26, batch=8, forecast=3).updates == 75  # 30 x 20 / 8


def test_mirror(task: Forecasting) -> None:
    samples = task.draw(np.random.default_rng(0), 3)
    seen = task.mirror_targets(samples.targets)
    assert torch.equal(seen[:, :, LEFT, 0], -samples.targets[:, :, RIGHT, 0])
    assert torch.equal(seen[:, :, LEFT, 1:], samples.targets[:, :, RIGHT, 1:])
    assert torch.equal(seen[:, :, 0], samples.targets[:, :, 0] * torch.tensor([-1, 1, 1]))


def test_figures_by_hand(task: Forecasting) -> None:
    """0.05 is within, 0.051 is not, and a joint that is not visible does not count."""
    tested = task.test_samples()
    tested.targets[:, 1, 3, 2] = 0
    answers = tested.targets[..., :2].clone()
    answers[:, 0, 0, 0] += 0.0499
    answers[:, 1, 1, 1] += 0.051
    answers[:, 1, 3] += 9.0
    figures = task.figures(answers)
    assert next(iter(figures)) == task.figure
    assert figures["pck_5/1"] == 100
    assert figures["pck_5/2"] == pytest.approx(100 * 11 / 12)
    assert figures["pck_5"] == pytest.approx((100 + 100 * 11 / 12 + 100) / 3)
    assert figures["l2_x1000"] == pytest.approx(1000 * (0.0499 + 0.051) / 38, rel=1e-3)


def test_loss_leaves_out_what_is_not_visible(task: Forecasting) -> None:
    network, samples = built("plain"), task.draw(np.random.default_rng(0), 4)
    wrong = samples.targets.clone()
    wrong[:, -1, 5, :2] += 100.0  # of the last frame, which nothing follows from
    whole, far = task.loss(network, samples), task.loss(network, Samples(samples.inputs, wrong))
    assert far > whole + 1
    samples.targets[:, -1, 5, 2] = wrong[:, -1, 5, 2] = 0
    assert torch.equal(task.loss(network, samples), task.loss(network, Samples(samples.inputs, wrong)))


@pytest.mark.thorough
def test_conversion_keeps_teacher_forcing() -> None:
    """Encoder and unrolled decoder go through `reduce`; what comes out has the class, and its loss is symmetric."""
    task = Forecasting("tiny", [motion(30)], [motion(14, 1)], width=26, forecast=2)
    network, inputs = built("plain", steps=2), task.calibration(48)
    chiral = chiralize(
        network, task.spec, (inputs[:2],), method="reduce", width=0.5, form="blocks", calibration=inputs, force=True,
        rounds=0, samples=1,
    )  # fmt: skip
    assert isinstance(chiral, Forecaster)
    samples = task.draw(np.random.default_rng(0), 8)
    mirrored = Samples(task.mirror_inputs(samples.inputs), task.mirror_targets(samples.targets))
    own, twin = task.loss(chiral, samples), task.loss(chiral, mirrored)
    torch.testing.assert_close(own, twin, rtol=1e-4, atol=0)
    own.backward()
    assert all(parameter.grad is not None for parameter in chiral.parameters())


# ---- Penn Action ----------------------------------------------------------------------------------------------------
def label_file(folder: Path, name: str, training: bool, frames: int = 30, **changes: object) -> Path:
    """As MATLAB writes it: two-dimensional arrays, the visibility logical."""
    pixels = 100 * motion(frames, int(name))[..., :2] + [240, 136]
    fields: dict[str, object] = {
        "action": "tennis_serve", "pose": "back", "x": pixels[..., 0], "y": pixels[..., 1],
        "visibility": np.ones((frames, 13), bool), "train": 1 if training else -1, "bbox": np.ones((frames, 4)),
        "dimensions": np.array([272, 481, frames], np.uint16), "nframes": frames,
    }  # fmt: skip
    fields |= changes
    savemat(folder / f"{name}.mat", {key: value for key, value in fields.items() if value is not None})
    return folder / f"{name}.mat"


def test_coordinates() -> None:
    """Pixels 1 to 481: the middle is 241. The mirror image of pixel x is 482 − x."""
    pixels = np.array([[241.0, 136.5], [1.0, 1.0], [481.0, 272.0]])
    own = normalised(pixels, 481, 272)
    assert np.allclose(own, [[0, 0], [-480 / 481, -271 / 481], [480 / 481, 271 / 481]])
    assert np.allclose(normalised(pixels * [-1, 1] + [482, 0], 481, 272), own * [-1, 1])


def test_video(tmp_path: Path) -> None:
    pixels = 100 * motion(30, 7)[..., :2] + [240, 136]
    visible = np.ones((30, 13), bool)
    visible[4, 2] = False
    video = read_video(label_file(tmp_path, "0007", False, visibility=visible))
    assert (video.name, video.action, video.training) == ("0007", "tennis_serve", False)
    assert np.allclose(video.poses[..., :2], normalised(pixels, 481, 272), atol=1e-6)
    assert video.poses[..., 2].sum() == 30 * 13 - 1 and video.poses[4, 2, 2] == 0


def test_gaps() -> None:
    placed = np.ones((5, 13), bool)
    placed[1:3, 4], placed[:, 6] = False, False
    whole = motion(5)[..., :2]
    filled = with_gaps_filled(whole, np.ones((5, 13), bool), placed)
    assert np.allclose(filled[1, 4, :2], (2 * whole[0, 4] + whole[3, 4]) / 3, atol=1e-6)
    assert np.allclose(filled[2, 6, :2], np.delete(filled[2, :, :2], 6, 0).mean(0), atol=1e-6)
    assert filled[:, 6, 2].sum() == 0 and filled[..., 2].sum() == 65 - 2 - 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"visibility": None}, "has no visibility"),
        ({"x": np.ones((30, 14))}, "not frames x 13 alike"),
        ({"y": np.full((30, 13), np.nan)}, "y holds something else than finite numbers"),
        ({"train": 0}, "train \\[0.0\\]: not as published"),
        ({"dimensions": np.array([0, 481, 30])}, "dimensions \\[0.0, 481.0, 30.0\\]"),
    ],
)
def test_refused_files(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataFileError, match=said):
        read_video(label_file(tmp_path, "0001", True, **changes))


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all" * 20])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0001.mat").write_bytes(content)
    with pytest.raises(DataFileError, match="is no MATLAB file"):
        read_labels(tmp_path)


def in_this_process(todo: Sequence[Unit], *rest: object) -> list[str]:
    for unit in todo:
        do(unit)
    return []


@pytest.mark.thorough
def test_penn_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From label files to Table 3, split as the files say."""
    for number in range(1, 6):
        label_file(tmp_path, f"{number:04d}", training=number != 2, frames=26 + number)
    (whole,) = penn_action(False, tmp_path)
    assert whole.name == "Penn Action, 1040"
    assert len(whole.test_samples().inputs) == 28 - 23
    assert whole.recipe("plain").steps == 3  # 30 times 4 + 6 + 7 + 8 windows of 24 frames, 256 each
    monkeypatch.setattr("examples.study.command.run", in_this_process)
    arguments = ["penn", "--labels", str(tmp_path), "--out", str(tmp_path), "--smoke", "--way", "flips"]
    result = CliRunner().invoke(command.app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "PCK@0.05" in result.output and (tmp_path / "smoke" / "results.csv").exists()


def test_penn_command_without_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(command.app, ["penn", "--labels", str(tmp_path)])
    assert result.exit_code == 2 and "holds no .mat file" in " ".join(result.output.replace("│", " ").split())


# ---- table ----------------------------------------------------------------------------------------------------------
def test_steps_table() -> None:
    figures = {"pck_5": 60.4, **{f"pck_5/{step}": 88.0 - step for step in range(1, 17)}}
    rows = [Row("net", "flips", seed, name, value + seed) for seed in range(3) for name, value in figures.items()]
    (table,) = steps_tables(rows)
    assert table.rows[:2] == (("PCK@0.05", "flips"), ("1", "88.0")) and len(table.rows) == 18
    assert table.rows[-2:] == (("16", "73.0"), ("mean", "61.4"))


# ---- motion capture -------------------------------------------------------------------------------------------------
needs_data = pytest.mark.skipif(
    "CHIRALIZE_DATA" not in os.environ, reason="CHIRALIZE_DATA names no folder with the motion data"
)


@pytest.mark.thorough
@needs_data
def test_motion_capture_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smoke run of two ways: the chiral network says the same of both views, the ordinary one does not."""
    monkeypatch.setattr("examples.study.measuring.macs_of", lambda captured: 1)
    monkeypatch.setattr("examples.study.measuring.prepare", lambda *call: SimpleNamespace(captured=call))
    (task,) = motion_capture(True)
    unit = Unit(motion_capture, task.name, 0, WAYS, tmp_path, True)
    do(unit)
    found = {(row.way, row.figure): row.value for row in read(unit.part)}
    assert found["flips", "gap"] > 0.01 and found["from scratch, paper", "residual"] < 1e-5
    assert all(0 <= found[way, "pck_5"] <= 100 for way in WAYS)


def test_motion_capture_without_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHIRALIZE_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="CHIRALIZE_DATA must name"):
        motion_capture(True)
