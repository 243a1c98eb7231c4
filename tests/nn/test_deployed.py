"""Chiral networks on several processes, as exported programs and as ONNX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chiralize.nn import GRU, LSTM
from tests.support.chiral_nets import (
    MIXED,
    PAIRS,
    PAPER,
    Perceptron,
    Recurrent,
    Temporal,
    Transformer,
    relu,
    tanh,
    turned,
)
from tests.support.chiral_oracle import apart, noise, scrambled

NETS = {
    "perceptron": (lambda: Perceptron(PAPER, tanh), (3, 6, 2)),
    "temporal": (lambda: Temporal(PAIRS, relu), (3, 4, 6, 2)),
    "temporal, signs": (lambda: Temporal(MIXED, tanh), (3, 4, 6, 2)),
    "lstm": (lambda: Recurrent(MIXED, LSTM), (3, 2, 6, 2)),
    "gru": (lambda: Recurrent(PAIRS, GRU), (3, 2, 6, 2)),
    "transformer": (lambda: Transformer(PAIRS, 2), (3, 4, 6, 2)),
}
ROOT = Path(__file__).parents[2]


def made(name: str) -> tuple[nn.Module, Tensor]:
    return scrambled(NETS[name][0]()).eval(), noise(*NETS[name][1], dtype=torch.float32)


@pytest.fixture(scope="module")
def ranks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], tuple[float, float]]:
    """What two processes found in the cases that run: distance from one process, and residual."""
    folder = tmp_path_factory.mktemp("ranks")
    tests = (item for item in request.session.items if isinstance(item, pytest.Function))
    cases = [test.callspec.id for test in tests if test.originalname == "test_two_processes"]
    command = [sys.executable, "-m", "tests.support.chiral_ranks", str(folder), *cases]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", ["perceptron", "paper", "lstm", "transformer"])
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes(kind: str, name: str, ranks: dict[tuple[str, str], tuple[float, float]]) -> None:
    """As one process on both halves of the batch, and as equivariant as ever; the state loads into a plain network."""
    far, residual = ranks[kind, name]
    assert far < 1e-9 and residual < 1e-13


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", [name for name in NETS if name != "temporal"])
def test_exported(name: str) -> None:
    """torch.export with a free batch: the same numbers, and as equivariant."""
    net, x = made(name)
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: batch},), strict=False).module()
    for count in (2, 5):
        x = noise(count, *NETS[name][1][1:], dtype=torch.float32)
        with torch.no_grad():
            assert apart(program(x), net(x)) <= 1e-6
            assert apart(program(turned(x)), turned(program(x))) <= 1e-5


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", ["temporal, signs", "lstm", "gru", "transformer"])
def test_onnx(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
    net, x = made(name)
    path = tmp_path / "net.onnx"
    torch.onnx.export(net, (x,), path, dynamo=True, verbose=False, optimize=name == "lstm")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        expected = net(x)
    assert apart(torch.from_numpy(found), expected) <= 1e-5 * max(float(expected.abs().max()), 1.0)
