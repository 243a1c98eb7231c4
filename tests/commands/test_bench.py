"""`chiralize bench`: the same inputs for the original, its flip average and its chiral counterpart."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from chiralize.cli import opening
from chiralize.nn import _product as product
from chiralize.nn.deploy.fair import with_our_ways
from tests.support.command import MODULE, Shell, network, save_program, save_weights, working_shell
from tests.support.trainer_files import save_sb3


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def converted(shell: Shell) -> None:
    save_program(network(hidden=64), shell.folder / "net.pt2")
    done = shell(
        "convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "--form", "fused", "-o", "c.pt2"
    )
    assert done.status == 0, done.err


def test_weights_belong_to_the_class_of_the_original(shell: Shell) -> None:
    save_weights(network(hidden=8), shell.folder / "net.pt")
    mirror = "--model", f"{MODULE}:Lifter", "--arg", "hidden=8", "--skeleton", "lifter.yaml"
    done = shell("convert", "net.pt", *mirror, "--method", "project", "--samples", "1", "-o", "out.pt")
    assert done.status == 0, done.err
    report = json.loads(shell("bench", "net.pt", "out.pt", *mirror, "--rounds", "2", "--threads", "1", "--json").out)
    assert [report["rows"][0]["name"], report["rows"][-1]["name"]] == ["original", "chiral"]


def test_weights_stand_behind_the_normaliser_that_was_written_with_them(tmp_path: Path) -> None:
    weights = opening.WeightsOptions("auto", normalizer=tmp_path / "vec.pkl")
    given = opening.NetworkOptions(save_sb3(tmp_path / "policy.zip"), weights=weights)
    result = save_sb3(tmp_path / "out.zip")
    assert opening.options_for_result(given, result) == replace(given, model=result)
    (tmp_path / "out-vec.pkl").write_bytes(b"")
    assert opening.options_for_result(given, result).weights.normalizer == tmp_path / "out-vec.pkl"
    whole = save_program(network(hidden=2), tmp_path / "out.pt2")
    assert opening.options_for_result(given, whole) == replace(given, model=whole, weights=opening.WeightsOptions())


def test_bench(shell: Shell) -> None:
    """A row for every network and size, ratios to the original and to the average, costs, as JSON and as text."""
    converted(shell)
    words = ("bench", "net.pt2", "c.pt2", "--skeleton", "lifter.yaml", "--rounds", "2", "--threads", "1")
    found = json.loads(shell(*words, "--batch", "2", "--batch", "5", "--format", "json").out)
    assert (found["report"], found["threads"], found["compiled"]) == ("bench", 1, False)
    names = [row["name"] for row in found["rows"]]
    assert names[0] == "original" and names[-1] == "chiral" and "flip average (TTA)" in names
    assert {row["batch"] for row in found["rows"]} == {2, 5}
    for row in found["rows"]:
        assert row["seconds"] > 0 and row["low"] <= row["ratio"] <= row["high"]
        assert row["ratio"] == 1.0 or row["name"] != "original"
        average = next(own for own in found["rows"] if own["name"].startswith("flip") and own["batch"] == row["batch"])
        assert row["to_average"] == pytest.approx(row["ratio"] / average["ratio"])
    assert found["cost"]["macs_after"] < 0.6 * found["cost"]["macs_before"]
    text = shell(*words).out
    assert text.startswith("net.pt2: c.pt2 takes 0.") or "of its time" in text.splitlines()[0]
    assert "quartiles" in text and "to TTA" in text


def test_files_whose_examples_differ_in_size(shell: Shell) -> None:
    """Each size that both take is timed, and the report says so; multiplications are those of a sample."""
    save_program(network(hidden=64), shell.folder / "net.pt2", rows=64)
    save_program(network(hidden=64), shell.folder / "other.pt2", rows=2)
    words = ("bench", "net.pt2", "other.pt2", "--skeleton", "lifter.yaml", "--rounds", "2")
    differ = "differ in size (64 samples in net.pt2 and 2 in other.pt2)"
    common = f"{differ}: all are timed on the same inputs, at batch 2 and at batch 64, which both files take"
    for more, batches in (((), {2, 64}), (("--other-examples",), {64}), (("--batch", "5"), {5})):
        report = json.loads(shell(*words, *more, "--json").out)
        assert report["cost"]["macs_after"] == report["cost"]["macs_before"] and report["cost"]["unit"] == "sample"
        assert {row["batch"] for row in report["rows"]} == batches and differ in str(report["notes"])
        assert (common in str(report["notes"])) == (not more)
    text = shell(*words).out
    assert "  MACs a sample " in text and "of its time at batch 64" in text and common in " ".join(text.split())


def test_fixed_sizes_get_the_batch_that_both_take_or_none(shell: Shell) -> None:
    """Where --batch is advised it works."""
    for name, rows, is_open in (("one", 1, False), ("many", 31, False), ("open", 31, True)):
        save_program(network(hidden=64), shell.folder / f"{name}.pt2", rows=rows, dynamic=is_open)
    options = ("--skeleton", "lifter.yaml", "--rounds", "2")
    report = json.loads(shell("bench", "one.pt2", "open.pt2", *options, "--json").out)
    assert {row["batch"] for row in report["rows"]} == {1}
    assert "all are timed on the same inputs, at batch 1, which both files take" in str(report["notes"])
    assert shell("bench", "one.pt2", "open.pt2", *options, "--batch", "1").status == 0
    wrong = shell("bench", "one.pt2", "open.pt2", *options, "--batch", "4")
    assert "original, batch 4" in wrong.err and "Fix: give --batch 1, the one" in wrong.err
    for more in ((), ("--batch", "1"), ("--batch", "31"), ("--other-examples",)):
        refused = shell("bench", "one.pt2", "many.pt2", *options, *more)
        assert refused.status == 2
        assert (
            "Fix: one.pt2 and many.pt2 take no number of samples in common: export one with an open batch "
            "(dynamic_shapes), or both at one size"
        ) in refused.err


class Averaged(nn.Module):
    """The mean pose of a film."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(10, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.flatten(2)).mean(1, keepdim=True).unflatten(2, (5, 2))


@pytest.mark.parametrize(
    ("is_open", "remedy"),
    [
        (True, "give --other-examples to time both on the example of seven.pt2"),
        (False, "export both with an example of one size: nine.pt2 does not take that of seven.pt2"),
    ],
)
def test_examples_that_differ_in_more_than_samples_are_refused(shell: Shell, is_open: bool, remedy: str) -> None:
    """Seven frames and nine: no number of samples mends that. What is advised works."""
    net = Averaged().eval()
    sizes = ({0: torch.export.Dim("b"), 1: torch.export.Dim("t", min=2)},) if is_open else None
    for name, frames in (("seven", 7), ("nine", 9)):
        example = (torch.randn(2, frames, 5, 2),)
        torch.export.save(torch.export.export(net, example, dynamic_shapes=sizes), shell.folder / f"{name}.pt2")
    layout = ("--skeleton", "body.yaml", "--input-layout", "b t j d", "--output-layout", "b t j d")
    words = ("bench", "seven.pt2", "nine.pt2", *layout, "--rounds", "2")
    refused = shell(*words)
    assert refused.status == 2 and "differ in size (2,7,5,2 in seven.pt2 and 2,9,5,2 in nine.pt2)" in refused.err
    assert f"Fix: {remedy}" in refused.err and "CH207" in refused.err
    assert (shell(*words, "--other-examples").status == 0) == is_open


@pytest.mark.thorough
def test_fair_and_where(shell: Shell) -> None:
    """Beside the fastest of the original's forms; the machine, torch and the clock are told."""
    converted(shell)
    words = ("bench", "net.pt2", "c.pt2", "--skeleton", "lifter.yaml", "--rounds", "2", "--threads", "1", "--fair")
    report = json.loads(shell(*words, "--json").out)
    ratios = {row["name"]: row["ratio"] for row in report["rows"]}
    fastest = min(ratio for name, ratio in ratios.items() if name.startswith("original"))
    assert "original, our ways" in ratios
    for row in report["rows"]:
        assert row["to_fair"] == pytest.approx(row["ratio"] / fastest)
    assert report["clock"] == "processor" and report["torch"] == torch.__version__
    assert report["machine"].endswith(f"{os.cpu_count()} processors")
    text = shell(*words).out
    assert "processor time" in text and f"measured on {report['machine']}, torch {torch.__version__}" in text
    assert text.splitlines()[3].split()[-1] == "fair" or "  fair" in text


FILM = """
import torch
from torch import nn

class Film(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.last = nn.GRU(10, 6, batch_first=True), nn.Linear(6, 1)

    def forward(self, x):
        return self.last(self.gru(x.flatten(2))[0][:, -1])
"""


def test_the_original_is_run_at_the_sizes_of_its_result(shell: Shell) -> None:
    """Weights bring no example: as many frames as the result was converted with, not as many as are tried first."""
    (shell.folder / "film.py").write_text(FILM)
    space: dict[str, Any] = {"__name__": "film"}
    exec(FILM, space)
    torch.save(space["Film"]().state_dict(), shell.folder / "film.pt")
    words = ("--model", "film:Film", "--skeleton", "body.yaml", "--invariant")
    layout = ("--input-layout", "b t j d", "--input-shape", "2,7,5,2")
    done = shell("convert", "film.pt", *words, *layout, "--method", "match", "-o", "chiral.pt2", "--force")
    assert done.status == 0, done.err
    done = shell("bench", "film.pt", "chiral.pt2", "--model", "film:Film", "--rounds", "2", "--batch", "3", "--json")
    assert done.status == 0, done.err
    cost = json.loads(done.out)["cost"]
    assert cost["macs_before"] == cost["macs_after"] == 7 * 3 * 6 * (10 + 6) + 6


def test_the_original_on_our_ways() -> None:
    """The same answers by products; only where no window overlaps another."""
    for stride, convolved in ((3, 0), (1, 1)):
        net = nn.Sequential(nn.Conv1d(4, 8, 3, stride=stride), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 1)).eval()
        nn.init.normal_(net[1].running_mean)  # type: ignore[arg-type]
        x = torch.randn(2, 4, 9)
        fair = with_our_ways(torch.export.export(net, (x,)))
        torch.testing.assert_close(fair(x), net(x), rtol=0, atol=1e-5)
        assert isinstance(fair, torch.fx.GraphModule)
        targets = [str(node.target) for node in fair.graph.nodes if node.op == "call_function"]
        assert any("conv1d" in target for target in targets) == bool(convolved)
        assert not any("batch_norm" in target for target in targets)


def test_the_original_multiplies_as_layers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """By oneDNN where that is faster, if the chiral network has layers of ours; else by torch's product, as it does."""
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(product, "_is_for_onednn", lambda weight, rows: seen.append((rows, *weight.shape)))
    net, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval(), torch.randn(3, 4)
    for with_layers, sizes in ((False, []), (True, [(3, 8, 4), (3, 2, 8)])):
        fair = with_our_ways(torch.export.export(net, (x,)), with_layers)
        torch.testing.assert_close(fair(x), net(x), rtol=0, atol=1e-6)
        assert seen == sizes


@pytest.mark.thorough
def test_the_skeleton_is_that_of_the_chiral_network(shell: Shell) -> None:
    converted(shell)
    done = shell("bench", "net.pt2", "c.pt2", "--rounds", "2")
    assert done.status == 0 and "flip average" in done.out, done.err
    done = shell("bench", "net.pt2", "net.pt2", "--rounds", "2")
    assert done.status == 2 and "no skeleton is given" in done.err


@pytest.mark.thorough
def test_what_no_machine_has(shell: Shell) -> None:
    converted(shell)
    for option, value, words in (
        ("--device", "foo", "--device: 'foo': "),
        ("--device", "meta", "--device: 'meta': "),
        ("--threads", "100000", "--threads"),
        ("--batch", "100000000000", "batch 100000000000: "),
    ):
        done = shell("bench", "net.pt2", "c.pt2", "--rounds", "2", option, value)
        assert done.status == 2 and words in done.err and "CH901" not in done.err, done.err


def test_sizes_that_a_network_does_not_take(shell: Shell) -> None:
    """A program of one size only says so."""
    save_program(network(hidden=64), shell.folder / "net.pt2", dynamic=False)
    shell("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "-o", "c.pt2")
    done = shell("bench", "net.pt2", "c.pt2", "--skeleton", "lifter.yaml", "--batch", "7", "--rounds", "2")
    assert done.status == 2 and "batch 7" in done.err and "leave --batch out" in done.err


def test_onnx_files(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files, each run by onnxruntime, on so many threads as are asked for; never compiled, nor on a GPU."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    net = network(hidden=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(net, (torch.randn(2, 5, 2),), str(shell.folder / "net.onnx"), dynamo=False)
    save_program(net, shell.folder / "net.pt2")
    threads: list[int] = []
    session = onnxruntime.InferenceSession

    def recording(data: object, options: Any, **more: Any) -> object:
        """A session as ever, its threads noted."""
        threads.append(options.intra_op_num_threads)
        return session(data, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", recording)
    before = torch.get_num_threads()
    words = ("bench", "net.onnx", "net.onnx", "--skeleton", "lifter.yaml", "--rounds", "2")
    report = json.loads(shell(*words, "--threads", str(before + 1), "--json").out)
    assert set(threads) == {before + 1} and torch.get_num_threads() == before
    ratios = {row["name"]: row["ratio"] for row in report["rows"]}
    assert set(ratios) == {"original", "flip average (TTA)", "chiral"} and min(ratios.values()) > 0
    assert not any("onnxruntime" in note for note in report["notes"])
    assert report["runtime"] == f"onnxruntime {onnxruntime.__version__}"
    count = sum(parameter.numel() for parameter in net.parameters())
    assert report["cost"]["parameters_before"] == report["cost"]["parameters_after"] == count
    for option in (("--compile",), ("--device", "cuda")):
        refused = shell(*words, *option)
        assert refused.status == 2 and "an ONNX file is run by onnxruntime, on the CPU" in refused.err


def test_an_onnx_file_beside_a_network_of_torch(shell: Shell) -> None:
    """The other one is exported, so that one runtime runs both; where it cannot be, the report says which ran what."""
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    net = network(hidden=64)
    count = sum(parameter.numel() for parameter in net.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            net,
            (torch.randn(2, 5, 2),),
            str(shell.folder / "net.onnx"),
            dynamo=False,
            dynamic_axes={"x": {0: "b"}},
            input_names=["x"],
        )
    save_program(net, shell.folder / "net.pt2")
    options = ("--skeleton", "lifter.yaml", "--rounds", "2", "--other-examples", "--json")
    report = json.loads(shell("bench", "net.pt2", "net.onnx", *options, "--batch", "4").out)
    assert "net.pt2 was exported for onnxruntime: one runtime runs both" in report["notes"]
    assert report["runtime"].startswith("onnxruntime ") and "torch" not in report["runtime"]
    assert report["cost"]["parameters_before"] == report["cost"]["parameters_after"] == count
    text = shell("bench", "net.onnx", "net.pt2", *options[:-1]).out
    assert "measured on " in text and ", onnxruntime " in text and "net.pt2 was exported" in text
    assert "MACs" not in text  # which only one of the two says
    fair = json.loads(shell("bench", "net.pt2", "net.onnx", *options, "--fair").out)
    assert any(note.startswith("one of the two is run by onnxruntime") for note in fair["notes"])
    assert fair["runtime"].startswith("torch ") and " and onnxruntime " in fair["runtime"]
