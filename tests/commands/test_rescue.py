"""A format refuses the result at the very end: the minutes before are not lost, and nothing is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from chiralize.storage import onnx_export
from tests.support.command import Shell, network, save_program, working_shell

CONVERT = ("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "match", "--samples", "1", "-o", "out.onnx")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


def test_a_refused_onnx_leaves_a_pt2(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is the converted network, and proves so; a second one stands beside the first."""
    export = onnx_export.exported_model

    def changed(*arguments: Any) -> onnx.ModelProto:
        model = export(*arguments)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                tensor.CopyFrom(numpy_helper.from_array(1.5 * numpy_helper.to_array(tensor), tensor.name))
        return model

    monkeypatch.setattr(onnx_export, "exported_model", changed)
    save_program(network(hidden=4), shell.folder / "net.pt2")
    for name in ("out.pt2", "out-2.pt2"):
        before = shell.listing()
        refused = shell(*CONVERT)
        assert refused.status == 1
        assert f"Fix: use {name}, into which the converted network has been written, or run the ONNX" in refused.err
        after = shell.listing()
        assert after.keys() - before.keys() == {name} and before.items() <= after.items()
    assert shell("verify", "out.pt2").status == 0
