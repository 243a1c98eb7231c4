"""A file that was converted before is handed on as it is, in whatever form its weights are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from chiralize.storage.load import load_model
from tests.support.command import Shell, mirrored, network, poses, save_program, working_shell


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
