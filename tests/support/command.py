"""The command line as a stranger uses it: run in this process, on small networks stored in files of every kind."""

from __future__ import annotations

import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from chiralize.__main__ import main

PAIRS = [(1, 2), (3, 4)]
BODY = """\
joints: [head, left_hand, right_hand, left_foot, right_foot]
pairs: [[left_hand, right_hand], [left_foot, right_foot]]
dims: [x, y]
negate: [x]
"""
LIFTER = BODY + 'inputs: [{layout: "b j d"}]\noutputs: [{layout: "b j d"}]\n'
MODULE = "cli_example_nets"
SOURCE = '''
import torch
from torch import nn


class Lifter(nn.Module):
    def __init__(self, hidden=8, joints=5):
        super().__init__()
        self.first = nn.Linear(2 * joints, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.last = nn.Linear(hidden, 2 * joints)

    def forward(self, poses):
        hidden = self.norm(self.first(poses.flatten(1))).relu()
        return self.last(hidden).unflatten(1, (-1, 2))

    def encode(self, poses):
        """Another entry: the same with tanh."""
        return self.last(self.norm(self.first(poses.flatten(1))).tanh()).unflatten(1, (-1, 2))


class Policy(nn.Module):
    """A joint-level policy with a state, and scalars beside the pose."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(11, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, pose, speed, h):
        h = self.cell(torch.cat([pose.flatten(1), speed], 1), h)
        return self.head(h).unflatten(1, (5, 2)), h
'''


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    out: str
    err: str


class Shell:
    """A folder to work in, and the command."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capture = capture

    def __call__(self, *arguments: object) -> Result:
        self.capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = self.capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, out, err)

    def listing(self) -> dict[str, bytes]:
        """Every file below the folder with its content; Python's caches left out."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else b""
            for path in sorted(self.folder.rglob("*"))
            if "__pycache__" not in path.parts
        }


def working_shell(
    folder: Path, capture: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    """A shell in `folder`, with the example networks to import."""
    monkeypatch.chdir(folder)
    write_sources(folder)
    yield Shell(folder, capture)
    sys.modules.pop(MODULE, None)


def write_sources(folder: Path) -> None:
    """The user's own files: a module with networks, a skeleton, a specification."""
    (folder / f"{MODULE}.py").write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    (folder / "body.yaml").write_text(BODY, encoding="utf-8")
    (folder / "lifter.yaml").write_text(LIFTER, encoding="utf-8")


def network(name: str = "Lifter", dtype: torch.dtype = torch.float32, **arguments: int) -> nn.Module:
    """A scrambled instance of an example network."""
    space: dict[str, object] = {"__name__": MODULE}
    exec(compile(SOURCE, f"{MODULE}.py", "exec"), space)
    return scrambled(space[name](**arguments).to(dtype))  # type: ignore[operator]


def scrambled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights and statistics as after training: nothing is left as PyTorch initialises it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.2)
        for parameter in net.parameters():
            parameter.sub_(0.7)
    return net.eval()


def poses(count: int = 3, dtype: torch.dtype = torch.float32, seed: int = 1) -> Tensor:
    """Inputs "sample joint coord"."""
    return torch.randn(count, 5, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def mirrored(tensor: Tensor) -> Tensor:
    """T on "... joint coord", written out."""
    order = list(range(5))
    for left, right in PAIRS:
        order[left], order[right] = right, left
    return tensor[..., order, :] * torch.tensor([-1.0, 1.0], dtype=tensor.dtype)


@contextmanager
def library_warnings() -> Iterator[None]:
    """Torch's own deprecations while test files are made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_PROGRAMS: dict[tuple[object, ...], bytes] = {}
"""Files of the example networks, each exported once."""


def save_program(net: nn.Module, path: Path, dynamic: bool = True, rows: int = 3) -> Path:
    """A .pt2 with an open batch, or with all sizes fixed. rows: samples of its examples."""
    if type(net).__module__ != MODULE:
        return _exported(net, path, dynamic, rows)
    weights = b"".join(tensor.numpy().tobytes() for tensor in net.state_dict().values())
    key = type(net).__name__, weights, net.training, dynamic, rows
    if key in _PROGRAMS:
        path.write_bytes(_PROGRAMS[key])
    else:
        _PROGRAMS[key] = _exported(net, path, dynamic, rows).read_bytes()
    return path


def _exported(net: nn.Module, path: Path, dynamic: bool, rows: int) -> Path:
    shapes = ({0: torch.export.Dim.AUTO},) if dynamic else None
    dtype = next(net.parameters()).dtype
    with library_warnings():
        program = torch.export.export(net, (poses(rows, dtype=dtype),), dynamic_shapes=shapes, strict=False)
        torch.export.save(program, path)
    return path


def save_script(net: nn.Module, path: Path, traced: bool) -> Path:
    """TorchScript, traced or scripted; scripting reads the source from the disk."""
    with library_warnings():
        script = torch.jit.trace(net, (poses(),)) if traced else torch.jit.script(net)
        script.save(path)
    return path


def save_weights(net: nn.Module, path: Path) -> Path:
    """A state_dict as .pt or .safetensors, by the suffix."""
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path
