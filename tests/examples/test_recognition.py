"""The recognition example: networks, metrics, loaders on tiny files of the published formats, smoke runs."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from chiralize import verify
from chiralize.body.skeleton.catalog import load_skeleton
from chiralize.body.tensors import parse_spec
from chiralize.errors import DataFileError, UnsafeFileError
from chiralize.nn import ChiralModule
from chiralize.storage.pretrained.evaluation import data_folder
from chiralize.symmetry.involution import SignedPermutation
from chiralize.symmetry.representation import Representation
from examples.recognition.__main__ import app
from examples.recognition.classification import changed_percent, cosine, top_percent
from examples.recognition.clips import Effort, window
from examples.recognition.kinetics import kinetics_tasks, open_kinetics
from examples.recognition.networks import SMOKE_SIZES, PoseClassifier, Recogniser, Sizes
from examples.recognition.ntu import is_training, ntu_tasks, open_ntu, read_skeleton
from examples.recognition.tasks import DetectedPoses, completed, tasks
from examples.study.measuring import measure
from examples.study.results import read
from examples.study.run import Unit, do
from examples.study.task import Layout, Reflection
from examples.study.ways import Workshop

BODY, DIMS = load_skeleton("openpose"), ("x", "y", "c")
MIRROR = Reflection([5, 6, 7, 11, 12, 13, 15, 17], [2, 3, 4, 8, 9, 10, 14, 16])
SIZES = Sizes(channels=12, width=8, kernel=3, strides=(2, 1, 1, 2, 1, 1, 2, 1, 1, 1))
SWAPPED = Representation.of(SignedPermutation.of([(1, 2)], size=4))


def settled(network: nn.Module, inputs: Tensor) -> nn.Module:
    """In eval mode, with statistics of a batch, so that no layer is trivial."""
    with torch.no_grad():
        network.train()(inputs)
    return network.eval()


def clips(*shape: int) -> Tensor:
    return torch.randn(*shape, 18, 3, generator=torch.Generator().manual_seed(0))


def share(space: Representation) -> float:
    """Of the entries that T negates, in place or on their way to their partner."""
    return float((space.action.sign < 0).mean())


# ---- networks -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("layout", ["free", "paper"])
def test_chiral_recognisers_do_not_change_their_answer(layout: Layout) -> None:
    torch.manual_seed(1)
    network = settled(Recogniser(BODY, DIMS, Representation.trivial(5), layout, SIZES), clips(4, 16))
    with torch.no_grad():
        scores = network(clips(4, 16))
        assert scores.shape == (4, 5) and scores.std(0).min() > 0
        assert torch.equal(network(MIRROR(clips(4, 16))), scores)


@pytest.mark.thorough
def test_paper_layout_is_proved() -> None:
    """Both verdicts, on clips of several people."""
    torch.manual_seed(1)
    x = clips(2, 2, 16)
    network = settled(Recogniser(BODY, DIMS, Representation.trivial(5), "paper", SMOKE_SIZES), x)
    text = 'skeleton: openpose\ninputs: [{layout: "b m t j d", dims: [x, y, c]}]\noutputs: [{invariant: true}]\n'
    verify(network, parse_spec(text), example_inputs=(x,)).raise_for_failure()


def test_paper_layout_follows_the_paper() -> None:
    """Shares 1/6, 1/12 and 0 of every joint's channels, tanh in three blocks, then torch's own layers with ReLU."""
    network = Recogniser(BODY, DIMS, Representation.trivial(5), "paper", SIZES)
    spaces = [block.spatial.rep_out for block in network.blocks[:4]]  # type: ignore[union-attr]
    assert [share(space) for space in spaces] == pytest.approx([1 / 6, 1 / 12, 0, 0])
    assert [space.is_trivial for space in spaces] == [False, False, False, True]
    functions = [type(block.activation.function) for block in network.blocks]  # type: ignore[union-attr]
    assert functions == [nn.Tanh] * 3 + [nn.ReLU] * 7
    assert not any(isinstance(own, ChiralModule) for block in list(network.blocks)[4:] for own in block.modules())


def test_plain_recogniser_is_ordinary() -> None:
    network = settled(Recogniser(BODY, DIMS, Representation.trivial(5), "plain", SMOKE_SIZES), clips(4, 16))
    assert not any(isinstance(own, ChiralModule) for own in network.modules())
    with torch.no_grad():
        assert not torch.allclose(network(MIRROR(clips(4, 16))), network(clips(4, 16)))


def test_paper_layout_has_no_classes_to_swap() -> None:
    with pytest.raises(ValueError, match="invariance layer"):
        Recogniser(BODY, DIMS, SWAPPED, "paper", SMOKE_SIZES)


def test_people_are_averaged() -> None:
    network = settled(Recogniser(BODY, DIMS, Representation.trivial(5), "free", SMOKE_SIZES), clips(4, 16))
    x = clips(1, 2, 16)
    with torch.no_grad():
        alone = (network(x[:, 0]) + network(x[:, 1])) / 2
        torch.testing.assert_close(network(x), alone)


@pytest.mark.parametrize("layout", ["free", "paper"])
def test_classes_swap_with_the_pose(layout: Layout) -> None:
    torch.manual_seed(1)
    network = settled(PoseClassifier(BODY, DIMS, SWAPPED, layout, 12), clips(8))
    with torch.no_grad():
        scores = network(clips(8))
        assert torch.equal(network(MIRROR(clips(8))), scores[:, [0, 2, 1, 3]])
        assert not torch.equal(scores[:, 1], scores[:, 2])


# ---- figures --------------------------------------------------------------------------------------------------------
def test_figures_count() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.1, 0.3], [0.2, 0.4, 0.3]])
    labels = torch.tensor([1, 2, 0])
    assert top_percent(scores, labels, 1) == pytest.approx(100 / 3)
    assert top_percent(scores, labels, 2) == pytest.approx(200 / 3)
    assert top_percent(scores, labels, 5) == 100
    assert changed_percent(scores, scores[:, [1, 0, 2]]) == pytest.approx(100)
    assert changed_percent(scores, scores) == 0


def test_rate_rises_and_falls() -> None:
    rates = [cosine(share) for share in (0.0, 0.04, 0.05, 0.5, 1.0)]
    assert rates[0] < rates[1] < rates[2] == 1 > rates[3] > rates[4] == pytest.approx(0)


def test_missing_mirror_images_become_classes() -> None:
    names, swap = completed(["a", "b", "c", "d"], [-1, 2, 1, -1])
    assert names == ["a", "b", "c", "d", "mirrored a", "mirrored d"] and swap == [(1, 2), (0, 4), (3, 5)]


def test_window_is_where_people_are() -> None:
    clip = np.zeros((2, 10, 18, 3), np.float32)
    clip[1, 3:9] = np.arange(3, 9)[:, None, None]
    assert [window(clip, 4, start)[1, :, 0, 0].tolist() for start in (0.0, 0.5, 1.0)] == [
        [3, 4, 5, 6], [4, 5, 6, 7], [5, 6, 7, 8],
    ]  # fmt: skip
    assert window(clip, 8, 0.7)[1, :, 0, 0].tolist() == [3, 4, 5, 6, 7, 8, 0, 0]
    assert not window(np.zeros_like(clip), 4, 0.5).any()


# ---- Kinetics -------------------------------------------------------------------------------------------------------
def write_kinetics_json(folder: Path, part: str, count: int) -> None:
    """As published: one file a clip, people as flat lists of x, y and of scores."""
    rng = np.random.default_rng(count)
    (folder / f"kinetics_{part}").mkdir(parents=True)
    table = {}
    for clip in range(count):
        frames = [
            {
                "frame_index": frame,
                "skeleton": [
                    {"pose": rng.random(36).round(3).tolist(), "score": [sure, *[0.5] * 16, 0.0]}
                    for sure in (0.2, 0.9, 0.7)
                ],
            }
            for frame in range(1, 21)
        ]
        label = {"label": f"action {clip % 3}", "label_index": clip % 3}
        (folder / f"kinetics_{part}" / f"c{clip}.json").write_text(json.dumps({"data": frames, **label}))
        table[f"c{clip}"] = {"has_skeleton": True, **label}
    table["nobody"] = {"has_skeleton": False, "label": "action 2", "label_index": 2}
    (folder / f"kinetics_{part}_label.json").write_text(json.dumps(table))


def write_arrays(folder: Path, part: str, joints: int, count: int = 6) -> np.ndarray:
    """As the published scripts write them."""
    folder.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(1).normal(size=(count, 3, 20, joints, 2)).astype(np.float32)
    np.save(folder / f"{part}_data.npy", data)
    labels = ([f"c{clip}" for clip in range(count)], [clip % 3 for clip in range(count)])
    (folder / f"{part}_label.pkl").write_bytes(pickle.dumps(labels, protocol=2))
    return data


def test_kinetics_json(tmp_path: Path) -> None:
    write_kinetics_json(tmp_path, "val", 4)
    found = open_kinetics(tmp_path, "test")
    assert found.labels.tolist() == [0, 1, 2, 0] and list(found.classes) == ["action 0", "action 1", "action 2"]
    clip = found.clip(1)
    stored = json.loads((tmp_path / "kinetics_val" / "c1.json").read_text())["data"][4]
    assert clip.shape == (2, 300, 18, 3) and not clip[:, 0].any() and not clip[:, 21:].any()
    assert clip[:, 5, 0, 2].tolist() == pytest.approx([0.9, 0.7])  # the surest two
    assert clip[0, 5, 3, :2] == pytest.approx(np.array(stored["skeleton"][1]["pose"][6:8]) - 0.5)
    assert not clip[:, :, 17].any()  # a joint that was missed


def test_arrays(tmp_path: Path) -> None:
    data = write_arrays(tmp_path, "train", 18)
    found = open_kinetics(tmp_path, "train")
    assert found.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert np.array_equal(found.clip(2)[1, 7], data[2, :, 7, :, 1].T)


class Hostile:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_labels_run_nothing(tmp_path: Path) -> None:
    write_arrays(tmp_path, "train", 18)
    (tmp_path / "train_label.pkl").write_bytes(pickle.dumps((["a"], Hostile(tmp_path / "ran"))))
    with pytest.raises(UnsafeFileError):
        open_kinetics(tmp_path, "train")
    assert not (tmp_path / "ran").exists()


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="has neither"):
        open_kinetics(tmp_path, "train")
    write_arrays(tmp_path, "train", 25)
    with pytest.raises(DataFileError, match="18"):
        open_kinetics(tmp_path, "train")
    write_arrays(tmp_path, "val", 18)
    (tmp_path / "val_label.pkl").write_bytes(pickle.dumps((["a"], [0])))
    with pytest.raises(DataFileError, match="names 1 clips"):
        open_kinetics(tmp_path, "test")
    write_kinetics_json(tmp_path / "json", "val", 1)
    (tmp_path / "json" / "kinetics_val" / "c0.json").write_text('{"data": [{"frame_index": 1}]}')
    with pytest.raises(DataFileError, match="no Kinetics skeleton"):
        open_kinetics(tmp_path / "json", "test").clip(0)


# ---- NTU ------------------------------------------------------------------------------------------------------------
def write_skeleton(path: Path, bodies: dict[str, np.ndarray], frames: int = 6) -> None:
    """As published: a line of ten numbers for a body, one of twelve for a joint. bodies: `frame joint 3` by number."""
    lines = [f"{frames}"]
    for frame in range(frames):
        lines.append(f"{len(bodies)}")
        for number, joints in bodies.items():
            lines += [f"{number} 0 1 1 1 1 0 0.1 -0.2 2", "25"]
            lines += [" ".join(f"{value:.6f}" for value in (*xyz, *[0.5] * 8)) + " 2" for xyz in joints[frame]]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def test_skeleton_files(tmp_path: Path) -> None:
    """The two who move most, those first; the third is furniture."""
    rng = np.random.default_rng(0)
    still, slow, fast = (size * rng.normal(size=(6, 25, 3)) + 1 for size in (0.0, 0.1, 1.0))
    path = tmp_path / "S001C002P001R001A003.skeleton"
    write_skeleton(path, {"7205": still, "7206": slow, "7207": fast})
    assert read_skeleton(path) == pytest.approx(np.stack([fast, slow]), abs=1e-5)
    write_skeleton(path, {"7206": slow})
    assert read_skeleton(path).shape == (2, 6, 25, 3) and not read_skeleton(path)[1].any()
    write_skeleton(path, {})
    assert not read_skeleton(path).any()
    path.write_text("6\n1\n1 2\n24\n")
    with pytest.raises(DataFileError, match="24 joints"):
        read_skeleton(path)


def test_ntu_splits(tmp_path: Path) -> None:
    body = {"1": np.random.default_rng(0).normal(size=(6, 25, 3))}
    for camera, person, action in ((1, 1, 2), (2, 3, 5), (3, 38, 1)):
        write_skeleton(tmp_path / f"S001C{camera:03d}P{person:03d}R001A{action:03d}.skeleton", body)
    labels = {
        (split, part): open_ntu(tmp_path, split, part).labels.tolist()
        for split in ("xsub", "xview")
        for part in ("train", "test")
    }
    assert labels == {
        ("xsub", "train"): [1, 0], ("xsub", "test"): [4], ("xview", "train"): [4, 0], ("xview", "test"): [1],
    }  # fmt: skip
    with pytest.raises(ValueError, match="xsub and xview"):
        is_training("S001C001P001R001A001", "cross")


# ---- runs -----------------------------------------------------------------------------------------------------------
@pytest.mark.thorough
def test_own_files_are_studied(tmp_path: Path) -> None:
    """From Kinetics files to figures: trained, converted, trained chiral."""
    for part in ("train", "val"):
        write_kinetics_json(tmp_path, part, 6)
    (task,) = kinetics_tasks(True, tmp_path, Effort(), SMOKE_SIZES)
    workshop = Workshop(task, 0, tmp_path / "networks", 24, rounds=0)
    workshop.make("from scratch, paper")
    found = measure(task, workshop.make("chiralized 0.5, folded"))
    assert 0 <= found["top1_percent"] <= found["top5_percent"] == 100
    assert found["residual"] < 1e-5 and found["changed_percent"] == 0


def test_command_reads_ntu(tmp_path: Path) -> None:
    for part in ("train", "val"):
        write_arrays(tmp_path / "xview", part, 25)
    (task,) = ntu_tasks(True, tmp_path, "xview", Effort(), SMOKE_SIZES)
    samples = task.draw(np.random.default_rng(0), 3)
    assert samples.inputs.shape == (3, 2, 16, 25, 3) and task.test_samples().inputs.shape == (6, 2, 16, 25, 3)
    with torch.no_grad():
        assert task.build("paper")(samples.inputs).shape == (3, 3)
    result = CliRunner().invoke(app, ["ntu", "--data", str(tmp_path / "none")])
    assert result.exit_code == 2 and "has neither" in " ".join(result.output.split())


needs_data = pytest.mark.skipif(
    "CHIRALIZE_DATA" not in os.environ, reason="CHIRALIZE_DATA names no folder with the motion data"
)


@needs_data
def test_detected_poses() -> None:
    """Twenty classes, four pairs of them mirror images, and four that get one."""
    task = DetectedPoses(data_folder())
    samples = task.test_samples()
    assert len(task.classes) == 24 and len(task.swap) == 8 and samples.targets.max() == 19
    named = {task.classes[a]: task.classes[b] for a, b in task.swap}
    assert named["Stand_LeftArmRaised"] == "Stand_RightArmRaised"
    assert named["MilitarySalute"] == "mirrored MilitarySalute"
    raised = samples.inputs[samples.targets == task.classes.index("Stand_LeftArmRaised")]
    mirrored = task.mirror_inputs(raised)
    wrists, head = [4, 7], 0
    higher = [part[:, wrists, 1] < part[:, [head], 1] for part in (raised, mirrored)]
    assert higher[0][:, 1].float().mean() > 0.9 > 0.1 > higher[0][:, 0].float().mean()
    assert torch.equal(higher[1].flip(1), higher[0])


@pytest.mark.thorough
@needs_data
def test_smoke(tmp_path: Path) -> None:
    """One network of the study, from data to rows."""
    ways = ("baseline", "baseline, TTA", "chiralized 0.5", "from scratch, free")
    unit = Unit(tasks, "detected poses, 144", 0, ways, tmp_path, smoke=True)
    do(unit)
    rows = {(row.way, row.figure): row.value for row in read(unit.part)}
    assert {way for way, _ in rows} == set(ways)
    assert rows["chiralized 0.5", "changed_percent"] == rows["from scratch, free", "changed_percent"] == 0
    assert rows["baseline", "residual"] > 0.01
