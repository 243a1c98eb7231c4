"""The page on what keeps the mirror: its examples run, and every row of its table says what happens."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import chiralize
from chiralize import attach, load, save, verify
from chiralize.commands.chirality import chirality_of
from tests.support.zoo.case import scrambled

PAGE = (Path(__file__).parents[2] / "docs/keep-the-mirror.md").read_text(encoding="utf-8")
X = torch.randn(4, 17, 2)


class Net(nn.Module):
    """A small lifter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(34, 32), nn.BatchNorm1d(32), nn.Linear(32, 51)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x.flatten(1))))).unflatten(1, (17, 3))


def net() -> nn.Module:
    return scrambled(Net(), 0).eval()


@cache
def converted(form: str) -> nn.Module:
    return chiralize.chiralize(net(), "h36m", (X,), method="match", form=form, samples=1)


def chiral() -> Any:
    return copy.deepcopy(converted("folded"))


def graph() -> Any:
    return copy.deepcopy(converted("fused"))


def pickled(module: nn.Module) -> Any:
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)


def restored(weights: dict[str, Any]) -> Any:
    module = Net().eval()
    module.load_state_dict(weights)
    return module


def as_state(folder: Path) -> Any:
    torch.save(chiral().state_dict(), folder / "w.pt")
    return restored(torch.load(folder / "w.pt"))


def as_safetensors(folder: Path) -> Any:
    safetensors.torch.save_file(chiral().state_dict(), folder / "w.safetensors")
    return restored(safetensors.torch.load_file(folder / "w.safetensors"))


def as_program(folder: Path) -> Any:
    torch.export.save(torch.export.export(chiral(), (X,)), folder / "p.pt2")
    return torch.export.load(folder / "p.pt2").module()


def as_file(folder: Path) -> Any:
    return load(save(chiral(), folder / "c.pt2"))


def loaded_into(folder: Path) -> Any:
    module = chiral()
    module.load_state_dict(converted("blocks").state_dict())
    return module


WAYS: dict[str, Callable[[Path], Any]] = {
    "`copy.deepcopy(chiral)`": lambda _: copy.deepcopy(chiral()),
    "`copy.deepcopy` of a graph": lambda _: copy.deepcopy(graph()),
    "`chiral.double()`, `.to`, `.half`, `.eval`": lambda _: chiral().double().to("cpu").half().float().train().eval(),
    "`torch.compile(chiral)`": lambda _: torch.compile(chiral(), backend="eager"),
    "`DataParallel(chiral)`": lambda _: nn.DataParallel(chiral()),
    "`AveragedModel(chiral)`": lambda _: torch.optim.swa_utils.AveragedModel(chiral()),
    "`chiral.load_state_dict(...)`": loaded_into,
    "`torch.save(chiral)`": lambda _: pickled(chiral()),
    "`torch.save` of a graph": lambda _: pickled(graph()),
    "`chiralize.save`, `chiralize.load`": as_file,
    "`torch.save(chiral.state_dict())`": as_state,
    "`safetensors.torch.save_file`": as_safetensors,
    "`torch.export.save`": as_program,
    "`torch.jit.trace(chiral)`": lambda _: torch.jit.trace(chiral(), (X,)),
    "`torch.fx.symbolic_trace(chiral)`": lambda _: torch.fx.symbolic_trace(chiral()),
}


def table() -> dict[str, tuple[str, str]]:
    """The rows of the page: what happens, and what to do."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \|(?: (.+?))? \|$", PAGE.partition("<!-- table -->")[2], re.MULTILINE)
    return {way: (outcome, remedy) for way, outcome, remedy in rows if way != "way"}


@pytest.mark.one_in(12)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", WAYS)
def test_what_happens_to_the_mirror(way: str, tmp_path: Path) -> None:
    """Kept is whole: the network is verified without a skeleton, trained on, and written. Lost is put back."""
    outcome, remedy = table()[way]
    if outcome == "refused by torch":
        with pytest.raises((AttributeError, TypeError)):
            WAYS[way](tmp_path)
        return
    module = WAYS[way](tmp_path)
    kept = chirality_of(module) is not None
    assert kept == (outcome == "kept") and kept == (not remedy)
    if "attach" in remedy:
        attach(module, save(chiral(), tmp_path / "mirror.safetensors"))
    if kept or "attach" in remedy:
        assert verify(module, example_inputs=(X,), samples=1).passed
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        chiralize.keep_symmetric(module, optimizer)
        module(X).square().mean().backward()
        optimizer.step()
        assert verify(load(save(module, tmp_path / "out.pt2", (X,))), example_inputs=(X,), samples=1).passed


def test_the_table_has_these_rows_and_no_other() -> None:
    assert list(table()) == list(WAYS)


@pytest.mark.filterwarnings("ignore")
def test_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(chiral().state_dict(), "weights.pt")
    names: dict[str, Any] = {"net": net(), "Net": lambda: Net().eval(), "x": X}
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    assert names["restored"].chirality.method == "match"
    with torch.no_grad():
        assert torch.allclose(names["folded"](X), names["blocks"](X), atol=1e-4)
