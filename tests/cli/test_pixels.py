"""Pixels from file to file: .pt2, state_dict and safetensors, on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support.command import BODY, MODULE, PAIRS, Shell, network, save_program, save_weights, working_shell

SPEC = (
    BODY
    + """\
inputs: [{layout: "b j d", reflect: {x: 639/2}, missing: zero}]
outputs: [{layout: "b j d", reflect: {x: 320}}]
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, net = tmp_path_factory.mktemp("pixels"), network()
    with torch.no_grad():
        net.get_parameter("first.weight").mul_(0.01)
    save_weights(net, folder / "weights.pt")
    save_program(net, folder / "net.pt2")
    (folder / "pixels.yaml").write_text(SPEC)
    return folder


@pytest.fixture
def shell(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(folder, capsys, monkeypatch)


def turned(x: np.ndarray, center: float) -> np.ndarray:
    out = x.copy()
    for a, b in PAIRS:
        out[:, [a, b]] = out[:, [b, a]]
    out[..., 0] = 2 * center - out[..., 0]
    return out


def gap(path: Path) -> float:
    """Of a program, without chiralize: max |F(T x) - T F(x)| in pixels."""
    program = torch.export.load(path).module()
    x = np.random.default_rng(0).uniform(0, 639, size=(2, 5, 2)).astype(np.float32)
    with torch.no_grad():
        plain, there = (program(torch.from_numpy(own)).numpy() for own in (x, turned(x, 319.5)))
    return float(np.abs(there - turned(plain, 320.0)).max())


CENTRES = {"in": SPEC.replace("639/2", "619/2"), "out": SPEC.replace("320", "310"), "none": BODY}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "wrong"), [("project", ("in", "out", "none")), ("match", ("none",)), ("average", ("in", "out"))],
    ids=["project", "match", "average"],
)  # fmt: skip
def test_programs(method: str, wrong: Sequence[str], shell: Shell) -> None:
    """Verified by the passport, and by no other centre."""
    result = shell("convert", "net.pt2", "--skeleton", "pixels.yaml", "--method", method, "-o", "out.pt2")
    assert result.status == 0, result.err
    assert "no joint is missing" in " ".join(result.out.split())
    assert gap(shell.folder / "net.pt2") > 1.0 and gap(shell.folder / "out.pt2") < 1e-3
    assert shell("verify", "out.pt2").status == 0
    for place in wrong:
        (shell.folder / "wrong.yaml").write_text(CENTRES[place])
        assert shell("verify", "out.pt2", "--skeleton", "wrong.yaml").status == 1


def test_an_ordinary_program_fails(shell: Shell) -> None:
    assert shell("verify", "net.pt2", "--skeleton", "pixels.yaml").status == 1


def test_weights(shell: Shell) -> None:
    """A state_dict in, safetensors out; verified with the factory, and loaded into the original class."""
    given = f"--model {MODULE}:Lifter".split()
    sizes = "--input-shape 2,5,2".split()
    result = shell("convert", "weights.pt", *given, *sizes, "--skeleton", "pixels.yaml", "--method", "match",
                   "-o", "out.safetensors")  # fmt: skip
    assert result.status == 0, result.err
    assert shell("verify", "out.safetensors", *given, *sizes).status == 0


@pytest.mark.thorough
def test_audit_and_plan_and_data(shell: Shell) -> None:
    np.save("poses.npy", np.random.default_rng(0).normal(320, 100, size=(40, 5, 2)).astype(np.float32))
    result = shell("audit", "net.pt2", "--skeleton", "pixels.yaml", "--calibration", "poses.npy", "--format", "json")
    assert result.status == 0, result.err
    assert json.loads(result.out)["source"] == "given data"
    result = shell("plan", "net.pt2", "--skeleton", "pixels.yaml", "--method", "project")
    assert result.status == 0 and "project weights" in result.out
    words = ("--method", "match", "--calibration", "poses.npy", "--force")  # its statistics are not those of any poses
    result = shell("convert", "net.pt2", "--skeleton", "pixels.yaml", *words)
    assert result.status == 0, result.err
    assert "matched by activations" in result.out


def test_lint_names_what_is_not_mirrored(shell: Shell) -> None:
    result = shell("skeleton", "lint", "pixels.yaml")
    assert result.status == 0
    assert "missing joints stored as 0 are not mirrored by an affine T" in result.out + result.err
