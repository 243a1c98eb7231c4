"""Checkpoints, TorchScript and numpy files that carry code, and texts that torch would evaluate: refused unrun."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chiralize.errors import ChiralizeError, DataFileError, ModelFileError, UnsafeFileError
from chiralize.storage.arrays import load_arrays
from chiralize.storage.expressions import guard_fault, size_expression_fault
from chiralize.storage.load import load_model
from chiralize.storage.program import operator_is_known

Members = dict[str, bytes]


class Touch:
    """Creates a folder when it is unpickled the ordinary way."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "was_run"


def write(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as target:
        for name, data in members.items():
            target.writestr(f"archive/{name}", data)
    return path


def torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def check_message(error: ChiralizeError, path: Path) -> None:
    assert error.exit_status == 2
    assert str(path) in str(error)
    assert "\n    Fix: " in str(error)
    assert len(error.facts) > 20


def legacy_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


CHECKPOINTS: dict[str, Callable[[Touch], bytes]] = {
    "zip": lambda touch: torch_bytes({"fc.weight": torch.ones(4, 4), "x": touch}),
    "legacy": lambda touch: legacy_bytes({"fc.weight": torch.ones(4, 4), "x": touch}),
    "bare pickle": pickle.dumps,
    "protocol 2 pickle": lambda touch: pickle.dumps({"a": touch}, protocol=2),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_checkpoint_that_would_run_code(kind: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(CHECKPOINTS[kind](Touch(marker)))
    with pytest.raises(UnsafeFileError) as caught:
        load_model(path, factory="torch.nn:Linear", factory_args={"in_features": "4", "out_features": "4"})
    check_message(caught.value, path)
    assert "mkdir" in str(caught.value) or "plain tensors" in str(caught.value)
    assert not marker.exists()
    with pytest.raises(UnsafeFileError):
        load_arrays(path)
    assert not marker.exists()


def test_unsafe_pickle_is_what_runs_it(marker: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(torch_bytes({"x": Touch(marker)}))
    with pytest.raises(ModelFileError):
        load_model(path, unsafe_pickle=True)
    assert marker.is_dir()


class Scripted(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


@pytest.fixture(scope="module")
def script_members() -> Members:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(Scripted(), torch.ones(2)), buffer)
    with zipfile.ZipFile(buffer) as source:
        return {name.split("/", 1)[1]: source.read(name) for name in source.namelist()}


def _code(members: Members, old: bytes, new: bytes) -> None:
    for name, data in members.items():
        if name.endswith(".py") and old in data:
            members[name] = data.replace(old, new)
            return
    raise LookupError(old)


def test_torchscript_can_write_files_on_torch_and_is_refused_here(
    script_members: Members, marker: Path, tmp_path: Path
) -> None:
    members = dict(script_members)
    _code(members, b"return ", f"t = torch\n    t.save(x, {str(marker)!r})\n    return ".encode())
    path = write(tmp_path / "net.ts", members)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(path)(torch.ones(2))
    assert marker.exists(), "the payload does not work, so the test would prove nothing"
    marker.unlink()
    with pytest.raises(UnsafeFileError, match="'save'"):
        load_model(path)
    assert not marker.exists()


SCRIPTS = {
    "python import": (lambda m: m.update({"data.pkl": pickle.dumps(Touch(Path("x")), 2)}), "mkdir"),
    "computed import": (lambda m: m.update({"constants.pkl": pickle.dumps(Touch(Path("x")), 4)}), "STACK_GLOBAL"),
    "not a pickle": (lambda m: m.update({"constants.pkl": b"hello"}), "constants.pkl"),
    "writes a file": (lambda m: _code(m, b"return ", b"ops.aten.save(x, '/x')\n    return "), "'save'"),
    "reads a file": (lambda m: _code(m, b"return ", b"y = torch.from_file('/x')\n    return "), "from_file"),
    "foreign operator": (lambda m: _code(m, b"return ", b"ops.evil.run(x)\n    return "), "ops"),
    "old layout": (lambda m: m.update({"model.json": b"{}"}), "model.json"),
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_hostile_torchscript(case: str, script_members: Members, tmp_path: Path) -> None:
    members = dict(script_members)
    SCRIPTS[case][0](members)
    path = write(tmp_path / "net.ts", members)
    with pytest.raises(UnsafeFileError) as caught:
        load_model(path)
    check_message(caught.value, path)
    assert SCRIPTS[case][1] in str(caught.value)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_hostile_numpy_file(suffix: str, marker: Path, tmp_path: Path) -> None:
    path = tmp_path / f"poses.{suffix}"
    value = np.empty((), dtype=object)
    value[()] = {"S1": Touch(marker)}
    if suffix == "npz":
        np.savez(path, positions_3d=value)
    else:
        np.save(path, value, allow_pickle=True)
    with pytest.raises(UnsafeFileError) as caught:
        load_arrays(path)
    check_message(caught.value, path)
    assert "mkdir" in str(caught.value)
    assert not marker.exists()
    if suffix == "npz":
        with np.load(path, allow_pickle=True) as loaded:
            loaded["positions_3d"]
    else:
        np.load(path, allow_pickle=True)
    assert marker.is_dir(), "the payload does not work, so the test would prove nothing"


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "Symbol('s0').__class__",
        "(lambda: 0)()",
        "[x for x in (1,)]",
        "Symbol('a b')",
        "f'{1}'",
        "9**9**9**9**9**9",
        "Integer('x')",
        "exec('1')",
        "x := 1",
        "1" * 5000,
        "",
        7,
    ],
)
def test_size_expressions_that_are_refused(text: object) -> None:
    assert size_expression_fault(text) is not None


@pytest.mark.parametrize(
    "text", ["Mul(Integer(5), Symbol('s77', positive=True, integer=True))", "2*s17 + 1", "u0 >= 2"]
)
def test_size_expressions_that_pass(text: str) -> None:
    assert size_expression_fault(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "torch.hub.load('x', 'y')",
        "L['x'].size().__class__",
        "L['x'].tolist()",
        "print(L)",
        "L['a\"b'].size()[0] == 1",
        "math.__dict__",
    ],
)
def test_guards_that_are_refused(text: str) -> None:
    assert guard_fault(text) is not None


@pytest.mark.parametrize(
    "text",
    ["L['x'].size()[1] == 5", "(4*L['x'].size()[0]) % 2 == 0", "L['a b'][0].size()[1] <= 3", "math.isnan(L['s'])"],
)
def test_guards_that_pass(text: str) -> None:
    assert guard_fault(text) is None


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.load_library",
        "torch.ops.aten.save",
        "torch.ops.higher_order.aoti_call_delegate",
        "torch.ops.higher_order.call_torchbind",
        "torch.ops.aten.__class__.mro",
        "torch.load",
        "_operator.attrgetter",
        "math.__loader__.load_module",
        "#triton",
    ],
)
def test_operators_that_are_refused(target: str) -> None:
    assert not operator_is_known(target)


def test_numpy_type_that_lies_about_references(tmp_path: Path) -> None:
    """numpy itself would take the eight bytes of this file for the address of an object."""
    fields = {"x": (np.dtype("O"), 0)}
    lie = (3, "|", None, ("x",), fields, 8, 1, 0)

    class Lie:
        def __reduce__(self) -> tuple[Any, ...]:
            return np.dtype, ("V8", False, True), lie

    value = np.empty((), dtype=object)
    value[()] = {"poses": Lie()}
    path = tmp_path / "poses.npz"
    np.savez(path, poses=value)
    with pytest.raises(DataFileError, match="not a plain number"):
        load_arrays(path)


def test_device_is_not_read() -> None:
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero here")
    with pytest.raises(ModelFileError, match="device"):
        load_model("/dev/zero")
