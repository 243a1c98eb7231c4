"""An ONNX file is judged in the precision that it was written in, in which it may enlarge rounding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from chiralize.storage.onnx_network import OnnxNetwork
from tests.support.command import Shell, working_shell

SIZE = 8
SWAP = np.arange(SIZE).reshape(-1, 2)[:, ::-1].reshape(-1)
SPEC = """\
joints: [la, ra, lb, rb, lc, rc, ld, rd]
pairs: [[la, ra], [lb, rb], [lc, rc], [ld, rd]]
dims: [q]
negate: []
lateral: y
inputs: [{layout: "b (j d)"}]
outputs: [{layout: "b (j d)"}]
"""


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def cancelling(condition: float, fault: float = 0.0) -> onnx.ModelProto:
    """x W W^-1, with a W of this condition number that commutes with the swap; what is rounded between them is
    enlarged as much. fault: what is added to one weight of the second.
    """
    random = np.random.default_rng(0)
    basis = random.normal(size=(SIZE, SIZE))
    even, odd = basis[:, :4] + basis[SWAP, :4], basis[:, 4:] - basis[SWAP, 4:]
    orthogonal = np.concatenate([np.linalg.qr(even)[0], np.linalg.qr(odd)[0]], 1)
    values = np.geomspace(1, 1 / condition, SIZE)
    first, second = ((orthogonal * scaled) @ orthogonal.T for scaled in (values, 1 / values))
    second = second.astype(np.float32)
    second = (second + second[SWAP][:, SWAP]) / 2
    second[0, 1] += fault
    first = first.astype(np.float32)
    stored = [numpy_helper.from_array((first + first[SWAP][:, SWAP]) / 2, "first")]
    stored.append(numpy_helper.from_array(second, "second"))
    make = onnx.helper
    nodes = [
        make.make_node("MatMul", ["x", "first"], ["hidden"]),
        make.make_node("MatMul", ["hidden", "second"], ["y"]),
    ]
    ports = [make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", SIZE]) for name in ("x", "y")]
    graph = make.make_graph(nodes, "cancelling", ports[:1], ports[1:], stored)
    return make.make_model(graph, ir_version=10, opset_imports=[make.make_opsetid("", 20)])


def told(shell: Shell, model: onnx.ModelProto, *options: str) -> tuple[int, str]:
    onnx.save(model, "net.onnx")
    Path("pairs.yaml").write_text(SPEC)
    done = shell("verify", "net.onnx", "--skeleton", "pairs.yaml", *options)
    return done.status, done.out


def test_what_a_file_rounds_away_is_no_fault(shell: Shell) -> None:
    """The residual is 17 times the bound of a file of two products, and no more than rounded weights explain."""
    status, words = told(shell, cancelling(1e4))
    assert status == 0, words
    assert told(shell, cancelling(1e4), "--tolerance", "4e-6")[0] == 1


@pytest.mark.parametrize(("condition", "fault"), [(1.0, 3e-4), (1e4, 100.0)])
def test_a_fault_is_one_all_the_same(condition: float, fault: float, shell: Shell) -> None:
    status, words = told(shell, cancelling(condition, fault))
    assert status == 1 and "NOT equivariant" in words


def test_rounding_is_allowed_to_no_more_than_a_hundred_times_the_bound(shell: Shell) -> None:
    assert told(shell, cancelling(1e6))[0] == 1


def test_stored_numbers_move_by_their_last_digit() -> None:
    network = OnnxNetwork(cancelling(10.0), "net.onnx")
    before, after = (
        [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
        for model in (network.model, network.moved().model)
    )
    for plain, moved in zip(before, after, strict=True):
        step = np.abs(moved - plain)
        assert (step > 0).all() and (step <= np.spacing(np.abs(plain))).all()
