"""An interrupted distillation goes on from its file, with the results that it would have had."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from chiralize.commands import convert as command
from chiralize.commands.convert import Conversion, Request, convert
from chiralize.errors import OutputFileError, UsageError
from tests.support.reduce_nets import calls_for, ready

STEPS = 24


class StoppedError(Exception):
    """In the place of a kill."""


def polished(path: Path | None, stop: int | None = None, kind: str = "residual", **options: Any) -> Conversion:
    """A conversion with 24 steps. stop: killed at the first look from that step on."""

    def told(step: str, done: float | None = None, /) -> None:
        if stop is not None and done is not None and step.startswith("distilling") and done * STEPS >= stop:
            raise StoppedError

    given = {
        "calibration": calls_for((6, 2), 12),
        "distill": STEPS,
        "rounds": 0,
        "samples": 1,
        "force": True,
        **options,
    }
    return convert(ready(kind), kind, Request("match", checkpoint=path, progress=told, **given))


@cache
def whole() -> Conversion:
    """Without a file, and without a break."""
    return polished(None)


@cache
def stopped(step: int) -> bytes:
    """The file of a run that was killed at a step."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "state.pt")
        with pytest.raises(StoppedError):
            polished(path, step)
        return path.read_bytes()


def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the steps of Adam from now on."""
    taken: list[int] = []
    plain = torch.optim.Adam.step
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: taken.append(1) or plain(self))
    return taken


def same(one: Conversion, other: Conversion) -> bool:
    theirs = other.module.state_dict()
    equal = all(torch.equal(value, theirs[name]) for name, value in one.module.state_dict().items())
    return equal and one.report.notes == other.report.notes


@pytest.mark.one_in(6)
@pytest.mark.parametrize("stop", [10, 1, 24])
def test_goes_on_where_it_was(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, in fewer steps; of the candidates of `match` the one that is kept is trained."""
    path = tmp_path / "state.pt"
    path.write_bytes(stopped(stop))
    kept = torch.load(path, weights_only=True)
    assert kept["kind"] == "chiralize distillation 3" and len(kept["runs"]) == 1
    wanted, taken = whole(), steps_taken(monkeypatch)
    assert same(polished(path), wanted)
    assert len(taken) == STEPS - (stop - 1) // 2 * 2  # it is looked at every second step
    assert len(torch.load(path, weights_only=True)["runs"]) == 1


@pytest.mark.thorough
def test_a_finished_run_trains_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.pt"
    first = polished(path)
    taken = steps_taken(monkeypatch)
    assert same(polished(path), first) and not taken


def test_a_state_that_is_forgotten_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: Adam begins anew."""
    path = tmp_path / "state.pt"
    path.write_bytes(stopped(10))
    monkeypatch.setattr(torch.optim.Adam, "load_state_dict", lambda self, state: None)
    assert not same(polished(path), whole())


OTHERS: dict[str, dict[str, Any]] = {
    "steps": {"distill": STEPS + 1},
    "inputs": {"calibration": calls_for((6, 2), 12, mirrored=True)},
    "number of inputs": {"calibration": calls_for((6, 2), 12)[:11]},
    "network": {"kind": "odd width"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_another_run_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    before = stopped(10)
    path.write_bytes(before)
    with pytest.raises(UsageError) as caught:
        polished(path, **OTHERS[name])
    says = f"UsageError CH207  --distill-checkpoint: {path} is no checkpoint of this run: it belongs to another network"
    assert str(caught.value).startswith(says) and path.read_bytes() == before


def test_it_is_told_before_anything_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any) -> None:
        raise AssertionError("it was fitted")

    monkeypatch.setattr(command, "best", fit)
    (tmp_path / "state.pt").write_bytes(stopped(10))
    with pytest.raises(UsageError, match="it belongs to another network"):
        polished(tmp_path / "state.pt", distill=STEPS + 1)
    with pytest.raises(OutputFileError, match="nowhere"):
        polished(tmp_path / "nowhere" / "state.pt")


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize("content", [b"", b"nothing", pickle.dumps(Hostile()), None])
def test_other_files_are_refused(content: bytes | None, tmp_path: Path) -> None:
    """Without running what they carry."""
    path = tmp_path / "state.pt"
    if content is None:
        torch.save({"weights": torch.ones(3)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="is no checkpoint of this run: it (cannot be read as one|is another file)"):
        polished(path)
