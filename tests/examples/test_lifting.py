"""The lifting example's commands and its study."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from chiralize.body.skeleton.catalog import load_skeleton
from examples.lifting import metrics, strips
from examples.lifting.__main__ import app
from examples.lifting.actions import LIMITED_PICTURE, action_tables, draw_limited
from examples.lifting.checkpoint import compare, judged, lifted
from examples.lifting.networks import StridedLifter, TemporalLifter
from examples.lifting.poses import Clip, Dataset, Windows
from examples.lifting.published import load_h36m
from examples.lifting.study import FRACTIONS, LIMITED_WAYS, OwnFiles, limited_name, tasks
from examples.lifting.subjects import errors_by_subject, subject_table
from examples.study.results import Row, read
from examples.study.run import do, units
from tests.support.lifting_files import write_checkpoint, write_h36m, write_humaneva

needs_motion = pytest.mark.skipif(
    "CHIRALIZE_DATA" not in os.environ, reason="CHIRALIZE_DATA names no folder with the motion data"
)


def own_files(folder: Path, dataset: str = "h36m", frames: int = 9) -> OwnFiles:
    paths = write_h36m(folder) if dataset == "h36m" else write_humaneva(folder)
    return OwnFiles(dataset, *paths, frames, channels=34, epochs=1.0, batch=16)


@pytest.mark.parametrize("dataset", ["h36m", "humaneva"])
def test_own_files_are_a_task(tmp_path: Path, dataset: str) -> None:
    """The mirror on inputs and targets is that of the networks; windows and targets belong together."""
    (task,) = own_files(tmp_path, dataset)(smoke=False)
    samples = task.draw(np.random.default_rng(0), 6)
    joints = (17, 17) if dataset == "h36m" else (17, 15)
    assert samples.inputs.shape == (6, 9, joints[0], 2) and samples.targets.shape == (6, 1, joints[1], 3)
    for layout in ("free", "paper"):
        chiral = task.build(layout).eval()
        answers = chiral(samples.inputs)
        torch.testing.assert_close(chiral(task.mirror_inputs(samples.inputs)), task.mirror_answers(answers))
    plain = task.build("plain").eval()
    assert plain(samples.inputs).shape == samples.targets.shape
    mirrored = plain(task.mirror_inputs(samples.inputs))
    assert not torch.allclose(mirrored, task.mirror_answers(plain(samples.inputs)), atol=1e-3)
    assert task.spec.skeleton.name == ("h36m-17" if dataset == "h36m" else "humaneva-15")


def test_epochs_and_fractions(tmp_path: Path) -> None:
    """Steps follow from the frames that may be drawn; a part of them is evenly spread."""
    files = own_files(tmp_path)
    whole, half = files(False)[0], OwnFiles(**{**vars(files), "fractions": (0.5,)})(False)[0]
    frames = 5 * 4 * (5 + 3)  # subjects, cameras, frames of two takes
    assert whole.recipe("plain").steps == frames // 16
    assert half.recipe("plain").steps == frames // 32
    drawn = half.draw(np.random.default_rng(0), 1000)
    assert 2 <= len(drawn.inputs.flatten(1).unique(dim=0)) <= frames // 2


def test_subsets_of_the_paper(tmp_path: Path) -> None:
    """Figure 4: a network for each group of subjects and each part of their frames. Test subjects are refused."""
    files = own_files(tmp_path)
    groups = (("S1",), ("S1", "S5"))
    found = OwnFiles(**{**vars(files), "fractions": (0.5, 1.0), "subjects": groups})(False)
    names = [task.name.removeprefix("h36m, 9 frames, 34, ") for task in found]
    assert names == ["S1, 50 %", "S1", "S1+S5, 50 %", "S1+S5"]
    frames = 4 * (5 + 3)  # cameras, frames of two takes
    assert [task.recipe("plain").steps for task in found] == [frames // 32, frames // 16, frames // 16, frames // 8]
    test = found[0].test_samples().targets
    assert torch.equal(test, files(False)[0].test_samples().targets)
    data = ["h36m", "--data-3d", str(files.data_3d), "--frames", "9"]
    for words, message in (("S1,S9", "S9 are judged on"), (",", "names nobody"), ("S1,S2", "has no subject 'S2'")):
        refused = CliRunner().invoke(app, [*data, "--subjects", words])
        assert refused.exit_code == 2 and message in " ".join(refused.output.split())


def test_figures_of_a_study(tmp_path: Path) -> None:
    """In mm, with the actions as parts."""
    (task,) = own_files(tmp_path)(smoke=False)
    targets = task.test_samples().targets
    figures = task.figures(targets + torch.tensor([0.03, 0.04, 0.0]))
    assert figures["MPJPE mm"] == pytest.approx(50, abs=1e-3) and figures["MPJVE mm"] == pytest.approx(0, abs=1e-3)
    assert figures["P-MPJPE mm"] == pytest.approx(0, abs=1e-3)
    assert figures["MPJPE mm/Walking"] == pytest.approx(50, abs=1e-3)
    assert next(iter(figures)) == task.figure


def test_whole_clips_are_answered_like_windows(tmp_path: Path) -> None:
    """The dilated network on a padded clip, in pieces, says what the strided one says window by window."""
    windows = Windows(load_h36m(write_h36m(tmp_path)[0]).test, 9)
    dilated = TemporalLifter(filter_widths=(3, 3), channels=8).eval()
    strided = StridedLifter(filter_widths=(3, 3), channels=8).eval()
    strided.load_state_dict(dilated.state_dict())
    with torch.no_grad():
        wanted = strided(windows.everything)[:, 0].numpy()
    np.testing.assert_allclose(lifted(dilated, windows), wanted, atol=1e-5)


@pytest.mark.thorough
def test_a_checkpoint_is_compared(tmp_path: Path) -> None:
    """Alone, averaged over both views, and converted; the conversion to the full width is the average."""
    data = load_h36m(*write_h36m(tmp_path))
    torch.manual_seed(0)
    network = TemporalLifter(filter_widths=(3, 3), channels=16).eval()
    found = {name: figures for name, figures, _ in compare(network, data, (1.0,), samples=64)}
    assert list(found) == ["network", "network, TTA", "chiralized 1.0"]
    windows = Windows(data.test, 9)
    own = metrics.mpjpe(lifted(network, windows), windows.targets.numpy()).mean()
    assert found["network"]["MPJPE mm"] == pytest.approx(1000 * own)
    assert found["chiralized 1.0"]["MPJPE mm"] == pytest.approx(found["network, TTA"]["MPJPE mm"], rel=1e-3)
    assert judged(windows.targets.numpy(), windows)[0]["MPJPE mm"] == 0


@pytest.mark.thorough
def test_evaluate_command(tmp_path: Path) -> None:
    """On a published checkpoint: figures and actions of all three networks."""
    data_3d, data_2d = write_h36m(tmp_path)
    write_checkpoint(tmp_path / "pretrained.bin")
    done = CliRunner().invoke(
        app,
        f"evaluate h36m {tmp_path / 'pretrained.bin'} --key model_pos --data-3d {data_3d} --data-2d {data_2d} "
        "--frames 9 --channels 16 --width 0.5".split(),
    )
    assert done.exit_code == 0, done.output
    assert "WalkDog" in done.output and "chiral" in done.output
    wrong = CliRunner().invoke(app, ["h36m", "--data-3d", str(data_2d)])
    assert wrong.exit_code == 2 and "positions_3d" in wrong.output


@pytest.mark.thorough
def test_own_files_run(tmp_path: Path) -> None:
    """A chiral network from scratch, on the user's files, to the rows of the study."""
    factory = own_files(tmp_path)
    (unit,) = units(factory, tmp_path / "out", [0], ["from scratch, free"], [], smoke=True)
    torch.set_num_threads(1)
    do(unit)
    rows = {row.figure: row.value for row in read(unit.part)}
    assert rows["MPJPE mm"] > 0 and rows["gap"] < 1e-5 and "MPJPE mm/WalkDog" in rows


@pytest.mark.thorough
@needs_motion
def test_motion_capture_tasks() -> None:
    """Test subjects are nobody's training data; every frame has a window; a fraction is a part of the frames."""
    frame, clip, *parts = tasks(smoke=True)
    assert (frame.name, clip.name) == ("1 frame, 512", "243 frames, 256")
    assert clip.draw(np.random.default_rng(0), 2).inputs.shape == (2, 243, 17, 2)
    assert len(frame.test_samples().inputs) > 1000
    assert len(parts) == 1 and frame.ways is None and {"flips"} < set(clip.ways or ()) == set(parts[0].ways or ())
    whole = tasks(smoke=False)
    assert [task.name for task in whole][2:] == [limited_name(part) for part in FRACTIONS]
    assert all(tuple(task.ways or ()) == LIMITED_WAYS for task in whole[2:]) and whole[1].ways is None


def test_tables_of_actions_and_limited_data(tmp_path: Path) -> None:
    rows = [
        Row(limited_name(part), way, seed, "MPJPE mm", 100.0 + seed)
        for part in FRACTIONS
        for way in LIMITED_WAYS
        for seed in (0, 1, 2)
    ]
    path = draw_limited(rows, tmp_path)
    assert path is not None and path == tmp_path / LIMITED_PICTURE and path.read_text().count("from scratch") == 2
    assert draw_limited([], tmp_path) is None
    errors = {"Walk": (10.0, 30.0, 20.0), "Box": (50.0, 40.0, 60.0)}
    rows = [
        Row("net", "flips", seed, f"MPJPE mm/{action}", value)
        for action, values in errors.items()
        for seed, value in enumerate(values)
    ]
    (table,) = action_tables(rows)
    assert table.rows == (("", "flips"), ("Walk", "20.0"), ("Box", "50.0"), ("mean of actions", "35.0"))


class ToOneSide(torch.nn.Module):
    """Answers x, and 20 mm to one side."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        middle = windows[:, strips.RECEPTIVE // 2 : strips.RECEPTIVE // 2 + 1]
        return torch.nn.functional.pad(middle, (0, 1)) + torch.tensor([0.02, 0.0, 0.0])


def test_errors_by_subject() -> None:
    """A network that errs by 20 mm to one side: its flip average by nothing, for each action of each subject."""
    rng, body = np.random.default_rng(0), load_skeleton("h36m")
    clips = list[Clip]()
    for subject, action, frames in (("S2", "walk", 40), ("S1", "walk", 31), ("S1", "sit", 30), ("S1", "walk", 5)):
        poses = rng.normal(size=(frames, 17, 2)).astype(np.float32)
        clips.append(Clip(poses, np.pad(poses, ((0, 0), (0, 0), (0, 1))), subject, action))
    dataset = Dataset("small", (), tuple(clips), body, body)
    errors = errors_by_subject({"one": ToOneSide(), "other": ToOneSide()}, "one", dataset, every=2)
    assert list(errors) == ["one", "one, TTA", "other"]
    assert list(errors["one"]) == [("S1", "sit"), ("S1", "walk"), ("S2", "walk")]
    assert list(errors["one"].values()) == list(errors["other"].values()) == pytest.approx([20, 20, 20], rel=1e-4)
    assert list(errors["one, TTA"].values()) == pytest.approx([0, 0, 0], abs=1e-3)
    assert subject_table(errors).rows[-1] == ("mean", "", "20.0", "0.0", "20.0")


@pytest.mark.thorough
def test_a_motion_is_drawn(tmp_path: Path) -> None:
    """Every row has an answer for each frame; T f(T x) is turned back; both files are written and small."""
    inputs, poses = strips.motion(4, seed=0)
    rows = strips.answers({"net": ToOneSide()}, inputs, poses)
    assert [own.shape for own in rows.values()] == [(4, 17, 2), *[(4, 17, 3)] * 3]
    assert strips.differences(rows)["net"] == pytest.approx(40, rel=1e-4)
    strips.strip(rows, tmp_path / "strip.svg")
    strips.animate(rows, tmp_path / "strip.gif")
    assert "net" in (tmp_path / "strip.svg").read_text() and (tmp_path / "strip.gif").read_bytes()[:3] == b"GIF"
    assert max(path.stat().st_size for path in tmp_path.iterdir()) < 500_000


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "examples.study.plots")
    with pytest.raises(SystemExit, match=r'matplotlib is not installed\n    Fix: pip install .*"\.\[report\]"'):
        importlib.import_module("examples.study.plots")
