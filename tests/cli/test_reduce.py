"""`convert --method reduce` from the command line: files that are written, verified and loaded again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.support.command import MODULE, Shell, mirrored, network, poses, save_program, save_weights, working_shell
from tests.support.zoo.case import H36M, both, negated, swapped

LIFTER27 = Path(__file__).parents[2] / "chiralize" / "storage" / "pretrained" / "lifter27.pt2"
COMMON = ("--skeleton", "lifter.yaml", "--calibration", "poses.npz", "--method", "reduce")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of 16 units as a program and as weights, and 200 poses."""
    folder = tmp_path_factory.mktemp("reduce")
    net = network(hidden=16)
    save_program(net, folder / "net.pt2")
    save_weights(net, folder / "weights.pt")
    np.savez(folder / "poses.npz", poses=poses(200).numpy())
    return folder


@pytest.fixture
def shell(kitchen: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(kitchen, capsys, monkeypatch)


def off(net: torch.nn.Module, rows: int = 7) -> float:
    """max |F(T x) - T F(x)| over max |F(x)|."""
    x = poses(rows, seed=9)
    with torch.no_grad():
        own = mirrored(net(x))
        return float((net(mirrored(x)) - own).abs().max() / own.abs().max())


@pytest.mark.thorough
@pytest.mark.parametrize(("width", "form"), [("0.5", "folded"), ("0.707", "dense")])
def test_a_program_made_smaller_verifies(width: str, form: str, shell: Shell) -> None:
    """The report as JSON, the file with its passport, and any batch size."""
    name = f"half{width}.pt2"
    words = ("--width", width, "--rounds", "1", "--samples", "1", "--force", "-o", name, "--format", "json")
    result = shell("convert", "net.pt2", *COMMON, *words)
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert (found["method"], found["form"], found["passed"]) == ("reduce", form, True)
    assert [own["name"] for own in found["fitted"]] == ["first.weight", "last.weight"]
    checked = shell("verify", name)
    assert checked.status == 0, checked.out
    net = torch.export.load(shell.folder / name).module()
    assert off(network(hidden=16)) > 0.01 and max(off(net, rows) for rows in (2, 7)) <= 1e-5


@pytest.mark.thorough
def test_half_as_weights_of_the_class(shell: Shell) -> None:
    """safetensors of the original's keys and shapes, polished, which the class loads and `verify` passes."""
    factory = ("--model", f"{MODULE}:Lifter", "--arg", "hidden=16")
    words = ("--input-shape", "3,5,2", "--width", "0.5", "--rounds", "0", "--distill", "5")
    result = shell("convert", "weights.pt", *factory, *COMMON, *words, "--force", "-o", "half.safetensors")
    assert (result.status, result.err) == (0, ""), result.err
    assert "first.weight" in result.out and "distilled on held-out loss" in result.out
    net = network(hidden=16)
    before = {name: own.clone() for name, own in net.state_dict().items()}
    net.load_state_dict(safetensors.torch.load_file(shell.folder / "half.safetensors"), strict=True)
    assert off(net) <= 1e-5 and not torch.equal(net.state_dict()["first.weight"], before["first.weight"])
    assert shell("verify", "half.safetensors", *factory, "--input-shape", "3,5,2").status == 0


AUTO = ("--skeleton", "lifter.yaml", "--rounds", "0", "--samples", "1")


def test_auto_finds_weights_of_the_class(shell: Shell) -> None:
    """A file of weights asks `auto` for what it can hold; which is told, and loads into the class."""
    factory = ("--model", f"{MODULE}:Lifter", "--arg", "hidden=16", "--input-shape", "3,5,2")
    words = (*AUTO, "--calibration", "poses.npz", "--max-drift", "100", "-o", "auto.pt", "--format", "json")
    result = shell("convert", "weights.pt", *factory, *words)
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["form"] == "folded" and found["method"] in ("reduce", "match") and found["passed"]
    net = network(hidden=16)
    net.load_state_dict(torch.load(shell.folder / "auto.pt", weights_only=True), strict=True)
    assert off(net) <= 1e-5
    assert shell("verify", "auto.pt", *factory).status == 0


def test_no_weights_within_the_bound(shell: Shell) -> None:
    """What was tried is listed, and nothing is written; --force takes the last."""
    factory = ("--model", f"{MODULE}:Lifter", "--arg", "hidden=16", "--input-shape", "3,5,2")
    before = shell.listing()
    result = shell("convert", "weights.pt", *factory, *AUTO, "--max-drift", "0.0001", "-o", "x.safetensors")
    assert (result.status, result.out) == (3, "") and shell.listing() == before
    assert "ExportError CH309  -o: no result fits the original's class" in result.err
    assert "reduce was not tried: it needs inputs" in result.err and "match was not taken: rho = " in result.err
    forced = (*AUTO, "--max-drift", "0.0001", "--force", "-o", "x.safetensors", "--format", "json")
    result = shell("convert", "weights.pt", *factory, *forced)
    assert result.status == 0 and json.loads(result.out)["method"] == "match", result.err


def test_other_sizes_are_not_weights_of_the_class(shell: Shell) -> None:
    """A dense result is a graph: refused for .safetensors before anything is done."""
    factory = ("--model", f"{MODULE}:Lifter", "--arg", "hidden=16", "--input-shape", "3,5,2")
    before = shell.listing()
    words = ("--width", "0.707", "--rounds", "0", "--force", "-o", "x.safetensors")
    result = shell("convert", "weights.pt", *factory, *COMMON, *words)
    says = "UsageError CH207  -o: at width 0.707 the result is a graph, .safetensors holds weights only"
    assert (result.status, result.out) == (2, "") and says in result.err
    assert shell.listing() == before


def test_fast_fits_layer_by_layer_alone(shell: Shell) -> None:
    words = ("--width", "0.5", "--samples", "1", "--force", "-o", "fast.pt2", "--format", "json")
    result = shell("convert", "net.pt2", *COMMON, *words, "--fast")
    assert (result.status, result.err) == (0, "")
    assert not any("all layers" in note for note in json.loads(result.out)["notes"])


def test_beyond_the_bound_nothing_is_written(shell: Shell) -> None:
    """Asked for by name: status 1."""
    before = shell.listing()
    result = shell("convert", "net.pt2", *COMMON, "--rounds", "0", "--max-drift", "0.0001", "-o", "o.pt2")
    assert (result.status, result.out) == (1, "") and "DriftError CH401" in result.err
    assert shell.listing() == before


@pytest.mark.thorough
def test_beyond_the_bound_auto_averages(shell: Shell) -> None:
    words = (*AUTO, "--calibration", "poses.npz", "--max-drift", "0.0001", "-o", "o.pt2")
    result = shell("convert", "net.pt2", *words)
    assert result.status == 0 and "the same answers as the original's flip average" in result.out
    assert "reduce at width 0.5 was not taken: rho = " in result.out
    assert "reduce at width 0.707 was not tried: a fourth of that rho, " in result.out  # beyond four times the bound


@pytest.mark.thorough
def test_the_shipped_lifter_keeps_its_open_sizes(shell: Shell) -> None:
    """On a few clips, too few: written with --force, for any number of clips and frames; T is written out."""
    with np.load(LIFTER27.with_name("lifter27_inputs.npz")) as arrays:
        np.savez("clips.npz", poses=arrays["poses"][:64])
    words = ("--skeleton", "h36m", "--calibration", "clips.npz", "--method", "reduce")
    words = (*words, "--rounds", "0", "--samples", "1", "--format", "json", "-o", "half.pt2")
    result = shell("convert", LIFTER27, *words, "--force")
    assert result.status == 0, result.err
    found = json.loads(result.out)
    assert (found["method"], found["form"]) == ("reduce", "fused") and found["drift"]["rho"] > 1.25
    net = torch.export.load(shell.folder / "half.pt2").module()
    turn = both(swapped(H36M, -2), negated([0], -1))
    for rows, frames in ((2, 27), (5, 31)):
        x = torch.randn(rows, frames, 17, 2, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            own = turn(net(x))
            assert float((net(turn(x)) - own).abs().max() / own.abs().max()) <= 1e-5
