"""A file that was converted before is handed on as it is, in whatever form its weights are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from chiralize.storage.load import load_model
from tests.support.command import Shell, mirrored, network, poses, save_program, save_script, working_shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    yield from working_shell(tmp_path, capsys, monkeypatch)


FORMS = [
    pytest.param(("match", "--form", "fused"), marks=pytest.mark.thorough),  # blocks in another writing
    ("match", "--form", "blocks"),
    ("average",),
]


@pytest.mark.parametrize("options", FORMS)
def test_what_was_converted_is_unchanged(shell: Shell, options: tuple[str, ...]) -> None:
    """Blocks and both views are proved by what their passport says; an average of them would run them twice."""
    save_program(network(hidden=4), shell.folder / "net.pt2")
    one = shell(
        "convert", "net.pt2", "--skeleton", "lifter.yaml", "--samples", "1", "--method", *options, "-o", "c.pt2"
    )
    assert one.status == 0, one.err
    again = shell("convert", "c.pt2", "--samples", "1", "-o", "d.pt2")
    assert again.status == 0 and again.out.startswith("c.pt2: already equivariant, unchanged"), again.out
    x = poses(3)
    first, second = (load_model(shell.folder / name).module(x) for name in ("c.pt2", "d.pt2"))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert shell("verify", "d.pt2").status == 0


def test_a_passport_proves_nothing_by_itself(shell: Shell) -> None:
    """Weights that were changed after the conversion are converted anew."""
    save_program(network(hidden=4), shell.folder / "net.pt2")
    assert shell("convert", "net.pt2", "--skeleton", "lifter.yaml", "--method", "project", "-o", "c.pt2").status == 0
    loaded = load_model(shell.folder / "c.pt2")
    assert loaded.exported is not None
    with torch.no_grad():
        next(iter(loaded.exported.state_dict.values())).view(-1)[0].add_(0.5)
    torch.export.save(loaded.exported, shell.folder / "c.pt2", extra_files=dict(loaded.extra))
    again = shell("convert", "c.pt2", "--samples", "1", "--method", "average", "-o", "d.pt2")
    assert again.status == 0 and "unchanged" not in again.out.splitlines()[0], again.out
    module, x = load_model(shell.folder / "d.pt2").module, poses(3)
    torch.testing.assert_close(module(mirrored(x)), mirrored(module(x)))


class Online(nn.Module):
    """A pose a call, with its state as an argument."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.last = nn.GRUCell(8, 6), nn.Linear(6, 8)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(x.flatten(1), state[0])[None]
        return self.last(state[0]).view(-1, 4, 2), state


ONLINE = """joints: [hip, left_knee, right_knee, nose]
pairs: [[1, 2]]
dims: [x, y]
inputs: [{layout: b j d}, {state: true}]
outputs: [{layout: b j d}, {state: true}]
"""


def test_states_of_both_views_are_not_doubled_again(shell: Shell) -> None:
    """Where an average is written as ONNX afterwards, and where it is timed beside its original."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    (shell.folder / "online.yaml").write_text(ONLINE)
    call = torch.randn(1, 4, 2), torch.zeros(1, 1, 6)
    torch.export.save(torch.export.export(Online().eval(), call), shell.folder / "net.pt2")
    options = ("--skeleton", "online.yaml", "--method", "average", "--force", "--samples", "1")
    assert shell("convert", "net.pt2", *options, "-o", "c.pt2").status == 0
    written = shell("convert", "c.pt2", "--samples", "1", "-o", "c.onnx")
    assert written.status == 0 and "unchanged" in written.out, written.err
    session = onnxruntime.InferenceSession(str(shell.folder / "c.onnx"))
    x, state = torch.randn(1, 4, 2), torch.randn(1, 1, 12)
    expected = load_model(shell.folder / "c.pt2").module(x, state)
    names = [port.name for port in session.get_inputs()]
    given = dict(zip(names, (x.numpy(), state.numpy()), strict=True))
    for ours, theirs in zip(session.run(None, given), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(ours), theirs)
    timed = shell("bench", "net.pt2", "c.pt2", "--rounds", "2")
    assert timed.status == 0 and "chiral" in timed.out and "differ in size" not in timed.out, timed.err


def test_an_average_in_torchscript_is_handed_on(shell: Shell) -> None:
    save_script(network(hidden=4), shell.folder / "net.pt", traced=False)
    options = ("--skeleton", "lifter.yaml", "--input-shape", "1,5,2", "--method", "average", "--force")
    assert shell("convert", "net.pt", *options, "--samples", "1", "-o", "c.pt").status == 0
    again = shell("convert", "c.pt", "--samples", "1", "-o", "d.pt")
    assert again.status == 0 and again.out.startswith("c.pt: already equivariant, unchanged"), again.err
