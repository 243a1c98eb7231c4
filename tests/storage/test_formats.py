"""Every format that a network comes in and goes out: the results stand on their own, and are what they claim."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import safetensors.torch
import torch

from tests.support.command import (
    MODULE,
    Shell,
    library_warnings,
    mirrored,
    network,
    poses,
    save_program,
    save_script,
    save_weights,
    working_shell,
)

FACTORY = (*f"--model {MODULE}:Lifter".split(), "--input-shape", "3,5,2")


class Case(NamedTuple):
    """source, method, target; and whether the batch is open in a written program."""

    source: str
    method: str
    target: str
    dynamic: bool = True
    more: tuple[str, ...] = ()


CASES = {
    "open float32 by average": Case("open32.pt2", "average", "a.pt2"),
    "fixed float64 by average": Case("fixed64.pt2", "average", "c.pt2", False),
    "fixed float32 by match": Case("fixed32.pt2", "match", "d.pt2", False),
    "traced by match": Case("traced.ts", "match", "e.pt2", True, FACTORY[2:]),
    "scripted by average": Case("scripted.ts", "average", "f.pt2", True, FACTORY[2:]),
    "weights in float64": Case("weights64.pt", "match", "h.safetensors", True, FACTORY),
    "safetensors by project": Case("weights.safetensors", "project", "j.pt2", True, FACTORY),
    "entry of a checkpoint": Case("checkpoint.pt", "match", "k.pt", True, (*FACTORY, "--key", "model_pos")),
    "pickled module": Case("module.pt", "match", "l.pt2", True, (*FACTORY[2:], "--unsafe-pickle")),
}
ALONE = """
import sys
assert not any("chiralize" in name for name in sys.modules)
import torch
for name in sys.argv[1:]:
    net = torch.export.load(name).module()
    for parameter in net.parameters():
        dtype = parameter.dtype
    x = torch.randn(3, 5, 2, dtype=dtype)
    turn = lambda v: v[:, [0, 2, 1, 4, 3]] * torch.tensor([-1.0, 1.0], dtype=dtype)
    off = (net(turn(x)) - turn(net(x))).abs().max() / net(x).abs().max()
    assert off <= (1e-12 if dtype == torch.float64 else 1e-5), (name, off)
    assert "chirality.json" in (found := {"chirality.json": ""}) and torch.export.load(name, extra_files=found)
    assert found["chirality.json"], name
assert not any("chiralize" in name for name in sys.modules)
print("fine")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks in files of every kind."""
    from tests.support.command import write_sources

    folder = tmp_path_factory.mktemp("formats")
    write_sources(folder)
    net, double = network(), network(dtype=torch.float64)
    for name, own, dynamic in (
        ("open32", net, True),
        ("fixed32", net, False),
        ("fixed64", double, False),
    ):
        save_program(own, folder / f"{name}.pt2", dynamic)
    save_weights(double, folder / "weights64.pt")
    save_weights(net, folder / "weights.safetensors")
    torch.save({"epoch": 3, "model_pos": net.state_dict() | {}, "losses": [1.0]}, folder / "checkpoint.pt")
    sys.path.insert(0, str(folder))
    try:
        own = importlib.import_module(MODULE).Lifter().eval()
        own.load_state_dict(net.state_dict())
        save_script(own, folder / "traced.ts", traced=True)
        save_script(own, folder / "scripted.ts", traced=False)
        torch.save(own, folder / "module.pt")
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop(MODULE, None)
    return folder


@pytest.fixture
def shell(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(folder, capsys, monkeypatch)


def loaded(path: Path) -> torch.nn.Module:
    """The result as a plain network: a program as it is, weights in a fresh instance of the class."""
    with library_warnings():
        if path.suffix == ".pt2":
            return torch.export.load(path).module()
        state = (
            safetensors.torch.load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        )
    state = state.get("model_pos", state)
    fresh = network(dtype=state["first.weight"].dtype)
    fresh.load_state_dict(state, strict=True)
    return fresh


@pytest.mark.one_in(6)
@pytest.mark.parametrize("name", CASES)
def test_converted(name: str, shell: Shell) -> None:
    """Exit 0; the file commutes with a T written here, in its own precision; the source is untouched; verify agrees."""
    case = CASES[name]
    source = shell.folder / case.source
    before = source.read_bytes()
    arguments = (case.source, "--skeleton", "lifter.yaml", "--method", case.method, "-o", case.target, *case.more)
    result = shell("convert", *arguments)
    assert result.status == 0 and result.err == "", result.err
    assert f"written to {case.target}" in result.out
    assert source.read_bytes() == before
    if case.target.endswith(".pt2"):
        _check_sizes(shell.folder / case.target, case)
    net = loaded(shell.folder / case.target)
    dtype = torch.float64 if "64" in case.source else torch.float32
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}
    x = poses(3, dtype, seed=7)
    y = net(x)
    assert y.abs().max() > 0.01
    off = (net(mirrored(x)) - mirrored(y)).abs().max() / y.abs().max()
    assert off <= (1e-12 if dtype == torch.float64 else 1e-5)
    again = shell("verify", case.target, *(FACTORY if case.target.endswith((".pt", ".safetensors")) else ()))
    assert again.status == 0 and "equivariant" in again.out, again.err


def _check_sizes(path: Path, case: Case) -> None:
    """An open batch stays open, a fixed one fixed; inputs keep their names."""
    with library_warnings():
        program = torch.export.load(path)
    (given,) = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    assert isinstance(given.meta["val"].shape[0], int) is not case.dynamic
    assert list(given.meta["val"].shape[1:]) == [5, 2]
    if case.source.endswith(".pt2"):
        assert given.name == "poses"
    if case.dynamic:
        assert program.module()(poses(9, next(iter(program.state_dict.values())).dtype)).shape == (9, 5, 2)


def _made(shell: Shell, case: Case) -> None:
    """The output of a case, made now if the test above has not run here."""
    if not (shell.folder / case.target).exists():
        words = ("--skeleton", "lifter.yaml", "--method", case.method, "-o", case.target, *case.more)
        assert shell("convert", case.source, *words).status == 0


def test_programs_hold_ops_of_torch_alone(shell: Shell) -> None:
    """All that a Python without chiralize needs to know."""
    case = CASES["fixed float64 by average"]
    _made(shell, case)
    with library_warnings():
        program = torch.export.load(shell.folder / case.target)
    ops = [node.target for node in program.graph.nodes if node.op == "call_function"]
    spaces = {op.namespace if isinstance(op, torch._ops.OpOverload) else op.__module__ for op in ops}
    assert "aten" in spaces and spaces <= {"aten", "_operator"}, spaces


@pytest.mark.thorough
def test_programs_run_without_chiralize(shell: Shell) -> None:
    """In a Python that cannot import it."""
    case = CASES["fixed float64 by average"]
    _made(shell, case)
    command = [sys.executable, "-I", "-W", "ignore", "-c", ALONE, case.target]
    done = subprocess.run(command, capture_output=True, text=True, cwd=shell.folder, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr


def test_average_is_the_flip_average(shell: Shell) -> None:
    """(f(x) + T f(T x)) / 2, in float64 to rounding."""
    case = CASES["fixed float64 by average"]
    _made(shell, case)
    net, original = loaded(shell.folder / case.target), network(dtype=torch.float64)
    x = poses(3, torch.float64, seed=8)
    average = (original(x) + mirrored(original(mirrored(x)))) / 2
    assert (net(x) - average).abs().max() <= 1e-12


@pytest.mark.thorough
def test_an_equivariant_network_comes_back_unchanged(shell: Shell) -> None:
    """Bit for bit, whatever the method, and it says so."""
    _made(shell, CASES["fixed float32 by match"])
    before: dict[str, Any] = dict(loaded(shell.folder / "d.pt2").state_dict())
    result = shell("convert", "d.pt2", "--method", "project", "-o", "again.pt2")
    assert result.status == 0 and "already equivariant" in result.out
    after = loaded(shell.folder / "again.pt2").state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert shell("verify", "again.pt2").status == 0


def test_the_sidecar_carries_the_mirror(shell: Shell) -> None:
    """A plain .pt has its passport beside it; without it `verify` asks for the skeleton."""
    _made(shell, CASES["entry of a checkpoint"])
    beside = shell.folder / "k.pt.chirality.json"
    assert beside.is_file()
    text = beside.read_text()
    beside.unlink()
    try:
        result = shell("verify", "k.pt", *FACTORY)
        assert result.status == 2 and "no skeleton is given" in result.err
        assert shell("verify", "k.pt", *FACTORY, "--skeleton", "lifter.yaml").status == 0
    finally:
        beside.write_text(text)


def test_a_passport_that_lies_is_found_out(shell: Shell) -> None:
    """The figures of a passport are not believed: the network is judged anew."""
    from chiralize.storage.load import CERTIFICATE, load_model
    from chiralize.storage.save import save_pt2

    _made(shell, CASES["fixed float32 by match"])
    text = load_model("d.pt2").extra[CERTIFICATE]
    program = load_model("fixed32.pt2").exported
    assert program is not None
    save_pt2(program, "forged.pt2", {CERTIFICATE: text})
    result = shell("verify", "forged.pt2")
    assert result.status == 1 and "EquivarianceError" in result.err and "NOT equivariant" in result.out
